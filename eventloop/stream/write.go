package stream

import (
	"net"
	"os"

	"goselectors/selectors"
)

// Write sends p and never blocks. It copies and queues the bytes that the
// socket does not take at once, so n is len(p) unless err is not nil. It
// implements io.Writer.
//
// Write returns [net.ErrClosed] after Close, Abort or the end of the
// connection, and [ErrWriteClosed] after CloseWrite. An error of the system
// (*os.SyscallError) ends the connection, and ConnectionLost follows with the
// same error.
//
// Until Dial has connected, Write queues all data.
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.state&(closing|closingWrite|ended) != 0 {
		return 0, c.closedError()
	}
	if c.out == nil && c.dialing == nil {
		if len(p) == 0 {
			return 0, nil
		}
		n, err = write(int(c.fd), p)
		if n > 0 && c.idle != nil {
			c.idle.noteActivity(c)
		}
		if n == len(p) {
			return n, nil
		}
		if err != nil && err != selectors.ErrWouldBlock {
			return 0, c.failWrite(err)
		}
	}
	c.enqueue(p[n:])
	return len(p), nil
}

// Writev writes several pieces in order, for example a header and a body. It
// behaves like Write of the joined pieces. On Linux one system call sends up to
// 64 pieces, without an allocation. On other systems each piece takes one system
// call.
func (c *Conn) Writev(pieces ...[]byte) (n int, err error) {
	if c.state&(closing|closingWrite|ended) != 0 {
		return 0, c.closedError()
	}
	total, sent := 0, 0
	for _, p := range pieces {
		total += len(p)
	}
	if total == 0 {
		return 0, nil
	}
	if c.out == nil && c.dialing == nil {
		sent, err = writev(int(c.fd), pieces)
		if sent > 0 && c.idle != nil {
			c.idle.noteActivity(c)
		}
		if err != nil && err != selectors.ErrWouldBlock {
			return 0, c.failWrite(err)
		}
	}
	if sent < total {
		for _, p := range pieces {
			skip := min(sent, len(p))
			sent -= skip
			c.out = c.out.append(p[skip:])
		}
		c.afterEnqueue()
	}
	return total, nil
}

// closedError returns the error of a write to a connection that accepts none.
func (c *Conn) closedError() error {
	if c.state&(closing|ended) == 0 {
		return ErrWriteClosed
	}
	return net.ErrClosed
}

// failWrite ends the connection after a write error, and returns the error.
func (c *Conn) failWrite(err error) error {
	err = os.NewSyscallError("write", err)
	c.finish(err)
	return err
}

// enqueue queues the bytes that the socket did not take.
func (c *Conn) enqueue(p []byte) {
	if len(p) == 0 {
		return
	}
	c.out = c.out.append(p)
	c.afterEnqueue()
}

// afterEnqueue registers for writability, and pauses writing above the high
// water mark.
func (c *Conn) afterEnqueue() {
	c.watch()
	if c.out != nil && c.out.size > c.opts.highWater && c.state&writePaused == 0 {
		c.state |= writePaused
		c.handler.PauseWriting(c)
	}
}

// flush sends as much of the queue as the socket takes.
func (c *Conn) flush() {
	n, err := writev(int(c.fd), c.out.blocks)
	if err != nil {
		if err != selectors.ErrWouldBlock {
			c.finish(os.NewSyscallError("write", err))
		}
		return
	}
	if c.idle != nil {
		c.idle.noteActivity(c)
	}
	if c.out.discard(n); c.out.size == 0 {
		c.out = nil
	}
	if c.state&(writePaused|closing) == writePaused && c.Unsent() <= c.opts.lowWater {
		c.state &^= writePaused
		c.handler.ResumeWriting(c)
	}
	if c.out == nil && c.state&ended == 0 {
		c.afterDrain()
	}
	c.watch()
}

// afterDrain completes Close or CloseWrite when the queue is empty.
func (c *Conn) afterDrain() {
	switch {
	case c.state&closing != 0:
		c.finish(nil)
	case c.state&(closingWrite|writeClosed) == closingWrite:
		c.state |= writeClosed
		if err := shutdownWrite(int(c.fd)); err != nil {
			c.finish(os.NewSyscallError("shutdown", err))
		} else if c.state&readEOF != 0 {
			c.finish(nil)
		}
	}
}

// CloseWrite shuts down the write side after all queued data has been sent. The
// peer then reads EOF. Data from the peer is still received. If the peer has
// already closed its write side, the connection is then closed. CloseWrite
// returns [net.ErrClosed] if the connection is closed or closing, otherwise nil.
func (c *Conn) CloseWrite() error {
	if c.state&(closing|ended) != 0 {
		return net.ErrClosed
	}
	c.state |= closingWrite
	if c.out == nil && c.dialing == nil {
		c.afterDrain()
	}
	return nil
}

// Unsent returns the number of bytes in the write queue. It does not count bytes
// in the kernel's buffer.
func (c *Conn) Unsent() int {
	if c.out == nil {
		return 0
	}
	return c.out.size
}
