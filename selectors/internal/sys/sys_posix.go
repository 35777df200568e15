//go:build unix && !linux

package sys

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	PollRdHup   = 0                                    // only Linux has it
	MaxSelectFD = int(unsafe.Sizeof(unix.FdSet{})) * 8 // FD_SETSIZE
)

// IsPath reports whether a descriptor was opened with O_PATH, which Linux has.
func IsPath(int) bool { return false }

// unreadBytes returns the number of bytes that a read would find. Package unix does
// not have FIONREAD for every system.
func unreadBytes(int) (int, error) { return 0, unix.ENOTTY }

// Poll is poll(2): milliseconds.
func Poll(fds []PollFD, timeout time.Duration) (int, error) {
	n, err := unix.Poll(fds, Milliseconds(timeout))
	return outcome("poll", n, err)
}

// Select is select(2) on fd_sets of the usual size: microseconds. The three
// sets have the same length.
func Select(read, write, except FDSet, timeout time.Duration) (int, error) {
	var sets [3]unix.FdSet
	for i, set := range [3]FDSet{read, write, except} {
		copy(words(&sets[i]), set)
	}
	var tv *unix.Timeval
	if timeout >= 0 {
		v := unix.NsecToTimeval(int64(timeout + time.Microsecond - 1))
		tv = &v
	}
	n, err := unix.Select(len(read)*int(unsafe.Sizeof(uintptr(0)))*8, &sets[0], &sets[1], &sets[2], tv)
	if err == unix.EBADF {
		return 0, err
	}
	for i, set := range [3]FDSet{read, write, except} {
		copy(set, words(&sets[i]))
	}
	return outcome("select", n, err)
}

// words views an fd_set as an array of unsigned long. Systems whose elements
// are smaller are little-endian, where that makes no difference.
func words(set *unix.FdSet) FDSet {
	return unsafe.Slice((*uintptr)(unsafe.Pointer(set)), unsafe.Sizeof(*set)/unsafe.Sizeof(uintptr(0)))
}

func outcome(call string, n int, err error) (int, error) {
	switch err {
	case nil:
		return n, nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError(call, err)
}
