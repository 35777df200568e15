package stream

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A Conn is a connection on a loop, like asyncio's Transport. [Listen], [Dial]
// and [Wrap] make them. The package documentation has the table of its states.
// All methods must be called on the loop's goroutine. A zero Conn behaves like one
// that has ended.
type Conn struct {
	loop      *eventloop.Loop
	handler   Handler
	opts      *options
	out       *queue          // data to send; nil when empty
	deadlines *deadlines      // nil without timeouts
	dialing   *dialing        // of Dial, until it is connected; else nil
	set       *connSet        // of the listener or the group; nil for Dial and Wrap
	err       error           // for ConnectionLost
	remote    netip.AddrPort  // of the peer; invalid if it is not an IP address
	fd        int32           // -1 when there is none
	index     int32           // in set.conns
	interest  selectors.Event // registered with the loop; 0 when not registered

	// The state: see the table in the package documentation.
	life     life
	reading  reading
	writing  writing
	kind     fileKind
	paused   bool // by PauseReading
	slow     bool // PauseWriting was called, ResumeWriting not yet
	draining bool // c.drain is scheduled, in the state failing
	noHints  bool // do not register for hints: see wanted
}

// readBuffers holds the buffers that connections read into. With one processor
// per loop this is in effect one buffer per loop. A connection returns the
// buffer after each read.
var readBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

// readBufferSize is in bytes. It also limits what one connection reads in a turn,
// so that a connection with a constant flow of data does not delay the others.
const readBufferSize = 64 << 10

func newConn(loop *eventloop.Loop, fd int, h Handler, o *options) *Conn {
	return &Conn{loop: loop, fd: int32(fd), handler: h, opts: o, life: starting}
}

// start calls ConnectionMade and registers the connected descriptor with the
// loop.
func (c *Conn) start() {
	c.life = connected
	c.setTimeouts()
	c.connectionMade()
	c.updateSlow()
	if c.out == nil {
		c.queueSent() // CloseWrite may have been called before
	}
	c.watch()
}

// Loop returns the loop of the connection.
func (c *Conn) Loop() *eventloop.Loop { return c.loop }

// FD returns the file descriptor, for example to set socket options. The
// connection still owns it. FD returns -1 before a connection of Dial is
// connected, and after ConnectionLost or Detach.
func (c *Conn) FD() int {
	if c.life == noConn {
		return -1
	}
	return int(c.fd)
}

// LocalAddr returns the local address, or nil if there is none, as after
// ConnectionLost. Each call makes a system call.
func (c *Conn) LocalAddr() net.Addr { return localAddr(c.FD()) }

// RemoteAddr returns the address of the peer, or nil if there is none. A TCP
// address is remembered: it is also returned when the peer has reset the
// connection, and after ConnectionLost. The address of a Unix socket is returned
// up to ConnectionLost; each call makes a system call.
func (c *Conn) RemoteAddr() net.Addr {
	if c.remote.IsValid() {
		return net.TCPAddrFromAddrPort(c.remote)
	}
	return remoteAddr(c.FD())
}

// setRemote remembers the address of the peer, if it is an IP address.
func (c *Conn) setRemote(addr net.Addr) {
	if addr, ok := addr.(*net.TCPAddr); ok {
		c.remote = addr.AddrPort()
	}
}

// wanted returns the interest that the state of the connection requires.
func (c *Conn) wanted() selectors.Event {
	var want selectors.Event
	if c.life == connected && c.reading == readOpen && !c.paused {
		want = selectors.EventRead
	}
	if (c.life == connected || c.life == closing) && c.out != nil && !c.out.loading {
		want |= selectors.EventWrite
	}
	if want != 0 || c.life != connected || c.noHints {
		return want
	}
	// The connection has nothing to read and nothing to write. Some interest must be
	// registered to learn that the peer has gone.
	if c.kind == pipeWriteEnd {
		return selectors.EventRead // select(2) reports the error to readers only
	}
	if c.reading == readEnded {
		return selectors.EventPriority
	}
	if _, ok := c.handler.(HangupHandler); ok {
		return selectors.EventPriority
	}
	return 0
}

// watch registers the interest that the connection's state requires, if it has
// changed. It is the only place that does.
func (c *Conn) watch() {
	want := c.wanted()
	if want == c.interest {
		return
	}
	err := c.setInterest(want)
	if err != nil && want == selectors.EventPriority {
		// Not every selector supports EventPriority. The next write will then
		// report that the peer has gone.
		c.noHints = true
		want, err = 0, c.setInterest(0)
	}
	if err != nil && c.life < ended {
		if !errors.Is(err, eventloop.ErrClosed) { // a closed loop calls nothing any more
			c.finish(err)
		}
		return
	}
	c.interest = want
}

