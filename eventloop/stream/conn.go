package stream

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A Conn is a connection on a loop, like asyncio's Transport. [Listen], [Dial]
// and [Wrap] make them. All methods must be called on the loop's goroutine.
type Conn struct {
	loop     *eventloop.Loop
	handler  Handler
	opts     *options
	callback eventloop.Callback // c.onReady, allocated once
	out      *queue             // data to send; nil when empty
	idle     *idleTimer         // nil without an idle timeout
	dial     *dialState         // nil once connected
	set      *connSet           // of the listener or the group; nil for Dial and Wrap
	err      error              // for ConnectionLost
	remote   netip.AddrPort     // of the peer; invalid if it is not an IP address
	fd       int32              // -1 when there is none
	index    int32              // in set.conns
	interest selectors.Event    // registered with the loop; 0 when not registered
	state    state
}

// state is a set of flags. The zero value is a connection before
// ConnectionMade.
type state uint16

const (
	connected    state = 1 << iota // ConnectionMade was called
	readPaused                     // by PauseReading
	readEOF                        // the peer has closed its write side
	closing                        // Close was called; the connection ends when the queue is empty
	closingWrite                   // CloseWrite was called; the write side is shut down when the queue is empty
	writeClosed                    // the write side is shut down
	writePaused                    // PauseWriting was called, ResumeWriting not yet
	ended                          // ConnectionLost is scheduled or was called, or the connection is detached
	noHints                        // do not register for hints after readEOF; see watch
	notStream                      // the descriptor is not a stream socket; see read
)

// readBuffers holds the buffers that connections read into. With one processor
// per loop this is in effect one buffer per loop. A connection returns the
// buffer after each read.
var readBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

// readBufferSize is in bytes. It also limits what one connection reads in a turn,
// so that a connection with a constant flow of data does not delay the others.
const readBufferSize = 64 << 10

func newConn(loop *eventloop.Loop, fd int, h Handler, o *options) *Conn {
	c := &Conn{loop: loop, fd: int32(fd), handler: h, opts: o}
	c.callback = c.onReady
	return c
}

// start calls ConnectionMade and registers the connected socket with the loop.
func (c *Conn) start() {
	c.state |= connected
	if c.opts.idleTimeout > 0 {
		c.SetIdleTimeout(c.opts.idleTimeout)
	}
	c.handler.ConnectionMade(c)
	c.watch()
}

// Loop returns the loop of the connection.
func (c *Conn) Loop() *eventloop.Loop { return c.loop }

// FD returns the file descriptor, for example to set socket options. The
// connection still owns it. FD returns -1 before a connection of Dial has a
// socket, and after ConnectionLost or Detach.
func (c *Conn) FD() int { return int(c.fd) }

// LocalAddr returns the local address, or nil if there is none, as after
// ConnectionLost. Each call makes a system call.
func (c *Conn) LocalAddr() net.Addr { return localAddr(int(c.fd)) }

// RemoteAddr returns the address of the peer, or nil if there is none. A TCP
// address of an accepted connection is remembered: it is also returned when the
// peer has reset the connection, and after ConnectionLost. Otherwise each call makes
// a system call.
func (c *Conn) RemoteAddr() net.Addr {
	if c.remote.IsValid() {
		return net.TCPAddrFromAddrPort(c.remote)
	}
	return remoteAddr(int(c.fd))
}

// watch registers the interest that the connection's state requires, if it has
// changed.
func (c *Conn) watch() {
	var want selectors.Event
	if c.state&ended == 0 {
		if c.state&(connected|readPaused|readEOF|closing) == connected {
			want = selectors.EventRead
		}
		if c.out != nil && c.dial == nil || c.dial != nil && c.dial.connecting {
			want |= selectors.EventWrite
		}
	}
	if want == 0 && c.state&(connected|readEOF|closing|ended|noHints) == connected|readEOF {
		// The connection has nothing to read and nothing to write. Some
		// interest must be registered to get the hint that the peer has gone.
		want = selectors.EventPriority
	}
	if want == c.interest {
		return
	}
	err := c.setInterest(want)
	if err != nil && want == selectors.EventPriority {
		// Not every selector supports EventPriority. The next write will then
		// report that the peer has gone.
		c.state |= noHints
		want, err = 0, c.setInterest(0)
	}
	if err != nil && c.state&ended == 0 {
		c.finish(err)
		return
	}
	c.interest = want
}

func (c *Conn) setInterest(want selectors.Event) (err error) {
	switch {
	case want == c.interest:
	case c.interest == 0:
		_, err = c.loop.Register(int(c.fd), want, c.callback)
	case want == 0:
		_, err = c.loop.Unregister(int(c.fd))
	default:
		_, err = c.loop.Modify(int(c.fd), want, c.callback)
	}
	return err
}

// onReady is the loop's callback.
func (c *Conn) onReady(_ any, events selectors.Event) {
	switch {
	case events&selectors.EventInvalid != 0:
		c.finish(os.NewSyscallError("poll", errBadFD))
		c.fd = -1 // closed by other code; the number may belong to another file now
		return
	case c.dial != nil:
		c.onConnectReady()
		return
	}
	if events&selectors.EventWrite != 0 && c.out != nil {
		c.flush()
	}
	if events&selectors.EventRead != 0 && c.state&(readPaused|readEOF|closing|ended) == 0 {
		c.receive()
	}
	if c.interest == selectors.EventPriority {
		c.handleHint(events)
	}
}

