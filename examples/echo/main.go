// Echo is an echo server, like the example in the documentation of Python's
// selectors. One goroutine serves all connections. The data of every key is the
// callback to run when its file is ready.
//
//	go run ./examples/echo -addr 127.0.0.1:8080 -backend poll
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"goselectors/examples/internal/cli"
	"goselectors/examples/internal/server"
	"goselectors/selectors"
)

type callback func(selectors.Event)

type echoServer struct {
	sel      selectors.Selector
	listener net.Listener
	stopping bool           // no more data is read
	buf      [64 << 10]byte // shared: callbacks run one at a time
}

// accept is the listener's callback. It accepts one client. If more are waiting,
// the listener is ready again in the next turn.
func (s *echoServer) accept(selectors.Event) {
	conn, err := selectors.TryAccept(s.listener)
	if err == selectors.ErrWouldBlock { // readiness is a hint; here it was out of date
		return
	}
	if err == nil {
		c := &client{echoServer: s, Conn: conn, interest: selectors.EventRead}
		if _, err = s.sel.Register(conn, c.interest, callback(c.ready)); err == nil {
			return
		}
		conn.Close()
	}
	// The likely error is that too many files are open. The listener stays ready,
	// so the loop would spin. Unregister it, and register it again in a second.
	fmt.Fprintln(os.Stderr, "echo: accepting is paused for a second:", err)
	s.sel.Unregister(s.listener)
	time.AfterFunc(time.Second, s.resumeAccept)
}

// resumeAccept registers the listener again. A timer may do that, because
// Register may be called from any goroutine. If Register fails, resumeAccept
// tries again in a second.
func (s *echoServer) resumeAccept() {
	_, err := s.sel.Register(s.listener, selectors.EventRead, callback(s.accept))
	stopped := errors.Is(err, os.ErrClosed) // the selector or the listener
	if err != nil && !stopped {
		fmt.Fprintln(os.Stderr, "echo: accepting is paused for another second:", err)
		time.AfterFunc(time.Second, s.resumeAccept)
	}
}

// maxQueued is the number of bytes that may wait to be written to one client.
// Above it the server stops reading from the client, and TCP slows the sender
// down.
const maxQueued = 256 << 10

type client struct {
	*echoServer
	net.Conn
	queued   []byte          // read, not yet written back
	eof      bool            // the client has closed its side; the queued data is still to be written
	interest selectors.Event // registered interest
}

// ready is a client's callback. TryRead and TryWrite never block; the methods of
// net.Conn do. A slow client must not delay the others.
func (c *client) ready(events selectors.Event) {
	if events&selectors.EventRead != 0 {
		n, err := selectors.TryRead(c.Conn, c.buf[:])
		c.queued = append(c.queued, c.buf[:n]...)
		c.eof = err == io.EOF
		if err != nil && err != io.EOF && err != selectors.ErrWouldBlock {
			c.close() // reset by the client
			return
		}
	}
	if len(c.queued) > 0 { // write at once: the socket usually has room
		n, err := selectors.TryWrite(c.Conn, c.queued)
		if err != nil && err != selectors.ErrWouldBlock {
			c.close()
			return
		}
		if c.queued = c.queued[n:]; len(c.queued) == 0 {
			c.queued = nil // an idle client has no buffer
		}
	}
	var interest selectors.Event
	if !c.eof && !c.stopping && len(c.queued) < maxQueued {
		interest |= selectors.EventRead
	}
	if len(c.queued) > 0 { // only then: a socket is nearly always writable
		interest |= selectors.EventWrite
	}
	if interest == 0 { // no more input, and all of it is written back
		c.close()
	} else if interest != c.interest {
		c.interest = interest
		if _, err := c.sel.Modify(c.Conn, interest, callback(c.ready)); err != nil {
			c.close()
		}
	}
}

// close unregisters first: once closed, the descriptor's number may belong to
// another file.
func (c *client) close() {
	c.sel.Unregister(c.Conn)
	c.Conn.Close()
}

// grace is how long clients may take to read their data after Ctrl-C.
const grace = time.Second

// serve is the whole event loop. It runs until ctx ends, and then until the queued
// data is written, at most for the grace period.
func (s *echoServer) serve(ctx context.Context) error {
	context.AfterFunc(ctx, func() { s.sel.Wake() }) // ends a Select in progress
	var batch []selectors.Ready
	var deadline time.Time
	for {
		timeout := time.Duration(-1) // no limit
		if ctx.Err() != nil {
			if !s.stopping {
				deadline = time.Now().Add(grace)
				s.stop()
			}
			if timeout = time.Until(deadline); timeout <= 0 || s.sel.Len() == 0 {
				return nil
			}
		}
		var err error
		if batch, err = s.sel.SelectInto(batch[:0], timeout); err != nil {
			return err
		}
		for _, ready := range batch {
			ready.Key.Data.(callback)(ready.Events)
		}
	}
}

// stop closes the listener. Every client is called once more, to read what has
// arrived. After that no data is read, and a client is closed when its queued data
// is written. A client that is still sending gets a reset.
func (s *echoServer) stop() {
	s.sel.Unregister(s.listener)
	s.listener.Close()
	s.stopping = true
	for key := range s.sel.Keys() {
		key.Data.(callback)(selectors.EventRead)
	}
}

func main() {
	addr := cli.AddrFlag("127.0.0.1:8080")
	backend := flag.String("backend", "", "use the backend with this `name` instead of the best one")
	server.Main("echo", func() error { return run(*addr, *backend) })
}

func run(addr, backend string) error {
	if backend != "" {
		os.Setenv(selectors.BackendEnv, backend) // read by NewDefaultSelector
	}
	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		return server.UsageError{Err: err}
	}
	defer sel.Close()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer listener.Close() // it is not registered while accepting is paused
	s := &echoServer{sel: sel, listener: listener}
	if _, err := sel.Register(listener, selectors.EventRead, callback(s.accept)); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server.Listening(listener.Addr())
	err = s.serve(ctx)
	for key := range sel.Keys() { // Close of a selector does not close files
		key.FileObj.(io.Closer).Close()
	}
	return err
}
