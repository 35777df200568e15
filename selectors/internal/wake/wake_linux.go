package wake

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// A Waker is an eventfd(2).
type Waker struct{ eventfd int }

func (w *Waker) Open() (err error) {
	w.eventfd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return os.NewSyscallError("eventfd", err)
}

func (w *Waker) FD() int { return w.eventfd }

func (w *Waker) Wake() error {
	// The counter has the machine's byte order. That matters because an epoll
	// set watches it edge-triggered and never drains it: with the other order the
	// counter would be full after 255 wakes, and later ones would be lost.
	var count [8]byte
	binary.NativeEndian.PutUint64(count[:], 1)
	return ignoreFull(unix.Write(w.eventfd, count[:]))
}

func (w *Waker) Drain() {
	var count [8]byte
	unix.Read(w.eventfd, count[:])
}

func (w *Waker) Close() error { return unix.Close(w.eventfd) }
