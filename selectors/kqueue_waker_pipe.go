//go:build netbsd || openbsd || (linux && simkqueue)

package selectors

import "os"

// pipeWaker ends a wait from another goroutine, where there is no filter for
// events of one's own (NetBSD has one since version 10).
type pipeWaker struct{ waker }

func (w *pipeWaker) open(q *kernelQueue) error {
	if err := w.waker.open(); err != nil {
		return err
	}
	ev := make([]kevent, 1)
	ev[0].set(w.waker.fd(), filterRead, evAdd, 0, 0)
	if _, err := q.call(ev, nil, nil); err != nil {
		w.waker.close()
		return os.NewSyscallError("kevent", err)
	}
	return nil
}
