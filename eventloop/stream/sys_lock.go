//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockDirectory takes the advisory lock of a directory (flock(2)), which leaves no
// file behind, and returns a function that gives it back. It waits at most a
// second for a process that has the lock.
func lockDirectory(path string) (unlock func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for range 100 {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		f.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { f.Close() }, nil // close releases the lock
}
