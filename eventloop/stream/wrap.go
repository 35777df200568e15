package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"goselectors/eventloop"
)

// Wrap makes a Conn from an open connection: a file descriptor as an int, a
// *net.TCPConn, *net.UnixConn or *os.File, or any other value that is a
// syscall.Conn and an io.Closer. Any file that is read and written as a stream
// works, pipes and terminals included.
//
// The Conn takes ownership of a descriptor. For another value it duplicates the
// descriptor and closes the value, which does not end the connection while the
// duplicate exists. The descriptor is put into non-blocking mode. On error Wrap
// takes no ownership and closes nothing.
//
// ConnectionMade is called in the next turn. Wrap returns [ErrNilHandler],
// [errors.ErrUnsupported], [eventloop.ErrClosed], or the error of the system.
func Wrap(loop *eventloop.Loop, conn any, h Handler, opts ...Option) (*Conn, error) {
	if h == nil {
		return nil, ErrNilHandler
	}
	if !platformSupported {
		return nil, fmt.Errorf("stream: %w on this platform", errors.ErrUnsupported)
	}
	fd, isFD := conn.(int)
	file, isFile := conn.(interface {
		syscall.Conn
		io.Closer
	})
	var err error
	switch {
	case isFD:
	case isFile:
		fd, err = duplicate(file)
	default:
		err = fmt.Errorf("%T has no file descriptor", conn)
	}
	if err == nil {
		if err = setNonblock(fd); err != nil && isFile {
			closeFD(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream: wrap: %w", err)
	}
	c := newConn(loop, fd, h, newOptions(opts))
	c.state |= readPaused // no data before ConnectionMade
	if !isStreamSocket(fd) {
		c.state |= notStream
	}
	err = loop.CallSoon(func() {
		c.state &^= readPaused
		if c.state&ended == 0 {
			c.start()
		}
	})
	if err != nil {
		if isFile {
			closeFD(fd)
		}
		return nil, err
	}
	if isFile {
		file.Close()
	}
	return c, nil
}

// Detach is the opposite of Wrap. It removes the connection from the loop and
// returns it as a net.Conn, for use by goroutines. The handler is not called
// any more, not even ConnectionLost.
//
// Data that was passed to DataReceived is not in the net.Conn. A handler that
// detaches must use the rest of p itself. Detach returns [ErrUnsent] while
// unsent data is queued, and [net.ErrClosed] if the connection is closed or
// closing. If the descriptor is not a socket, for example a pipe, Detach closes it
// and returns the error of net.FileConn; use DetachFD.
func (c *Conn) Detach() (net.Conn, error) {
	fd, err := c.DetachFD()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "detached")
	defer f.Close() // FileConn makes a duplicate
	return net.FileConn(f)
}

// DetachFD is like Detach, but returns the file descriptor, in non-blocking
// mode. The caller owns it and must close it.
func (c *Conn) DetachFD() (int, error) {
	switch {
	case c.state&(closing|ended) != 0:
		return -1, net.ErrClosed
	case c.out != nil || c.dialing != nil:
		return -1, ErrUnsent
	}
	c.removeFromLoop()
	fd := int(c.fd)
	c.fd = -1
	c.set.remove(c)
	return fd, nil
}
