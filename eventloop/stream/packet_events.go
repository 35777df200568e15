package stream

import (
	"errors"
	"net/netip"
	"runtime/debug"
	"strconv"

	"goselectors/selectors"
)

// maxPacketsPerTurn limits the datagrams that one socket receives in a turn, and
// the messages that it takes from its error queue at a time.
const maxPacketsPerTurn = 64

// wanted returns the interest that the state of the socket requires.
func (c *PacketConn) wanted() selectors.Event {
	var want selectors.Event
	if !c.readEnded {
		want = selectors.EventRead
	}
	if c.awaitsWrite && c.retry == nil {
		want |= selectors.EventWrite
	}
	return want
}

// watch registers the interest that the socket's state requires, if it has
// changed.
func (c *PacketConn) watch() {
	want := c.wanted()
	if c.life != packetOpen || want == c.interest {
		return
	}
	if err := c.register(want); err != nil {
		c.end(opError("watch", c.subject(), err))
	}
}

func (c *PacketConn) register(want selectors.Event) (err error) {
	key := c.key
	switch {
	case want == 0:
		c.unregister()
		return nil
	case key == nil:
		key, err = c.loop.Register(c.socket.fd, want, c.onReady)
	default:
		key, err = c.loop.Modify(c.socket.fd, want, c.onReady)
	}
	if err == nil {
		c.key, c.interest = key, want
	}
	return err
}

// unregister removes the socket from the loop. If other code has closed the
// descriptor, its number may be registered for another file now.
func (c *PacketConn) unregister() {
	key := c.key
	c.key, c.interest = nil, 0
	if key == nil {
		return
	}
	if c.socket.holder() != heldByUs {
		if current, err := c.loop.Selector().Key(c.socket.fd); err == nil && current != key {
			return
		}
	}
	c.loop.Unregister(c.socket.fd)
}

// onReady is the loop's callback.
func (c *PacketConn) onReady(_ any, events selectors.Event) {
	if events&selectors.EventInvalid != 0 {
		c.end(opError("poll", c.subject(), errBadFD))
		return
	}
	taken := 0
	if events&selectors.EventError != 0 {
		taken, _ = c.takeErrors()
		if c.readEnded && c.life == packetOpen { // nothing else takes the error
			if err := socketError(c.socket.fd); err != nil {
				c.receiveFailed(err)
			}
		}
	}
	// poll(2) reports an error as readiness to write, too. The next turn tells
	// whether there is room.
	if events&selectors.EventWrite != 0 && taken == 0 {
		c.writeReady()
	}
	if events&selectors.EventRead != 0 && c.life == packetOpen && !c.readEnded {
		c.receive(taken > 0)
	}
}

// A packetSource tells of a received datagram beside its data.
type packetSource struct {
	addr      netip.AddrPort // the sender of UDP
	path      string         // the sender on a Unix socket; may be empty
	truncated bool           // the buffer was too small
	ended     bool           // there was no datagram: the socket is shut down for reading
}

// receive receives the datagrams that are waiting. errorsTaken tells that the
// readiness is explained, even if there is none.
func (c *PacketConn) receive(errorsTaken bool) {
	buf := readBuffers.Get().(*[readBufferSize]byte)
	for i := range maxPacketsPerTurn {
		n, from, err := receivePacket(&c.socket, buf[:])
		switch {
		case err == selectors.ErrWouldBlock || err == nil && from.ended:
			if i == 0 && !errorsTaken {
				c.readyForNothing(from.ended)
			}
			readBuffers.Put(buf)
			return
		case err != nil:
			c.receiveFailed(err)
			readBuffers.Put(buf)
			return // report a persistent error once per turn
		case from.truncated:
			c.errorReceived(&PacketError{"read", from.addr, errTooLarge})
		default:
			c.datagramReceived(buf[:n], from)
		}
		if c.life != packetOpen { // closed by the handler
			break
		}
	}
	readBuffers.Put(buf)
}

// readyForNothing handles a socket that is readable but has no datagram. ended
// tells that the socket is known to be shut down for reading. Otherwise there are
// three causes:
//
//   - The error queue is not empty, and the selector does not report errors:
//     select(2) reports them as readiness to read.
//   - The socket is shut down for reading. It stays readable for ever
//     (net/core/datagram.c, datagram_poll).
//   - The datagram is gone: its checksum was wrong (select(2), BUGS), or another
//     process has received it.
func (c *PacketConn) readyForNothing(ended bool) {
	taken, _ := c.takeErrors()
	if c.life == packetOpen && (ended || taken == 0 && isReadShutDown(c.socket.fd)) {
		c.readEnded = true
		c.watch()
	}
}

// receiveFailed handles an error of the socket. If the error queue has errors, they
// tell the same and more.
func (c *PacketConn) receiveFailed(err error) {
	if isForeign(err) {
		c.end(opError("read", c.subject(), err))
		return
	}
	if _, told := c.takeErrors(); told == 0 && c.life == packetOpen {
		c.errorReceived(&PacketError{"read", c.socket.peer(), err})
	}
}

