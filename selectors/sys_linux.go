package selectors

import (
	"math"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pollRdHup    = unix.POLLRDHUP
	pollFeatures = FeatureReadClosed | FeatureHangup | FeatureAnyFile
	maxSelectFD  = math.MaxInt32
)

// timespec makes the time limit of ppoll and pselect6; nil waits for ever.
func timespec(timeout time.Duration) *unix.Timespec {
	if timeout < 0 {
		return nil
	}
	ts := unix.NsecToTimespec(int64(timeout))
	return &ts
}

// A call that does not wait is so short that the scheduler need not know, if no
// more than so many descriptors are asked: it is made raw. (Not by a variable that
// holds either function: the compiler keeps what the pointers refer to for a direct
// call only.)
const atOnce = 64

// ppoll is poll(2) with nanoseconds. An interrupted call is one that found
// nothing.
func ppoll(fds []unix.PollFd, timeout time.Duration) (int, error) {
	set, length := unsafe.SliceData(fds), uintptr(len(fds))
	var n uintptr
	var errno unix.Errno
	if timeout == 0 && len(fds) <= atOnce {
		n, _, errno = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(set)), length, uintptr(unsafe.Pointer(&unix.Timespec{})), 0, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(set)), length, uintptr(unsafe.Pointer(timespec(timeout))), 0, 0, 0)
	}
	return outcome("ppoll", n, errno)
}

// pselect is select(2) with nanoseconds and without FD_SETSIZE: the kernel
// takes bitmaps of any length (fs/select.c, core_sys_select).
func pselect(r, w, x fdSet, timeout time.Duration) (int, error) {
	length := uintptr(len(r) * int(unsafe.Sizeof(uintptr(0))) * 8)
	rp, wp, xp := unsafe.SliceData(r), unsafe.SliceData(w), unsafe.SliceData(x)
	var n uintptr
	var errno unix.Errno
	if timeout == 0 && length <= atOnce {
		n, _, errno = unix.RawSyscall6(unix.SYS_PSELECT6, length,
			uintptr(unsafe.Pointer(rp)), uintptr(unsafe.Pointer(wp)), uintptr(unsafe.Pointer(xp)), uintptr(unsafe.Pointer(&unix.Timespec{})), 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_PSELECT6, length,
			uintptr(unsafe.Pointer(rp)), uintptr(unsafe.Pointer(wp)), uintptr(unsafe.Pointer(xp)), uintptr(unsafe.Pointer(timespec(timeout))), 0)
	}
	if errno == unix.EBADF {
		return 0, errno
	}
	return outcome("pselect6", n, errno)
}

func outcome(call string, n uintptr, errno unix.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR: // routine: the Go runtime preempts goroutines with signals
		return 0, nil
	}
	return 0, os.NewSyscallError(call, errno)
}
