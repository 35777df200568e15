package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"goselectors/eventloop/stream"
)

// serveStream is the whole lesson again with package stream, which has all of it
// inside: the group, with a listener for each loop where the kernel can spread
// clients over them, and for each client its buffers and what it could not send
// yet. What remains is what this server does.
func serveStream(addr string, loops, work int) {
	g, err := stream.NewGroup(loops, nil)
	check(err)
	hash := hasher{work: make([]byte, work<<10)}
	bound, err := g.Listen("tcp", addr, func() stream.Handler { return hash })
	check(err)

	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	host, port, _ := net.SplitHostPort(bound.String())
	fmt.Printf("09-loops: listening on %s, a group of %d loops serves; try: nc %s %s\n", bound, loops, host, port)
	<-end
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if g.Shutdown(ctx) != nil {
		fmt.Println("09-loops: some clients did not take what they were owed")
	}
	fmt.Println("09-loops: bye")
}

// hasher is told what a client sends, on the loop of that client.
type hasher struct {
	stream.BaseHandler
	work []byte // only read, so the loops may share it
}

func (h hasher) DataReceived(c *stream.Conn, p []byte) {
	sha256.Sum256(h.work)
	c.Write(p)
}

// Who does not take its answers is asked no more: the water marks of lesson 7.

func (hasher) PauseWriting(c *stream.Conn)  { c.PauseReading() }
func (hasher) ResumeWriting(c *stream.Conn) { c.ResumeReading() }
