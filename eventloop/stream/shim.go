package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
)

// An Error is an error of an operation of this package. Err is one of the Err
// variables of this package, [net.ErrClosed], [eventloop.ErrClosed],
// [errors.ErrUnsupported], an error of package net, or the system's error number,
// so that errors.Is(err, unix.EPIPE) works.
type Error struct {
	Op      string // "write", "read", "dial", "listen", "accept", "wrap", …
	Subject string // the address or the descriptor, such as "127.0.0.1:80" or "fd 7"; may be empty
	Err     error  // the cause
}

func (e *Error) Error() string {
	s := "stream: " + e.Op
	if e.Subject != "" {
		s += " " + e.Subject
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// opError returns an *Error.
func opError(op, subject string, err error) error { return &Error{op, subject, err} }

// ErrNilLoop is returned when the loop is nil.
var ErrNilLoop = errors.New("nil loop")

// A ShutdownHandler is a Handler that learns that its server is going.
type ShutdownHandler interface {
	Handler

	// ShutdownRequested is called at most once, by Shutdown of the listener or the
	// group. The handler should finish its answer and then close the connection.
	ShutdownRequested(c *Conn)
}

// shutdownRequested tells the handler that the server is going. Without a
// ShutdownHandler the connection is closed.
func (c *Conn) shutdownRequested() {
	h, ok := c.handler.(ShutdownHandler)
	if !ok || c.Closed() {
		c.Close()
		return
	}
	returned := false
	defer func() {
		if !returned {
			c.Abort()
		}
	}()
	h.ShutdownRequested(c)
	returned = true
}

// descriptorOf returns the descriptor of the argument of Wrap. If owner is not nil,
// the descriptor is a duplicate, and owner has the original.
func descriptorOf(conn any) (fd int, owner io.Closer, err error) {
	switch conn := conn.(type) {
	case int:
		return conn, nil, nil
	case uintptr:
		return int(conn), nil, nil
	}
	owner, ok := conn.(io.Closer)
	if !ok {
		return -1, nil, fmt.Errorf("%T is not a descriptor and has no Close method", conn)
	}
	switch file := conn.(type) {
	case syscall.Conn:
		fd, err = duplicate(file)
	default:
		err = fmt.Errorf("%T has no descriptor", conn)
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
		if addr := conn.RemoteAddr(); addr != nil {
			return addr.String()
		}
	}
	return fmt.Sprintf("%T", conn)
}
