package main

import (
	"errors"
	"net"
	"time"

	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

type server struct {
	sel      selectors.Selector
	listener net.Listener
	buf      [4096]byte // shared: callbacks run one at a time
}

type client struct {
	*server
	conn    net.Conn
	pending []byte // read, but not yet written back
}

// accept is the listener's callback. It accepts one client per call. By default
// a selector is level-triggered: it calls again while more clients wait.
func (s *server) accept(selectors.Event) {
	conn, err := selectors.TryAccept(s.listener)
	if err == selectors.ErrWouldBlock { // the client left before this call
		return
	}
	if err == nil {
		c := &client{server: s, conn: conn}
		if _, err = s.sel.Register(conn, selectors.EventRead, callback(c.read)); err == nil {
			return
		}
		conn.Close() // without registration it would never be served or closed
	}
	// Usually "too many open files". The listener stays ready, so the loop would
	// spin. Do not watch the listener for a while. AfterFunc calls on another
	// goroutine; Register is allowed there. Lesson 4 has timers on the loop.
	cli.Errorf("%v", err)
	s.sel.Unregister(s.listener)
	time.AfterFunc(100*time.Millisecond, func() {
		_, err := s.sel.Register(s.listener, selectors.EventRead, callback(s.accept))
		if !errors.Is(err, selectors.ErrClosed) { // closed: the program is ending
			cli.Check(err)
		}
	})
}

// read is the client's callback while there is nothing to write. A method value
// such as c.read contains the client c, like a bound method in Python.
//
// TryRead and TryWrite make one system call and never wait. The methods Read and
// Write of net.Conn would wait, and all other clients would wait too.
func (c *client) read(selectors.Event) {
	n, err := selectors.TryRead(c.conn, c.buf[:])
	if err == selectors.ErrWouldBlock {
		return
	}
	if err != nil { // io.EOF: the client closed its side
		c.close()
		return
	}
	c.pending = append(c.pending, c.buf[:n]...)
	c.write(0) // usually the socket has room
}

// write is the client's callback while data is pending. Meanwhile nothing is
// read, so a client that reads slowly cannot make the server store much.
func (c *client) write(selectors.Event) {
	n, err := selectors.TryWrite(c.conn, c.pending)
	if err != nil && err != selectors.ErrWouldBlock {
		c.close()
		return
	}
	c.pending = c.pending[n:]
	interest, next := selectors.EventRead, callback(c.read)
	if len(c.pending) > 0 {
		interest, next = selectors.EventWrite, c.write
	}
	// Usually the interest stays the same. Then Modify makes no system call.
	if _, err := c.sel.Modify(c.conn, interest, next); err != nil {
		c.close()
	}
}

func (c *client) close() {
	c.sel.Unregister(c.conn) // before Close: after it, a new file may get the same number
	c.conn.Close()
}
