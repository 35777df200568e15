package main

import (
	"crypto/sha256"
	"net"

	"goselectors/eventloop"
	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

// worker is the server of lesson 4, without the listener. It has no locks: each
// worker has its own loop, clients and buffer, and only its loop uses them.
type worker struct {
	loop             *eventloop.Loop
	clients, answers int
	work             []byte // hashed for each answer
	buf              [4096]byte
}

type client struct {
	*worker
	conn    net.Conn
	pending []byte // read, but not yet written back
}

// add runs on the worker's loop.
func (w *worker) add(conn net.Conn) {
	c := &client{worker: w, conn: conn}
	if _, err := w.loop.Register(conn, selectors.EventRead, c.read); err != nil {
		conn.Close() // without registration it would never be served or closed
		cli.Errorf("%v", err)
		return
	}
	w.clients++
}

func (c *client) read(any, selectors.Event) {
	n, err := selectors.TryRead(c.conn, c.buf[:])
	if err == selectors.ErrWouldBlock {
		return
	}
	if err != nil {
		c.close()
		return
	}
	sha256.Sum256(c.work) // delays the clients of this loop, but no others
	c.answers++
	c.pending = append(c.pending, c.buf[:n]...)
	c.write(nil, 0)
}

func (c *client) write(any, selectors.Event) {
	n, err := selectors.TryWrite(c.conn, c.pending)
	if err != nil && err != selectors.ErrWouldBlock {
		c.close()
		return
	}
	c.pending = c.pending[n:]
	interest, next := selectors.EventRead, c.read
	if len(c.pending) > 0 {
		interest, next = selectors.EventWrite, c.write
	}
	if _, err := c.loop.Modify(c.conn, interest, next); err != nil {
		c.close()
	}
}

func (c *client) close() {
	c.loop.Unregister(c.conn)
	c.conn.Close()
}
