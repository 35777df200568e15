package main

import (
	"net"
	"time"

	"goselectors/eventloop"
	"goselectors/examples/internal/cli"
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
	cli.Check(err)
}

type client struct {
	*server
	conn      net.Conn
	pending   []byte           // read, but not yet written back
	idleTimer *eventloop.Timer // disconnects the client
}

func (s *server) accept(any, selectors.Event) {
	conn, err := selectors.TryAccept(s.listener)
	if err == selectors.ErrWouldBlock {
		return
	}
	if err == nil {
		if err = s.add(conn); err == nil {
			return
		}
		conn.Close() // without registration it would never be served or closed
	}
	// Usually "too many open files". The listener stays ready, so the loop would
	// spin. Do not watch the listener for 100 ms.
	cli.Errorf("%v", err)
	s.loop.Unregister(s.listener)
	_, err = s.loop.CallLater(100*time.Millisecond, s.listen)
	cli.Check(err)
}

func (s *server) add(conn net.Conn) error {
	c := &client{server: s, conn: conn}
	if _, err := s.loop.Register(conn, selectors.EventRead, c.read); err != nil {
		return err
	}
	var err error
	if c.idleTimer, err = s.loop.CallLater(s.idle, c.onIdle); err != nil {
		s.loop.Unregister(conn)
		return err
	}
	s.clients++
	return nil
}

// onIdle is the callback of the idle timer.
func (c *client) onIdle() {
	// The socket may have no room for the message. Then the client misses it.
	selectors.TryWrite(c.conn, []byte("idle for too long, closing\n"))
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
	c.idleTimer.Reset(c.idle) // the client is active: start again
	interest, next := selectors.EventRead, c.read
	if len(c.pending) > 0 {
		interest, next = selectors.EventWrite, c.write
	}
	if _, err := c.loop.Modify(c.conn, interest, next); err != nil {
		c.close()
	}
}

// close stops everything that could call back later: the timer and the file's
// events. If one of them is due in this same turn, the loop drops it.
func (c *client) close() {
	c.idleTimer.Stop()
	c.loop.Unregister(c.conn)
	c.conn.Close()
	c.clients--
}
