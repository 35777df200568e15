// Package sys makes the system calls that package selectors needs look alike on
// every platform. It keeps no state of a selector.
//
// Each platform has a file that defines:
//
//	Poll(fds []PollFD, timeout time.Duration) (n int, err error)
//	NewPollFD(fd int, mask uint32) PollFD
//	SetEvents(p *PollFD, mask uint32)
//	PollIn, PollOut, PollPri, PollErr, PollHup, PollNval, PollRdHup
//
//	Select(read, write, except FDSet, timeout time.Duration) (n int, err error)
//	MaxSelectFD, the number of the first descriptor that Select cannot take
//
//	FileID(fd int) (id uint64, err error)
//	Identify(fd int, known uint64) (id uint64, same bool, err error)
//	IsOpen(fd int) bool
//	EffectOfAsking(fd int) Effect
//	PollLimit() int, the number of descriptors that Poll takes at present
//	isShortage(err error) bool: see IsShortage
//	IsPath(fd int) bool
//
//	Read(fd int, p []byte, nonblocking bool) (n int, err error)
//	Write(fd int, p []byte, nonblocking bool) (n int, err error)
//	Accept(fd int) (conn int, err error)
//	AcceptConn(listener any, withFD func(func(fd int) error) error) (net.Conn, error)
//
//	HasPoll, HasSelect, AnyFile, HupIsReadClosed: see their comments
//
// Timeouts are rounded up to what the system call can express; a negative one
// means no limit. A call that a signal interrupts returns 0 and no error: the
// Go runtime preempts goroutines with signals (SIGURG), so this is routine, and
// the caller has to look at its deadline anyway.
package sys

import (
	"errors"
	"time"
)

var (
	// ErrWouldBlock: Read, Write or Accept would have to wait.
	ErrWouldBlock = errors.New("operation would block")

	// ErrRefused: a call failed for a reason that passes, but the system's error
	// does not tell that.
	ErrRefused = errors.New("refused for the moment")

	// ErrFDTooLarge: the descriptor's number does not fit.
	ErrFDTooLarge = errors.New("descriptor number too large for this backend")
)

// Unsupported is the error for something that this platform or backend does not
// have. It names that thing, and is errors.ErrUnsupported.
type Unsupported string

func (what Unsupported) Error() string   { return string(what) + " is not supported" }
func (Unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

// An Effect is what asking a file for readiness does, apart from giving an answer.
type Effect uint8

const (
	// AskingHasNone: the file can be asked at any time, in any thread.
	AskingHasNone Effect = iota

	// AskingIsLocal: nothing, but it makes a difference who asks.
	AskingIsLocal

	// AskingTakesNews: it may take the news away, so that the next one who asks
	// is not told; or the file is not known.
	AskingTakesNews
)

// IsShortage reports whether a system call failed for lack of something that can
// be had later, so that it is worth repeating.
func IsShortage(err error) bool { return err == ErrRefused || isShortage(err) }

// Milliseconds converts a timeout for calls that take milliseconds. It rounds
// up, because a wait may end late but not early; a negative timeout is -1.
func Milliseconds(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	return int((timeout + time.Millisecond - 1) / time.Millisecond)
}

var epoch = time.Now()

// Now reads the monotonic clock. Its zero is arbitrary.
func Now() time.Duration { return time.Since(epoch) }
