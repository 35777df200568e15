//go:build linux

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawRead and rawWrite make system calls without entering Go's scheduler. They cost
// the same as in C and are only for descriptors that cannot block.

func rawRead(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func rawWrite(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

// epollCreate returns an epoll descriptor.
func epollCreate() int {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	check(err)
	return epfd
}

func epollAdd(epfd, fd, data int) {
	check(unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(data)}))
}

// epollWait waits without a timeout and retries after EINTR.
func epollWait(epfd int, events []unix.EpollEvent) int {
	for {
		n, err := unix.EpollWait(epfd, events, -1)
		if err == unix.EINTR {
			continue
		}
		check(err)
		return n
	}
}
