package selectors

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// TryRead reads once without waiting, from a descriptor, a connection of
// package net, an *os.File or any other file object. Where there is nothing it
// is [ErrWouldBlock]; at end of file it is io.EOF, also where the file is a
// number. An empty datagram is 0 bytes and no error.
//
// It is what a loop should use instead of Read: readiness is a hint, and
// net.Conn.Read parks the goroutine, and the loop with it, if the data is gone
// by the time it asks.
//
// The descriptor should be in non-blocking mode, as all of package net's are
// and all that os opened as pipes or sockets. In either mode Linux is told to
// read without waiting, which it does with sockets and, newer kernels, with
// pipes and some more. Of other files, on other systems and under the race
// detector TryRead asks the mode, and on one in blocking mode also poll(2); then
// a read by somebody else in between, or an error in a socket's queue, can make
// it block. A regular file is read from the disk if need be.
func TryRead(fileobj any, p []byte) (n int, err error) {
	if fd, number := asNumber(fileobj); number && fd >= 0 { // without a closure, so without allocating
		n, err = tryRead(fd, p, false)
	} else {
		n, err = tryObject(fileobj, p, tryRead)
	}
	return n, tried("read", err)
}

// TryWrite writes once without waiting; it is TryRead's counterpart. It
// returns how much the kernel took, which may be less than all of p without an
// error. Where there is no room at all it is [ErrWouldBlock]. Where a descriptor
// in blocking mode is written after asking poll(2), as TryRead's documentation
// says, there is room, but perhaps not for all of p: then it waits.
func TryWrite(fileobj any, p []byte) (n int, err error) {
	if fd, number := asNumber(fileobj); number && fd >= 0 {
		n, err = tryWrite(fd, p, false)
	} else {
		n, err = tryObject(fileobj, p, tryWrite)
	}
	return n, tried("write", err)
}

func tryObject(fileobj any, p []byte, try func(fd int, p []byte, nonblock bool) (int, error)) (int, error) {
	a := attempts.Get().(*attempt)
	_, a.nonblock = fileobj.(net.Conn) // package net sees to that
	a.p, a.try, a.n = p, try, 0
	err := withFD(fileobj, a.f)
	n := a.n
	a.p = nil
	attempts.Put(a)
	return n, err
}

// An attempt is what withFD calls. They are kept, as loans are.
type attempt struct {
	try      func(fd int, p []byte, nonblock bool) (int, error)
	p        []byte
	nonblock bool
	n        int
	f        func(fd int) error
}

var attempts = sync.Pool{New: func() any {
	a := &attempt{}
	a.f = func(fd int) (err error) {
		a.n, err = a.try(fd, a.p, a.nonblock)
		return err
	}
	return a
}}

// TryAccept accepts one connection without waiting, from a net.Listener that
// is a syscall.Conn or a listening descriptor. Where none is queued it is
// [ErrWouldBlock]. A connection that was reset while it queued is passed over.
//
// At the limit of open files it is EMFILE, and the connection stays in the
// queue. A net.Conn needs two descriptors while it is made. On Windows it takes
// a net.Listener, which is asked for readiness and then told to accept; should
// the connection vanish in between, it waits for the next.
func TryAccept(listener any) (net.Conn, error) {
	conn, err := tryAcceptConn(listener)
	return conn, tried("accept", err)
}

// TryAcceptFD is TryAccept for those who keep descriptors: the new one is
// non-blocking and closed on exec, and the caller's to close.
func TryAcceptFD(listener any) (int, error) {
	conn, err := acceptWith(listener, tryAccept)
	return conn, tried("accept", err)
}

func acceptWith(listener any, try func(fd int) (int, error)) (int, error) {
	conn := -1
	err := withFD(listener, func(fd int) (err error) {
		conn, err = try(fd)
		return err
	})
	return conn, err
}

func tried(op string, err error) error {
	switch err {
	case nil, io.EOF, ErrWouldBlock:
		return err
	}
	return fmt.Errorf("selectors: %s: %w", op, err)
}
