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

// Wrap takes over what is connected already: a descriptor, as an int, or a
// *net.TCPConn, *net.UnixConn, *os.File or whatever else is a syscall.Conn and
// an io.Closer. Anything that is read and written like a stream will do: pipes
// and terminals too.
//
// A descriptor is the Conn's from then on. Of an object, the Conn has a
// duplicate, and the object is closed; net.Conn.Close does not end a connection
// of which there is a duplicate. Both go into non-blocking mode. On error
// nothing is taken.
//
// ConnectionMade follows in the next turn.
func Wrap(loop *eventloop.Loop, conn any, h Handler, opts ...Option) (*Conn, error) {
	if h == nil {
		return nil, ErrNilHandler
	}
	if !available {
		return nil, fmt.Errorf("stream: %w on this platform", errors.ErrUnsupported)
	}
	fd, number := conn.(int)
	object, isObject := conn.(interface {
		syscall.Conn
		io.Closer
	})
	var err error
	switch {
	case number:
	case isObject:
		fd, err = duplicate(object)
	default:
		err = fmt.Errorf("%T has no descriptor to take over", conn)
	}
	if err == nil {
		if err = setNonblock(fd); err != nil && isObject {
			closeFD(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream: wrap: %w", err)
	}
	c := newConn(loop, fd, h, newOptions(opts))
	c.state |= paused // nothing is to come before ConnectionMade
	err = loop.CallSoon(func() {
		c.state &^= paused
		if c.state&over == 0 {
			c.begin()
		}
	})
	if err != nil {
		if isObject {
			closeFD(fd)
		}
		return nil, err
	}
	if isObject {
		object.Close()
	}
	return c, nil
}

// Detach is the opposite of Wrap: it takes the connection from the loop and
// returns it as one of package net, for goroutines to read and write. The Conn
// is over, and its handler is called no more, not for ConnectionLost either.
//
// What DataReceived was given is not given again, so a handler should detach
// when it knows what comes next, and not leave the rest of p behind. While
// something waits to be sent, Detach is ErrUnsent.
func (c *Conn) Detach() (net.Conn, error) {
	fd, err := c.DetachFD()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "detached")
	defer f.Close() // FileConn makes a duplicate
	return net.FileConn(f)
}

// DetachFD is Detach for those who want the descriptor, which is theirs to
// close then. It is in non-blocking mode.
func (c *Conn) DetachFD() (int, error) {
	switch {
	case c.state&(closing|over) != 0:
		return -1, net.ErrClosed
	case c.out != nil || c.dial != nil:
		return -1, ErrUnsent
	}
	c.retire()
	c.state |= detached
	fd := int(c.fd)
	c.fd = -1
	c.roster.remove(c)
	return fd, nil
}
