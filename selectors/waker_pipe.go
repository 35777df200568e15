//go:build unix && !linux

package selectors

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// waker ends a wait from another goroutine: a pipe.
type waker struct{ r, w int }

func (w *waker) open() error {
	var p [2]int
	syscall.ForkLock.RLock()
	err := unix.Pipe(p[:])
	if err == nil {
		unix.CloseOnExec(p[0])
		unix.CloseOnExec(p[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return os.NewSyscallError("pipe", err)
	}
	for _, fd := range p {
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(p[0])
			unix.Close(p[1])
			return os.NewSyscallError("fcntl", err)
		}
	}
	w.r, w.w = p[0], p[1]
	return nil
}

// fd is readable from wake to drain.
func (w *waker) fd() int { return w.r }

func (w *waker) wake() error { return ignoreFull(unix.Write(w.w, []byte{1})) }

// drain reads more than is ever there: the core asks for one wake a sleep.
func (w *waker) drain() {
	var buf [64]byte
	unix.Read(w.r, buf[:])
}

func (w *waker) close() error {
	err := unix.Close(w.w)
	if failed := unix.Close(w.r); err == nil {
		err = failed
	}
	return err
}
