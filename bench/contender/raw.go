//go:build linux

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls that do not tell Go's scheduler: right where they cannot block,
// and what they cost is what they cost in C.

func rawRead(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func rawWrite(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

// epollSet is an epoll set for a bare loop.
func epollSet() int {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	check(err)
	return set
}

func epollAdd(set, fd, data int) {
	check(unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(data)}))
}

// epollWait waits, as one does it by hand.
func epollWait(set int, events []unix.EpollEvent) int {
	for {
		n, err := unix.EpollWait(set, events, -1)
		if err == unix.EINTR {
			continue
		}
		check(err)
		return n
	}
}
