//go:build unix && (!linux || race)

package stream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// These calls use package syscall, as package net does. The race detector then
// sees that a write happens before the read of its data at the other end. Package
// unix has race annotations of its own, which do not match those of package net.

// read reads once. It returns 0, nil at EOF.
func read(fd int, p []byte) (int, error) { return retryEINTR(syscall.Read, fd, p) }

// write writes once.
func write(fd int, p []byte) (int, error) { return retryEINTR(syscall.Write, fd, p) }

func retryEINTR(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		n, err := call(fd, p)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		default:
			return 0, mapWouldBlock(err)
		}
	}
}

// writev writes pieces in order, as far as the socket takes them, with one write
// each: package unix does not have writev(2) for every Unix. It returns an error
// only if nothing was sent.
func writev(fd int, pieces [][]byte) (sent int, err error) {
	for _, p := range pieces {
		if len(p) == 0 {
			continue
		}
		n, err := write(fd, p)
		sent += n
		if err != nil && sent == 0 {
			return 0, err
		}
		if n < len(p) { // the next call returns the error again
			break
		}
	}
	return sent, nil
}
