package selectors

import (
	"errors"
	"os"
	"strconv"

	"goselectors/selectors/internal/sys"
)

// Error is the type of all errors that a [Selector] returns. Err is one of the Err
// variables of this package, an error that wraps one, or the system's error
// number, so that errors.Is(err, unix.EBADF) works.
type Error struct {
	Op      string // "register", "modify", "unregister", "key", "select", "wake", "close" or "new"
	Backend string // "epoll", "kqueue", "poll", "select", …
	FD      int    // the descriptor, or -1 if there is none or it is not known
	Err     error  // the cause
}

func (e *Error) Error() string {
	s := "selectors: "
	if e.Backend != "" { // empty for the zero value of a selector
		s += e.Backend + " "
	}
	s += e.Op
	if e.FD >= 0 {
		s += " fd " + strconv.Itoa(e.FD)
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Causes of errors. Test for them with errors.Is.
//
// There are others: a mode or interest that a backend does not have is an error
// that wraps [errors.ErrUnsupported]; a descriptor that is not open is the
// system's EBADF, and so is one that was opened with O_PATH or that belongs to the
// selector itself; and a file object that was closed is both EBADF and
// [os.ErrClosed].
var (
	// ErrRegistered: Register was called for a descriptor that has a key.
	ErrRegistered = errors.New("already registered")

	// ErrNotRegistered: Modify, Unregister or Key was called for a file object
	// that has no key.
	ErrNotRegistered = errors.New("not registered")

	// ErrClosed: the selector was closed before or during the call, or it is the zero
	// value of its type. It matches [os.ErrClosed] too.
	ErrClosed error = closedError{}

	// ErrConcurrentSelect: a second goroutine called Select while one was in it.
	// Each would take events from the other.
	ErrConcurrentSelect = errors.New("another goroutine is in Select")

	// ErrInvalidEvents: the interest is empty, or has bits that are unknown,
	// that are only reported, or that cannot be combined.
	ErrInvalidEvents = errors.New("invalid events")

	// ErrInvalidFileObj: the file object is not an int, a uintptr, a
	// syscall.Conn or a type with an Fd() uintptr method; or it is nil or a nil
	// pointer; or it is a negative number.
	ErrInvalidFileObj = errors.New("invalid file object")

	// ErrFDTooLarge: the descriptor's number does not fit the fd_set of this
	// platform's select(2).
	ErrFDTooLarge = sys.ErrFDTooLarge

	// ErrWouldBlock: [TryRead], [TryWrite] or [TryAccept] would have to wait.
	ErrWouldBlock = sys.ErrWouldBlock

	errBadFD = sys.ErrBadFD // a descriptor that is not open
)

type closedError struct{}

func (closedError) Error() string        { return "selector is closed" }
func (closedError) Is(target error) bool { return target == os.ErrClosed }
