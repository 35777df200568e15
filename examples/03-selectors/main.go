// Lesson 3: the same server on package selectors. It uses net.Listener and
// net.Conn again, and it needs no map from descriptors to clients: each
// registration has a key, and the key carries data. If the data is a callback,
// the event loop only calls it, and knows nothing about servers and clients.
//
//	go run ./examples/03-selectors
//	go run ./examples/03-selectors -backend poll
//
// The loop is in this file, the server in server.go.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

// callback is the type of the data of every key.
type callback func(events selectors.Event)

// loop is the event loop. It works for any program that registers callbacks.
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
	addr := cli.AddrFlag("127.0.0.1:8080")
	cli.BackendFlag()
	cli.Parse("03-selectors")
	sel, err := selectors.NewDefaultSelector()
	cli.Check(err)
	defer sel.Close()
	s := &server{sel: sel}
	s.listener, err = net.Listen("tcp", *addr)
	cli.Check(err)
	_, err = sel.Register(s.listener, selectors.EventRead, callback(s.accept))
	cli.Check(err)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cli.Listening(s.listener.Addr(), fmt.Sprintf("%T", sel))
	if err := loop(ctx, sel); ctx.Err() == nil { // otherwise Ctrl-C ended the loop
		cli.Check(err)
	}
	cli.Printf("bye")
}
