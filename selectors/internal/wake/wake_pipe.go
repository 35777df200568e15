//go:build unix && !linux

package wake

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/sys"
)

// A Waker is a pipe. It is closed when it is collected, at the latest.
type Waker struct {
	r, w               int
	cleanupR, cleanupW runtime.Cleanup
}

func (w *Waker) Open() error {
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
	w.cleanupR, w.cleanupW = sys.CloseWithOwner(w, w.r), sys.CloseWithOwner(w, w.w)
	return nil
}

func (w *Waker) FD() int { return w.r }

func (w *Waker) Wake() error { return ignoreFull(unix.Write(w.w, []byte{1})) }

// Drain reads more than there can be: the core writes one wake for each sleep.
func (w *Waker) Drain() {
	var buf [64]byte
	unix.Read(w.r, buf[:])
}

func (w *Waker) Close() error {
	w.cleanupR.Stop()
	w.cleanupW.Stop()
	err := unix.Close(w.w)
	if readErr := unix.Close(w.r); err == nil {
		err = readErr
	}
	return err
}
