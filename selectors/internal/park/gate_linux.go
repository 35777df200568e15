package park

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A gate parks a goroutine in Go's runtime poller until an epoll set has
// something to report.
//
// The runtime can wait for any file that poll(2) can, and an epoll set is one.
// If the runtime watched the set itself, every event in it would wake the
// runtime's poller, also while the selector is busy and polls the set anyway. So
// there is an epoll set between the two, the gate, which contains the selector's
// set and nothing else, one-shot. It is armed for a park; while it is not armed
// no event passes.
//
// Armed means that the next event in the set makes the gate readable for the
// runtime. The kernel disarms it when the gate's event is harvested. A park that
// a wake or a deadline ended leaves it armed: the next park then saves a system
// call. If it does not come to that, because the selector finds events without
// waiting, the selector disarms it.
//
// Each park polls the gate before the goroutine is parked. An event that came
// during an earlier park may have left the set on the gate's own ready list, and
// the kernel does not announce a file that is on that list already when it is
// armed (fs/eventpoll.c, ep_modify).
type gate struct {
	file *os.File // the gate, an epoll set, in the runtime's poller
	raw  syscall.RawConn
	fd   int // the gate's
	set  int // the selector's epoll set

	attached bool  // the set is in the gate
	armed    bool  // the next event passes
	checked  bool  // this park has polled the gate
	armErr   error // of arming it for this park

	check          func(fd uintptr) bool // checkNow, allocated once
	deadlinePassed atomic.Bool           // the file's deadline may be in the past
}

var errNotPollable = errors.New("the runtime poller does not take an epoll descriptor")

func (g *gate) open(set int) (err error) {
	g.set, g.check = set, g.checkNow
	if g.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err = unix.SetNonblock(g.fd, true); err != nil { // otherwise os.NewFile does not try the poller
		unix.Close(g.fd)
		return err
	}
	g.file = os.NewFile(uintptr(g.fd), "epoll")
	g.raw, err = g.file.SyscallConn()
	if err == nil && g.file.SetReadDeadline(time.Time{}) != nil {
		err = errNotPollable
	}
	if err != nil {
		g.file.Close()
	}
	return err
}

// arm lets the next event pass, also one that is in the set already. It puts the
// set into the gate if need be. That is done when the gate is first armed and no
// earlier, because registrations with a set that is inside another one take
// longer.
func (g *gate) arm() error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
	err := error(unix.ENOENT)
	if g.attached {
		err = unix.EpollCtl(g.fd, unix.EPOLL_CTL_MOD, g.set, &ev)
	}
	if err == unix.ENOENT {
		err = unix.EpollCtl(g.fd, unix.EPOLL_CTL_ADD, g.set, &ev)
	}
	g.attached, g.armed = err == nil, err == nil
	return err
}

// disarm lets no event pass.
func (g *gate) disarm() {
	err := unix.EpollCtl(g.fd, unix.EPOLL_CTL_MOD, g.set, &unix.EpollEvent{Events: unix.EPOLLONESHOT})
	g.attached, g.armed = err == nil, false
}

// detach takes the set out of the gate. Any goroutine may call it.
func (g *gate) detach() { unix.EpollCtl(g.fd, unix.EPOLL_CTL_DEL, g.set, nil) }

// replaced is called when the set's descriptor has been given to a new set,
// which is not in the gate.
func (g *gate) replaced() { g.attached, g.armed = false, false }

// checkNow is what the runtime calls before it parks the goroutine, and again
// each time its poller reports the gate. It returns false to go on waiting.
func (g *gate) checkNow(uintptr) bool {
	if !g.checked {
		// The runtime has cleared its own readiness before this call, so an event
		// that passes the gate from now on is remembered.
		g.checked, g.armErr = true, nil
		if !g.armed {
			if g.armErr = g.arm(); g.armErr != nil {
				return true
			}
		}
	}
	var ev [1]unix.EpollEvent
	n, _, _ := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(g.fd), uintptr(unsafe.Pointer(&ev)), 1, 0, 0, 0)
	if n == 0 {
		return false
	}
	g.armed = false // one-shot: harvesting has disarmed it
	return true
}

// park returns when the set has something or wakes is not zero. With a limit it
// also returns when that time has passed, with timedOut set.
func (g *gate) park(wakes *atomic.Uint32, limit time.Duration) (timedOut bool, err error) {
	var deadline time.Time
	if limit > 0 {
		deadline = time.Now().Add(limit)
		g.deadlinePassed.Store(true)
	}
	for {
		if g.deadlinePassed.Swap(false) {
			if err := g.file.SetReadDeadline(deadline); err != nil {
				return false, err
			}
		}
		// After the reset, which may have erased the deadline of a wake.
		if wakes.Load() != 0 {
			return false, nil
		}
		g.checked = false
		err := g.raw.Read(g.check)
		if limit > 0 {
			g.deadlinePassed.Store(true)
		}
		if err == nil {
			return false, g.armErr
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return false, err
		}
		if limit > 0 && !time.Now().Before(deadline) {
			return true, nil
		}
		g.deadlinePassed.Store(true) // by a wake, perhaps a late one of an earlier park
	}
}

// pastDeadline is a deadline that has passed.
var pastDeadline = time.Unix(1, 0)

// wake ends a park without a system call: it sets a deadline in the past. Any
// goroutine may call it.
func (g *gate) wake() error {
	g.deadlinePassed.Store(true)
	return g.file.SetReadDeadline(pastDeadline)
}
