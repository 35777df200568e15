package stream

import (
	"errors"
	"fmt"
	"os"
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
func (e *Error) Timeout() bool { return errors.Is(e.Err, os.ErrDeadlineExceeded) }

// opError returns an *Error.
func opError(op, subject string, err error) error { return &Error{op, subject, err} }

// ErrNilLoop is returned when the loop is nil.
var ErrNilLoop = errors.New("nil loop")

// A HandlerPanic is the error of SocketClosed if a method of the handler has
// panicked.
type HandlerPanic struct {
	Value  any    // the value of the panic; nil after runtime.Goexit
	Method string // the method of the handler
	Stack  []byte // the stack at the panic
}

func (p *HandlerPanic) Error() string {
	if p.Value == nil {
		return fmt.Sprintf("stream: %s ended the goroutine", p.Method)
	}
	return fmt.Sprintf("stream: panic in %s: %v", p.Method, p.Value)
}

// Unwrap returns the value of the panic if it is an error, and nil otherwise.
func (p *HandlerPanic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}
