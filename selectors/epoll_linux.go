package selectors

import (
	"os"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EpollSelector is a [Selector] on Linux's epoll(7). A waiting Select parks
// its goroutine; see "How a wait waits" in the package documentation.
type EpollSelector struct {
	core
	epoll epoll
}

// NewEpollSelector returns a selector on a new epoll set. It holds three
// descriptors of its own, with [WithBlockingWait] two, and one more after the
// first wait with a time limit.
func NewEpollSelector(opts ...Option) (*EpollSelector, error) {
	s := &EpollSelector{}
	if err := s.epoll.open(&s.core, newOptions(opts)); err != nil {
		return nil, &Error{Op: "new", Backend: "epoll", FD: -1, Err: err}
	}
	t := epollTraits
	if s.epoll.wait == blocking {
		t.features &^= FeatureParked
	}
	s.core.init(s, "epoll", &s.epoll, t)
	return s, nil
}

var epollTraits = traits{
	features: FeatureEdgeTriggered | FeatureExclusive | FeaturePriority | FeatureReadClosed | FeatureHangup | FeatureAnyFile | FeatureParked,
	oneShot:  true,
	live:     true,
	cheap:    true,
}

// epoll is the backend. What the kernel hands back with an event is the
// descriptor and the number of the registration: never a pointer, which it
// would keep after the garbage collector took the memory.
type epoll struct {
	fd     int
	events []unix.EpollEvent
	found  int  // events of the last wait
	lost   bool // one of them is of a registration that cannot be reached

	// suspect: the set may hold ghosts, registrations of numbers that were
	// closed while a duplicate kept the file open.
	suspect bool
	waiter
}

// Descriptors that stand for our own registrations in an event.
const (
	timerToken int32 = -1 - iota
	wakerToken
)

func (b *epoll) open(c *core, o options) (err error) {
	if b.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err = b.waiter.open(b, c, o); err != nil {
		unix.Close(b.fd)
	}
	return err
}

func (b *epoll) close() error {
	b.waiter.close()
	return os.NewSyscallError("close", unix.Close(b.fd))
}

// watch registers a descriptor of our own, edge-triggered: it need not be read
// to fall silent.
func (b *epoll) watch(fd int, token int32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(b.fd, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: token}))
}

// toEpoll adds the modes: the events have poll's values (linux/eventpoll.h).
func toEpoll(events Event) uint32 {
	mask := toPoll(events)
	if events&EdgeTriggered != 0 {
		mask |= unix.EPOLLET
	}
	if events&OneShot != 0 {
		mask |= unix.EPOLLONESHOT
	}
	if events&Exclusive != 0 {
		mask |= unix.EPOLLEXCLUSIVE
	}
	return mask
}

func epollCtl(set, op, fd int, mask, gen uint32) error {
	return unix.EpollCtl(set, op, fd, &unix.EpollEvent{Events: mask, Fd: int32(fd), Pad: int32(gen)})
}

func (b *epoll) ctl(op, fd int, mask, gen uint32) error { return epollCtl(b.fd, op, fd, mask, gen) }

func (b *epoll) add(fd int, e *entry, known bool) error {
	err := b.ctl(unix.EPOLL_CTL_ADD, fd, toEpoll(e.events), e.gen)
	// A park that begins at this moment may put the set back once.
	for try := 0; err == unix.EINVAL && try < 3 && b.detach(); try++ {
		err = b.ctl(unix.EPOLL_CTL_ADD, fd, toEpoll(e.events), e.gen)
	}
	switch {
	case err == nil && known:
		b.suspect = true
	case err == unix.EEXIST && e.id != 0:
		if id, _ := fileID(fd); id != e.id {
			// Not the file that is known: one that was registered under this
			// number earlier, lived on in a duplicate, and is back.
			err = b.ctl(unix.EPOLL_CTL_MOD, fd, toEpoll(e.events), e.gen)
		}
	}
	return b.outcome(fd, e, err)
}

// outcome reads the result of an epoll_ctl that may have met a file that
// cannot be watched, EPERM: regular files, directories, /dev/null.
func (b *epoll) outcome(fd int, e *entry, err error) error {
	switch err {
	case unix.EEXIST:
		return errExists
	case unix.EPERM:
		if err = identify(fd, e); err == nil {
			err = errAlwaysReady
		}
	case nil:
		b.note(fd, e)
	}
	return err
}

// note keeps which file a descriptor is, but only when there may be ghosts: it
// costs a system call.
func (b *epoll) note(fd int, e *entry) {
	e.id = 0
	if b.suspect {
		e.id, _ = fileID(fd)
	}
}

func (b *epoll) modify(fd int, e *entry, events Event, gen uint32) error {
	err := b.change(fd, e, toEpoll(events), gen)
	if err == nil {
		b.note(fd, e)
		return nil
	}
	if err == unix.ENOENT { // the number has another file by now
		b.suspect = true
		err = b.ctl(unix.EPOLL_CTL_ADD, fd, toEpoll(events), gen)
	}
	if err = b.outcome(fd, e, err); err == errExists {
		err = errAlwaysReady
	}
	return err
}

// change gives a registration another mask, or leaves it as it is and says
// why.
func (b *epoll) change(fd int, e *entry, mask, gen uint32) error {
	if e.events&Exclusive == 0 && mask&unix.EPOLLEXCLUSIVE == 0 {
		return b.ctl(unix.EPOLL_CTL_MOD, fd, mask, gen)
	}
	// epoll_ctl(2): any MOD that has to do with EPOLLEXCLUSIVE is EINVAL.
	if err := b.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0); err != nil {
		return err
	}
	err := b.ctl(unix.EPOLL_CTL_ADD, fd, mask, gen)
	if err != nil {
		b.ctl(unix.EPOLL_CTL_ADD, fd, toEpoll(e.events), e.gen)
	}
	return err
}

