// Lesson 8: from callbacks back to code that reads like a story. The echo below
// is the one of lesson 1 almost word for word, and yet only the loop ever
// waits. What other languages spell await is a function
// that stops its caller and has the loop resume it. How small a scheduler for
// that can be is in task.go.
//
//	go run ./examples/08-await
//	go run ./examples/08-await -backend poll
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// echo serves one client from beginning to end. Wherever it seems to wait it
// stops, and other tasks run.
func echo(t *task, conn net.Conn) {
	defer t.close(conn)
	buf := make([]byte, 4096)
	for {
		n, err := t.read(conn, buf)
		if err != nil {
			return // the client has gone, or we are cancelled
		}
		if err := t.write(conn, buf[:n]); err != nil {
			return
		}
	}
}

// serve starts a task for each client.
func serve(t *task, listener net.Listener) {
	for {
		conn, err := t.accept(listener)
		if err == errCancelled {
			return
		}
		if err != nil { // too many open files, most likely: wait a while
			fmt.Fprintln(os.Stderr, "08-await:", err)
			t.sleep(100 * time.Millisecond)
			continue
		}
		t.spawn(func(t *task) { echo(t, conn) })
	}
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen on `host:port`; port 0 is any free one")
	backend := flag.String("backend", "", "use the `backend` of this name instead of the best")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: 08-await [-addr host:port] [-backend name]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *backend != "" {
		os.Setenv(selectors.BackendEnv, *backend) // the loop's selector is the default one
	}
	loop, err := eventloop.New()
	if flag.NArg() > 0 || err != nil {
		if err != nil {
			fmt.Fprintln(os.Stderr, "08-await:", err)
		}
		flag.Usage()
		os.Exit(2)
	}
	defer loop.Close()
	listener, err := net.Listen("tcp", *addr)
	check(err)
	s := &scheduler{loop: loop, tasks: make(map[*task]func())}
	s.spawn(func(t *task) { serve(t, listener) })
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		_, err = loop.OnSignal(sig, func(os.Signal) { loop.Stop() })
		check(err)
	}
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	fmt.Printf("08-await: listening on %s; try: nc %s %s\n", listener.Addr(), host, port)
	check(loop.Run(context.Background()))
	fmt.Printf("08-await: cancels %d tasks\n", len(s.tasks))
	s.cancel()
	fmt.Println("08-await: bye")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "08-await:", err)
		os.Exit(1)
	}
}
