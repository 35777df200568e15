// Chat sends every line that one client writes to all other clients. A client
// that does not read must not delay the others or fill the memory of the server.
// So while too much data waits for a client, the server drops lines for it, and
// later tells it how many.
//
//	go run ./examples/chat -addr 127.0.0.1:8081
//	nc 127.0.0.1 8081
//
// nc (netcat) connects the terminal to a TCP port; "telnet 127.0.0.1 8081" does
// the same.
package main

import (
	"bytes"
	"fmt"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/examples/internal/cli"
	"goselectors/examples/internal/server"
)

func main() {
	addr := cli.AddrFlag("127.0.0.1:8081")
	server.Main("chat", func() error { return run(*addr) })
}

func run(addr string) error {
	loop, err := eventloop.New()
	if err != nil {
		return err
	}
	defer loop.Close()
	r := &room{guests: make(map[*guest]bool)}
	l, err := stream.Listen(loop, "tcp", addr, func() stream.Handler { return &guest{room: r} })
	if err != nil {
		return err
	}
	defer l.Close()
	return server.RunLoop(loop, l.Addr())
}

// A room holds the connected clients. One loop uses it, so it needs no lock.
type room struct {
	guests map[*guest]bool
	joined int    // number of clients since the start; for their names
	line   []byte // buffer for the line to send
}

// broadcast sends a line to all guests but from.
func (r *room) broadcast(from *guest, text []byte) {
	r.line = fmt.Appendf(r.line[:0], "%s: %s\n", from.name, text)
	for g := range r.guests {
		if g != from {
			g.send(r.line)
		}
	}
}

// A guest is one connection.
type guest struct {
	stream.BaseHandler
	room   *room
	conn   *stream.Conn
	name   string
	rest   []byte // beginning of an incomplete line
	slow   bool   // too much data waits to be written
	missed int    // lines dropped since the guest became slow
}

const maxLine = 1000 // bytes

func (g *guest) ConnectionMade(c *stream.Conn) {
	g.conn = c
	g.room.joined++
	g.name = fmt.Sprint("guest", g.room.joined)
	fmt.Fprintf(c, "You are %s, and there are %d others.\n", g.name, len(g.room.guests))
	g.room.guests[g] = true
	g.room.broadcast(g, []byte("(came)"))
}

func (g *guest) DataReceived(c *stream.Conn, p []byte) {
	p = append(g.rest, p...)
	for {
		line, rest, ok := bytes.Cut(p, []byte("\n"))
		if !ok && len(p) <= maxLine {
			break
		}
		if !ok || len(line) > maxLine {
			fmt.Fprintln(c, "The line is longer than 1000 bytes.")
			c.Close()
			return
		}
		if line = bytes.TrimRight(line, "\r"); len(line) > 0 {
			g.room.broadcast(g, line)
		}
		p = rest
	}
	g.rest = append([]byte(nil), p...)
}

func (g *guest) ConnectionLost(*stream.Conn, error) {
	delete(g.room.guests, g)
	g.room.broadcast(g, []byte("(left)"))
}

func (g *guest) PauseWriting(*stream.Conn) { g.slow = true }

func (g *guest) ResumeWriting(c *stream.Conn) {
	g.slow = false
	if g.missed > 0 {
		missed := g.missed
		g.missed = 0
		fmt.Fprintf(c, "(you have missed %d lines)\n", missed)
	}
}

// send writes a line, or drops it while the guest is slow.
func (g *guest) send(line []byte) {
	if g.slow {
		g.missed++
	} else {
		g.conn.Write(line) // returns an error after Close, which does not matter here
	}
}
