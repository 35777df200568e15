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
	"time"
	"unicode"

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
	return server.ListenAndRun(loop, addr, func() stream.Handler { return &guest{room: r} })
}

// A room holds the connected clients. One loop uses it, so it needs no lock.
type room struct {
	guests map[*guest]bool
	joined int    // number of clients since the start; for their names
	batch  []byte // lines to send
	lines  int    // number of lines in batch
}

// maxBatch is the size in bytes at which a batch is sent. A guest that sends many
// short lines at once then costs a few writes for each other guest, and not one
// write for each line.
const maxBatch = 16 << 10

// say adds a line to the batch.
func (r *room) say(from *guest, text []byte) {
	r.batch = fmt.Appendf(r.batch, "%s: %s\n", from.name, printable(text))
	r.lines++
	if len(r.batch) >= maxBatch {
		r.broadcast(from)
	}
}

// broadcast sends the batch to all guests but from. A write can call a guest's
// PauseWriting, so the room is in a consistent state before the first write.
func (r *room) broadcast(from *guest) {
	batch, lines := r.batch, r.lines
	r.batch, r.lines = nil, 0
	for g := range r.guests {
		if g != from {
			g.send(batch, lines)
		}
	}
	r.batch = batch[:0]
}

// printable replaces control characters in text by spaces. A terminal would obey
// them: a guest could overwrite the name in front of the line.
func printable(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
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

const (
	maxLine    = 1000        // bytes
	lingerTime = time.Second // see leave
)

func (g *guest) ConnectionMade(c *stream.Conn) {
	g.conn = c
	g.room.joined++
	g.name = fmt.Sprint("guest", g.room.joined)
	fmt.Fprintf(c, "You are %s, and there are %d others.\n", g.name, len(g.room.guests))
	g.room.guests[g] = true
	g.room.say(g, []byte("(came)"))
	g.room.broadcast(g)
}

// DataReceived looks at each byte once, also if a line arrives in many pieces.
func (g *guest) DataReceived(c *stream.Conn, p []byte) {
	for len(p) > 0 && g.room.guests[g] {
		line, rest, complete := bytes.Cut(p, []byte("\n"))
		p = rest
		switch {
		case len(g.rest)+len(line) > maxLine:
			g.room.broadcast(g)
			g.leave("The line is longer than 1000 bytes.")
			g.room.say(g, []byte("(left)"))
		case !complete:
			g.rest = append(g.rest, line...)
		default:
			line = append(g.rest, line...)
			g.rest = nil
			if line = bytes.TrimRight(line, "\r"); len(line) > 0 {
				g.room.say(g, line)
			}
		}
	}
	g.room.broadcast(g)
}

func (g *guest) ConnectionLost(*stream.Conn, error) {
	if g.room.guests[g] {
		delete(g.room.guests, g)
		g.room.say(g, []byte("(left)"))
		g.room.broadcast(g)
	}
}

// leave removes the guest from the room, sends a last line, and closes the
// connection when all lines are sent. If a socket is closed while it has unread
// data, the kernel sends a reset, and the last lines may be lost. So leave first
// closes the write side only, and what arrives is discarded, until the guest
// closes its side or lingerTime has passed.
func (g *guest) leave(lastLine string) {
	delete(g.room.guests, g)
	g.rest = nil
	g.reportMissed()
	fmt.Fprintln(g.conn, lastLine)
	g.conn.CloseWrite()
	g.conn.Loop().CallLater(lingerTime, func() {
		g.conn.SetIdleTimeout(lingerTime) // for a guest that does not read
		g.conn.Close()
	})
}

// ShutdownRequested is called when the server is going. The loop calls scheduled
// functions before it reads, so the guest leaves when the loop has read once more:
// the lines that have arrived are sent to all before anyone leaves.
func (g *guest) ShutdownRequested(c *stream.Conn) {
	loop := c.Loop()
	loop.CallSoon(func() {
		loop.CallSoon(func() {
			if g.room.guests[g] {
				g.leave("(the server is stopping)")
			}
		})
	})
}

func (g *guest) PauseWriting(*stream.Conn) { g.slow = true }

func (g *guest) ResumeWriting(*stream.Conn) {
	g.slow = false
	g.reportMissed()
}

func (g *guest) reportMissed() {
	if g.missed > 0 {
		missed := g.missed
		g.missed = 0
		fmt.Fprintf(g.conn, "(you have missed %d lines)\n", missed)
	}
}

// send writes a batch of lines, or drops it while the guest is slow.
func (g *guest) send(batch []byte, lines int) {
	if g.slow {
		g.missed += lines
	} else {
		g.conn.Write(batch) // returns an error after Close, which does not matter here
	}
}
