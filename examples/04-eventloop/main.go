// Lesson 4: the same server on package eventloop. The loop of lesson 3 has moved
// there, and has learned about time and signals: "nothing has come for a while"
// and "somebody pressed Ctrl-C" are callbacks like "there is something to read".
// So clients that fall silent are sent away, and nobody needs a lock.
//
//	go run ./examples/04-eventloop
//	go run ./examples/04-eventloop -idle 5s
//
// The loop is made in this file, the server that hangs on it in server.go.
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

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen on `host:port`; port 0 is any free one")
	idle := flag.Duration("idle", 30*time.Second, "send clients away that are silent for so `long`")
	backend := flag.String("backend", "", "use the `backend` of this name instead of the best")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: 04-eventloop [-addr host:port] [-idle time] [-backend name]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *backend != "" {
		os.Setenv(selectors.BackendEnv, *backend) // the loop's selector is the default one
	}
	loop, err := eventloop.New()
	if flag.NArg() > 0 || *idle <= 0 || err != nil {
		if err != nil {
			fmt.Fprintln(os.Stderr, "04-eventloop:", err)
		}
		flag.Usage()
		os.Exit(2)
	}
	defer loop.Close()
	listener, err := net.Listen("tcp", *addr)
	check(err)
	s := &server{loop: loop, listener: listener, idle: *idle}
	s.listen()

	// Signals arrive on the loop: whatever a callback is doing is finished, and
	// nothing is half done when this one looks at the server.
	quit := func(os.Signal) {
		fmt.Printf("04-eventloop: interrupted, with %d clients\n", s.clients)
		loop.Stop()
	}
	_, err = loop.OnSignal(os.Interrupt, quit)
	check(err)
	_, err = loop.OnSignal(syscall.SIGTERM, quit)
	check(err)

	host, port, _ := net.SplitHostPort(listener.Addr().String())
	fmt.Printf("04-eventloop: listening on %s; try: nc %s %s, and then nothing for %v\n", listener.Addr(), host, port, *idle)
	check(loop.Run(context.Background()))
	fmt.Println("04-eventloop: bye")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "04-eventloop:", err)
		os.Exit(1)
	}
}
