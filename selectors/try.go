package selectors

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"goselectors/selectors/internal/sys"
)

// TryRead reads once from a file object without waiting and returns the number
// of bytes. If there is nothing to read the error is [ErrWouldBlock]. At the end
// of the file it is io.EOF, also for a bare descriptor. An empty datagram or packet
// is 0 bytes and no error; [TryReadFrom] returns the sender, too.
//
// Where read(2) returns 0 although the file has not ended, the error is
// ErrWouldBlock: a terminal in non-canonical mode with VMIN 0 and no input, and a
// FIFO that no writer has opened yet. A datagram socket whose reading half this
// program has shut down stays readable, with ErrWouldBlock: unregister it.
//
// A loop should call it instead of net.Conn.Read. Readiness is a hint: if the
// data is gone, Read parks the goroutine, and with it the loop.
//
// Descriptors should be in non-blocking mode. All of package net's are, and all
// files that package os opened as pipes or sockets. For a descriptor in blocking
// mode:
//   - On Linux, sockets are read without waiting, and so are pipes and some other
//     files on newer kernels.
//   - Otherwise, and in builds with the race detector, TryRead asks poll(2) first.
//     It can then block if another reader takes the data in between, if the socket
//     has only an error in its queue, or if a driver reports more than a read
//     can take.
//
// A read of a regular file waits for the disk.
func TryRead(fileobj any, p []byte) (n int, err error) {
	if fd, number := asNumber(fileobj); number && fd >= 0 { // no closure, so no allocation
		n, err = sys.Read(fd, p, false)
	} else {
		n, err = tryObject(fileobj, p, sys.Read)
	}
	return n, tryError("read", err)
}

// TryWrite writes once to a file object without waiting. It returns the number
// of bytes that the kernel took, which may be less than len(p) without an error.
// If there is no room the error is [ErrWouldBlock].
//
// What TryRead's documentation says of descriptors in blocking mode applies. If
// TryWrite has asked poll(2), there is room, but perhaps not for all of p: then
// it waits.
func TryWrite(fileobj any, p []byte) (n int, err error) {
	if fd, number := asNumber(fileobj); number && fd >= 0 {
		n, err = sys.Write(fd, p, false)
	} else {
		n, err = tryObject(fileobj, p, sys.Write)
	}
	return n, tryError("write", err)
}

// TryReadFrom receives one datagram without waiting and returns the sender. It is
// [TryRead] for datagram sockets, which would lose the sender. The sender is the
// zero AddrPort if it has no IP address, as on a Unix socket. A datagram that is
// larger than p is cut off.
//
// An error of a datagram that was sent earlier, such as ECONNREFUSED on a connected
// socket, is returned once, and the next call goes on. If IP_RECVERR or
// SO_TIMESTAMPING is set, the socket stays ready until its error queue is read, too:
// see docs/recipes.md.
func TryReadFrom(fileobj any, p []byte) (n int, from netip.AddrPort, err error) {
	if fd, number := asNumber(fileobj); number && fd >= 0 {
		n, from, err = sys.ReceiveFrom(fd, p, false)
	} else {
		_, nonblocking := fileobj.(net.Conn)
		err = withFD(fileobj, func(fd int) (err error) {
			n, from, err = sys.ReceiveFrom(fd, p, nonblocking)
			return err
		})
	}
	return n, from, tryError("read", err)
}

// TryWriteTo sends one datagram to an address without waiting. If there is no room
// the error is [ErrWouldBlock]. An IPv6 socket takes IPv4 addresses too, unless it
// has IPV6_V6ONLY. A zone is the name or the number of a network interface. On a
// connected socket use [TryWrite]: not every system allows another address.
func TryWriteTo(fileobj any, p []byte, to netip.AddrPort) (n int, err error) {
	if fd, number := asNumber(fileobj); number && fd >= 0 {
		n, err = sys.SendTo(fd, p, to, false)
	} else {
		_, nonblocking := fileobj.(net.Conn)
		err = withFD(fileobj, func(fd int) (err error) {
			n, err = sys.SendTo(fd, p, to, nonblocking)
			return err
		})
	}
	return n, tryError("write", err)
}

func tryObject(fileobj any, p []byte, try func(fd int, p []byte, nonblocking bool) (int, error)) (int, error) {
	call := tryCalls.Get().(*tryCall)
	_, call.nonblocking = fileobj.(net.Conn) // package net's descriptors are
	call.p, call.try, call.n = p, try, 0
	err := withFD(fileobj, call.withFD)
	n := call.n
	call.p = nil
	tryCalls.Put(call)
	return n, err
}

// A tryCall is one call of withFD. They are pooled, as controlCalls are.
type tryCall struct {
	try         func(fd int, p []byte, nonblocking bool) (int, error)
	p           []byte
	nonblocking bool
	n           int
	withFD      func(fd int) error
}

var tryCalls = sync.Pool{New: func() any {
	call := &tryCall{}
	call.withFD = func(fd int) (err error) {
		call.n, err = call.try(fd, call.p, call.nonblocking)
		return err
	}
	return call
}}

// TryAccept accepts one connection without waiting. The listener is a
// net.Listener that is a [syscall.Conn], or a listening descriptor. If no
// connection is queued the error is [ErrWouldBlock]. A connection that was reset
// in the queue is skipped. A listening descriptor in blocking mode is asked first,
// by poll(2); if another program takes the connection in between, TryAccept waits.
//
// At the limit of open files the error is EMFILE, and the connection stays in
// the queue: the listener stays ready, so a loop has to pause accepting. Making a
// net.Conn needs two descriptors for a moment.
//
// On Windows the listener has to be a net.Listener. It is asked for readiness and
// then told to accept; if the connection disappears in between, TryAccept waits
// for the next one.
func TryAccept(listener any) (net.Conn, error) {
	conn, err := sys.AcceptConn(listener, func(f func(fd int) error) error { return withFD(listener, f) })
	return conn, tryError("accept", err)
}

// TryAcceptFD is TryAccept that returns a descriptor. It is non-blocking and
// closed on exec; the caller has to close it.
func TryAcceptFD(listener any) (int, error) {
	conn := -1
	err := withFD(listener, func(fd int) (err error) {
		conn, err = sys.Accept(fd)
		return err
	})
	return conn, tryError("accept", err)
}

func tryError(op string, err error) error {
	switch err {
	case nil, io.EOF, ErrWouldBlock:
		return err
	}
	return fmt.Errorf("selectors: %s: %w", op, err)
}
