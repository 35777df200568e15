// Lesson 4: the same server on package eventloop. It has the loop of lesson 3,
// with timers and signals: "nothing has arrived for 30 seconds" and "Ctrl-C was
// pressed" are callbacks too, like "there is something to read". So the server
// can disconnect idle clients, and it needs no lock.
//
//	go run ./examples/04-eventloop
//	go run ./examples/04-eventloop -idle 5s
//
// This file creates the loop. The server is in server.go.
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
	"goselectors/examples/internal/cli"
)

func main() {
	addr := cli.AddrFlag("127.0.0.1:8080")
	idle := flag.Duration("idle", 30*time.Second, "disconnect a client that is silent for this `duration`")
	cli.BackendFlag()
	cli.Parse("04-eventloop")
	if *idle <= 0 {
		cli.UsageError("-idle must be positive")
	}
	loop, err := eventloop.New()
	cli.Check(err)
	defer loop.Close()
	listener, err := net.Listen("tcp", *addr)
	cli.Check(err)
	s := &server{loop: loop, listener: listener, idle: *idle}
	s.listen()

	// The loop calls a signal's callback between other callbacks, never in the
	// middle of one. So the callback always sees a consistent server.
	onInterrupt := func(os.Signal) {
		cli.Printf("interrupted, with %d clients", s.clients)
		loop.Stop()
	}
	_, err = loop.OnSignal(os.Interrupt, onInterrupt)
	cli.Check(err)
	_, err = loop.OnSignal(syscall.SIGTERM, onInterrupt)
	cli.Check(err)

	cli.Listening(listener.Addr(), fmt.Sprintf("idle timeout %v", *idle))
	cli.Check(loop.Run(context.Background()))
	cli.Printf("bye")
}