// handleHint handles events of a connection after EOF from the peer, while
// nothing is queued to send.
func (c *Conn) handleHint(events selectors.Event) {
	if events&(selectors.EventError|selectors.EventHangup) == 0 {
		if events&selectors.EventPriority != 0 {
			// Unread urgent data would be reported in every turn.
			c.state |= noHints
			c.watch()
		}
		return
	}
	err := socketError(int(c.fd))
	if err == nil {
		err = errBrokenPipe // the peer has closed its read side too; a write would return this
	}
	c.finish(os.NewSyscallError("write", err))
}

// read reads once. It returns 0 and no error at the end. A read of a file other than
// a stream socket may return 0 in between: selectors.TryRead knows when.
func (c *Conn) read(p []byte) (int, error) {
	if c.state&notStream == 0 {
		return read(int(c.fd), p)
	}
	n, err := selectors.TryRead(int(c.fd), p)
	switch {
	case err == io.EOF:
		return 0, nil
	case err == nil && n == 0: // an empty message
		return 0, selectors.ErrWouldBlock
	case err != nil && err != selectors.ErrWouldBlock:
		err = errors.Unwrap(err)
	}
	return n, err
}

// receive reads once, and so at most readBufferSize bytes. If more data is
// waiting, the loop reports it in its next turn.
func (c *Conn) receive() {
	buf := readBuffers.Get().(*[readBufferSize]byte)
	n, err := c.read(buf[:])
	switch {
	case n > 0:
		if c.idle != nil {
			c.idle.noteActivity(c)
		}
		c.handler.DataReceived(c, buf[:n])
	case err == nil:
		c.state |= readEOF
		switch keepOpen := c.handler.EOFReceived(c); {
		case c.state&ended != 0:
		case !keepOpen:
			c.Close()
		case c.state&writeClosed != 0:
			c.finish(nil)
		default:
			c.watch()
		}
	case err != selectors.ErrWouldBlock: // readiness is only a hint
		c.finish(os.NewSyscallError("read", err))
	}
	readBuffers.Put(buf)
}

// PauseReading stops DataReceived until ResumeReading. Data from the peer stays
// in the kernel's buffer. When the buffer is full, TCP stops the peer. While
// reading is paused, a peer that goes away is noticed only by a write or after
// ResumeReading.
func (c *Conn) PauseReading() {
	c.state |= readPaused
	c.watch()
}

// ResumeReading ends PauseReading.
func (c *Conn) ResumeReading() {
	c.state &^= readPaused
	c.watch()
}

// Closed reports whether Close or Abort was called, or the connection has
// ended for another reason. Such a connection accepts no writes.
func (c *Conn) Closed() bool { return c.state&(closing|ended) != 0 }

// Close sends all queued data and then closes the connection. No more data is
// received; ConnectionLost is the last call of the handler. A peer that does not
// read can delay it without limit: see SetIdleTimeout and Abort. If Dial has not
// connected yet, Close discards queued data and ends the attempt. Close always
// returns nil, and a second call does nothing.
//
// As with any socket, if the peer has sent data that was not read, the kernel
// resets the connection, and the peer may lose data that it has not read yet.
// To avoid that, call CloseWrite and wait for EOFReceived.
func (c *Conn) Close() error {
	if c.state&(closing|ended) != 0 {
		return nil
	}
	c.state |= closing
	if c.out == nil || c.dial != nil {
		c.finish(nil)
		return nil
	}
	c.watch()
	return nil
}

// Abort closes the connection without sending queued data. On TCP the peer gets
// a reset, and data that the kernel has not sent yet is discarded too. The next
// call of the handler is ConnectionLost.
func (c *Conn) Abort() {
	if c.state&ended == 0 {
		if c.fd >= 0 {
			resetOnClose(int(c.fd))
		}
		c.finish(nil)
	}
}

// finish ends the connection. It schedules ConnectionLost for the next turn, so
// that ConnectionLost never runs inside another method of the handler.
func (c *Conn) finish(err error) {
	if c.state&ended != 0 {
		return
	}
	c.err = err
	c.removeFromLoop()
	if c.loop.CallSoon(c.connectionLost) != nil { // the loop is closed and runs no callbacks
		c.connectionLost()
	}
}

// removeFromLoop marks the connection as ended, unregisters it, and releases its
// queue and timers. The descriptor stays open.
func (c *Conn) removeFromLoop() {
	c.state |= ended
	c.watch()
	c.out = nil
	c.SetIdleTimeout(0)
	if c.dial != nil {
		c.dial.stop()
		c.dial = nil
	}
}

func (c *Conn) connectionLost() {
	defer func() { // also if the handler panics
		closeFD(int(c.fd))
		c.fd = -1
		c.set.remove(c)
	}()
	c.handler.ConnectionLost(c, c.err)
}

// A connSet holds the connections of a listener, or of one loop of a group.
// remove may be called on a nil connSet and does nothing then.
type connSet struct {
	conns   []*Conn
	onEmpty func() // called when the last connection is removed; may be nil
}

func (s *connSet) add(c *Conn) {
	c.set, c.index = s, int32(len(s.conns))
	s.conns = append(s.conns, c)
}

func (s *connSet) remove(c *Conn) {
	if s == nil || c.set == nil {
		return
	}
	last := len(s.conns) - 1
	lastConn := s.conns[last]
	s.conns[c.index], lastConn.index = lastConn, c.index
	s.conns[last] = nil
	s.conns, c.set = s.conns[:last], nil
	if last == 0 {
		s.conns = nil
		if s.onEmpty != nil {
			s.onEmpty()
		}
	}
}
