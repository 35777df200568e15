package stream

import (
	"net"
	"os"

	"goselectors/selectors"
)

// Write sends p, and never waits: what the socket does not take at once is
// copied and sent when it does. So n is len(p) unless there is an error; on an
// error of the system the connection is over, and ConnectionLost follows. It
// makes Conn an io.Writer.
//
// Before Dial's ConnectionMade everything is copied.
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.state&(closing|halfClosing|over) != 0 {
		return 0, c.refusal()
	}
	if c.out == nil && c.dial == nil {
		if len(p) == 0 {
			return 0, nil
		}
		n, err = write(int(c.fd), p)
		if n > 0 && c.idle != nil {
			c.idle.touch(c)
		}
		if n == len(p) {
			return n, nil
		}
		if err != nil && err != selectors.ErrWouldBlock {
			return 0, c.broken(err)
		}
	}
	c.keep(p[n:])
	return len(p), nil
}

// Writev is Write for several pieces that belong together, a header and a body
// for example, in one call of the system. Up to 64 go without an allocation.
func (c *Conn) Writev(pieces ...[]byte) (n int, err error) {
	if c.state&(closing|halfClosing|over) != 0 {
		return 0, c.refusal()
	}
	total, sent := 0, 0
	for _, p := range pieces {
		total += len(p)
	}
	if total == 0 {
		return 0, nil
	}
	if c.out == nil && c.dial == nil {
		sent, err = writev(int(c.fd), pieces)
		if sent > 0 && c.idle != nil {
			c.idle.touch(c)
		}
		if err != nil && err != selectors.ErrWouldBlock {
			return 0, c.broken(err)
		}
		sent = max(sent, 0)
	}
	if sent < total {
		for _, p := range pieces {
			skip := min(sent, len(p))
			sent -= skip
			c.out = c.out.append(p[skip:])
		}
		c.kept()
	}
	return total, nil
}

func (c *Conn) refusal() error {
	if c.state&(closing|over) == 0 {
		return ErrWriteClosed
	}
	return net.ErrClosed
}

// broken ends a connection that could not be written to.
func (c *Conn) broken(err error) error {
	err = os.NewSyscallError("write", err)
	c.end(err)
	return err
}

// keep queues what could not be sent.
func (c *Conn) keep(p []byte) {
	if len(p) == 0 {
		return
	}
	c.out = c.out.append(p)
	c.kept()
}

func (c *Conn) kept() {
	c.watch()
	if c.out != nil && c.out.size > c.opts.high && c.state&full == 0 {
		c.state |= full
		c.handler.PauseWriting(c)
	}
}

// flush sends what it can of the queue, in one call.
func (c *Conn) flush() {
	n, err := writev(int(c.fd), c.out.pieces)
	if err != nil {
		if err != selectors.ErrWouldBlock {
			c.end(os.NewSyscallError("write", err))
		}
		return
	}
	if c.idle != nil {
		c.idle.touch(c)
	}
	if c.out.drop(n); c.out.size == 0 {
		c.out = nil
	}
	if c.state&(full|closing) == full && c.Unsent() <= c.opts.low {
		c.state &^= full
		c.handler.ResumeWriting(c)
	}
	if c.out == nil && c.state&over == 0 {
		c.drained()
	}
	c.watch()
}

// drained does what was to be done when all is sent.
func (c *Conn) drained() {
	switch {
	case c.state&closing != 0:
		c.end(nil)
	case c.state&(halfClosing|halfClosed) == halfClosing:
		c.state |= halfClosed
		if err := shutdownWrite(int(c.fd)); err != nil {
			c.end(os.NewSyscallError("shutdown", err))
		} else if c.state&eof != 0 {
			c.end(nil)
		}
	}
}

// CloseWrite tells the peer, when all that was written has been sent, that this
// was all: it sees the end of the data, and what it sends is still received. If
// it has said the same already, the connection is closed.
func (c *Conn) CloseWrite() error {
	if c.state&(closing|over) != 0 {
		return net.ErrClosed
	}
	c.state |= halfClosing
	if c.out == nil && c.dial == nil {
		c.drained()
	}
	return nil
}

// Unsent is how many bytes wait to be sent, those in the kernel not counted.
func (c *Conn) Unsent() int {
	if c.out == nil {
		return 0
	}
	return c.out.size
}

// A queue is what waits to be sent. Small pieces share a block; none is moved
// again, and a block goes when it is sent.
type queue struct {
	pieces [][]byte
	size   int
}

const (
	minBlock = 4 << 10
	maxBlock = 64 << 10
)

func (q *queue) append(p []byte) *queue {
	if q == nil {
		q = &queue{}
	}
	q.size += len(p)
	if last := len(q.pieces) - 1; last >= 0 {
		tail := q.pieces[last]
		n := min(len(p), cap(tail)-len(tail))
		q.pieces[last], p = append(tail, p[:n]...), p[n:]
	}
	if len(p) > 0 {
		block := make([]byte, 0, max(len(p), min(max(q.size, minBlock), maxBlock)))
		q.pieces = append(q.pieces, append(block, p...))
	}
	return q
}

// drop takes off what was sent.
func (q *queue) drop(n int) {
	q.size -= n
	whole := 0
	for whole < len(q.pieces) && n >= len(q.pieces[whole]) {
		n -= len(q.pieces[whole])
		q.pieces[whole] = nil
		whole++
	}
	q.pieces = q.pieces[whole:]
	if n > 0 {
		q.pieces[0] = q.pieces[0][n:]
	}
}
