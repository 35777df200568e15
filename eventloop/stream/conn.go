package stream

import (
	"net"
	"os"
	"sync"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A Conn is a connection on a loop: asyncio's Transport. [Listen], [Dial] and
// [Wrap] make them. Its methods are for the loop's goroutine.
type Conn struct {
	loop     *eventloop.Loop
	handler  Handler
	opts     *options
	callback eventloop.Callback // c.ready, made once
	out      *queue             // what waits to be sent; nil if nothing does
	idle     *idleTimer
	dial     *dialing
	roster   *roster // of its listener
	err      error   // what ConnectionLost will say
	fd       int32
	place    int32 // in the roster
	interest selectors.Event
	state    state
}

type state uint16

const (
	made        state = 1 << iota // ConnectionMade was called
	paused                        // PauseReading
	eof                           // the peer has sent all
	closing                       // Close: when all is sent, that is the end
	halfClosing                   // CloseWrite: when all is sent, the peer is told
	halfClosed                    // and it was
	full                          // PauseWriting was called
	over                          // ConnectionLost has been scheduled, or called
	detached                      // over, and the descriptor is somebody else's
	deaf                          // nothing is told of a connection that is neither read nor written
)

// buffers are what connections read into: with one processor a loop, in effect
// one a loop. They are not kept by connections, not even by busy ones.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// bufferSize is also the most that one connection is read in a turn, so that
// one that never runs dry does not keep others waiting.
const bufferSize = 64 << 10

func newConn(loop *eventloop.Loop, fd int, h Handler, o *options) *Conn {
	c := &Conn{loop: loop, fd: int32(fd), handler: h, opts: o}
	c.callback = c.ready
	return c
}

// begin makes a connected socket live.
func (c *Conn) begin() {
	c.state |= made
	if c.opts.idle > 0 {
		c.SetIdleTimeout(c.opts.idle)
	}
	c.handler.ConnectionMade(c)
	c.watch()
}

// Loop is the loop that the connection is on.
func (c *Conn) Loop() *eventloop.Loop { return c.loop }

// FD is the descriptor, for options of the socket and the like; it stays the
// connection's. It is -1 after ConnectionLost.
func (c *Conn) FD() int { return int(c.fd) }

// LocalAddr is the address at this end; nil if there is none, as after
// ConnectionLost. The system is asked each time.
func (c *Conn) LocalAddr() net.Addr { return localAddr(int(c.fd)) }

// RemoteAddr is the address of the peer; nil if there is none, as after
// ConnectionLost, or when the peer has reset the connection. The system is
// asked each time.
func (c *Conn) RemoteAddr() net.Addr { return remoteAddr(int(c.fd)) }

// watch asks the loop for what the connection needs to know now, if that has
// changed.
func (c *Conn) watch() {
	var want selectors.Event
	if c.state&over == 0 {
		if c.state&(made|paused|eof|closing) == made {
			want = selectors.EventRead
		}
		if c.out != nil && c.dial == nil || c.dial != nil && c.dial.started {
			want |= selectors.EventWrite
		}
	}
	if want == 0 && c.state&(made|eof|closing|over|deaf) == made|eof {
		// Nothing to read any more, nothing to write yet. Something has to be
		// asked for to be told, as a hint, that the peer has gone.
		want = selectors.EventPriority
	}
	if want == c.interest {
		return
	}
	err := c.ask(want)
	if err != nil && want == selectors.EventPriority {
		c.state |= deaf // not on every platform; then a write will tell
		want, err = 0, c.ask(0)
	}
	if err != nil && c.state&over == 0 {
		c.end(err)
		return
	}
	c.interest = want
}

func (c *Conn) ask(want selectors.Event) (err error) {
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

// ready is the loop's callback.
func (c *Conn) ready(_ any, events selectors.Event) {
	switch {
	case events&selectors.EventInvalid != 0:
		c.end(os.NewSyscallError("poll", errBadFD))
		c.fd = -1 // somebody has closed it, and its number may be anybody's
		return
	case c.dial != nil:
		c.connected()
		return
	}
	if events&selectors.EventWrite != 0 && c.out != nil {
		c.flush()
	}
	if events&selectors.EventRead != 0 && c.state&(paused|eof|closing|over) == 0 {
		c.receive()
	}
	if c.interest == selectors.EventPriority {
		c.hint(events)
	}
}

// hint is told something of a half-closed connection that waits for us to
// write.
func (c *Conn) hint(events selectors.Event) {
	if events&(selectors.EventError|selectors.EventHangup) == 0 {
		if events&selectors.EventPriority != 0 {
			c.state |= deaf // urgent data, which would be told again and again
			c.watch()
		}
		return
	}
	err := socketError(int(c.fd))
	if err == nil {
		err = errBroken // it has closed its end: what a write would say
	}
	c.end(os.NewSyscallError("write", err))
}

// receive reads once, and so at most a buffer. If there is more, the loop says
// so in its next turn.
func (c *Conn) receive() {
	buf := buffers.Get().(*[bufferSize]byte)
	n, err := read(int(c.fd), buf[:])
	switch {
	case n > 0:
		if c.idle != nil {
			c.idle.touch(c)
		}
		c.handler.DataReceived(c, buf[:n])
	case err == nil:
		c.state |= eof
		switch keep := c.handler.EOFReceived(c); {
		case c.state&over != 0:
		case !keep:
			c.Close()
		case c.state&halfClosed != 0:
			c.end(nil)
		default:
			c.watch()
		}
	case err != selectors.ErrWouldBlock: // readiness is a hint
		c.end(os.NewSyscallError("read", err))
	}
	buffers.Put(buf)
}

// PauseReading stops DataReceived until ResumeReading. What the peer sends
// meanwhile waits in the kernel, and then the peer does: TCP sees to that.
// Nothing is noticed of a peer that goes away before ResumeReading, or a write.
func (c *Conn) PauseReading() {
	c.state |= paused
	c.watch()
}

// ResumeReading ends PauseReading.
func (c *Conn) ResumeReading() {
	c.state &^= paused
	c.watch()
}

// Closed reports whether Close or Abort was called, or the connection is lost.
// It takes no writes then.
func (c *Conn) Closed() bool { return c.state&(closing|over) != 0 }

// Close sends what waits to be sent and closes the connection then. Nothing
// is received any more, and the next call is ConnectionLost. A peer that does
// not read can make that take for ever: see SetIdleTimeout and Abort.
//
// As with any socket, if the peer has sent something that was not read, the
// kernel resets the connection, and the peer may lose what it has not read
// yet. Where that matters, CloseWrite and wait for EOFReceived.
func (c *Conn) Close() error {
	if c.state&(closing|over) != 0 {
		return nil
	}
	c.state |= closing
	if c.out == nil || c.dial != nil {
		c.end(nil)
		return nil
	}
	c.watch()
	return nil
}

// Abort closes the connection without sending what waits. On TCP the peer is
// told with a reset, and the kernel forgets what it has not sent either. The
// next call is ConnectionLost.
func (c *Conn) Abort() {
	if c.state&over == 0 {
		if c.fd >= 0 {
			resetOnClose(int(c.fd))
		}
		c.end(nil)
	}
}

// end makes the connection take no more part in anything. ConnectionLost
// follows in the next turn, so that it never runs inside another method of the
// handler.
func (c *Conn) end(err error) {
	if c.state&over != 0 {
		return
	}
	c.err = err
	c.retire()
	if c.loop.CallSoon(c.lost) != nil { // the loop is closed: nothing else runs any more
		c.lost()
	}
}

// retire takes the connection from the loop.
func (c *Conn) retire() {
	c.state |= over
	c.watch()
	c.out = nil
	c.SetIdleTimeout(0)
	if c.dial != nil {
		c.dial.stop()
		c.dial = nil
	}
}

func (c *Conn) lost() {
	defer func() { // also if the handler panics
		closeFD(int(c.fd))
		c.fd = -1
		c.roster.remove(c)
	}()
	c.handler.ConnectionLost(c, c.err)
}

// SetIdleTimeout ends the connection, with [ErrIdle], when nothing could be
// read or sent for d; at zero or less, never. Data that waits because the
// peer does not read, or because of PauseReading, does not count.
func (c *Conn) SetIdleTimeout(d time.Duration) {
	if c.idle != nil {
		c.idle.timer.Stop()
		c.idle = nil
	}
	if d <= 0 || c.state&over != 0 {
		return
	}
	t := &idleTimer{limit: d}
	t.touch(c)
	var err error
	if t.timer, err = c.loop.CallLater(d, func() { t.expired(c) }); err == nil {
		c.idle = t
	}
}

// An idleTimer is not moved whenever something moves, which may be often, but
// looks how long ago that was when its time is up.
type idleTimer struct {
	timer *eventloop.Timer
	limit time.Duration
	moved time.Duration // the loop's time
}

func (t *idleTimer) touch(c *Conn) { t.moved = c.loop.Now() }

func (t *idleTimer) expired(c *Conn) {
	if left := t.moved + t.limit - c.loop.Now(); left > 0 {
		t.timer.Reset(left)
		return
	}
	if c.state&closing != 0 {
		resetOnClose(int(c.fd)) // it does not read what we owe it
	}
	c.end(ErrIdle)
}

// A roster is who is connected, on one loop. A nil one knows nobody.
type roster struct {
	conns []*Conn
	empty func() // called, if not nil, when the last one has left
}

func (r *roster) add(c *Conn) {
	c.roster, c.place = r, int32(len(r.conns))
	r.conns = append(r.conns, c)
}

func (r *roster) remove(c *Conn) {
	if r == nil || c.roster == nil {
		return
	}
	last := len(r.conns) - 1
	moved := r.conns[last]
	r.conns[c.place], moved.place = moved, c.place
	r.conns[last] = nil
	r.conns, c.roster = r.conns[:last], nil
	if last == 0 {
		r.conns = nil
		if r.empty != nil {
			r.empty()
		}
	}
}
