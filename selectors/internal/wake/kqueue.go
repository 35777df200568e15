//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && simkqueue)

package wake

import (
	"os"

	"goselectors/selectors/internal/kqueue"
)

// A Kqueue ends the waits on a kqueue. Where there are user events it is one of
// those, which is reset by being reported; elsewhere it is a pipe that the
// kqueue watches. (NetBSD has user events since version 10; the pipe serves
// older ones too.) Its events have tag 0.
type Kqueue struct {
	queue *kqueue.Queue
	user  bool
	pipe  Waker
}

// userIdent identifies the user event. It is not a descriptor, and identifiers
// of different filters are apart anyway; the odd number helps in a trace.
const userIdent = 0x7e1ec7ed

// Open adds the waker to a queue.
func (w *Kqueue) Open(q *kqueue.Queue, userEvents bool) error {
	w.queue, w.user = q, userEvents
	if w.user {
		return w.change(userIdent, kqueue.FilterUser, kqueue.Add|kqueue.Clear, 0)
	}
	if err := w.pipe.Open(); err != nil {
		return err
	}
	err := w.change(w.pipe.FD(), kqueue.FilterRead, kqueue.Add, 0)
	if err != nil {
		w.pipe.Close()
	}
	return err
}

// Wake ends the current wait, or the next.
func (w *Kqueue) Wake() error {
	if w.user {
		return w.change(userIdent, kqueue.FilterUser, kqueue.Enable, kqueue.NoteTrigger)
	}
	return w.pipe.Wake()
}

func (w *Kqueue) change(ident, filter, flags int, fflags uint32) error {
	ev := make([]kqueue.Event, 1)
	ev[0].Set(ident, filter, flags, fflags, 0)
	_, err := w.queue.Call(ev, nil, nil)
	return os.NewSyscallError("kevent", err)
}

// Drain is called when the waker was reported.
func (w *Kqueue) Drain() {
	if !w.user {
		w.pipe.Drain()
	}
}

// Owns reports whether a number is that of a descriptor of the waker.
func (w *Kqueue) Owns(fd int) bool { return !w.user && fd == w.pipe.FD() }

// Close does not remove the waker from the queue, which is closed anyway.
func (w *Kqueue) Close() error {
	if w.user {
		return nil
	}
	return w.pipe.Close()
}
