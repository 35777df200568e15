package stream

import (
	"errors"
	"net"

	"goselectors/selectors"
)

// Write sends p and never blocks. It copies and queues the bytes that the
// socket does not take at once, so n is len(p) unless err is not nil. It
// implements io.Writer.
//
// Write returns an error that wraps [net.ErrClosed] after Close, Abort or the end
// of the connection, and [ErrWriteClosed] after CloseWrite and for a file that
// cannot be written. If the system refuses the data, Write returns the error, and
// so do all later writes. ConnectionLost follows with the same error, after
// DataReceived has been called with the data that the peer has sent before.
//
// Before ConnectionMade, Write queues all data.
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.life != connected || c.writing != writeOpen {
		if err := c.writeError("write"); err != nil {
			return 0, err
		}
	} else if c.out == nil {
		if len(p) == 0 {
			return 0, nil
		}
		n, err = write(int(c.fd), p)
		if n > 0 && c.deadlines != nil {
			c.deadlines.noteWrite(c, n)
		}
		if n == len(p) {
			return n, nil
		}
		if err != nil && err != selectors.ErrWouldBlock {
			return 0, c.failWrite("write", err)
		}
	}
	if err := c.checkUnsent(len(p) - n); err != nil {
		return 0, err
	}
	if n < len(p) {
		wasEmpty := c.out == nil
		c.out = c.out.append(p[n:])
		c.afterEnqueue(wasEmpty)
	}
	return len(p), nil
}

// Writev writes several pieces in order, for example a header and a body. It
// behaves like Write of the joined pieces. On Linux one system call sends up to
// 64 pieces, without an allocation. On other systems each piece takes one system
// call.
func (c *Conn) Writev(pieces ...[]byte) (n int, err error) {
	total, sent := 0, 0
	for _, p := range pieces {
		total += len(p)
	}
	if c.life != connected || c.writing != writeOpen {
		if err := c.writeError("write"); err != nil {
			return 0, err
		}
	} else if c.out == nil {
		if total == 0 {
			return 0, nil
		}
		sent, err = writev(int(c.fd), pieces)
		if sent > 0 && c.deadlines != nil {
			c.deadlines.noteWrite(c, sent)
		}
		if err != nil && err != selectors.ErrWouldBlock {
			return 0, c.failWrite("write", err)
		}
	}
	if err := c.checkUnsent(total - sent); err != nil {
		return 0, err
	}
	if sent < total {
		wasEmpty := c.out == nil
		for _, p := range pieces {
			skip := min(sent, len(p))
			sent -= skip
			c.out = c.out.append(p[skip:])
		}
		c.afterEnqueue(wasEmpty)
	}
	return total, nil
}

// writeError returns why the connection accepts no writes, or nil if it does.
func (c *Conn) writeError(op string) error {
	switch {
	case c.life == failing:
		return c.err
	case c.life != starting && c.life != connected:
		return c.opError(op, net.ErrClosed)
	case c.writing != writeOpen:
		return c.opError(op, ErrWriteClosed)
	}
	return nil
}

// checkUnsent ends the connection and returns an error if n more bytes in the queue
// exceed the limit of WithMaxUnsent.
func (c *Conn) checkUnsent(n int) error {
	if limit := c.opts.maxUnsent; limit > 0 && n > limit-c.Unsent() {
		err := c.opError("write", ErrTooMuchUnsent)
		c.abort(err)
		return err
	}
	return nil
}

// afterEnqueue registers for writability, and pauses writing above the high
// water mark.
func (c *Conn) afterEnqueue(wasEmpty bool) {
	if wasEmpty && c.deadlines != nil {
		c.deadlines.noteQueued(c)
	}
	c.watch()
	c.updateSlow()
}

// flush sends as much of the queue as the socket takes.
func (c *Conn) flush() {
	if len(c.out.files) > 0 {
		c.flushFiles()
		return
	}
	n, err := writev(int(c.fd), c.out.blocks)
	if err == selectors.ErrWouldBlock {
		c.takeErrorQueue()
		return
	}
	if err != nil {
		c.failWrite("write", err)
		return
	}
	c.out.discard(n)
	c.afterSend(n)
}

// afterSend continues after n bytes of the queue were sent.
func (c *Conn) afterSend(n int) {
	if n > 0 && c.deadlines != nil {
		c.deadlines.noteWrite(c, n)
	}
	if c.out.isEmpty() {
		c.out = nil
	}
	if c.life == connected && c.Unsent() <= c.opts.lowWater {
		c.resumeWriting()
	}
	if c.out == nil {
		c.queueSent()
	}
	c.watch()
}

// queueSent completes Close or CloseWrite when the queue is empty.
func (c *Conn) queueSent() {
	switch {
	case c.life == closing:
		c.finish(nil)
	case c.life == connected && c.writing == writeFinishing:
		c.writing = writeFinished
		if c.reading == readEnded {
			c.finish(nil)
		} else if err := shutdownWrite(int(c.fd)); err != nil {
			c.failWrite("close write", err)
		}
	}
}

// CloseWrite shuts down the write side after all queued data has been sent. The
// peer then reads EOF. Data from the peer is still received. If the peer has
// already closed its write side, or if the file is the write end of a pipe, the
// connection is then closed. On a file that is not a socket and can be read,
// CloseWrite returns an error that wraps [errors.ErrUnsupported] and changes
// nothing. If the connection is closed, closing or failing, it returns the error
// that Write returns. A second call does nothing.
func (c *Conn) CloseWrite() error {
	if c.life != starting && c.life != connected {
		return c.writeError("close write")
	}
	if !c.kind.canShutDown() && c.reading == readOpen && c.writing == writeOpen {
		return c.opError("close write", errors.ErrUnsupported)
	}
	if c.writing == writeOpen {
		c.writing = writeFinishing
		if c.out == nil {
			c.queueSent()
		}
	}
	return nil
}

// Unsent returns the number of bytes in the write queue. It counts neither bytes in
// the kernel's buffer nor those of SendFile.
func (c *Conn) Unsent() int {
	if c.out == nil {
		return 0
	}
	return c.out.size
}

// SetWaterMarks changes the limits of the write queue: see [WithWaterMarks]. If
// more than high bytes are queued, it calls PauseWriting.
func (c *Conn) SetWaterMarks(high, low int) {
	if !c.alive() {
		return
	}
	o := *c.opts
	o.setWaterMarks(high, low)
	c.opts = &o
	c.updateSlow()
}

// dropQueue discards the data to send. The functions of SendFile get err.
func (c *Conn) dropQueue(err error) {
	if c.out == nil {
		return
	}
	files := c.out.files
	c.out = nil
	for i := range files {
		files[i].finish(c, err)
	}
}
