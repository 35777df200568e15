package selectors

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waiter is how an epoll set waits.
type waiter struct {
	wait  strategy
	core  *core
	waker waker // ends a blocking wait

	parker parker
	noPark atomic.Bool // parking turned out to be impossible
	parked atomic.Bool // the goroutine is parked, or about to be
	timer  int         // a timerfd in the set, for waits that park; -1 until it is needed
	alarm  time.Duration

	pace
}

func (w *waiter) open(b *epoll, c *core, o options) (err error) {
	w.wait, w.core, w.timer = o.wait, c, -1
	if err = w.waker.open(); err != nil {
		return err
	}
	if err = b.watch(w.waker.fd(), wakerToken); err != nil {
		w.waker.close()
		return err
	}
	if w.wait != blocking && w.parker.start(b.fd, w.wait == nested) != nil {
		w.wait = blocking // the runtime's poller refuses, or there are no descriptors left: just as good
	}
	return nil
}

func (w *waiter) close() {
	w.waker.close()
	if w.timer >= 0 {
		unix.Close(w.timer)
	}
	if w.wait != blocking {
		w.parker.gate.Close()
	}
}

// reopen puts our own descriptors into a set that has replaced the old one.
func (w *waiter) reopen(b *epoll) error {
	if err := b.watch(w.waker.fd(), wakerToken); err != nil {
		return err
	}
	if w.timer >= 0 {
		if err := b.watch(w.timer, timerToken); err != nil {
			return err
		}
	}
	w.parker.attached, w.parker.ajar = false, false
	return nil
}

// detach takes the set from behind the gate, for good. The kernel limits how
// many paths of nested epoll sets a file may have: 100 where they are as long
// as ours (fs/eventpoll.c, path_limits), so a file that is registered with a
// hundred selectors, or as a hundred duplicates with one, is EINVAL to the
// next. Without parking there is no limit.
func (w *waiter) detach() bool {
	if w.wait == blocking {
		return false
	}
	w.noPark.Store(true)
	unix.EpollCtl(w.parker.fd, unix.EPOLL_CTL_DEL, w.parker.set, nil)
	w.core.interrupt(wakeSelf) // it may be parked
	return true
}

func (b *epoll) wake() error {
	if b.parked.Load() {
		return b.parker.wake()
	}
	return b.waker.wake()
}

func (b *epoll) sleep(timeout time.Duration) (int, error) {
	if b.noPark.Load() {
		return b.block(timeout)
	}
	switch b.wait {
	case blocking:
		return b.block(timeout)
	case armed, nested:
		n, _, err := b.park(timeout, 0)
		return n, err
	}
	return b.adapt(timeout)
}

// park waits without a thread. With a bound it gives up after so long, which
// is what late says, and then looks for itself.
func (b *epoll) park(timeout, bound time.Duration) (n int, late bool, err error) {
	if timeout > 0 {
		if err := b.setTimer(timeout); err != nil {
			n, err = b.block(timeout)
			return n, false, err
		}
	}
	b.parked.Store(true)
	late, err = b.parker.park(&b.core.wakes, bound)
	b.parked.Store(false)
	if err != nil {
		// The gate does not take the set: see detach. The core looks for wakes
		// that went to the gate and calls again.
		b.noPark.Store(true)
		return 0, false, nil
	}
	n, err = b.poll()
	return n, late, err
}

// foreign reports whether the last poll found anything but our own timer and
// waker.
func (b *epoll) foreign() bool {
	for i := range b.events[:b.found] {
		if b.events[i].Fd >= 0 {
			return true
		}
	}
	return false
}

// setTimer makes the set ready in timeout. A timer of the kernel is exact to
// some 50 µs, the runtime's own poller, when idle, to a millisecond or two. A
// timer that is set and goes off no later is left alone: it costs one futile
// round then, but no system call now.
func (b *epoll) setTimer(timeout time.Duration) (err error) {
	if b.timer < 0 {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
		if err != nil {
			return err
		}
		if err := b.watch(fd, timerToken); err != nil {
			unix.Close(fd)
			return err
		}
		b.timer = fd
	}
	at := now()
	if b.alarm > at && b.alarm <= at+timeout {
		return nil
	}
	b.alarm = at + timeout
	return unix.TimerfdSettime(b.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(timeout))}, nil)
}

