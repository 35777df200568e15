//go:build unix && race

package sys

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Packages syscall and unix tell the race detector that what came before a write
// happened before what comes after a read. Each has its own variable for that,
// and the other end of a pipe or socket may use either package: net and os use
// syscall, code with raw descriptors often unix. So both variables are used: before
// every write, also one that fails, and after a read that succeeds.

func plainRead(fd int, p []byte) (int, error) {
	n, err := unix.Read(fd, p)
	if err == nil {
		syscall.Read(devNull(), nil)
	}
	return n, err
}

func plainWrite(fd int, p []byte) (int, error) {
	syscall.Write(-1, nil)
	return unix.Write(fd, p)
}

// raceAcquire is called after a call other than read(2) has received something, and
// raceRelease before one that sends.

func raceAcquire() { plainRead(devNull(), nil) }
func raceRelease() { plainWrite(-1, nil) }

// devNull is a descriptor that stays open.
var devNull = sync.OnceValue(func() int {
	fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
})
