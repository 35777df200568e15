//go:build !race

package selectors

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readNow and writeNow ask the kernel not to wait, whatever the mode of the
// file: a socket by MSG_DONTWAIT of recv(2) and send(2), which may be raw calls
// because they never do, and other files by RWF_NOWAIT of preadv2(2) and
// pwritev2(2), at the file's own offset. Unless done, the calls that every Unix
// has are to decide.
//
// RWF_NOWAIT is of Linux 4.14, for reading regular files. Eventfds take it since
// 5.8, pipes since 6.4, timerfds and signalfds since 6.10 (readv(2), "set
// FMODE_NOWAIT" in the kernel's log). In 6.18 FIFOs, terminals, inotify, tmpfs
// and a pipe that splice(2) was used on do not take it yet. Such a call can
// still wait, for another call on the same file, or for a frozen file system to
// be thawed: so it is not raw.
//
// The race detector does not see these calls; its builds have try_race.go and
// try_plain.go.

func readNow(fd int, p []byte) (n int, done bool, err error) {
	if n, done, err = onSocket(unix.SYS_RECVFROM, fd, p, unix.MSG_DONTWAIT); done {
		return n, true, err
	}
	n, done, err = onFile(unix.SYS_PREADV2, fd, p, unix.POLLIN)
	if n == 0 && err == nil {
		done = false // Linux 5.9 and 5.10 say so in the middle of a file, too (readv(2), BUGS)
	}
	return n, done, err
}

func writeNow(fd int, p []byte) (n int, done bool, err error) {
	if n, done, err = onSocket(unix.SYS_SENDTO, fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); done {
		return n, true, err
	}
	return onFile(unix.SYS_PWRITEV2, fd, p, unix.POLLOUT)
}

// Of more than so many bytes the copying alone takes the kernel so long that
// the scheduler should know.
const briefly = 64 << 10

func onSocket(trap uintptr, fd int, p []byte, flags uintptr) (n int, done bool, err error) {
	if len(p) == 0 { // of a datagram socket recv takes a message then, read does not
		return 0, false, nil
	}
	for {
		var took uintptr
		var errno unix.Errno
		if len(p) <= briefly {
			took, _, errno = unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		} else {
			took, _, errno = unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		}
		switch errno {
		case 0:
			return int(took), true, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, true, ErrWouldBlock
		case unix.ENOTSOCK, unix.ENOSYS, unix.EPERM: // the latter two by a filter of system calls
			return 0, false, nil
		default:
			return 0, true, errno
		}
	}
}

var lacksNow atomic.Bool

func onFile(trap uintptr, fd int, p []byte, events pollMask) (n int, done bool, err error) {
	if len(p) == 0 || lacksNow.Load() { // no bytes in a vector are not an empty message, but nothing
		return 0, false, nil
	}
	const offset = ^uintptr(0)
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	for {
		took, _, errno := unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, offset, offset, unix.RWF_NOWAIT)
		switch errno {
		case 0:
			return int(took), true, nil
		case unix.EINTR:
		case unix.EAGAIN:
			// Or the page is not in memory: such a file is always ready.
			set := [...]unix.PollFd{{Fd: int32(fd), Events: events}}
			if _, err := ppoll(set[:], 0); err == nil && set[0].Revents&events == 0 {
				return 0, true, ErrWouldBlock
			}
			return 0, false, nil
		case unix.ENOSYS: // before Linux 4.6
			lacksNow.Store(true)
			return 0, false, nil
		case unix.EOPNOTSUPP, unix.EINVAL, unix.EPERM:
			return 0, false, nil
		default:
			return 0, true, errno
		}
	}
}