// parker parks a goroutine in Go's runtime poller until an epoll set has
// something to tell.
//
// The runtime can wait for any file that poll(2) can, and an epoll set is one.
// Given the set itself, every event in it would wake the runtime's poller,
// also while the selector is busy and looks at the set anyway. So there is a
// gate between the two: an epoll set that holds nothing but the selector's
// own, one-shot, armed for each park. Unarmed it swallows everything.
//
// Armed, the gate is looked at before the goroutine parks: what came to it
// earlier may have left the set on the gate's own list of what is ready, and the
// kernel does not announce a file that is on that list already when it is armed
// (fs/eventpoll.c, ep_modify).
//
// A wake that ends a park leaves the gate ajar. The next park then has nothing to
// arm; and if it does not come to that, because there is something in the set,
// the gate is disarmed.
type parker struct {
	gate  *os.File // an epoll set, in the runtime's poller
	raw   syscall.RawConn
	fd    int  // the gate's
	set   int  // the selector's epoll set
	open  bool // the gate is never closed: for comparison
	tried bool

	attached bool  // the set is behind the gate
	ajar     bool  // armed, though the park is over
	failed   error // to get it there, or to arm the gate
	try      func(fd uintptr) bool
	past     atomic.Bool // the gate's deadline may be in the past
}

var errNotPollable = errors.New("the runtime's poller does not take an epoll descriptor")

func (p *parker) start(set int, open bool) (err error) {
	p.set, p.open, p.try = set, open, p.look
	if p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err = unix.SetNonblock(p.fd, true); err != nil { // else os.NewFile does not try to poll
		unix.Close(p.fd)
		return err
	}
	p.gate = os.NewFile(uintptr(p.fd), "epoll")
	p.raw, err = p.gate.SyscallConn()
	if err == nil && p.gate.SetReadDeadline(time.Time{}) != nil {
		err = errNotPollable
	}
	if err != nil {
		p.gate.Close()
	}
	return err
}

// arm lets the next event through the gate, also one that is there already;
// with mask 0, none. The set comes behind the gate when it is first armed:
// while an epoll set is inside another one, registrations with it take longer.
func (p *parker) arm(mask uint32) error {
	p.ajar = false
	if p.attached && p.open {
		return nil
	}
	ev := unix.EpollEvent{Events: mask | unix.EPOLLONESHOT}
	if p.open {
		ev.Events = unix.EPOLLIN | unix.EPOLLET
	}
	err := error(unix.ENOENT)
	if p.attached {
		err = unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, p.set, &ev)
	}
	if err == unix.ENOENT && mask != 0 {
		err = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, p.set, &ev)
	}
	p.attached = err == nil
	return err
}

// look is what the runtime calls before parking, and each time it thinks there
// may be something.
func (p *parker) look(uintptr) bool {
	if !p.tried {
		// The runtime cleared its own readiness before this call, so that an
		// event that passes the gate from now on is remembered.
		p.tried = true
		if p.ajar {
			p.failed = nil
		} else if p.failed = p.arm(unix.EPOLLIN); p.failed != nil {
			return true
		}
		p.ajar = false
	}
	var ev [1]unix.EpollEvent
	n, _, _ := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&ev)), 1, 0, 0, 0)
	return n != 0
}

// park returns when the set has something or a wake is pending; with a bound
// also when so much time has passed, and says so.
func (p *parker) park(wakes *atomic.Uint32, bound time.Duration) (late bool, err error) {
	var deadline time.Time
	if bound > 0 {
		deadline = time.Now().Add(bound)
		p.past.Store(true)
	}
	for {
		if p.past.Swap(false) {
			if err := p.gate.SetReadDeadline(deadline); err != nil {
				return false, err
			}
		}
		// After the reset: a wake that it erased is seen here.
		if wakes.Load() != 0 {
			return false, nil
		}
		p.tried = false
		err := p.raw.Read(p.try)
		if bound > 0 {
			p.past.Store(true)
		}
		if err == nil {
			return false, p.failed
		}
		p.ajar = p.ajar || p.tried && p.attached && !p.open
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return false, err
		}
		if bound > 0 && !time.Now().Before(deadline) {
			return true, nil
		}
		p.past.Store(true) // a wake's, perhaps one that comes late for an earlier park
	}
}

// longAgo is a deadline in the past.
var longAgo = time.Unix(1, 0)

// wake ends a park without a system call: a deadline in the past does it.
func (p *parker) wake() error {
	p.past.Store(true)
	return p.gate.SetReadDeadline(longAgo)
}
