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
// runtime's poller, also while the selector is busy and polls the set anyway.
// Therefore a second epoll set, the gate, is between the selector's set and the
// runtime's. It contains only the selector's set, one-shot.
//
// The gate is armed before a park, if it is not armed still. Armed means that the
// next event in the set makes the gate readable for the runtime. While it is not
// armed, events in the set do not reach the runtime. The kernel disarms it when
// the gate's event is harvested. A park that a wake or a deadline ended leaves it
// armed, and the next park saves a system call. If the selector then finds events
// without parking, it disarms the gate (Waiter.Disarm).
//
// Each park polls the gate before the goroutine is parked. After an earlier park
// the set may still be on the gate's own ready list, and arming does not notify
// the runtime of a file that is on that list already (fs/eventpoll.c, ep_modify).
//
// The kernel asks a set that is on the gate's ready list, and so the files in it,
// whether the gate is armed or not (ep_item_poll), and also when the gate is armed
// or disarmed. A harvest takes the set from that list, but an event that comes
// during the harvest puts it back (ep_done_scan, ovflist). After a second harvest
// it is not on the list, and nothing puts it there before the gate is armed again.
type gate struct {
	owner Set
	file  *os.File // the gate, an epoll set, in the runtime's poller; nil if it is not open
	raw   syscall.RawConn
	fd    int // the gate's
	set   int // the selector's epoll set

	attached bool          // the set is in the gate
	armed    bool          // the next event in the set makes the gate readable
	asking   atomic.Uint32 // whether the kernel may ask the files in the set through the gate
	checked  bool          // checkNow has run in this park
	armErr   error         // the error of arm in this park

	forbidden atomic.Int32 // registrations that keep the set out of the gate
	disabled  atomic.Bool  // the runtime poller does not take a gate

	check           func(fd uintptr) bool // checkNow, allocated once
	armNow          func() error          // arm, allocated once
	mustSetDeadline atomic.Bool           // set the file's deadline before the next wait
}

// Values of gate.asking.
const (
	asksNot   uint32 = iota // the set is not on the gate's ready list, and the gate is not armed
	asksMaybe               // harvested once since it was armed
	asks                    // armed, and not harvested since
)

var (
	errNotPollable = errors.New("the runtime poller does not take an epoll descriptor")
	errForbidden   = errors.New("the set must not be asked through a gate")
)

func (g *gate) open() (err error) {
	if g.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if unix.SetNonblock(g.fd, true) != nil { // os.NewFile uses the runtime poller only for non-blocking files
		unix.Close(g.fd)
		return errNotPollable
	}
	file := os.NewFile(uintptr(g.fd), "epoll")
	g.raw, err = file.SyscallConn()
	if err == nil && file.SetReadDeadline(time.Time{}) != nil {
		err = errNotPollable
	}
	if err != nil {
		file.Close()
		return err
	}
	g.check, g.armNow, g.file = g.checkNow, g.arm, file
	return nil
}

// arm arms the gate, also for an event that is in the set already. It adds the set
// to the gate if it is not in it. open does not do that, because registrations
// with a set that is inside another one take longer. The owner calls arm: see
// Set.Nest.
func (g *gate) arm() error {
	if g.forbidden.Load() != 0 {
		return errForbidden
	}
	g.asking.Store(asks)
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

// disarm keeps events in the set from reaching the runtime.
func (g *gate) disarm() {
	err := unix.EpollCtl(g.fd, unix.EPOLL_CTL_MOD, g.set, &unix.EpollEvent{Events: unix.EPOLLONESHOT})
	g.attached, g.armed = err == nil, false
}

// detach takes the set out of the gate. No goroutine may be in Set.Nest.
func (g *gate) detach() {
	unix.EpollCtl(g.fd, unix.EPOLL_CTL_DEL, g.set, nil)
	g.asking.Store(asksNot)
}

// replaced is called when the set's descriptor has been given to a new set,
// which is not in the gate.
func (g *gate) replaced() {
	g.attached, g.armed = false, false
	g.asking.Store(asksNot)
}

// mayAsk reports whether the kernel may ask the files in the set through the gate
// before the next call of arm. No goroutine may be in Set.Nest.
func (g *gate) mayAsk() bool {
	if g.asking.Load() == asksMaybe && g.harvest() == 0 {
		g.asking.Store(asksNot)
	}
	return g.asking.Load() != asksNot
}

// checkNow is called by RawConn.Read before the goroutine parks, and each time the
// runtime reports the gate ready. It returns false to wait, or to wait again.
func (g *gate) checkNow(uintptr) bool {
	if !g.checked {
		// The runtime has cleared its own readiness before this call, so an event
		// that comes from now on ends the wait.
		g.checked, g.armErr = true, nil
		if !g.armed || g.asking.Load() != asks { // detach may have undone it
			if g.armErr = g.owner.Nest(g.armNow); g.armErr != nil {
				return true
			}
		}
	}
	if g.harvest() == 0 {
		return false
	}
	g.armed = false // one-shot: harvesting has disarmed it
	g.asking.Store(asksMaybe)
	return true
}

// harvest asks the gate without waiting, and returns whether it had an event.
func (g *gate) harvest() (n uintptr) {
	var ev [1]unix.EpollEvent
	n, _, _ = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(g.fd), uintptr(unsafe.Pointer(&ev)), 1, 0, 0, 0)
	return n
}

// wait parks the goroutine until the set has events, or until wake if wakes is not
// zero then. With a limit it also returns when that time has passed, with timedOut
// set.
func (g *gate) wait(wakes *atomic.Uint32, limit time.Duration) (timedOut bool, err error) {
	var deadline time.Time
	if limit > 0 {
		deadline = time.Now().Add(limit)
		g.mustSetDeadline.Store(true)
	}
	for {
		if g.mustSetDeadline.Swap(false) {
			if err := g.file.SetReadDeadline(deadline); err != nil {
				return false, err
			}
		}
		// Check after the reset: it may have erased the deadline set by a wake.
		if wakes.Load() != 0 {
			return false, nil
		}
		g.checked = false
		err := g.raw.Read(g.check)
		if limit > 0 {
			g.mustSetDeadline.Store(true)
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
		g.mustSetDeadline.Store(true) // a wake set the deadline; it may have been meant for an earlier park
	}
}

// pastDeadline is a deadline that has passed.
var pastDeadline = time.Unix(1, 0)

// wake ends a park without a system call: it sets a deadline in the past. Any
// goroutine may call it.
func (g *gate) wake() error {
	g.mustSetDeadline.Store(true)
	return g.file.SetReadDeadline(pastDeadline)
}