func (c *Conn) setInterest(want selectors.Event) (err error) {
	switch {
	case want == c.interest:
	case c.interest == 0:
		_, err = c.loop.RegisterHandler(int(c.fd), want, (*readyConn)(c))
	case want == 0:
		_, err = c.loop.Unregister(int(c.fd))
	default:
		_, err = c.loop.ModifyHandler(int(c.fd), want, (*readyConn)(c))
	}
	return err
}

// A readyConn is a Conn as a FileHandler of the loop. It is a type of its own so
// that FileReady is not a method of Conn.
type readyConn Conn

// FileReady is the loop's callback.
func (r *readyConn) FileReady(_ any, events selectors.Event) {
	c := (*Conn)(r)
	if events&selectors.EventInvalid != 0 {
		c.finish(c.opError("poll", errBadFD))
		c.fd = -1 // closed by other code; the number may belong to another file now
		return
	}
	if events&selectors.EventWrite != 0 && c.out != nil {
		c.flush()
	}
	if events&selectors.EventRead != 0 && c.life == connected && c.reading == readOpen && !c.paused && !c.loop.Closed() {
		c.receive()
	}
	if c.interest == selectors.EventPriority || c.kind == pipeWriteEnd && c.interest == selectors.EventRead {
		c.handleHint(events)
	}
}

// handleHint handles events of a connection that has nothing to read and nothing
// to send.
func (c *Conn) handleHint(events selectors.Event) {
	gone := selectors.EventError | selectors.EventHangup
	if c.kind == pipeWriteEnd {
		gone |= selectors.EventRead // all that select(2) reports
	}
	if events&gone == 0 {
		if events&selectors.EventPriority != 0 {
			// Unread urgent data would be reported in every turn.
			c.noHints = true
			c.watch()
		}
		return
	}
	if events&selectors.EventHangup == 0 && c.takeErrorQueue() {
		return // if there was an error, too, it is reported again
	}
	switch {
	case c.reading == readOpen: // reading is paused
		c.noHints = true
		c.watch()
		c.hangupReceived()
	case c.kind == pipeWriteEnd:
		c.finish(nil) // all data was sent
	default:
		err := socketError(int(c.fd))
		if err == nil {
			err = errBrokenPipe // the peer has closed its read side too; a write would return this
		}
		c.finish(c.opError("write", err))
	}
}

// read reads once. It returns 0 and no error at the end. A read of a file other than
// a stream socket may return 0 in between: selectors.TryRead knows when.
func (c *Conn) read(p []byte) (int, error) {
	if c.kind == streamSocket {
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
		c.dataReceived(buf[:n])
	case err == nil:
		c.endReading()
	case err != selectors.ErrWouldBlock:
		c.finish(c.opError("read", err))
	default: // readiness is only a hint, or the error queue has messages
		c.takeErrorQueue()
	}
	readBuffers.Put(buf)
}

// endReading handles the end of the data from the peer.
func (c *Conn) endReading() {
	c.reading = readEnded
	switch keepOpen := c.eofReceived(); {
	case c.life != connected:
	case !keepOpen:
		c.Close()
	case c.writing == writeFinished:
		c.finish(nil)
	default:
		c.watch()
	}
}

// failWrite handles an error of the write side, and returns it as an error of this
// package. Data of the peer may still wait in the kernel, for example the reason
// why it has closed the connection. So the connection ends when that is delivered.
func (c *Conn) failWrite(op string, cause error) error {
	err := c.opError(op, cause)
	if c.life != connected || c.reading == readEnded {
		c.finish(err)
		return err
	}
	c.life, c.err = failing, err
	c.watch()
	c.dropQueue(err)
	c.scheduleDrain()
	return err
}

// scheduleDrain schedules the next step of a connection whose write side has
// failed. The kernel may report nothing more for it, so the steps do not wait for
// readiness.
func (c *Conn) scheduleDrain() {
	if c.draining {
		return
	}
	c.draining = c.loop.CallSoon(c.drain) == nil // on a closed loop, Close or Abort ends the connection
}

// drain is a step of a connection whose write side has failed. It reads once, and
// ends the connection when nothing is left to read. While reading is paused it ends
// the connection only if there is nothing to read. Otherwise it makes sure that a
// handler that has paused reading until ResumeWriting goes on.
func (c *Conn) drain() {
	c.draining = false
	switch {
	case c.life != failing:
		return
	case c.paused && hasUnread(int(c.fd)):
		c.waitForResume()
		return
	case c.paused:
		c.finish(nil)
		return
	}
	buf := readBuffers.Get().(*[readBufferSize]byte)
	n, err := c.read(buf[:])
	switch {
	case n > 0:
		c.dataReceived(buf[:n])
		if c.life == failing {
			c.scheduleDrain()
		}
	case err == nil && errors.Is(c.err, errBrokenPipe):
		// The peer has closed its write side. After a reset the kernel reports an end,
		// too, but there was none.
		c.reading = readEnded
		c.eofReceived()
		c.finish(nil)
	default:
		c.finish(nil)
	}
	readBuffers.Put(buf)
}

