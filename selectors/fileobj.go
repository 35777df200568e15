package selectors

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"sync"
	"syscall"
)

// An fder has a descriptor. It is asked last: os.File has an Fd method too, but
// that may switch the file to blocking mode, so syscall.Conn comes first.
type fder interface{ Fd() uintptr }

// FileDescriptor returns the descriptor of a file object, as the methods of
// [Selector] understand it. A number is not checked beyond its range. The error
// is one of:
//   - [ErrInvalidFileObj], of a value that is not a file object
//   - one that is both [os.ErrClosed] and EBADF, of an object that was closed
//   - EBADF, of a number that is larger than any descriptor
//
// As soon as it returns, another goroutine can close the object, and its number
// can be reused. It is for implementations of Selector.
func FileDescriptor(fileobj any) (int, error) {
	fd := -1
	err := withFD(fileobj, func(n int) error { fd = n; return nil })
	return fd, err
}

// withFD calls f with the descriptor of a file object. The descriptor of a
// syscall.Conn cannot be closed and reused while f runs.
func withFD(fileobj any, f func(fd int) error) error {
	switch v := fileobj.(type) {
	case int:
		if v < 0 {
			return fmt.Errorf("%w: negative descriptor %d", ErrInvalidFileObj, v)
		}
		return withNumber(uintptr(v), f)
	case uintptr:
		return withNumber(v, f)
	}
	if isNil(fileobj) {
		return fmt.Errorf("%w: nil %T", ErrInvalidFileObj, fileobj)
	}
	switch v := fileobj.(type) {
	case syscall.Conn:
		return withConn(v, f)
	case fder:
		return withNumber(v.Fd(), f)
	}
	return fmt.Errorf("%w: %T has neither SyscallConn nor Fd", ErrInvalidFileObj, fileobj)
}

// withConn is withFD for a syscall.Conn. Some that were never opened, such as
// new(os.File), panic when asked for their descriptor.
func withConn(conn syscall.Conn, f func(fd int) error) (err error) {
	call := controlCalls.Get().(*controlCall)
	call.f, call.called, call.err = f, false, nil
	defer func() {
		if !call.called && err == nil {
			if r := recover(); r != nil {
				err = fmt.Errorf("%w: %T: %v", ErrInvalidFileObj, conn, r)
			}
		}
		call.f = nil
		controlCalls.Put(call)
	}()
	rc, err := conn.SyscallConn()
	if err != nil {
		return connError(err)
	}
	if err = rc.Control(call.control); err != nil {
		return connError(err)
	}
	return call.err
}

// A controlCall is one call of RawConn.Control. They are pooled, because a
// closure would have to be allocated for each call.
type controlCall struct {
	f       func(fd int) error
	control func(fd uintptr)
	called  bool
	err     error // of f
}

var controlCalls = sync.Pool{New: func() any {
	call := &controlCall{}
	call.control = func(fd uintptr) {
		call.called = true
		call.err = withNumber(fd, call.f)
	}
	return call
}}

func withNumber(fd uintptr, f func(fd int) error) error {
	if fd == ^uintptr(0) { // the Fd of a closed os.File
		return connError(os.ErrClosed)
	}
	if fd > math.MaxInt32 {
		return fmt.Errorf("%w: descriptor %d", errBadFD, fd)
	}
	return f(int(fd))
}

// connError returns one error for all file objects that were closed. Packages
// net and os report it in different ways, and RawConn.Control of a closed file
// with an error of internal/poll that matches neither.
func connError(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, os.ErrInvalid) { // a nil or zero *net.TCPConn
		return fmt.Errorf("%w: %w", ErrInvalidFileObj, err)
	}
	return fmt.Errorf("%w: %w", os.ErrClosed, errBadFD)
}

// isNil reports whether v is nil or a nil pointer in an interface. A method call
// on the latter may panic.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice, reflect.UnsafePointer:
		return r.IsNil()
	}
	return false
}

// asNumber reports whether a file object is a bare descriptor. fd is -1 if the
// number cannot be one; the kernel would look at its low 32 bits only.
func asNumber(fileobj any) (fd int, ok bool) {
	switch v := fileobj.(type) {
	case int:
		if v >= 0 && v <= math.MaxInt32 {
			return v, true
		}
		return -1, true
	case uintptr:
		if v <= math.MaxInt32 {
			return int(v), true
		}
		return -1, true
	}
	return -1, false
}

// isComparable reports whether a file object can be a key of a map. Bare numbers
// are excluded, because they are found by number.
func isComparable(fileobj any) bool {
	if _, number := asNumber(fileobj); number || fileobj == nil {
		return false
	}
	v := reflect.ValueOf(fileobj)
	return v.Kind() == reflect.Pointer || v.Comparable()
}
