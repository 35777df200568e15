package selectors

import (
	"fmt"
	"io"
	"net"
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
// and all that os opened as pipes or sockets. On one in blocking mode TryRead
// asks poll(2) first; then a read by somebody else in between can make it
// block.
func TryRead(fileobj any, p []byte) (int, error) {
	n := 0
	err := withFD(fileobj, func(fd int) (err error) {
		n, err = tryRead(fd, p)
		return err
	})
	return n, tried("read", err)
}

// TryWrite writes once without waiting; it is TryRead's counterpart. It
// returns how much the kernel took, which may be less than all of p without an
// error. Where there is no room at all it is [ErrWouldBlock].
func TryWrite(fileobj any, p []byte) (int, error) {
	n := 0
	err := withFD(fileobj, func(fd int) (err error) {
		n, err = tryWrite(fd, p)
		return err
	})
	return n, tried("write", err)
}

// TryAccept accepts one connection without waiting, from a net.Listener that
// is a syscall.Conn or a listening descriptor. Where none is queued it is
// [ErrWouldBlock]. A connection that was reset while it queued is passed over.
func TryAccept(listener any) (net.Conn, error) {
	fd, err := TryAcceptFD(listener)
	if err != nil {
		return nil, err
	}
	conn, err := fileConn(fd)
	return conn, tried("accept", err)
}

// TryAcceptFD is TryAccept for those who keep descriptors: the new one is
// non-blocking and closed on exec, and the caller's to close.
func TryAcceptFD(listener any) (int, error) {
	conn := -1
	err := withFD(listener, func(fd int) (err error) {
		conn, err = tryAccept(fd)
		return err
	})
	return conn, tried("accept", err)
}

func tried(op string, err error) error {
	switch err {
	case nil, io.EOF, ErrWouldBlock:
		return err
	}
	return fmt.Errorf("selectors: %s: %w", op, err)
}
