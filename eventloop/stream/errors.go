package stream

import (
	"errors"
	"os"
)

// Errors of this package. Errors of system calls are returned as
// *os.SyscallError. A write to a closed or closing connection returns
// [net.ErrClosed].
var (
	// ErrWriteClosed is returned by a write after CloseWrite.
	ErrWriteClosed = errors.New("stream: write side is closed")

	// ErrIdle is passed to ConnectionLost when no data was read or sent for the
	// time of SetIdleTimeout. It matches os.ErrDeadlineExceeded too.
	ErrIdle error = idleError{}

	// ErrUnsent is returned by Detach when unsent data is queued, or when the
	// connection of Dial is not established yet.
	ErrUnsent = errors.New("stream: unsent data")

	// ErrNilHandler is returned when a Handler, a PacketHandler or the function
	// that makes handlers is nil.
	ErrNilHandler = errors.New("nil handler")
)

type idleError struct{}

func (idleError) Error() string        { return "stream: idle timeout" }
func (idleError) Is(target error) bool { return target == os.ErrDeadlineExceeded }
