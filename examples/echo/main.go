// Echo is an echo server: what the documentation of Python's selectors shows,
// in Go. One goroutine serves all connections; the data of every key is the
// callback to run when its file is ready.
//
//	go run ./examples/echo -addr 127.0.0.1:8080 -backend poll
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"goselectors/selectors"
)

type callback func(selectors.Event)

type server struct {
	sel      selectors.Selector
	listener net.Listener
	buf      [64 << 10]byte // one for all: callbacks run one at a time
}

// accept is the listener's callback. It takes one client; if more are waiting,
// the listener is ready again in the next turn.
func (s *server) accept(selectors.Event) {
	conn, err := selectors.TryAccept(s.listener)
	if err == selectors.ErrWouldBlock { // readiness is a hint: it has gone by now
		return
	}
	if err == nil {
		c := &client{server: s, Conn: conn, interest: selectors.EventRead}
		if _, err = s.sel.Register(conn, c.interest, callback(c.ready)); err == nil {
			return
		}
		conn.Close()
	}
	// Too many open files, most likely. The listener stays ready, and the loop
	// would try and fail all the time; so leave it alone for a while. A timer
	// may put it back: selectors take registrations from any goroutine.
	fmt.Fprintln(os.Stderr, "echo: accepts nobody for a second:", err)
	s.sel.Unregister(s.listener)
	time.AfterFunc(time.Second, func() {
		s.sel.Register(s.listener, selectors.EventRead, callback(s.accept))
	})
}

// maxQueued is how much may wait for one client to read it. Beyond that the
// server stops reading from it: TCP then slows the sender down.
const maxQueued = 256 << 10

type client struct {
	*server
	net.Conn
	queued   []byte          // read, and not yet written back
	eof      bool            // the client has said all; what is queued is still owed to it
	interest selectors.Event // as registered
}

// ready is a client's callback. TryRead and TryWrite never block, as the
// methods of net.Conn would: one slow client must not hold up the others.
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
	if len(c.queued) > 0 { // write at once: mostly there is room
		n, err := selectors.TryWrite(c.Conn, c.queued)
		if err != nil && err != selectors.ErrWouldBlock {
			c.close()
			return
		}
		if c.queued = c.queued[n:]; len(c.queued) == 0 {
			c.queued = nil // who is idle holds no buffer
		}
	}
	var interest selectors.Event
	if !c.eof && len(c.queued) < maxQueued {
		interest |= selectors.EventRead
	}
	if len(c.queued) > 0 { // only then: a socket is writable nearly always
		interest |= selectors.EventWrite
	}
	if interest == 0 { // all is said and answered
		c.close()
	} else if interest != c.interest {
		c.interest = interest
		if _, err := c.sel.Modify(c.Conn, interest, callback(c.ready)); err != nil {
			c.close()
		}
	}
}

// close unregisters first: once closed, the descriptor's number may belong to
// somebody else.
func (c *client) close() {
	c.sel.Unregister(c.Conn)
	c.Conn.Close()
}

// serve is the whole event loop.
func (s *server) serve(ctx context.Context) error {
	context.AfterFunc(ctx, func() { s.sel.Wake() }) // or it would sleep on
	var batch []selectors.Ready
	for ctx.Err() == nil {
		var err error
		if batch, err = s.sel.SelectInto(batch[:0], -1); err != nil {
			return err
		}
		for _, ready := range batch {
			ready.Key.Data.(callback)(ready.Events)
		}
	}
	return nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen on `host:port`; port 0 is any free one")
	backend := flag.String("backend", "", "use the `backend` of this name instead of the best")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: echo [-addr host:port] [-backend name]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *backend != "" {
		os.Setenv(selectors.BackendEnv, *backend) // NewDefaultSelector looks at it
	}
	sel, err := selectors.NewDefaultSelector()
	if flag.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		flag.Usage()
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", *addr)
	check(err)
	s := &server{sel: sel, listener: listener}
	_, err = sel.Register(listener, selectors.EventRead, callback(s.accept))
	check(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Println("echo: listening on", listener.Addr())
	check(s.serve(ctx))
	for key := range sel.Keys() { // a selector closes nobody's files
		key.FileObj.(io.Closer).Close()
	}
	check(sel.Close())
	fmt.Println("echo: bye")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}
