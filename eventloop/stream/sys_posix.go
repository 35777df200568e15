//go:build unix && (!linux || race)

package stream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// By package syscall, as package net reads and writes: so the race detector
// knows that what one end did before it wrote comes before what the other does
// after reading. Package unix keeps an account of its own.

// read reads once; at the end of file it is 0.
func read(fd int, p []byte) (int, error) { return retry(syscall.Read, fd, p) }

// write writes once.
func write(fd int, p []byte) (int, error) { return retry(syscall.Write, fd, p) }

func retry(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		n, err := call(fd, p)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		default:
			return 0, outcome(err)
		}
	}
}

// writev writes pieces in order, as far as they are taken. Not every Unix of
// package unix has writev(2).
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
		if n < len(p) { // an error comes back with the next call
			break
		}
	}
	return sent, nil
}