// resumeLimit is how long a connection whose write side has failed waits for
// ResumeReading, so that one that nobody resumes does not stay for ever.
const resumeLimit = 10 * time.Second

// waitForResume waits for ResumeReading after the write side has failed. A handler
// may have paused reading until ResumeWriting.
func (c *Conn) waitForResume() {
	_, err := c.loop.CallLater(resumeLimit, func() {
		if c.life == failing && c.paused {
			c.finish(nil)
		}
	})
	if err != nil { // the loop is closed
		c.finish(nil)
		return
	}
	c.resumeWriting()
}

// PauseReading stops DataReceived until ResumeReading. It may be called before
// ConnectionMade. Data from the peer stays in the kernel's buffer. When the buffer
// is full, TCP stops the peer. While reading is paused, a peer that goes away is
// noticed only by a write, after ResumeReading, or by a [HangupHandler]. If a write
// fails meanwhile and the kernel has data to read, the connection ends after
// ResumeReading, or after 10 seconds.
func (c *Conn) PauseReading() {
	c.paused = true
	c.watch()
}

// ResumeReading ends PauseReading.
func (c *Conn) ResumeReading() {
	if !c.paused {
		return
	}
	c.paused, c.noHints = false, false
	if c.deadlines != nil {
		c.deadlines.readingResumed(c)
	}
	if c.life == failing {
		c.scheduleDrain()
	}
	c.watch()
}

// Closed reports whether Close or Abort was called, or the connection has ended or
// failed. Such a connection accepts no writes.
func (c *Conn) Closed() bool { return c.life != starting && c.life != connected }

// Close sends all queued data and then closes the connection. No more data is
// received; ConnectionLost is the last call of the handler. A peer that does not
// read can delay it without limit: see SetWriteTimeout and Abort. If Dial has not
// connected yet, Close discards queued data and ends the attempt. Close always
// returns nil, and a second call does nothing.
//
// As with any socket, if the peer has sent data that was not read, the kernel
// resets the connection, and the peer may lose data that it has not read yet.
// To avoid that, call CloseWrite and wait for EOFReceived.
func (c *Conn) Close() error {
	switch c.life {
	case failing:
		c.finish(nil)
	case starting, connected:
		if c.out == nil || c.dialing != nil {
			c.finish(nil)
			break
		}
		c.life = closing
		c.watch()
	case ended:
		c.loseOnClosedLoop()
	}
	return nil
}

// loseOnClosedLoop calls ConnectionLost if it was scheduled on a loop that was closed
// before it came to that.
func (c *Conn) loseOnClosedLoop() {
	if c.life == ended && c.loop.Closed() {
		c.connectionLost()
	}
}

// Abort closes the connection without sending queued data. On TCP the peer gets
// a reset, and data that the kernel has not sent yet is discarded too. The next
// call of the handler is ConnectionLost.
func (c *Conn) Abort() { c.abort(nil) }

// abort is Abort with an error for ConnectionLost.
func (c *Conn) abort(err error) {
	if !c.alive() {
		c.loseOnClosedLoop()
		return
	}
	if c.fd >= 0 {
		resetOnClose(int(c.fd))
	}
	c.finish(err)
}

// finish ends the connection; it is the only place that does. It schedules
// ConnectionLost for the next turn, so that ConnectionLost never runs inside
// another method of the handler. An earlier error takes precedence over err.
func (c *Conn) finish(err error) {
	if !c.alive() {
		return
	}
	if c.err == nil {
		c.err = err
	}
	c.release(ended)
	defer func() { // also if a function of SendFile panics, on a closed loop
		if c.loop.CallSoon(c.connectionLost) != nil { // the loop is closed and runs no callbacks
			c.connectionLost()
		}
	}()
	c.dropQueue(c.err)
}

// alive reports whether the connection has neither ended nor been detached.
func (c *Conn) alive() bool { return c.life > noConn && c.life < ended }

// release enters one of the last states: it unregisters the connection, and gives
// back its timers and its attempt to connect. The descriptor stays open.
func (c *Conn) release(last life) {
	c.life = last
	c.watch()
	c.stopTimeouts()
	if c.dialing != nil {
		c.dialing.cancel()
		c.dialing = nil
	}
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
