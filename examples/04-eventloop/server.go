package main

import (
	"fmt"
	"net"
	"os"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

type server struct {
	loop     *eventloop.Loop
	listener net.Listener
	idle     time.Duration
	clients  int // no lock: all callbacks run on the loop, one after another
	buf      [4096]byte
}

func (s *server) listen() {
	_, err := s.loop.Register(s.listener, selectors.EventRead, s.accept)
	check(err)
}

type client struct {
	*server
	conn    net.Conn
	pending []byte           // read, and not yet written back
	timer   *eventloop.Timer // until it is sent away
}

func (s *server) accept(any, selectors.Event) {
	conn, err := selectors.TryAccept(s.listener)
	if err == selectors.ErrWouldBlock {
		return
	}
	if err != nil { // too many open files, most likely: look again in a while
		fmt.Fprintln(os.Stderr, "04-eventloop:", err)
		s.loop.Unregister(s.listener)
		s.loop.CallLater(100*time.Millisecond, s.listen)
		return
	}
	c := &client{server: s, conn: conn}
	_, err = s.loop.Register(conn, selectors.EventRead, c.read)
	check(err)
	c.timer, err = s.loop.CallLater(s.idle, c.silent)
	check(err)
	s.clients++
}

// silent is the timer's callback.
func (c *client) silent() {
	selectors.TryWrite(c.conn, []byte("good bye, silent one\n")) // it may have no room: so be it
	c.close()
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
	c.timer.Reset(c.idle) // it lives: begin anew
	interest, next := selectors.EventRead, c.read
	if len(c.pending) > 0 {
		interest, next = selectors.EventWrite, c.write
	}
	if _, err := c.loop.Modify(c.conn, interest, next); err != nil {
		c.close()
	}
}

// close ends all that may still call back: the file's events and the timer. If
// one of them is due in this very turn, the loop forgets it.
func (c *client) close() {
	c.timer.Stop()
	c.loop.Unregister(c.conn)
	c.conn.Close()
	c.clients--
}
