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

// A PacketHandler is told what a PacketConn receives: asyncio's
// DatagramProtocol.
type PacketHandler interface {
	// DatagramReceived gets one datagram, which may be empty. All are read
	// into the same buffer, so p is valid only until it returns.
	DatagramReceived(c *PacketConn, p []byte, from netip.AddrPort)

	// ErrorReceived: receiving has failed, mostly because something sent
	// before was refused at its destination. The socket goes on.
	ErrorReceived(c *PacketConn, err error)
}

// A PacketConn is a UDP socket on a loop. Its methods are for the loop's
// goroutine.
type PacketConn struct {
	loop    *eventloop.Loop
	handler PacketHandler
	socket  socket
	v6      bool
}

// ListenPacket makes a UDP socket: networks "udp", "udp4" and "udp6", addresses
// as package net has them.
func ListenPacket(loop *eventloop.Loop, network, address string, h PacketHandler, opts ...Option) (*PacketConn, error) {
	if h == nil {
		return nil, ErrNilHandler
	}
	if err := supported(network, "udp", "udp4", "udp6"); err != nil {
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
	c := &PacketConn{loop: loop, handler: h, socket: socket{fd: fd, addr: conn.LocalAddr()}, v6: isIPv6(fd)}
	if _, err := loop.Register(fd, selectors.EventRead, c.ready); err != nil {
		c.socket.close()
		return nil, err
	}
	return c, nil
}

// packetBudget is how many datagrams are taken in a turn.
const packetBudget = 64

func (c *PacketConn) ready(any, selectors.Event) {
	buf := buffers.Get().(*[bufferSize]byte)
	for range packetBudget {
		if c.socket.fd < 0 { // closed by the handler
			break
		}
		n, from, err := receiveFrom(c.socket.fd, buf[:])
		if err == selectors.ErrWouldBlock {
			break
		}
		if err != nil {
			c.handler.ErrorReceived(c, os.NewSyscallError("recvfrom", err))
			break // if it stays, once a turn is enough
		}
		c.handler.DatagramReceived(c, buf[:n], from)
	}
	buffers.Put(buf)
}

// WriteTo sends a datagram, or fails: with [selectors.ErrWouldBlock] if the
// kernel has no room for it now. Datagrams are not queued.
func (c *PacketConn) WriteTo(p []byte, to netip.AddrPort) (int, error) {
	if c.socket.fd < 0 {
		return 0, net.ErrClosed
	}
	err := sendTo(c.socket.fd, p, to, c.v6)
	if err == selectors.ErrWouldBlock {
		return 0, err
	}
	if err != nil {
		return 0, os.NewSyscallError("sendto", err)
	}
	return len(p), nil
}

// LocalAddr is where it receives; after Close, where it did.
func (c *PacketConn) LocalAddr() net.Addr { return c.socket.addr }

// FD is the descriptor, for options of the socket; -1 after Close.
func (c *PacketConn) FD() int { return c.socket.fd }

// Loop is the loop that the socket is on.
func (c *PacketConn) Loop() *eventloop.Loop { return c.loop }

// Close closes the socket. The handler is called no more.
func (c *PacketConn) Close() error {
	if c.socket.fd < 0 {
		return nil
	}
	c.loop.Unregister(c.socket.fd)
	c.socket.close()
	return nil
}
