package selectors

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// waker ends a wait from another goroutine: an eventfd(2).
type waker struct{ eventfd int }

func (w *waker) open() (err error) {
	w.eventfd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return os.NewSyscallError("eventfd", err)
}

// fd is readable from wake to drain.
func (w *waker) fd() int { return w.eventfd }

func (w *waker) wake() error {
	// The counter is the machine's, and epoll's waker is never read: one written
	// in another order would be full after 255 wakes and swallow all others.
	var count [8]byte
	binary.NativeEndian.PutUint64(count[:], 1)
	return ignoreFull(unix.Write(w.eventfd, count[:]))
}

func (w *waker) drain() {
	var count [8]byte
	unix.Read(w.eventfd, count[:])
}

func (w *waker) close() error { return unix.Close(w.eventfd) }
