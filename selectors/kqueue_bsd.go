//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package selectors

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	filterRead  = unix.EVFILT_READ
	filterWrite = unix.EVFILT_WRITE

	evAdd    = unix.EV_ADD
	evDelete = unix.EV_DELETE
	evEnable = unix.EV_ENABLE
	evClear  = unix.EV_CLEAR
	evError  = unix.EV_ERROR
	evEOF    = unix.EV_EOF
)

// kernelQueue is a kqueue of the kernel.
type kernelQueue struct{ fd int }

func (q *kernelQueue) open() (err error) {
	syscall.ForkLock.RLock()
	if q.fd, err = unix.Kqueue(); err == nil {
		unix.CloseOnExec(q.fd)
	}
	syscall.ForkLock.RUnlock()
	return err
}

func (q *kernelQueue) close() error { return unix.Close(q.fd) }

func (q *kernelQueue) call(changes, events []kevent, timeout *unix.Timespec) (int, error) {
	return unix.Kevent(q.fd, natives(changes), natives(events), timeout)
}

// kevent is a unix.Kevent_t that is no pointer to the garbage collector: what
// the kernel keeps for us in Udata is a number.
type kevent [unsafe.Sizeof(unix.Kevent_t{}) / unsafe.Sizeof(uintptr(0))]uintptr

func (e *kevent) native() *unix.Kevent_t { return (*unix.Kevent_t)(unsafe.Pointer(e)) }

func natives(list []kevent) []unix.Kevent_t {
	return unsafe.Slice((*unix.Kevent_t)(unsafe.Pointer(unsafe.SliceData(list))), len(list))
}

func (e *kevent) set(ident, filter, flags int, fflags, gen uint32) {
	n := e.native()
	unix.SetKevent(n, ident, filter, flags)
	n.Fflags = fflags
	*(*uintptr)(unsafe.Pointer(&n.Udata)) = uintptr(gen)
}

func (e *kevent) ident() int     { return int(e.native().Ident) }
func (e *kevent) filter() int    { return int(e.native().Filter) }
func (e *kevent) flags() int     { return int(e.native().Flags) }
func (e *kevent) fflags() uint32 { return e.native().Fflags }
func (e *kevent) data() int64    { return e.native().Data }
func (e *kevent) gen() uint32    { return uint32(*(*uintptr)(unsafe.Pointer(&e.native().Udata))) }

// isPlain is about regular files, directories and disks.
func isPlain(int) bool { return true }

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TIOCGETA)
	return err == nil
}
