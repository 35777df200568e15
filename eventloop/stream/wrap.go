package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// Wrap makes a Conn from an open connection: any file object that
// [selectors.Selector] accepts, such as a descriptor's number, a *net.TCPConn,
// *net.UnixConn or *os.File. Any file that is read or written as a stream
// works, pipes and terminals included. A file that cannot be written, such as the
// read end of a pipe, has a write side that is closed from the start. One that
// cannot be read never calls DataReceived and EOFReceived; if it is the write end
// of a pipe, ConnectionLost is called when the reader leaves, with an error if
// unsent data is queued.
//
// The Conn takes ownership of a number. For another value it duplicates the
// descriptor and closes the value, if it has a Close method; that does not end the
// connection while the duplicate exists. The descriptor is put into non-blocking mode. On error Wrap
// takes no ownership and closes nothing.
//
// ConnectionMade is called in the next turn, and nothing is read or written before.
// Wrap returns an error that wraps [ErrNilHandler], [ErrNilLoop],
// [errors.ErrUnsupported], [eventloop.ErrClosed], or the error of the system.
func Wrap(loop *eventloop.Loop, conn any, h Handler, opts ...Option) (*Conn, error) {
	fail := func(err error) (*Conn, error) { return nil, opError("wrap", subjectOf(conn), err) }
	switch {
	case loop == nil:
		return fail(ErrNilLoop)
	case h == nil:
		return fail(ErrNilHandler)
	case !platformSupported:
		return fail(errors.ErrUnsupported)
	}
	fd, owner, err := descriptorOf(conn)
	if err != nil {
		return fail(err)
	}
	closeDuplicate := func() {
		if owner != nil {
			closeFD(fd)
		}
	}
	kind, err := kindOf(fd)
	if err == nil {
		err = setNonblock(fd)
	}
	if err != nil {
		closeDuplicate()
		return fail(err)
	}
	c := newConn(loop, fd, h, newOptions(opts))
	c.setKind(kind)
	c.setRemote(remoteAddr(fd))
	err = loop.CallSoon(func() {
		if c.life == starting {
			c.start()
		}
	})
	if err != nil {
		closeDuplicate()
		return fail(errors.Unwrap(err))
	}
	if owner != nil {
		owner.Close()
	}
	return c, nil
}

// keepsDescriptor stands for a file object without a Close method.
type keepsDescriptor struct{}

func (keepsDescriptor) Close() error { return nil }

// descriptorOf returns the descriptor of the argument of Wrap. If owner is not nil,
// the descriptor is a duplicate, and owner has the original.
func descriptorOf(conn any) (fd int, owner io.Closer, err error) {
	switch conn := conn.(type) {
	case int:
		return conn, nil, nil
	case uintptr:
		return int(conn), nil, nil
	}
	fd, err = selectors.FileDescriptor(conn)
	if errors.Is(err, selectors.ErrInvalidFileObj) {
		return -1, nil, err
	}
	if file, ok := conn.(syscall.Conn); ok {
		fd, err = duplicate(file) // which keeps the file open meanwhile, and has an error of package net
	} else if err == nil {
		fd, err = duplicateFD(fd)
	}
	owner, ok := conn.(io.Closer)
	if !ok {
		owner = keepsDescriptor{}
	}
	return fd, owner, err
}

// subjectOf names the argument of Wrap in errors.
func subjectOf(conn any) string {
	switch conn := conn.(type) {
	case int:
		return "fd " + strconv.Itoa(conn)
	case uintptr:
		return "fd " + strconv.Itoa(int(conn))
	case *os.File:
		if conn != nil {
			return conn.Name()
		}
	case *net.TCPConn:
		if conn != nil && conn.RemoteAddr() != nil {
			return conn.RemoteAddr().String()
		}
	}
	return fmt.Sprintf("%T", conn)
}

// Detach is the opposite of Wrap. It removes the connection from the loop and
// returns it as a net.Conn, for use by goroutines. The handler is not called
// any more, not even ConnectionLost.
//
// Data that was passed to DataReceived is not in the net.Conn. A handler that
// detaches must use the rest of p itself. If Detach returns an error, nothing has
// changed: the error wraps [ErrUnsent] while unsent data is queued, [net.ErrClosed]
// if the connection is closed or closing, or the error of the system, for example
// because the descriptor is not a socket (use DetachFD) or the process has no free
// descriptor (Detach needs two for a moment).
func (c *Conn) Detach() (net.Conn, error) {
	if err := c.detachError(); err != nil {
		return nil, err
	}
	fd, err := duplicateFD(int(c.fd))
	if err != nil {
		return nil, c.opError("detach", err)
	}
	f := os.NewFile(uintptr(fd), "detached")
	defer f.Close() // FileConn makes a duplicate
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, c.opError("detach", err)
	}
	closeFD(c.detach())
	return conn, nil
}

// DetachFD is like Detach, but returns the file descriptor, in non-blocking
// mode. The caller owns it and must close it.
func (c *Conn) DetachFD() (int, error) {
	if err := c.detachError(); err != nil {
		return -1, err
	}
	return c.detach(), nil
}

// detachError returns why the connection cannot be detached, or nil.
func (c *Conn) detachError() error {
	switch {
	case c.life == failing:
		return c.err
	case c.life != starting && c.life != connected:
		return c.opError("detach", net.ErrClosed)
	case c.out != nil || c.fd < 0:
		return c.opError("detach", ErrUnsent)
	}
	return nil
}

// detach gives up the descriptor.
func (c *Conn) detach() int {
	c.release(detached)
	fd := int(c.fd)
	c.fd = -1
	c.set.remove(c)
	return fd
}
