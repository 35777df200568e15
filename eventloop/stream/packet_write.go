package stream

import (
	"net"
	"net/netip"
	"time"

	"goselectors/selectors"
)

// unixRetryDelay is the time from a write that a Unix receiver has no room for to
// WriteReady. The kernel reports when the receiver has room only to connected
// sockets (net/unix/af_unix.c, unix_dgram_poll).
const unixRetryDelay = 10 * time.Millisecond

// A packetTarget is the destination of a datagram: an address, a path, or the peer
// of a connected socket.
type packetTarget struct {
	addr netip.AddrPort
	path string
	peer bool
}

func (t packetTarget) String() string {
	if t.path != "" || !t.addr.IsValid() {
		return t.path
	}
	return t.addr.String()
}

// Write sends a datagram to the peer of a socket that DialPacket has made. On
// another socket it returns an error. Otherwise it is like WriteTo.
func (c *PacketConn) Write(p []byte) (int, error) {
	return c.send(p, packetTarget{peer: true})
}

// WriteTo sends a datagram and queues nothing. If the kernel's buffer is full, it
// returns [selectors.ErrWouldBlock], and a [PacketWriteReadyHandler] is called when
// to try again. After the end it returns an error that wraps [net.ErrClosed]. On a
// connected socket the error wraps [net.ErrWriteToConnected]. Other errors wrap the
// system's error number.
//
// An error of an earlier datagram does not fail a write: ErrorReceived gets it.
func (c *PacketConn) WriteTo(p []byte, to netip.AddrPort) (int, error) {
	return c.send(p, packetTarget{addr: to})
}

// WriteToUnix is WriteTo with the path of a Unix socket.
func (c *PacketConn) WriteToUnix(p []byte, path string) (int, error) {
	return c.send(p, packetTarget{path: path})
}

func (c *PacketConn) send(p []byte, to packetTarget) (int, error) {
	err := c.checkWrite(to)
	if err == nil {
		err = c.sendOnce(p, to)
	}
	switch {
	case err == nil:
		return len(p), nil
	case err == selectors.ErrWouldBlock:
		c.awaitWrite(to)
		return 0, err
	}
	subject := to.String()
	if subject == "" {
		subject = c.subject()
	}
	foreign := isForeign(err)
	err = opError("write", subject, err)
	if foreign {
		c.end(err)
	}
	return 0, err
}

// checkWrite returns the error of a write that the socket's state does not allow.
func (c *PacketConn) checkWrite(to packetTarget) error {
	switch {
	case c.Closed():
		return net.ErrClosed
	case c.life == packetResolving:
		if !to.peer {
			return net.ErrWriteToConnected
		}
		return selectors.ErrWouldBlock
	case to.peer && c.socket.remote == nil:
		return errNoDestination
	case !to.peer && c.socket.remote != nil:
		return net.ErrWriteToConnected
	}
	return nil
}

// sendOnce sends a datagram. A socket with a pending error of an earlier datagram
// returns that from the next system call, and does not send (net/core/sock.c,
// sock_alloc_send_pskb). The call clears it. So after an error that may be one
// sendOnce tries again.
func (c *PacketConn) sendOnce(p []byte, to packetTarget) error {
	err := sendPacket(&c.socket, p, to)
	if err == nil || c.socket.isUnix || !mayBePending(err) {
		return err
	}
	again := sendPacket(&c.socket, p, to)
	if again != err && c.pending == nil {
		c.pending = err
		c.loop.CallSoon(func() {
			if c.pending != nil && c.life == packetOpen {
				c.takeErrors()
			}
		})
	}
	return again
}

// awaitWrite makes WriteReady be called when the socket takes datagrams again.
func (c *PacketConn) awaitWrite(to packetTarget) {
	if _, ok := c.handler.(PacketWriteReadyHandler); !ok {
		return
	}
	c.awaitsWrite = true
	if c.socket.isUnix && !to.peer && c.retry == nil {
		c.retry, _ = c.loop.CallLater(unixRetryDelay, func() {
			c.retry = nil
			c.writeReady()
		})
		return
	}
	c.watch()
}
