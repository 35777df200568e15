package stream

import (
	"errors"
	"os"
	"strconv"
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

// Timeout reports whether the cause is a timeout.
func (e *Error) Timeout() bool {
	var cause interface{ Timeout() bool }
	return errors.As(e.Err, &cause) && cause.Timeout()
}

// opError returns an *Error.
func opError(op, subject string, err error) error { return &Error{op, subject, err} }

// opError returns an *Error about the connection.
func (c *Conn) opError(op string, err error) error {
	subject := ""
	switch {
	case c.remote.IsValid():
		subject = c.remote.String()
	case c.life != noConn && c.fd >= 0:
		subject = "fd " + strconv.Itoa(int(c.fd))
	}
	return opError(op, subject, err)
}

// Causes of errors. Test for them with errors.Is.
var (
	// ErrWriteClosed is returned by a write after CloseWrite, or to a file that
	// cannot be written.
	ErrWriteClosed = errors.New("write side is closed")

	// ErrIdle is passed to ConnectionLost after SetIdleTimeout. This and the other
	// timeouts match os.ErrDeadlineExceeded too.
	ErrIdle error = timeoutError("stream: idle timeout")

	// ErrReadTimeout is passed to ConnectionLost after SetReadTimeout.
	ErrReadTimeout error = timeoutError("stream: read timeout")

	// ErrWriteTimeout is passed to ConnectionLost after SetWriteTimeout.
	ErrWriteTimeout error = timeoutError("stream: write timeout")

	// ErrFirstByteTimeout is passed to ConnectionLost after WithFirstByteTimeout.
	ErrFirstByteTimeout error = timeoutError("stream: first byte timeout")

	// ErrTooMuchUnsent ends a connection with more unsent data than the limit of
	// WithMaxUnsent.
	ErrTooMuchUnsent = errors.New("too much unsent data")

	// ErrUnsent is returned by Detach when unsent data is queued, or when the
	// connection of Dial is not established yet.
	ErrUnsent = errors.New("unsent data")

	// ErrNilHandler is returned when a Handler, a PacketHandler or the function
	// that makes handlers is nil.
	ErrNilHandler = errors.New("nil handler")

	// ErrNilLoop is returned when the loop is nil.
	ErrNilLoop = errors.New("nil loop")
)

type timeoutError string

func (e timeoutError) Error() string      { return string(e) }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }
