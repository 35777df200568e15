package wake

import (
	"encoding/binary"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/sys"
)

// A Waker is an eventfd(2). It is closed when it is collected, at the latest.
type Waker struct {
	eventfd int
	cleanup runtime.Cleanup
}

func (w *Waker) Open() (err error) {
	if w.eventfd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	w.cleanup = sys.CloseWithOwner(w, w.eventfd)
	return nil
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

func (w *Waker) Close() error {
	w.cleanup.Stop()
	return unix.Close(w.eventfd)
}
