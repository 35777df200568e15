package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
)

const loops = 2

// A server is a group of loops with one listener for each transport and service.
type server struct {
	group *stream.Group
	dir   string // of the Unix sockets
	made  atomic.Int64
	open  [serviceCount]atomic.Int64
	rooms map[*eventloop.Loop]*room // not changed after startServer
}

// A transport is a way to connect.
type transport struct {
	name, network string
	options       []stream.Option
	dial          func(network, address string) (conn, error)
}

// A conn is a client's connection.
type conn interface {
	net.Conn
	CloseWrite() error
}

var transports = []transport{
	{"tcp", "tcp", nil, dialPlain},
	{"unix", "unix", nil, dialPlain},
}

func dialPlain(network, address string) (conn, error) {
	c, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	return c.(conn), nil
}

// A service is what a listener offers.
type service int

const (
	echoService  service = iota
	shortService         // echo with a short idle timeout
	chatService
	serviceCount
)

const (
	longIdle   = time.Minute // longer than any session
	shortIdle  = 150 * time.Millisecond
	listenTime = time.Second // longer than idleTurns needs connections
)

// An endpoint is a transport with the addresses of its services.
type endpoint struct {
	transport
	addresses [serviceCount]string
}

func (e *endpoint) connect(s service) (conn, error) {
	c, err := e.dial(e.network, e.addresses[s])
	if err == nil {
		err = c.SetDeadline(time.Now().Add(timeout))
	}
	return c, err
}

// A handlerFunc makes a handler of package stream.
type handlerFunc func() stream.Handler

func startServer(echo handlerFunc) (*server, []endpoint, error) {
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return nil, nil, err
	}
	s := &server{dir: dir, rooms: make(map[*eventloop.Loop]*room)}
	if s.group, err = stream.NewGroup(loops, nil); err != nil {
		os.RemoveAll(dir)
		return nil, nil, err
	}
	for _, loop := range s.group.Loops() {
		s.rooms[loop] = &room{guests: make(map[*guest]bool)}
	}
	var ends []endpoint
	for _, t := range transports {
		e := endpoint{transport: t}
		for i := range serviceCount {
			newHandler, idle := echo, longIdle
			switch i {
			case shortService:
				idle = shortIdle
			case chatService:
				newHandler = func() stream.Handler { return &guest{rooms: s.rooms} }
			}
			address := "127.0.0.1:0"
			if t.network == "unix" {
				address = filepath.Join(dir, fmt.Sprint(t.name, i))
			}
			counted := func() stream.Handler { return &counter{newHandler(), s, i} }
			options := append([]stream.Option{stream.WithIdleTimeout(idle)}, t.options...)
			bound, err := s.group.Listen(t.network, address, counted, options...)
			if err != nil {
				s.stop()
				return nil, nil, err
			}
			e.addresses[i] = bound.String()
		}
		ends = append(ends, e)
	}
	return s, ends, nil
}

func (s *server) stop() error {
	defer os.RemoveAll(s.dir)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.group.Shutdown(ctx)
}

// turns returns the number of turns of all loops since the start.
func (s *server) turns() (n uint64) {
	for _, loop := range s.group.Loops() {
		n += loop.Stats().Turns
	}
	return n
}

// waitEmpty waits until no connection is open. It returns how many are left.
func (s *server) waitEmpty() (left int64) {
	for deadline := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		left = 0
		for i := range s.open {
			left += s.open[i].Load()
		}
		if left == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// openByService names the services with open connections.
func (s *server) openByService() string {
	var text []string
	for i, name := range []string{"echo", "echo with a short idle timeout", "chat"} {
		if n := s.open[i].Load(); n > 0 {
			text = append(text, fmt.Sprintf("%d of %s", n, name))
		}
	}
	return strings.Join(text, ", ")
}

// A counter counts the connections of another handler.
type counter struct {
	stream.Handler
	server  *server
	service service
}

func (h *counter) ConnectionMade(c *stream.Conn) {
	h.server.made.Add(1)
	h.server.open[h.service].Add(1)
	h.Handler.ConnectionMade(c)
}

func (h *counter) ConnectionLost(c *stream.Conn, err error) {
	h.Handler.ConnectionLost(c, err)
	h.server.open[h.service].Add(-1)
}

// An echo sends back what it receives, and does not read while its peer does not.
type echo struct{ stream.BaseHandler }

func newEcho() stream.Handler { return echo{} }

func (echo) DataReceived(c *stream.Conn, p []byte) { c.Write(p) }
func (echo) PauseWriting(c *stream.Conn)           { c.PauseReading() }
func (echo) ResumeWriting(c *stream.Conn)          { c.ResumeReading() }

func (echo) EOFReceived(c *stream.Conn) bool {
	c.CloseWrite()
	return true
}

// A room is the guests of one loop. The loops share nothing.
type room struct{ guests map[*guest]bool }

// A guest sends each line that it receives to the other guests of its loop. Guests
// that do not read lose lines. One that has closed its writing side listens until there
// was no line for listenTime: over TCP nothing tells that it has gone altogether.
type guest struct {
	stream.BaseHandler
	rooms map[*eventloop.Loop]*room
	room  *room
	conn  *stream.Conn
	rest  []byte // beginning of an incomplete line
	slow  bool
}

func (g *guest) ConnectionMade(c *stream.Conn) {
	g.conn, g.room = c, g.rooms[c.Loop()]
	g.room.guests[g] = true
}

func (g *guest) DataReceived(_ *stream.Conn, p []byte) {
	p = append(g.rest, p...)
	end := bytes.LastIndexByte(p, '\n') + 1
	for other := range g.room.guests {
		if other != g && !other.slow && end > 0 {
			other.conn.Write(p[:end])
		}
	}
	g.rest = append([]byte(nil), p[end:]...)
}

func (g *guest) EOFReceived(c *stream.Conn) bool {
	c.SetIdleTimeout(listenTime)
	return true
}

func (g *guest) ConnectionLost(*stream.Conn, error) { delete(g.room.guests, g) }
func (g *guest) PauseWriting(*stream.Conn)          { g.slow = true }
func (g *guest) ResumeWriting(*stream.Conn)         { g.slow = false }
