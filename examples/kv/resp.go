package main

import (
	"bytes"
	"errors"
	"strconv"

	"goselectors/eventloop/stream"
)

// A client is the handler of one connection. It parses the Redis protocol.
type client struct {
	stream.BaseHandler
	db         *store
	incomplete []byte   // beginning of a command whose end has not arrived
	args       [][]byte // of the command being parsed
}

const (
	maxArgs        = 1 << 20   // arguments of a command; the limit of Redis
	maxBulk        = 512 << 20 // bytes of an argument; the limit of Redis
	maxInline      = 64 << 10  // bytes of a command without lengths
	flushAfter     = 64 << 10  // bytes of replies that are written at once
	maxReplyBuffer = 1 << 20   // bytes; a larger buffer is not reused
)

// DataReceived executes all complete commands and writes their replies together.
// So a client that sends many commands at once (a pipeline) costs one system call
// for reading and one for writing, not two per command.
func (c *client) DataReceived(conn *stream.Conn, p []byte) {
	if len(c.incomplete) > 0 {
		c.incomplete = append(c.incomplete, p...)
		p = c.incomplete
	}
	out, received := c.db.out[:0], len(p)
	for len(p) > 0 {
		n, err := c.parse(p)
		if err != nil {
			out = appendError(out, "ERR Protocol error: "+err.Error())
			conn.Write(out)
			conn.Close()
			return
		}
		if n == 0 {
			break // the command is not complete
		}
		p = p[n:]
		if len(c.args) > 0 {
			out = c.db.execute(out, c.args)
		}
		if len(out) >= flushAfter {
			conn.Write(out)
			out = out[:0]
		}
	}
	if len(out) > 0 {
		conn.Write(out)
	}
	if c.db.out = out; cap(out) > maxReplyBuffer {
		c.db.out = nil
	}
	switch {
	case len(p) == 0:
		c.incomplete = nil // an idle connection costs no buffer
	case len(p) < received || len(c.incomplete) == 0:
		c.incomplete = append(c.incomplete[:0], p...)
	}
}

// While a client does not read its replies, the server reads no commands from it.
func (c *client) PauseWriting(conn *stream.Conn)  { conn.PauseReading() }
func (c *client) ResumeWriting(conn *stream.Conn) { conn.ResumeReading() }

// parse reads one command into c.args and returns its length in bytes, or 0 if it
// is not complete. The arguments are slices of p.
func (c *client) parse(p []byte) (int, error) {
	c.args = c.args[:0]
	if p[0] != '*' { // an inline command: words on a line
		line, n := readLine(p)
		if n == 0 && len(p) > maxInline {
			return 0, errors.New("too big inline request")
		}
		c.args = append(c.args, bytes.Fields(line)...)
		return n, nil
	}
	count, n, err := number(p, '*', maxArgs, "multibulk")
	if n == 0 || err != nil {
		return 0, err
	}
	for range count {
		if n == len(p) {
			return 0, nil
		}
		size, m, err := number(p[n:], '$', maxBulk, "bulk")
		if m == 0 || err != nil {
			return 0, err
		}
		end := n + m + size
		if len(p) < end+2 {
			return 0, nil
		}
		c.args = append(c.args, p[n+m:end])
		n = end + 2
	}
	return n, nil
}

// number reads a line that has a prefix and a number from 0 to limit, such as
// "$12". It returns the number and the length of the line, or 0, 0 if the line is
// not complete. The errors name what the number counts.
func number(p []byte, prefix byte, limit int, what string) (value, n int, err error) {
	if p[0] != prefix {
		return 0, 0, errors.New("expected '" + string(rune(prefix)) + "', got '" + string(rune(p[0])) + "'")
	}
	line, n := readLine(p)
	if n == 0 {
		if len(p) > 32 {
			err = errors.New("invalid " + what + " length")
		}
		return 0, 0, err
	}
	for _, digit := range line[1:] {
		if digit < '0' || digit > '9' || value > limit {
			return 0, 0, errors.New("invalid " + what + " length")
		}
		value = 10*value + int(digit-'0')
	}
	if len(line) == 1 || value > limit {
		return 0, 0, errors.New("invalid " + what + " length")
	}
	return value, n, nil
}

// readLine returns the first line of p without its end, and its length with the
// end, or 0 if the line is not complete.
func readLine(p []byte) (line []byte, n int) {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return nil, 0
	}
	return bytes.TrimSuffix(p[:end], []byte("\r")), end + 1
}

func appendError(out []byte, text string) []byte {
	return append(append(append(out, '-'), text...), "\r\n"...)
}

func appendStatus(out []byte, text string) []byte {
	return append(append(append(out, '+'), text...), "\r\n"...)
}

func appendInt(out []byte, n int64) []byte {
	return append(strconv.AppendInt(append(out, ':'), n, 10), "\r\n"...)
}

func appendBulk(out, text []byte) []byte {
	out = append(strconv.AppendInt(append(out, '$'), int64(len(text)), 10), "\r\n"...)
	return append(append(out, text...), "\r\n"...)
}

func appendNil(out []byte) []byte { return append(out, "$-1\r\n"...) }