// A queuedError is a message of the error queue.
type queuedError struct {
	addr netip.AddrPort // the destination of the datagram
	err  error          // nil if the message is not an error
}

// takeErrors takes messages from the error queue and passes them to the handler. It
// returns the number of messages and of errors. It also tells a pending error that a
// write has found, unless the queue has told it.
func (c *PacketConn) takeErrors() (taken, told int) {
	pending := c.pending
	c.pending = nil
	buf := readBuffers.Get().(*[readBufferSize]byte)
	var control [512]byte
	// Unix sockets ignore MSG_ERRQUEUE: the call would take a datagram
	// (net/unix/af_unix.c).
	for !c.socket.isUnix && taken < maxPacketsPerTurn && c.life == packetOpen {
		n, nc, e, err := receiveError(c.socket.fd, buf[:], control[:])
		if err != nil {
			break
		}
		taken++
		if e.err == nil {
			c.errorQueueReceived(buf[:n], control[:nc])
			continue
		}
		told++
		c.errorReceived(&PacketError{"write", e.addr, e.err})
	}
	readBuffers.Put(buf)
	if pending != nil && told == 0 && c.life == packetOpen {
		taken, told = taken+1, 1
		c.errorReceived(&PacketError{"write", c.socket.peer(), pending})
	}
	return taken, told
}

// guard calls a method of the handler. If the method panics, or ends the goroutine
// with runtime.Goexit, guard ends the socket before the panic goes on.
func (c *PacketConn) guard(method string, call func()) {
	returned := false
	defer func() {
		if !returned {
			c.panicked(method, recover())
		}
	}()
	call()
	returned = true
}

// panicked handles that a method of the handler did not return. v is the result of
// recover.
func (c *PacketConn) panicked(method string, v any) {
	c.end(&HandlerPanic{Value: v, Method: method, Stack: debug.Stack()})
	if v != nil {
		panic(v)
	}
}

// datagramReceived is without guard because it must not allocate.
func (c *PacketConn) datagramReceived(p []byte, from packetSource) {
	returned, method := false, "DatagramReceived"
	defer func() {
		if !returned {
			c.panicked(method, recover())
		}
	}()
	var h UnixPacketHandler
	if c.socket.isUnix {
		h, _ = c.handler.(UnixPacketHandler)
	}
	if h != nil {
		method = "UnixDatagramReceived"
		h.UnixDatagramReceived(c, p, from.path)
	} else {
		c.handler.DatagramReceived(c, p, from.addr)
	}
	returned = true
}

func (c *PacketConn) errorReceived(err error) {
	c.guard("ErrorReceived", func() { c.handler.ErrorReceived(c, err) })
}

func (c *PacketConn) errorQueueReceived(p, control []byte) {
	if h, ok := c.handler.(ErrorQueueHandler); ok {
		c.guard("ErrorQueueReceived", func() { h.ErrorQueueReceived(c, p, control) })
	}
}

// writeReady calls WriteReady if a write waits for it.
func (c *PacketConn) writeReady() {
	if c.life != packetOpen || !c.awaitsWrite {
		return
	}
	c.awaitsWrite = false
	c.guard("WriteReady", func() { c.handler.(PacketWriteReadyHandler).WriteReady(c) })
	c.watch() // the interest stays if WriteReady waits again
}

// end ends the socket; it is the only place that does. It gives back everything at
// once, and schedules the last calls of the handler.
func (c *PacketConn) end(err error) {
	if c.Closed() {
		return
	}
	if c.life == packetOpen {
		c.unregister()
		c.socket.close()
	}
	c.life, c.err, c.pending = packetEnded, err, nil
	if c.cancelResolve != nil {
		c.cancelResolve()
	}
	if c.retry != nil {
		c.retry.Stop()
		c.retry = nil
	}
	if _, ok := c.handler.(PacketCloseHandler); !ok && err == nil {
		return
	}
	if c.loop.CallSoon(c.ended) != nil { // the loop is closed and runs no callbacks
		c.ended()
	}
}

// ended makes the last calls of the handler.
func (c *PacketConn) ended() {
	if h, ok := c.handler.(PacketCloseHandler); ok {
		defer h.SocketClosed(c, c.err) // also if ErrorReceived panics
	}
	var fromHandler *HandlerPanic
	if c.err != nil && !errors.As(c.err, &fromHandler) {
		c.handler.ErrorReceived(c, c.err)
	}
}

// subject names the socket in errors.
func (c *PacketConn) subject() string {
	switch {
	case c.socket.remote != nil:
		return c.socket.remote.String()
	case c.life == packetOpen:
		return "fd " + strconv.Itoa(c.socket.fd)
	}
	return ""
}
