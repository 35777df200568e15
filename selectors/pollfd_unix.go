//go:build unix

package selectors

import "golang.org/x/sys/unix"

// What poll(2) is given, and what it answers.
type (
	pollFD     = unix.PollFd
	pollNumber = int32 // of a pollFD
)

const (
	pollIn   = unix.POLLIN
	pollOut  = unix.POLLOUT
	pollPri  = unix.POLLPRI
	pollHup  = unix.POLLHUP
	pollErr  = unix.POLLERR
	pollNval = unix.POLLNVAL
)

// hangup reads a mask with pollHup in it.
func hangup(uint32) Event { return EventHangup }
