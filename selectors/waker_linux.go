package selectors

import (
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
	count := [8]byte{1} // any counter but 0 will do, so byte order does not matter
	return ignoreFull(unix.Write(w.eventfd, count[:]))
}

func (w *waker) drain() {
	var count [8]byte
	unix.Read(w.eventfd, count[:])
}

func (w *waker) close() error { return unix.Close(w.eventfd) }