func (b *epoll) remove(fd int, e *entry) {
	if e.state&emulated == 0 {
		// EBADF and ENOENT: closed, or replaced by another file. Where a
		// duplicate keeps the file alive its events go on; see repair.
		if b.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0) != nil {
			b.suspect = true
		}
	}
}

// mute makes a level-triggered registration edge-triggered. If that fails the
// descriptor was closed, and its file lives on in a duplicate: nobody can
// reach the registration any more.
func (b *epoll) mute(fd int, e *entry) bool {
	if b.change(fd, e, toEpoll(e.events)|unix.EPOLLET, e.gen) != nil {
		b.lost = true
	}
	return true
}

func (b *epoll) unmute(fd int, e *entry) { b.change(fd, e, toEpoll(e.events), e.gen) }

// prepare makes room for an event of every registration and the two of our
// own, so that one wait can tell all that is ready.
func (b *epoll) prepare(c *core) {
	if need := c.table.len + 2; len(b.events) < need || len(b.events) > 4*need+64 {
		b.events = make([]unix.EpollEvent, need+need/4+14)
	}
}

func (b *epoll) collect(c *core, dst []Ready) []Ready {
	if b.found == len(b.events) && b.haunted(c) {
		// Ghosts took the places of others. Nothing has been reported yet, and
		// the new set will say again what the old one said.
		if b.repair(c) == nil {
			b.poll()
		}
	}
	dst = slices.Grow(dst, b.found)
	for i := range b.events[:b.found] {
		ev := &b.events[i]
		e := c.table.find(int(ev.Fd))
		if e == nil || e.gen != uint32(ev.Pad) {
			if ev.Fd >= 0 {
				c.ghosts++
			}
			continue
		}
		events := fromPoll(ev.Events)
		if told := events & (e.events | hintBits); e.state == 0 && told&e.events != 0 {
			dst = append(dst, Ready{e.key, told}) // what report would do, without the call
			continue
		}
		dst = c.report(dst, e, events)
	}
	if b.lost {
		b.lost = false
		c.ghosts++
	}
	return dst
}

func (b *epoll) haunted(c *core) bool {
	return slices.ContainsFunc(b.events[:b.found], func(ev unix.EpollEvent) bool {
		e := c.table.find(int(ev.Fd))
		return ev.Fd >= 0 && (e == nil || e.gen != uint32(ev.Pad))
	})
}

// repair moves all registrations to a new epoll set. The kernel's key is the
// pair of file and number (epoll(7), Questions and answers, 6), so a
// registration whose number was closed while a duplicate kept the file open
// cannot be deleted any more and reports for ever.
func (b *epoll) repair(c *core) error {
	fresh, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	defer unix.Close(fresh)
	c.table.all(func(e *entry) {
		if e.state&emulated != 0 {
			return
		}
		mask, fd := toEpoll(e.events), e.key.FD
		if e.state&silent != 0 {
			mask = unix.EPOLLONESHOT // there, but with nothing to say
		}
		// Only what the old set still knows: the number may have passed to
		// another file, which nobody registered, or which is itself a ghost.
		if e.id != 0 {
			if id, _ := fileID(fd); id != e.id {
				return
			}
		}
		switch b.ctl(unix.EPOLL_CTL_ADD, fd, 0, 0) {
		case unix.EEXIST:
		case nil:
			b.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0)
			return
		default:
			return
		}
		epollCtl(fresh, unix.EPOLL_CTL_ADD, fd, mask, e.gen)
		e.state &^= muted
	})
	// The new set takes the old one's number, so nobody needs to be told.
	if err := unix.Dup3(fresh, b.fd, unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("dup3", err)
	}
	b.suspect = false
	return b.waiter.reopen(b)
}

// poll is a raw system call: it does not block. Where it may harvest very many
// events it takes microseconds for long enough to let the scheduler know.
func (b *epoll) poll() (int, error) {
	const few = 256
	var n uintptr
	var errno unix.Errno
	if b.found < few {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(b.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b.events))), uintptr(len(b.events)), 0, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(b.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b.events))), uintptr(len(b.events)), 0, 0, 0)
	}
	return b.took(n, errno)
}

// took notes the outcome of an epoll_wait.
func (b *epoll) took(n uintptr, errno unix.Errno) (int, error) {
	switch errno {
	case 0:
		b.found = int(n)
		if b.parker.ajar && n > 0 { // a busy selector's events are not for the runtime
			b.parker.arm(0)
		}
		return b.found, nil
	case unix.EINTR: // the Go runtime preempts with signals: routine
		b.found = 0
		return 0, nil
	}
	b.found = 0
	return 0, os.NewSyscallError("epoll_wait", errno)
}

// noPwait2 is set when epoll_pwait2 (Linux 5.11) turns out to be missing, or
// forbidden by a seccomp filter that does not know it.
var noPwait2 atomic.Bool

// block waits in the kernel.
func (b *epoll) block(timeout time.Duration) (int, error) {
	if timeout > 0 && !noPwait2.Load() {
		ts := [2]int64{int64(timeout / time.Second), int64(timeout % time.Second)} // struct __kernel_timespec
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(b.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b.events))), uintptr(len(b.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		if errno != unix.ENOSYS && errno != unix.EPERM {
			return b.took(n, errno)
		}
		noPwait2.Store(true)
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(b.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b.events))), uintptr(len(b.events)), uintptr(milliseconds(timeout)), 0, 0)
	return b.took(n, errno)
}
