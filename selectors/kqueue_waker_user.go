//go:build darwin || dragonfly || freebsd || (linux && simkqueue)

package selectors

import "os"

// wakeIdent is no descriptor. Idents of different filters do not meet, but it
// helps who reads a trace.
const wakeIdent = 0x7e1ec7ed

// userWaker ends a wait from another goroutine: an event of our own, which
// falls silent by being told.
type userWaker struct{ queue *kernelQueue }

func (w *userWaker) open(q *kernelQueue) error {
	w.queue = q
	return w.change(evAdd|evClear, 0)
}

func (w *userWaker) wake() error { return w.change(evEnable, noteTrigger) }

func (w *userWaker) change(flags int, fflags uint32) error {
	ev := make([]kevent, 1)
	ev[0].set(wakeIdent, filterUser, flags, fflags, 0)
	_, err := w.queue.call(ev, nil, nil)
	return os.NewSyscallError("kevent", err)
}

func (w *userWaker) drain()       {}
func (w *userWaker) close() error { return nil }
