package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"goselectors/eventloop/stream"
	"goselectors/examples/internal/cli"
)

// serveStream is the same server with package stream. That package has the group
// of loops, with one listener per loop where the kernel can distribute clients,
// and the buffers of each client. Only the server's own work remains.
func serveStream(addr string, loops, work int) {
	g, err := stream.NewGroup(loops, nil)
	cli.Check(err)
	h := handler{work: make([]byte, work<<10)}
	bound, err := g.Listen("tcp", addr, func() stream.Handler { return h })
	cli.Check(err)

	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	listening(bound, fmt.Sprintf("loops of package stream: %d", loops))
	<-interrupt
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		cli.Printf("some clients did not read all their data in 2 s: %v", err)
	}
	cli.Printf("bye")
}

// handler receives the data of a client, on the loop of that client.
type handler struct {
	stream.BaseHandler
	work []byte // read-only, so the loops may share it
}

func (h handler) DataReceived(c *stream.Conn, p []byte) {
	sha256.Sum256(h.work)
	c.Write(p)
}

// While a client does not read its answers, the server does not read from it.
// The water marks are those of lesson 7.

func (handler) PauseWriting(c *stream.Conn)  { c.PauseReading() }
func (handler) ResumeWriting(c *stream.Conn) { c.ResumeReading() }
