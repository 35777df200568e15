package selectors

import (
	"errors"
	"os"
	"strconv"
)

// Error is what every method of the selectors in this package returns when it
// fails. Err is one of the sentinels below, an error that wraps one, or the
// system's error number, so that errors.Is(err, unix.EBADF) works.
type Error struct {
	Op      string // "register", "modify", "unregister", "key", "select", "wake", "close" or "new"
	Backend string // "epoll", "kqueue", "poll", "select", …
	FD      int    // the descriptor, or -1 where none is concerned or known
	Err     error  // the cause
}

func (e *Error) Error() string {
	s := "selectors: " + e.Backend + " " + e.Op
	if e.FD >= 0 {
		s += " fd " + strconv.Itoa(e.FD)
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// The causes that are this package's own. Test for them with errors.Is.
//
// A mode or interest that a backend does not have is an error that wraps
// [errors.ErrUnsupported]; a descriptor that is not open is the system's own
// EBADF, and a file object that was closed is EBADF and [os.ErrClosed] both.
var (
	// ErrRegistered: Register of a descriptor that has a key already.
	ErrRegistered = errors.New("already registered")

	// ErrNotRegistered: Modify, Unregister or Key of something without a key.
	ErrNotRegistered = errors.New("not registered")

	// ErrClosed: any call on a selector after Close, and the Select that
	// Close woke. It matches [os.ErrClosed] too.
	ErrClosed error = closedError{}

	// ErrConcurrentSelect: a second goroutine called Select while one was in
	// it. Two would steal each other's events.
	ErrConcurrentSelect = errors.New("another goroutine is in Select")

	// ErrInvalidEvents: an interest that is empty, or has bits that are
	// unknown, reported only, or do not go together.
	ErrInvalidEvents = errors.New("invalid events")

	// ErrInvalidFileObj: a file object that is not an int, a uintptr, a
	// syscall.Conn or something with an Fd() uintptr method; nil, also inside
	// an interface; or a negative number.
	ErrInvalidFileObj = errors.New("invalid file object")

	// ErrFDTooLarge: the descriptor's number does not fit the fd_set of this
	// platform's select(2).
	ErrFDTooLarge = errors.New("descriptor number too large for this backend")

	// ErrWouldBlock: [TryRead], [TryWrite] or [TryAccept] had nothing to do.
	ErrWouldBlock = errors.New("operation would block")
)

type closedError struct{}

func (closedError) Error() string        { return "selector is closed" }
func (closedError) Is(target error) bool { return target == os.ErrClosed }

// unsupportedError says what is not supported, and is errors.ErrUnsupported.
type unsupportedError struct{ what string }

func (e *unsupportedError) Error() string        { return e.what + " is not supported" }
func (e *unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }
