package stream

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A PacketHandler receives the events of a PacketConn, like asyncio's
// DatagramProtocol. The loop's goroutine calls all methods.
type PacketHandler interface {
	// DatagramReceived gets one datagram, which may be empty. All sockets share
	// the buffer, so p is valid only until DatagramReceived returns.
	DatagramReceived(c *PacketConn, p []byte, from netip.AddrPort)

	// ErrorReceived is called with an *os.SyscallError when receiving fails,
	// usually because the destination of an earlier datagram has refused it.
	// The socket stays open. On Linux, refused datagrams are reported only if
	// the socket option IP_RECVERR or IPV6_RECVERR is set.
	ErrorReceived(c *PacketConn, err error)
}

// A PacketConn is a UDP socket on a loop. All methods must be called on the
// loop's goroutine.
type PacketConn struct {
	loop    *eventloop.Loop
	handler PacketHandler
	socket  boundSocket
	isIPv6  bool
}

// ListenPacket makes a UDP socket. The network is "udp", "udp4" or "udp6", and
// the address has the form of package net. Resolving a host name blocks. The
// only option that has an effect is WithReusePort. ListenPacket returns
// [ErrNilHandler], [errors.ErrUnsupported], or the error of package net or of the
// loop.
func ListenPacket(loop *eventloop.Loop, network, address string, h PacketHandler, opts ...Option) (*PacketConn, error) {
	if h == nil {
		return nil, ErrNilHandler
	}
	if err := checkNetwork(network, "udp", "udp4", "udp6"); err != nil {
		return nil, err
	}
	config, err := listenConfig(network, newOptions(opts))
	if err != nil {
		return nil, err
	}
	conn, err := config.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	fd, err := duplicate(conn.(syscall.Conn))
	if err != nil {
		return nil, err
	}
	c := &PacketConn{loop: loop, handler: h, socket: boundSocket{fd: fd, addr: conn.LocalAddr()}, isIPv6: isIPv6(fd)}
	if _, err := loop.Register(fd, selectors.EventRead, c.onReady); err != nil {
		c.socket.close()
		return nil, err
	}
	return c, nil
}

// maxPacketsPerTurn limits the datagrams that one socket receives in a turn.
const maxPacketsPerTurn = 64

// onReady is the loop's callback.
func (c *PacketConn) onReady(any, selectors.Event) {
	buf := readBuffers.Get().(*[readBufferSize]byte)
	for range maxPacketsPerTurn {
		if c.socket.fd < 0 { // closed by the handler
			break
		}
		n, from, err := receiveFrom(c.socket.fd, buf[:])
		if err == selectors.ErrWouldBlock {
			break
		}
		if err != nil {
			c.handler.ErrorReceived(c, os.NewSyscallError("recvfrom", err))
			break // report a persistent error once per turn
		}
		c.handler.DatagramReceived(c, buf[:n], from)
	}
	readBuffers.Put(buf)
}

// WriteTo sends a datagram and queues nothing. If the kernel's buffer is full, it
// returns [selectors.ErrWouldBlock]. After Close it returns [net.ErrClosed].
// Other errors are of type *os.SyscallError.
func (c *PacketConn) WriteTo(p []byte, to netip.AddrPort) (int, error) {
	if c.socket.fd < 0 {
		return 0, net.ErrClosed
	}
	err := sendTo(c.socket.fd, p, to, c.isIPv6)
	if err == selectors.ErrWouldBlock {
		return 0, err
	}
	if err != nil {
		return 0, os.NewSyscallError("sendto", err)
	}
	return len(p), nil
}

// LocalAddr returns the local address, also after Close.
func (c *PacketConn) LocalAddr() net.Addr { return c.socket.addr }

// FD returns the file descriptor, for example to set socket options. The
// PacketConn still owns it. FD returns -1 after Close.
func (c *PacketConn) FD() int { return c.socket.fd }

// Loop returns the loop of the socket.
func (c *PacketConn) Loop() *eventloop.Loop { return c.loop }

// Close closes the socket. The handler is not called any more. Close always
// returns nil, and a second call does nothing.
func (c *PacketConn) Close() error {
	if c.socket.fd < 0 {
		return nil
	}
	c.loop.Unregister(c.socket.fd)
	c.socket.close()
	return nil
}
