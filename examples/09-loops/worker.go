package main

import (
	"crypto/sha256"
	"net"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A worker is the server of lesson 4, without a listener. Nothing in it is
// locked, though there are several: each has its loop, its clients and its
// buffer, and nobody else touches them while the loop runs.
type worker struct {
	loop             *eventloop.Loop
	clients, answers int
	work             []byte // to be hashed for each answer
	buf              [4096]byte
}

type client struct {
	*worker
	conn    net.Conn
	pending []byte
}

func (w *worker) add(conn net.Conn) {
	c := &client{worker: w, conn: conn}
	_, err := w.loop.Register(conn, selectors.EventRead, c.read)
	check(err)
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
	sha256.Sum256(c.work) // what holds up this loop, and no other
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
