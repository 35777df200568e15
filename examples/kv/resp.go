package main

import (
	"bytes"
	"errors"
	"strconv"

	"goselectors/eventloop/stream"
)

// A client is the protocol's side of one connection.
type client struct {
	stream.BaseHandler
	db   *store
	rest []byte   // the beginning of a command whose end has not come yet
	args [][]byte // of the command being parsed
}

const (
	maxArgs    = 1 << 20
	maxBulk    = 512 << 20 // Redis' own limits
	flushAfter = 64 << 10
	maxKept    = 1 << 20
)

// DataReceived takes all commands that have come in whole, and answers them
// with one Write: a client that sends many at once (a pipeline) costs one
// system call each way, not one a command.
func (c *client) DataReceived(conn *stream.Conn, p []byte) {
	if len(c.rest) > 0 {
		c.rest = append(c.rest, p...)
		p = c.rest
	}
	out, all := c.db.out[:0], len(p)
	for len(p) > 0 {
		n, err := c.parse(p)
		if err != nil {
			out = appendError(out, "ERR Protocol error: "+err.Error())
			conn.Write(out)
			conn.Close()
			return
		}
		if n == 0 {
			break // there is more to come
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
	if c.db.out = out; cap(out) > maxKept {
		c.db.out = nil
	}
	switch {
	case len(p) == 0:
		c.rest = nil // an idle connection costs no buffer
	case len(p) < all || len(c.rest) == 0:
		c.rest = append(c.rest[:0], p...)
	}
}

// A client that does not read its answers is not asked for further commands.
func (c *client) PauseWriting(conn *stream.Conn)  { conn.PauseReading() }
func (c *client) ResumeWriting(conn *stream.Conn) { conn.ResumeReading() }

// parse reads one command into c.args and returns how long it was, 0 if it is
// not complete. The arguments point into p.
func (c *client) parse(p []byte) (int, error) {
	c.args = c.args[:0]
	if p[0] != '*' { // typed by hand: words on a line
		line, n := readLine(p)
		if n == 0 && len(p) > flushAfter {
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

// number reads a line such as $12.
func number(p []byte, mark byte, limit int, what string) (value, n int, err error) {
	if p[0] != mark {
		return 0, 0, errors.New("expected '" + string(rune(mark)) + "', got '" + string(rune(p[0])) + "'")
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
