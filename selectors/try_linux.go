//go:build !race

package selectors

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readNow and writeNow ask the kernel not to wait, whatever the mode of the
// file: by RWF_NOWAIT of preadv2(2) and pwritev2(2), at the file's own offset.
// Unless done, the calls that every Unix has are to decide.
//
// The calls are of Linux 4.6, the flag is of 4.14, for reading regular files.
// Eventfds take it since 5.8, pipes since 6.4, sockets since 6.5, timerfds and
// signalfds since 6.10 (readv(2), "set FMODE_NOWAIT" in the kernel's log). Of
// 6.18 FIFOs, terminals and inotify still do not, nor does tmpfs, nor does a
// pipe that splice(2) was used on.
//
// They are raw: what they may wait for is a lock of the file at most, behind
// another call on it, or a frozen file system to be thawed. The race detector
// does not see raw calls; its builds have try_plain.go.

func readNow(fd int, p []byte) (n int, done bool, err error) {
	n, done, err = callNow(unix.SYS_PREADV2, fd, p, unix.POLLIN)
	if n == 0 && done && err == nil {
		// Linux 5.9 and 5.10 say 0 in the middle of a file, too (readv(2),
		// BUGS). Of a socket it may be a message, which is gone now.
		_, notSocket := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		done = notSocket == nil
	}
	return n, done, err
}

func writeNow(fd int, p []byte) (n int, done bool, err error) {
	return callNow(unix.SYS_PWRITEV2, fd, p, unix.POLLOUT)
}

// Of more than so many bytes the copying alone takes the kernel so long that
// the scheduler should know.
const briefly = 64 << 10

var lacksNow atomic.Bool

func callNow(trap uintptr, fd int, p []byte, events pollMask) (n int, done bool, err error) {
	if len(p) == 0 || lacksNow.Load() { // no bytes in a vector are not an empty message, but nothing
		return 0, false, nil
	}
	const offset, nowait = ^uintptr(0), unix.RWF_NOWAIT
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	for {
		var took uintptr
		var errno unix.Errno
		if len(p) <= briefly {
			took, _, errno = unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, offset, offset, nowait)
		} else {
			took, _, errno = unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, offset, offset, nowait)
		}
		switch errno {
		case 0:
			return int(took), true, nil
		case unix.EINTR:
		case unix.EAGAIN:
			// Or the page is not in memory: such a file is always ready.
			if idle(fd, events) {
				return 0, true, ErrWouldBlock
			}
			return 0, false, nil
		case unix.ENOSYS:
			lacksNow.Store(true)
			return 0, false, nil
		case unix.EOPNOTSUPP, unix.EINVAL, unix.EPERM: // EPERM: by a filter of system calls
			return 0, false, nil
		default:
			return 0, true, errno
		}
	}
}
