// Lesson 3: the same server on package selectors. The numbers have become files
// again, and the table of who they belong to has gone: each registration has a
// key, and the key carries data. Put a callback there, and the event loop needs
// to know nothing of servers and clients: it calls what it finds.
//
//	go run ./examples/03-selectors
//	go run ./examples/03-selectors -backend poll
//
// The loop is in this file, the server that hangs on it in server.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"goselectors/selectors"
)

// callback is what the data of every key is.
type callback func(events selectors.Event)

// loop is the event loop: for any server, any client, anything with callbacks.
func loop(ctx context.Context, sel selectors.Selector) error {
	for {
		batch, err := selectors.SelectContext(ctx, sel, nil)
		if err != nil {
			return err
		}
		for _, ready := range batch {
			ready.Key.Data.(callback)(ready.Events)
		}
	}
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen on `host:port`; port 0 is any free one")
	backend := flag.String("backend", "", "use the `backend` of this name instead of the best")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: 03-selectors [-addr host:port] [-backend name]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *backend != "" {
		os.Setenv(selectors.BackendEnv, *backend) // NewDefaultSelector looks at it
	}
	sel, err := selectors.NewDefaultSelector()
	if flag.NArg() > 0 || err != nil {
		if err != nil {
			fmt.Fprintln(os.Stderr, "03-selectors:", err)
		}
		flag.Usage()
		os.Exit(2)
	}
	defer sel.Close()
	s := &server{sel: sel}
	s.listener, err = net.Listen("tcp", *addr)
	check(err)
	_, err = sel.Register(s.listener, selectors.EventRead, callback(s.accept))
	check(err)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	host, port, _ := net.SplitHostPort(s.listener.Addr().String())
	fmt.Printf("03-selectors: listening on %s, %T; try: nc %s %s\n", s.listener.Addr(), sel, host, port)
	if err := loop(ctx, sel); ctx.Err() == nil {
		check(err)
	}
	fmt.Println("03-selectors: bye")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "03-selectors:", err)
		os.Exit(1)
	}
}
