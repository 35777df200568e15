package stream

import (
	"errors"
	"os"
)

// What can be wrong beside what the system says. A call on a connection that is
// closed, or closing, is [net.ErrClosed].
var (
	// ErrWriteClosed: a write after CloseWrite.
	ErrWriteClosed = errors.New("stream: the writing half is closed")

	// ErrIdle: ConnectionLost because nothing moved for the time given to
	// SetIdleTimeout. It matches os.ErrDeadlineExceeded too.
	ErrIdle error = idleError{}

	// ErrUnsent: Detach while something waits to be sent.
	ErrUnsent = errors.New("stream: there is unsent data")

	// ErrNilHandler: nil where a Handler, or a function that makes them, is
	// needed.
	ErrNilHandler = errors.New("stream: nil handler")
)

type idleError struct{}

func (idleError) Error() string        { return "stream: the connection was idle for too long" }
func (idleError) Is(target error) bool { return target == os.ErrDeadlineExceeded }
