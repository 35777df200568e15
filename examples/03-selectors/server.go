package main

import (
	"fmt"
	"net"
	"os"

	"goselectors/selectors"
)

type server struct {
	sel      selectors.Selector
	listener net.Listener
	full     bool // no descriptors left: the listener is not watched
	buf      [4096]byte
}

type client struct {
	*server
	conn    net.Conn
	pending []byte // read, and not yet written back
}

// accept is the listener's callback. It takes one client a turn; a selector is
// level-triggered unless asked otherwise, so it is called again for the others.
func (s *server) accept(selectors.Event) {
	conn, err := selectors.TryAccept(s.listener)
	if err == selectors.ErrWouldBlock { // it was ready, and the client has gone
		return
	}
	if err != nil { // too many open files, most likely: back when a client goes
		fmt.Fprintln(os.Stderr, "03-selectors:", err)
		s.full = true
		s.sel.Unregister(s.listener)
		return
	}
	c := &client{server: s, conn: conn}
	_, err = s.sel.Register(conn, selectors.EventRead, callback(c.read))
	check(err)
}

// read is a client's callback while there is nothing to write. A method value
// such as c.read carries its client along, as Python's bound methods do.
//
// TryRead and TryWrite do one system call and never wait. Read and Write of
// net.Conn would wait, and all other clients with them.
func (c *client) read(selectors.Event) {
	n, err := selectors.TryRead(c.conn, c.buf[:])
	if err == selectors.ErrWouldBlock {
		return
	}
	if err != nil { // io.EOF, when the client has said all
		c.close()
		return
	}
	c.pending = append(c.pending, c.buf[:n]...)
	c.write(0) // mostly there is room
}

// write is its callback while there is: then nothing is read, so that who
// reads slowly is sent little.
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
	// Mostly the key is like this already. Then the kernel is not asked.
	if _, err := c.sel.Modify(c.conn, interest, next); err != nil {
		c.close()
	}
}

func (c *client) close() {
	c.sel.Unregister(c.conn) // first: once closed, its number may be somebody else's
	c.conn.Close()
	if c.full {
		c.full = false
		c.sel.Register(c.listener, selectors.EventRead, callback(c.accept))
	}
}
