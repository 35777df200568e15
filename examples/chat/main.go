// Chat passes every line that somebody writes on to everybody else. What makes
// that hard is those who do not read: here a line that would have to wait
// behind too much is left out for them, and told, so nobody holds up the
// others, and memory has a bound.
//
//	go run ./examples/chat -addr 127.0.0.1:8081
//	nc 127.0.0.1 8081
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8081", "address to listen at")
	flag.Parse()
	if err := run(*addr); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
	fmt.Println("chat: bye")
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
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if _, err := loop.OnSignal(sig, func(os.Signal) { loop.Stop() }); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	fmt.Println("chat: listening on", l.Addr())
	return loop.Run(context.Background())
}

// A room is everybody who is there. It is on one loop, so it needs no lock.
type room struct {
	guests map[*guest]bool
	count  int
	line   []byte // the one that is being passed on
}

func (r *room) say(from *guest, text []byte) {
	r.line = fmt.Appendf(r.line[:0], "%s: %s\n", from.name, text)
	for g := range r.guests {
		if g != from {
			g.tell(r.line)
		}
	}
}

// A guest is one connection.
type guest struct {
	stream.BaseHandler
	room   *room
	conn   *stream.Conn
	name   string
	rest   []byte // a line that has not ended yet
	slow   bool   // too much waits to be read by it
	missed int    // lines that were left out
}

const maxLine = 1000

func (g *guest) ConnectionMade(c *stream.Conn) {
	g.conn = c
	g.room.count++
	g.name = fmt.Sprint("guest", g.room.count)
	fmt.Fprintf(c, "You are %s, and there are %d others.\n", g.name, len(g.room.guests))
	g.room.guests[g] = true
	g.room.say(g, []byte("(came)"))
}

func (g *guest) DataReceived(c *stream.Conn, p []byte) {
	p = append(g.rest, p...)
	for {
		line, rest, ok := bytes.Cut(p, []byte("\n"))
		if !ok && len(p) <= maxLine {
			break
		}
		if !ok || len(line) > maxLine {
			fmt.Fprintln(c, "That line is too long for anybody to read.")
			c.Close()
			return
		}
		if line = bytes.TrimRight(line, "\r"); len(line) > 0 {
			g.room.say(g, line)
		}
		p = rest
	}
	g.rest = append([]byte(nil), p...)
}

func (g *guest) ConnectionLost(*stream.Conn, error) {
	delete(g.room.guests, g)
	g.room.say(g, []byte("(left)"))
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

func (g *guest) tell(line []byte) {
	if g.slow {
		g.missed++
	} else {
		g.conn.Write(line) // once closed, it refuses; that is fine
	}
}
