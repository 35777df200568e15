package stream

import (
	"context"
	"net"
	"net/netip"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A PacketHandler receives the events of a PacketConn, like asyncio's
// DatagramProtocol. The loop's goroutine calls all methods, one at a time. The
// optional interfaces are [PacketOpenHandler], [PacketCloseHandler],
// [PacketWriteReadyHandler], [UnixPacketHandler] and [ErrorQueueHandler].
//
// A method that panics ends the socket: see [PacketCloseHandler]. The panic then
// goes on to the loop.
type PacketHandler interface {
	// DatagramReceived gets one datagram, which may be empty. All sockets share
	// the buffer, so p is valid only until DatagramReceived returns. The sender's
	// address is the zero AddrPort on a Unix socket: see [UnixPacketHandler].
	DatagramReceived(c *PacketConn, p []byte, from netip.AddrPort)

	// ErrorReceived gets an error that is not the result of a call. It is a
	// *PacketError while the socket stays open:
	//
	//   - A datagram sent earlier was refused or could not be delivered. Addr is its
	//     destination. On a connected socket the kernel always reports this. On
	//     other sockets Linux reports it if the option IP_RECVERR or IPV6_RECVERR
	//     is set, and other systems do not.
	//   - Receiving has failed.
	//   - A datagram was larger than 64 KiB, which only a Unix socket can receive.
	//     It is discarded, and the error matches syscall.EMSGSIZE.
	//
	// If the socket has ended for a reason other than Close or a panic,
	// ErrorReceived gets that reason, once, and FD returns -1.
	ErrorReceived(c *PacketConn, err error)
}

// A PacketOpenHandler is a PacketHandler that learns when its socket is open. It
// is asyncio's connection_made.
type PacketOpenHandler interface {
	// SocketOpened is called once, before all other methods, after ListenPacket or
	// DialPacket has returned. It is not called if the socket is closed earlier, or
	// if the name that DialPacket was given cannot be resolved.
	SocketOpened(c *PacketConn)
}

// A PacketCloseHandler is a PacketHandler that learns when its socket has ended.
// It is asyncio's connection_lost.
type PacketCloseHandler interface {
	// SocketClosed is called once, after all other methods, in the turn after the
	// end. If the loop is closed, the method that ends the socket calls it. err is
	// nil after Close, a *HandlerPanic after a panic, and otherwise what
	// ErrorReceived got.
	SocketClosed(c *PacketConn, err error)
}

// A PacketWriteReadyHandler is a PacketHandler that learns when it can go on to
// send.
type PacketWriteReadyHandler interface {
	// WriteReady is called once after Write, WriteTo or WriteToUnix has returned
	// [selectors.ErrWouldBlock], when the socket probably takes datagrams again. For
	// WriteToUnix that is 10 ms later: the kernel does not tell when the receiver
	// has room.
	WriteReady(c *PacketConn)
}

// A UnixPacketHandler is a PacketHandler that learns the senders of the datagrams
// of a Unix socket.
type UnixPacketHandler interface {
	// UnixDatagramReceived is called in place of DatagramReceived on a Unix socket.
	// from is empty if the sender's socket has no address.
	UnixDatagramReceived(c *PacketConn, p []byte, from string)
}

// An ErrorQueueHandler is a PacketHandler that gets the messages on the socket's
// error queue that are not errors: time stamps (SO_TIMESTAMPING) and completions
// (SO_ZEROCOPY). Such a message makes the socket ready until it is taken, so
// without this interface the messages are taken and dropped. Only Linux has them.
type ErrorQueueHandler interface {
	// ErrorQueueReceived gets a message as recvmsg(2) with MSG_ERRQUEUE returns it.
	// p and control are valid only until the method returns.
	ErrorQueueReceived(c *PacketConn, p, control []byte)
}

// A PacketError is an error about datagrams of a socket that stays open.
type PacketError struct {
	Op   string         // "write" for a datagram sent earlier, else "read"
	Addr netip.AddrPort // the destination of the datagram, or the peer; invalid if there is none or it is unknown
	Err  error          // the system's error number
}

func (e *PacketError) Error() string {
	s := "stream: " + e.Op
	if e.Addr.IsValid() {
		s += " " + e.Addr.String()
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the system's error number.
func (e *PacketError) Unwrap() error { return e.Err }

// A PacketConn is a datagram socket on a loop: UDP or Unix. [ListenPacket] and
// [DialPacket] make them. All methods must be called on the loop's goroutine. A
// zero PacketConn behaves like one that has ended. The states and events are:
//
//	event                        state      what happens
//	name resolved                resolving  open, then SocketOpened
//	name not resolved            resolving  ended by the error
//	readable                     open       DatagramReceived or UnixDatagramReceived, at most 64 datagrams a turn
//	error of a datagram          open       ErrorReceived with its destination, at most 64 errors a turn
//	other message on the queue   open       ErrorQueueReceived
//	error of receiving           open       ErrorReceived, once a turn
//	writable                     open       WriteReady, if a write has returned selectors.ErrWouldBlock
//	shut down for reading        open       no more datagrams are received; writing works
//	Write, WriteTo, WriteToUnix  resolving  selectors.ErrWouldBlock; WriteReady follows when the socket is open
//	Write, WriteTo, WriteToUnix  open       sent, or an error; nothing is queued
//	Close                        resolving, ended by nil; the descriptor is closed at once
//	                             open
//	panic in a method            open       ended by *HandlerPanic; the descriptor is closed; the panic goes on to
//	                                        the loop
//	descriptor closed by         open       ended by EBADF, when the selector reports it or a call fails; the
//	other code                              number is not closed if it belongs to another file
//	loop cannot watch it         open       ended by the error
//	end                          ended      ErrorReceived if the reason is an error, but no panic; SocketClosed
//	any write                    ended      an error that wraps net.ErrClosed
//	loop closed                  any        nothing until Close
//
// Everything else is ignored.
type PacketConn struct {
	loop          *eventloop.Loop
	handler       PacketHandler
	key           *selectors.SelectorKey // of the loop's selector; nil if not registered
	cancelResolve context.CancelFunc     // in the state resolving
	retry         *eventloop.Timer       // calls WriteReady; nil if not set
	pending       error                  // of a datagram sent earlier, for ErrorReceived; nil if none
	err           error                  // for SocketClosed
	socket        packetSocket
	life          packetLife
	interest      selectors.Event // registered with the loop
	readEnded     bool            // the socket is shut down for reading
	awaitsWrite   bool            // WriteReady is to be called
}

// packetLife is the state in the table at PacketConn.
type packetLife uint8

const (
	packetNone packetLife = iota // a zero PacketConn
	packetResolving
	packetOpen
	packetEnded
)

// ListenPacket makes a datagram socket that is bound to an address. The network is
// "udp", "udp4", "udp6" or "unixgram". An address of UDP has the form of package
// net, and resolving a host name blocks. An address of a Unix socket is a path; the
// file is removed when the socket ends, if it is still the one that was made. The
// only option that has an effect is WithReusePort, for UDP.
//
// As in package net, the socket may send to broadcast addresses (SO_BROADCAST).
// To receive a multicast group, set IP_ADD_MEMBERSHIP or IPV6_JOIN_GROUP on FD.
//
// The error wraps [ErrNilHandler], [ErrNilLoop], [errors.ErrUnsupported], the
// error of package net, or that of the loop.
func ListenPacket(loop *eventloop.Loop, network, address string, h PacketHandler, opts ...Option) (*PacketConn, error) {
	o := newOptions(opts)
	err := checkPacketArguments(loop, network, h, o)
	if err != nil {
		return nil, packetError("listen", network, address, err)
	}
	c := &PacketConn{loop: loop, handler: h}
	if c.socket, err = listenPacket(network, address, o); err == nil {
		err = c.open()
	}
	if err != nil {
		return nil, packetError("listen", network, address, err)
	}
	return c, nil
}

// DialPacket makes a datagram socket that is connected to an address: it sends to
// that address, receives from it alone, and learns when datagrams are refused. It
// is asyncio's create_datagram_endpoint with remote_addr. The networks are those of
// ListenPacket.
//
// If the address contains no name, the socket is open when DialPacket returns. A
// name is resolved on another goroutine; until then a write returns
// [selectors.ErrWouldBlock]. Then the first address that the system can send to is
// used, and SocketOpened is called. If there is none, ErrorReceived and
// SocketClosed get the error. Close ends the attempt. ctx limits the time to
// resolve, not the socket's life; a nil ctx means context.Background().
//
// A Unix socket of DialPacket has no address of its own, so the peer cannot answer.
// For answers use ListenPacket and WriteToUnix.
func DialPacket(ctx context.Context, loop *eventloop.Loop, network, address string, h PacketHandler, opts ...Option) (*PacketConn, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	o := newOptions(opts)
	err := checkPacketArguments(loop, network, h, o)
	if err == nil {
		err = ctx.Err()
	}
	literal := false
	if err == nil {
		literal, err = isLiteral(network, address)
	}
	c := &PacketConn{loop: loop, handler: h}
	switch {
	case err != nil:
	case !literal:
		err = c.resolve(ctx, network, address, o)
	default:
		if c.socket, err = dialPacket(network, address, o); err == nil {
			err = c.open()
		}
	}
	if err != nil {
		return nil, packetError("dial", network, address, err)
	}
	return c, nil
}

// resolve starts to resolve a name, in order to connect.
func (c *PacketConn) resolve(ctx context.Context, network, address string, o *options) error {
	ctx, cancel := context.WithCancel(ctx)
	var addrs []string
	var err error
	doErr := c.loop.Do(
		func() { addrs, err = resolvePacket(ctx, network, address) },
		func() {
			if c.life != packetResolving {
				return
			}
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				c.socket, err = dialFirst(network, addrs, o)
			}
			if err == nil {
				err = c.open()
			}
			cancel()
			if err != nil {
				c.end(packetError("dial", network, address, err))
			}
		})
	if doErr != nil {
		cancel()
		return doErr
	}
	c.life, c.cancelResolve = packetResolving, cancel
	return nil
}

// open registers the socket with the loop and schedules SocketOpened. On error it
// closes the socket.
func (c *PacketConn) open() error {
	before := c.life
	c.life = packetOpen
	err := c.register(c.wanted())
	if h, ok := c.handler.(PacketOpenHandler); ok && err == nil {
		err = c.loop.CallSoon(func() {
			if c.life == packetOpen {
				c.guard("SocketOpened", func() { h.SocketOpened(c) })
			}
		})
	}
	if err != nil {
		c.unregister()
		c.socket.close()
		c.life = before
	}
	return err
}

// LocalAddr returns the local address, also after the end, or nil if there is none.
func (c *PacketConn) LocalAddr() net.Addr { return c.socket.addr }

// RemoteAddr returns the address that DialPacket has connected to, also after the
// end. It is nil before the name is resolved, and for a socket of ListenPacket.
func (c *PacketConn) RemoteAddr() net.Addr { return c.socket.remote }

// FD returns the file descriptor, for example to set socket options. The
// PacketConn still owns it. FD returns -1 before the socket is open and after its
// end.
func (c *PacketConn) FD() int {
	if c.life != packetOpen {
		return -1
	}
	return c.socket.fd
}

// Loop returns the loop of the socket.
func (c *PacketConn) Loop() *eventloop.Loop { return c.loop }

// Closed reports whether the socket has ended.
func (c *PacketConn) Closed() bool { return c.life == packetNone || c.life == packetEnded }

// Close closes the socket and gives back its descriptor. The handler is not called
// any more, except SocketClosed. Close always returns nil, and a second call does
// nothing.
func (c *PacketConn) Close() error {
	c.end(nil)
	return nil
}
