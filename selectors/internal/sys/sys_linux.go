package sys

import (
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	PollRdHup   = unix.POLLRDHUP
	MaxSelectFD = math.MaxInt32
)

// IsPath reports whether a descriptor was opened with O_PATH.
func IsPath(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_PATH != 0
}

// unreadBytes returns the number of bytes that a read would find.
func unreadBytes(fd int) (int, error) {
	n, err := unix.IoctlGetUint32(fd, unix.TIOCINQ) // the kernel writes an int of 32 bits
	return int(n), err
}

// timespec converts the time limit of ppoll and pselect6; nil means no limit.
func timespec(timeout time.Duration) *unix.Timespec {
	if timeout < 0 {
		return nil
	}
	ts := unix.NsecToTimespec(int64(timeout))
	return &ts
}

// rawScanLimit is the number of descriptors up to which a poll or select that
// does not wait is made as a raw system call, one that the scheduler does not
// see: the call is shorter than what it costs to tell the scheduler.
//
// The calls are written out twice because a variable that holds either function
// would not do: the compiler keeps what unsafe pointers refer to alive for a
// direct call only (package unsafe, pattern 4).
const rawScanLimit = 64

// Poll is poll(2) with nanoseconds, ppoll(2).
func Poll(fds []PollFD, timeout time.Duration) (int, error) {
	set, length := unsafe.SliceData(fds), uintptr(len(fds))
	var n uintptr
	var errno unix.Errno
	if timeout == 0 && len(fds) <= rawScanLimit {
		n, _, errno = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(set)), length, uintptr(unsafe.Pointer(&unix.Timespec{})), 0, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(set)), length, uintptr(unsafe.Pointer(timespec(timeout))), 0, 0, 0)
	}
	return outcome("ppoll", n, errno)
}

// Select is select(2) with nanoseconds, pselect6, and without FD_SETSIZE: the
// kernel takes bitmaps of any length (fs/select.c, core_sys_select). The three
// sets have the same length.
func Select(read, write, except FDSet, timeout time.Duration) (int, error) {
	length := uintptr(len(read) * int(unsafe.Sizeof(uintptr(0))) * 8)
	r, w, x := unsafe.SliceData(read), unsafe.SliceData(write), unsafe.SliceData(except)
	var n uintptr
	var errno unix.Errno
	if timeout == 0 && length <= rawScanLimit {
		n, _, errno = unix.RawSyscall6(unix.SYS_PSELECT6, length,
			uintptr(unsafe.Pointer(r)), uintptr(unsafe.Pointer(w)), uintptr(unsafe.Pointer(x)), uintptr(unsafe.Pointer(&unix.Timespec{})), 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_PSELECT6, length,
			uintptr(unsafe.Pointer(r)), uintptr(unsafe.Pointer(w)), uintptr(unsafe.Pointer(x)), uintptr(unsafe.Pointer(timespec(timeout))), 0)
	}
	if errno == unix.EBADF {
		return 0, errno
	}
	return outcome("pselect6", n, errno)
}

// EpollPoll asks an epoll set without waiting. It is a raw system call, one that
// the scheduler does not see, unless long is set: a call that harvests very many
// events takes microseconds.
func EpollPoll(set int, events []unix.EpollEvent, long bool) (int, error) {
	var n uintptr
	var errno unix.Errno
	if !long {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(set), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(set), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	}
	return outcome("epoll_wait", n, errno)
}

// noPwait2 is set when epoll_pwait2 (Linux 5.11) turns out to be missing, or
// forbidden by a seccomp filter that does not know it.
var noPwait2 atomic.Bool

// EpollWait blocks a thread until an epoll set has events or the timeout ends.
func EpollWait(set int, events []unix.EpollEvent, timeout time.Duration) (int, error) {
	if timeout > 0 && !noPwait2.Load() {
		ts := [2]int64{int64(timeout / time.Second), int64(timeout % time.Second)} // struct __kernel_timespec
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(set), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		if errno != unix.ENOSYS && errno != unix.EPERM {
			return outcome("epoll_wait", n, errno)
		}
		noPwait2.Store(true)
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(set), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(Milliseconds(timeout)), 0, 0)
	return outcome("epoll_wait", n, errno)
}

func outcome(call string, n uintptr, errno unix.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError(call, errno)
}
