//go:build unix && !linux

package selectors

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pollRdHup    = 0
	pollFeatures = FeatureHangup | FeatureAnyFile
	maxSelectFD  = int(unsafe.Sizeof(unix.FdSet{})) * 8 // FD_SETSIZE
)

// ppoll is poll(2): milliseconds, rounded up. An interrupted call is one that
// found nothing.
func ppoll(fds []unix.PollFd, timeout time.Duration) (int, error) {
	n, err := unix.Poll(fds, milliseconds(timeout))
	return outcome("poll", n, err)
}

// pselect is select(2) on fd_sets of the usual size: microseconds, rounded up.
func pselect(r, w, x fdSet, timeout time.Duration) (int, error) {
	var sets [3]unix.FdSet
	for i, set := range [3]fdSet{r, w, x} {
		copy(words(&sets[i]), set)
	}
	var tv *unix.Timeval
	if timeout >= 0 {
		v := unix.NsecToTimeval(int64(timeout + time.Microsecond - 1))
		tv = &v
	}
	n, err := unix.Select(len(r)*int(unsafe.Sizeof(uintptr(0)))*8, &sets[0], &sets[1], &sets[2], tv)
	if err == unix.EBADF {
		return 0, err
	}
	for i, set := range [3]fdSet{r, w, x} {
		copy(set, words(&sets[i]))
	}
	return outcome("select", n, err)
}

// words looks at an fd_set as an array of unsigned long. Systems with smaller
// elements are little-endian, where that makes no difference.
func words(set *unix.FdSet) fdSet {
	return unsafe.Slice((*uintptr)(unsafe.Pointer(set)), unsafe.Sizeof(*set)/unsafe.Sizeof(uintptr(0)))
}

func outcome(call string, n int, err error) (int, error) {
	switch err {
	case nil:
		return n, nil
	case unix.EINTR: // routine: the Go runtime preempts goroutines with signals
		return 0, nil
	}
	return 0, os.NewSyscallError(call, err)
}
