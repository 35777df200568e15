//go:build unix

package main

import (
	"errors"
	"syscall"
)

// openFlags: with O_NONBLOCK, open(2) of a FIFO does not wait for its other end. It
// makes no difference for a regular file or a directory.
const openFlags = syscall.O_NONBLOCK

// isShortage reports whether no descriptor is free.
func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
