//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package kqueue

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/sys"
)

const (
	FilterRead  = unix.EVFILT_READ
	FilterWrite = unix.EVFILT_WRITE

	Add    = unix.EV_ADD
	Delete = unix.EV_DELETE
	Enable = unix.EV_ENABLE
	Clear  = unix.EV_CLEAR
	Error  = unix.EV_ERROR
	EOF    = unix.EV_EOF
)

// A Queue is a kqueue of the kernel. Its methods may be called from any
// goroutine. It is closed when it is collected, at the latest.
type Queue struct {
	fd      int
	cleanup runtime.Cleanup
}

// Open creates the queue. It is closed on exec.
func (q *Queue) Open(Dialect) (err error) {
	syscall.ForkLock.RLock()
	if q.fd, err = unix.Kqueue(); err == nil {
		unix.CloseOnExec(q.fd)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		q.cleanup = sys.CloseWithOwner(q, q.fd)
	}
	return err
}

// Owns reports whether a number is the queue's.
func (q *Queue) Owns(fd int) bool { return fd == q.fd }

// Close closes the queue.
func (q *Queue) Close() error {
	q.cleanup.Stop()
	return unix.Close(q.fd)
}

// Call is kevent(2): it makes the changes, then waits for events. A nil timeout
// means no limit.
func (q *Queue) Call(changes, events []Event, timeout *unix.Timespec) (int, error) {
	return unix.Kevent(q.fd, toNative(changes), toNative(events), timeout)
}

// An Event is a unix.Kevent_t without a pointer that the garbage collector would
// follow: the Udata that the kernel keeps is a number, the tag.
type Event [unsafe.Sizeof(unix.Kevent_t{}) / unsafe.Sizeof(uintptr(0))]uintptr

func (e *Event) native() *unix.Kevent_t { return (*unix.Kevent_t)(unsafe.Pointer(e)) }

func toNative(list []Event) []unix.Kevent_t {
	return unsafe.Slice((*unix.Kevent_t)(unsafe.Pointer(unsafe.SliceData(list))), len(list))
}

// Set fills in the event.
func (e *Event) Set(ident, filter, flags int, fflags, tag uint32) {
	n := e.native()
	unix.SetKevent(n, ident, filter, flags)
	n.Fflags = fflags
	*(*uintptr)(unsafe.Pointer(&n.Udata)) = uintptr(tag)
}

func (e *Event) Ident() int     { return int(e.native().Ident) }
func (e *Event) Filter() int    { return int(e.native().Filter) }
func (e *Event) Flags() int     { return int(e.native().Flags) }
func (e *Event) Fflags() uint32 { return e.native().Fflags }
func (e *Event) Data() int64    { return e.native().Data }
func (e *Event) Tag() uint32    { return uint32(*(*uintptr)(unsafe.Pointer(&e.native().Udata))) }

// IsPlainFile reports whether a descriptor that fstat(2) calls a regular file, a
// directory or a block device really is one. Here it is.
func IsPlainFile(int) bool { return true }

// IsTerminal reports whether a descriptor is a terminal.
func IsTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TIOCGETA)
	return err == nil
}
