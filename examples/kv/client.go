package main

import (
	"time"

	"goselectors/eventloop/stream"
)

// A client is the handler of one connection.
type client struct {
	stream.BaseHandler
	db   *store
	conn *stream.Conn
	session

	parser   *parser // nil between commands: an idle client has no buffers
	unparsed []byte  // received, but not parsed because the client must read first; at most one read
	body     []byte  // rest of a long reply; "\r\n" follows it

	paused    bool          // the client does not read its replies
	yielded   bool          // other clients are served first; resume is scheduled
	ended     bool          // no command is executed any more, and input is discarded
	stopping  bool          // the server is going
	stopUntil time.Duration // time of the store at which a stopping client is ended
	checking  bool          // endWhenQuiet is scheduled
	received  bool          // data has arrived since the last call of endWhenQuiet
}

const (
	flushAfter     = 64 << 10    // bytes of replies that are written at once
	maxReplyBuffer = 1 << 20     // bytes; a larger buffer is not reused
	longReply      = maxReused   // bytes; a longer value is sent in pieces, without a copy of all of it
	maxTurn        = 1 << 20     // bytes of replies, about, until other clients are served
	lingerTime     = time.Second // see end
	stopTime       = time.Second // see endWhenQuiet
)

func (c *client) ConnectionMade(conn *stream.Conn) {
	c.conn = conn
	c.db.lastID++
	c.db.clients++
	c.session = newSession(c.db.lastID)
}

func (c *client) ConnectionLost(*stream.Conn, error) {
	c.ended = true
	c.db.clients--
}

// DataReceived executes all complete commands.
func (c *client) DataReceived(_ *stream.Conn, p []byte) {
	c.received = true
	if c.ended || c.conn.Closed() { // no reply could be sent
		return
	}
	if rest := c.serve(p); len(rest) > 0 {
		c.unparsed = append(c.unparsed, rest...)
	}
}

// serve executes the commands in p and writes their replies together. So a client
// that sends many commands at once (a pipeline) costs one system call for reading
// and one for writing, not two per command. serve stops while too many replies
// wait for the client, and returns the rest of p.
func (c *client) serve(p []byte) []byte {
	out, written := c.db.out[:0], 0
	for (len(p) > 0 || len(c.body) > 0) && !c.busy() {
		if len(c.body) > 0 {
			out, written = c.sendBody(out, written)
		} else {
			out, p = c.executeNext(out, p)
		}
		if len(out) >= flushAfter {
			c.conn.Write(out)
			out, written = out[:0], written+len(out)
		}
		if written >= maxTurn && !c.busy() {
			c.yield()
		}
	}
	if len(out) > 0 {
		c.conn.Write(out)
	}
	if c.db.out = out; cap(out) > maxReplyBuffer {
		c.db.out = nil
	}
	if c.ended {
		c.end()
		return nil
	}
	return p
}

// busy reports whether no command may be executed now.
func (c *client) busy() bool { return c.paused || c.yielded || c.ended || c.conn.Closed() }

// executeNext reads one command from p, executes it if it is complete, and returns
// the rest of p.
func (c *client) executeNext(out, p []byte) (newOut, rest []byte) {
	if c.parser == nil {
		c.parser = c.db.takeParser()
	}
	n, complete, err := c.parser.parse(p)
	if err != nil {
		c.ended = true
		return appendError(out, "ERR Protocol error: "+err.Error()), nil
	}
	if !complete {
		return out, nil
	}
	if args := c.parser.args; len(args) > 0 {
		out = c.execute(out, args)
	}
	if n == len(p) {
		c.db.returnParser(c.parser)
		c.parser = nil
	}
	return out, p[n:]
}

// appendValue appends a bulk string. The caller must not change text any more. Of
// a long one only the header is appended, and the text becomes the body: sending
// it to any number of slow clients takes no memory beside the value itself.
func (c *client) appendValue(out, text []byte) []byte {
	if len(text) <= longReply {
		return appendBulk(out, text)
	}
	c.body = text
	return appendHeader(out, '$', len(text))
}

// sendBody writes out and the next piece of the body.
func (c *client) sendBody(out []byte, written int) ([]byte, int) {
	piece := c.body[:min(len(c.body), flushAfter)]
	c.conn.Writev(out, piece)
	written += len(out) + len(piece)
	if c.body = c.body[len(piece):]; len(c.body) > 0 {
		return out[:0], written
	}
	c.body = nil
	return append(out[:0], "\r\n"...), written
}

// PauseWriting stops executing commands of a client that does not read its
// replies. Otherwise the replies would fill the memory of the server.
func (c *client) PauseWriting(conn *stream.Conn) {
	c.paused = true
	conn.PauseReading()
}

func (c *client) ResumeWriting(*stream.Conn) {
	c.paused = false
	c.resume()
}

// yield lets the loop serve other clients before the next command.
func (c *client) yield() {
	c.yielded = true
	c.conn.PauseReading()
	c.conn.Loop().CallSoon(func() {
		c.yielded = false
		c.resume()
	})
}

// resume continues with the rest of the replies and of the received commands.
func (c *client) resume() {
	if !c.busy() {
		p := c.unparsed
		c.unparsed = nil
		c.unparsed = c.serve(p)
	}
	if c.conn.Closed() { // a write has failed: the connection ends when all input is read
		c.drop()
		c.conn.ResumeReading()
		return
	}
	if c.busy() {
		return
	}
	c.conn.ResumeReading()
	if c.stopping {
		c.checkQuiet()
	}
}

// drop ends the work for the client: input is discarded from now on.
func (c *client) drop() {
	c.ended = true
	c.parser, c.unparsed, c.body = nil, nil, nil
}

// end closes the connection when all replies are sent. If a socket is closed
// while it has unread data, the kernel sends a reset, and the client may lose
// replies that it has not read yet. So end first closes the write side only and
// discards what arrives, until the client closes its side or lingerTime has passed.
func (c *client) end() {
	c.drop()
	c.conn.ResumeReading()
	if c.conn.CloseWrite() != nil {
		return
	}
	c.conn.Loop().CallLater(lingerTime, func() {
		c.conn.SetIdleTimeout(lingerTime) // for a client that does not read the replies
		c.conn.Close()
	})
}

// ShutdownRequested is called when the server is going. The commands that have
// arrived are executed, and then the connection ends. The kernel may have data
// that the loop has not read, so the end is a turn in which nothing arrives.
func (c *client) ShutdownRequested(*stream.Conn) {
	if !c.stopping {
		c.stopping = true
		c.stopUntil = c.db.now() + stopTime
		c.checkQuiet()
	}
}

// checkQuiet schedules endWhenQuiet. The loop calls scheduled functions before it
// reads, so the first call comes too early and only starts the observation.
func (c *client) checkQuiet() {
	if !c.checking {
		c.checking, c.received = true, true
		c.conn.Loop().CallSoon(c.endWhenQuiet)
	}
}

// endWhenQuiet ends a stopping client, unless data has arrived since the last call.
// A client that does not stop sending is ended after stopTime. If the client must
// read its replies first, resume calls checkQuiet again.
func (c *client) endWhenQuiet() {
	c.checking = false
	switch {
	case c.busy():
	case c.received && c.db.now() < c.stopUntil:
		c.checking, c.received = true, false
		c.conn.Loop().CallSoon(c.endWhenQuiet)
	default:
		c.end()
	}
}
