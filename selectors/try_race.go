//go:build unix && race

package selectors

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The race detector knows from packages syscall and unix that what happened
// before a write happened before what comes after a read. But each keeps an
// account of its own, and who is at the other end may use either: package net
// and os the former, raw descriptors often the latter. So both are told; a write
// that fails counts, a read has to succeed.

func plainRead(fd int, p []byte) (int, error) {
	n, err := unix.Read(fd, p)
	if err == nil {
		syscall.Read(null(), nil)
	}
	return n, err
}

func plainWrite(fd int, p []byte) (int, error) {
	syscall.Write(-1, nil)
	return unix.Write(fd, p)
}

// null is a descriptor that stays open.
var null = sync.OnceValue(func() int {
	fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
})
