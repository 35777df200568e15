//go:build !race

package sys

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readNonblock and writeNonblock ask the kernel not to wait, whatever the mode
// of the file. If done is false the kernel could not be asked that way, and the
// caller has to use read(2) or write(2).
//
//   - Sockets: MSG_DONTWAIT of recv(2) and send(2). Such a call never waits, so
//     it is made as a raw system call.
//   - Other files: RWF_NOWAIT of preadv2(2) and pwritev2(2), at the file's own
//     offset. Such a call can still wait, for another call on the same file, or
//     for a frozen file system to be thawed. So it is not a raw call.
//
// RWF_NOWAIT exists since Linux 4.14, for reading regular files. Eventfds take
// it since 5.8, pipes since 6.4, timerfds and signalfds since 6.10 (readv(2);
// "set FMODE_NOWAIT" in the kernel's log). In 6.18 FIFOs, terminals, inotify,
// tmpfs and a pipe that splice(2) was used on do not take it yet.
//
// The race detector does not see these calls, so its builds use read(2) and
// write(2): race.go and nonblock_plain.go.

func readNonblock(fd int, p []byte) (n int, done bool, err error) {
	if n, done, err = recvNonblock(unix.SYS_RECVFROM, fd, p, unix.MSG_DONTWAIT); done {
		return n, true, err
	}
	n, done, err = preadvNonblock(unix.SYS_PREADV2, fd, p, PollIn)
	if n == 0 && err == nil {
		done = false // Linux 5.9 and 5.10 return 0 in the middle of a file, too (readv(2), BUGS)
	}
	return n, done, err
}

func writeNonblock(fd int, p []byte) (n int, done bool, err error) {
	if n, done, err = recvNonblock(unix.SYS_SENDTO, fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); done {
		return n, true, err
	}
	return preadvNonblock(unix.SYS_PWRITEV2, fd, p, PollOut)
}

// rawCopyLimit is the number of bytes up to which a socket call is raw. Copying
// more takes the kernel so long that the scheduler has to see the call.
const rawCopyLimit = 64 << 10

// recvNonblock makes the call of number trap, recvfrom or sendto.
func recvNonblock(trap uintptr, fd int, p []byte, flags uintptr) (n int, done bool, err error) {
	if len(p) == 0 { // recv would take a message from a datagram socket; read does not
		return 0, false, nil
	}
	for {
		var copied uintptr
		var errno unix.Errno
		if len(p) <= rawCopyLimit {
			copied, _, errno = unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		} else {
			copied, _, errno = unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		}
		switch errno {
		case 0:
			return int(copied), true, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, true, ErrWouldBlock
		case unix.ENOTSOCK, unix.ENOSYS, unix.EPERM: // the last two come from seccomp filters
			return 0, false, nil
		default:
			return 0, true, errno
		}
	}
}

// noRWFNowait is set when the kernel turns out not to have preadv2, which it has
// since Linux 4.6.
var noRWFNowait atomic.Bool

// hasCall reports whether the kernel has the call of number trap, preadv2 or
// pwritev2. A descriptor that is not open is EBADF then. Without this check one file
// whose driver returns ENOSYS, as one on FUSE may, would turn the call off for all.
func hasCall(trap uintptr) bool {
	_, _, errno := unix.Syscall6(trap, ^uintptr(0), 0, 0, 0, 0, 0)
	return errno != unix.ENOSYS
}

// preadvNonblock makes the call of number trap, preadv2 or pwritev2.
func preadvNonblock(trap uintptr, fd int, p []byte, mask uint32) (n int, done bool, err error) {
	if len(p) == 0 || noRWFNowait.Load() { // an empty vector is no call at all, not an empty message
		return 0, false, nil
	}
	const fileOffset = ^uintptr(0) // -1: the file's own
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	for {
		copied, _, errno := unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, fileOffset, fileOffset, unix.RWF_NOWAIT)
		switch errno {
		case 0:
			return int(copied), true, nil
		case unix.EINTR:
		case unix.EAGAIN:
			// A regular file says EAGAIN when the page is not in memory, although
			// it is always ready. Then read(2) has to wait for the disk.
			if now, err := pollNow(fd, mask); err == nil && now&mask == 0 {
				return 0, true, ErrWouldBlock
			}
			return 0, false, nil
		case unix.ENOSYS:
			if hasCall(trap) {
				return 0, true, errno // the file's own
			}
			noRWFNowait.Store(true)
			return 0, false, nil
		case unix.EOPNOTSUPP, unix.EINVAL, unix.EPERM:
			return 0, false, nil
		default:
			return 0, true, errno
		}
	}
}
