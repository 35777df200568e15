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

// fder is the last resort for file objects: types with a descriptor but no
// SyscallConn. os.File has both, and its Fd may switch the file to blocking
// mode; that is why syscall.Conn is asked first.
type fder interface{ Fd() uintptr }

// withFD resolves a file object and calls f with its descriptor. For a
// syscall.Conn the descriptor cannot be closed and reused while f runs.
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
		return borrow(v, f)
	case fder:
		return withNumber(v.Fd(), f)
	}
	return fmt.Errorf("%w: %T has neither SyscallConn nor Fd", ErrInvalidFileObj, fileobj)
}

// borrow calls f with the descriptor of a syscall.Conn. Some that were never
// opened, new(os.File) for one, panic when asked.
func borrow(conn syscall.Conn, f func(fd int) error) (err error) {
	l := loans.Get().(*loan)
	l.f, l.lent, l.err = f, false, nil
	defer func() {
		if !l.lent && err == nil {
			if r := recover(); r != nil {
				err = fmt.Errorf("%w: %T: %v", ErrInvalidFileObj, conn, r)
			}
		}
		l.f = nil
		loans.Put(l)
	}()
	rc, err := conn.SyscallConn()
	if err != nil {
		return closedFile(err)
	}
	if err = rc.Control(l.use); err != nil {
		return closedFile(err)
	}
	return l.err
}

// A loan is what RawConn.Control calls. They are kept, because a closure would
// have to be allocated for each call.
type loan struct {
	f    func(fd int) error
	use  func(fd uintptr)
	lent bool
	err  error // of f
}

var loans = sync.Pool{New: func() any {
	l := &loan{}
	l.use = func(fd uintptr) {
		l.lent = true
		l.err = withNumber(fd, l.f)
	}
	return l
}}

func withNumber(fd uintptr, f func(fd int) error) error {
	if fd == ^uintptr(0) { // what a closed os.File's Fd says
		return closedFile(os.ErrClosed)
	}
	if fd > math.MaxInt32 {
		return fmt.Errorf("%w: descriptor %d", errBadFD, fd)
	}
	return f(int(fd))
}

// closedFile gives the one error for file objects that were closed. Package
// net and package os say it in different ways, and RawConn.Control of a closed
// file with internal/poll's own error that matches neither.
func closedFile(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, os.ErrInvalid) { // a nil or zero *net.TCPConn
		return fmt.Errorf("%w: %w", ErrInvalidFileObj, err)
	}
	return fmt.Errorf("%w: %w", os.ErrClosed, errBadFD)
}

// isNil reports nil itself and nil inside an interface: calling a method on
// the latter may panic.
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

// asNumber tells whether a file object is a bare descriptor, and which: -1 if
// it cannot be one. The kernel would look at the low 32 bits only.
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

// isIdentity tells whether a file object can be found again by comparison, in
// a map: objects, but not bare numbers (they are found by number) and not
// values that Go cannot compare.
func isIdentity(fileobj any) bool {
	if _, number := asNumber(fileobj); number || fileobj == nil {
		return false
	}
	v := reflect.ValueOf(fileobj)
	return v.Kind() == reflect.Pointer || v.Comparable()
}
