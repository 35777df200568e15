package selectors

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/faulttest"
	"goselectors/selectors/internal/fdtest"
)

// A faultyCall is a system call of some backends, and the errors it can give in a
// shortage or under a seccomp filter.
type faultyCall struct {
	name     string
	number   uint32
	args     map[int]uint32
	backends string // a prefix of the names of constructors; empty: all
	errnos   []unix.Errno
}

// faultyCalls has every system call that the backends make.
var faultyCalls = []faultyCall{
	{"epoll_create1", unix.SYS_EPOLL_CREATE1, nil, "epoll", []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EPERM}},
	{"epoll_ctl ADD", unix.SYS_EPOLL_CTL, map[int]uint32{1: unix.EPOLL_CTL_ADD}, "epoll", []unix.Errno{unix.ENOSPC, unix.ENOMEM, unix.EPERM, unix.EINTR}},
	{"epoll_ctl MOD", unix.SYS_EPOLL_CTL, map[int]uint32{1: unix.EPOLL_CTL_MOD}, "epoll", []unix.Errno{unix.ENOMEM, unix.EPERM}},
	{"epoll_ctl DEL", unix.SYS_EPOLL_CTL, map[int]uint32{1: unix.EPOLL_CTL_DEL}, "epoll", []unix.Errno{unix.ENOMEM, unix.EPERM}},
	{"epoll_pwait", unix.SYS_EPOLL_PWAIT, nil, "epoll", []unix.Errno{unix.ENOMEM, unix.EINTR, unix.EAGAIN}},
	{"epoll_pwait2", unix.SYS_EPOLL_PWAIT2, nil, "epoll", []unix.Errno{unix.ENOMEM, unix.EINTR}},
	{"timerfd_create", unix.SYS_TIMERFD_CREATE, nil, "epoll", []unix.Errno{unix.EMFILE, unix.ENOMEM, unix.EPERM}},
	{"timerfd_settime", unix.SYS_TIMERFD_SETTIME, nil, "epoll", []unix.Errno{unix.ENOMEM, unix.EPERM}},
	{"dup3", unix.SYS_DUP3, nil, "epoll", []unix.Errno{unix.EBADF, unix.EBUSY, unix.EINTR, unix.EPERM}},
	{"eventfd2", unix.SYS_EVENTFD2, nil, "", []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EPERM}},
	{"fstat", sysFstat, nil, "", []unix.Errno{unix.ENOMEM, unix.EPERM}},
	{"fcntl", unix.SYS_FCNTL, nil, "", []unix.Errno{unix.ENOMEM, unix.EPERM}},
	{"ppoll", unix.SYS_PPOLL, nil, "poll", []unix.Errno{unix.ENOMEM, unix.EINTR, unix.EAGAIN}},
	{"pselect6", unix.SYS_PSELECT6, nil, "select", []unix.Errno{unix.ENOMEM, unix.EINTR, unix.EAGAIN, unix.EBADF}},
	{"write to the waker", unix.SYS_WRITE, nil, "", []unix.Errno{unix.EPERM, unix.EINTR, unix.ENOMEM}},
	{"read from the waker", unix.SYS_READ, nil, "", []unix.Errno{unix.EPERM, unix.EINTR}},
}

// missingCalls are like faultyCalls, but a process that has seen one of these errors
// does without the call from then on.
var missingCalls = []faultyCall{
	{"epoll_pwait2", unix.SYS_EPOLL_PWAIT2, nil, "epoll", []unix.Errno{unix.EPERM, unix.ENOSYS}},
}

// canFind reports whether a Select finds events although the call fails.
func (c faultyCall) canFind() bool {
	return c.number != unix.SYS_EPOLL_PWAIT && c.number != unix.SYS_PPOLL && c.number != unix.SYS_PSELECT6
}

// wakerOf returns the descriptor of a selector's waker.
func wakerOf(s Selector) (waker int) {
	switch s := s.(type) {
	case *EpollSelector:
		s.epoll.waiter.EachFile(func(fd int) error {
			waker = fd
			return errors.New("the first one is enough")
		})
	case *PollSelector:
		waker = s.poll.waker.FD()
	case *SelectSelector:
		waker = s.fdsets.waker.FD()
	}
	return waker
}

// A faultCell is one cell of the table: an operation of a selector while a system
// call fails. A selector has a key of each mode, and one that has only hints.
type faultCell struct {
	*testing.T
	call   faultyCall
	errno  unix.Errno
	make   func() (Selector, error)
	s      Selector
	asked  *countingBackend
	writer map[int]int // of each key: the pipe's other end
	ended  []int       // keys that were unregistered
}

func newFaultCell(t *testing.T, call faultyCall, errno unix.Errno, make func() (Selector, error)) *faultCell {
	t.Helper()
	s, err := make()
	if err != nil {
		t.Fatal(err)
	}
	c := &faultCell{T: t, call: call, errno: errno, make: make, s: s, writer: map[int]int{}}
	c.asked = &countingBackend{backend: coreOf(s).backend}
	coreOf(s).backend = c.asked
	for _, mode := range c.modes() {
		r, w := fdtest.Pipe(t)
		mustRegister(t, s, r, EventRead|mode)
		c.writer[r] = w
	}
	return c
}

// modes returns the modes that the backend has.
func (c *faultCell) modes() []Event {
	if c.s.Features()&FeatureExclusive == 0 {
		return []Event{0, OneShot}
	}
	return []Event{0, OneShot, EdgeTriggered, Exclusive}
}

// with runs f while the call fails. Go's runtime ends the process if its own calls
// of epoll_pwait or write fail, which it may make in any thread, so these fail for
// the selector's descriptors only.
func (c *faultCell) with(f func()) {
	c.Helper()
	args := c.call.args
	switch c.call.number {
	case unix.SYS_WRITE, unix.SYS_READ:
		args = map[int]uint32{0: uint32(wakerOf(c.s))}
	case unix.SYS_EPOLL_PWAIT:
		args = map[int]uint32{0: uint32(c.s.(*EpollSelector).epoll.fd)}
	}
	faulttest.WithFault(c.T, faulttest.Fault{Call: c.call.number, Errno: c.errno, Args: args}, f)
}

// selectNow is a Select that may find keys, but none that has ended and no error.
func (c *faultCell) selectNow(timeout time.Duration) map[int]Event {
	c.Helper()
	begin := time.Now()
	ready, err := c.s.Select(timeout)
	got := byDescriptor(ready)
	if err != nil {
		c.Errorf("Select(%v): %v", timeout, err)
	}
	if len(got) != len(ready) {
		c.Errorf("Select(%v) reported a key twice: %v", timeout, ready)
	}
	for _, fd := range c.ended {
		if got[fd] != 0 {
			c.Errorf("Select(%v) reported %d, which was unregistered", timeout, fd)
		}
	}
	if took := time.Since(begin); len(ready) == 0 && timeout > 0 && took < timeout {
		c.Errorf("Select(%v) returned nothing after %v", timeout, took)
	}
	return got
}

func (c *faultCell) stats() Stats { return c.s.(interface{ Stats() Stats }).Stats() }

// operations are what is done while a system call fails.
var operations = map[string]func(c *faultCell){
	"New": func(c *faultCell) {
		c.with(func() {
			s, err := c.make()
			if err != nil {
				return
			}
			(&faultCell{T: c.T, s: s}).selectNow(3 * time.Millisecond)
			if err := s.Close(); err != nil {
				c.Errorf("Close: %v", err)
			}
		})
	},
	"Register": func(c *faultCell) {
		for _, mode := range c.modes() {
			r, w := fdtest.Pipe(c)
			c.with(func() {
				if _, err := c.s.Register(r, EventRead|mode, nil); err == nil {
					c.writer[r] = w
				} else if _, missing := c.s.Key(r); !errors.Is(missing, ErrNotRegistered) {
					c.Errorf("Register: %v, but Key: %v", err, missing)
				}
			})
		}
	},
	"Register a second time": registerAgain,
	"Register a second time beside an orphan": func(c *faultCell) {
		c.addBesideOrphan()
		registerAgain(c)
	},
	"Register over an orphan": func(c *faultCell) {
		for _, mode := range c.modes() {
			for _, newMode := range c.modes() {
				r, w := fdtest.Pipe(c)
				dup := fdtest.Dup(c, r)
				mustRegister(c.T, c.s, r, EventRead|mode)
				fdtest.Close(c, r)
				if _, err := c.s.Unregister(r); err != nil {
					c.Error(err)
				}
				fdtest.Replace(c, r, dup)
				c.with(func() {
					if _, err := c.s.Register(r, EventRead|newMode, nil); err == nil {
						c.writer[r] = w
					} else {
						c.ended = append(c.ended, r)
					}
				})
			}
		}
	},
	"Modify": func(c *faultCell) {
		c.with(func() {
			for fd := range c.writer {
				for _, mode := range c.modes() {
					old, _ := c.s.Key(fd)
					key, err := c.s.Modify(fd, EventRead|mode, nil)
					if err != nil {
						key = old
					}
					if now, _ := c.s.Key(fd); now != key {
						c.Errorf("Modify: %v, but the key was %+v and is %+v", err, old, now)
					}
				}
			}
		})
	},
	"Unregister": func(c *faultCell) {
		c.with(func() {
			for _, fd := range slices.Sorted(maps.Keys(c.writer))[1:] {
				if _, err := c.s.Unregister(fd); err != nil {
					c.Errorf("Unregister: %v", err)
				}
				unix.Write(c.writer[fd], []byte("x"))
				c.ended = append(c.ended, fd)
				delete(c.writer, fd)
			}
			c.selectNow(0)
			c.selectNow(time.Millisecond)
		})
	},
	"Select that finds": func(c *faultCell) {
		for _, w := range c.writer {
			fdtest.Write(c, w, "x")
		}
		c.with(func() {
			for _, timeout := range []time.Duration{0, 3 * time.Millisecond} {
				got := c.selectNow(timeout)
				if timeout == 0 && c.call.canFind() && len(got) != len(c.writer) {
					c.Errorf("%d of %d ready keys were reported", len(got), len(c.writer))
				}
			}
		})
	},
	"Select that waits": func(c *faultCell) {
		c.with(func() {
			for range 2 {
				if got := c.selectNow(3 * time.Millisecond); len(got) != 0 {
					c.Errorf("nothing is ready, but %v was reported", got)
				}
			}
		})
	},
	"Select until Wake": func(c *faultCell) {
		c.with(func() {
			for _, timeout := range []time.Duration{-1, fdtest.Timeout, 20 * time.Millisecond} {
				woken := make(chan struct{})
				time.AfterFunc(3*time.Millisecond, func() {
					c.s.Wake()
					close(woken)
				})
				begin := time.Now()
				if ready, err := c.s.Select(timeout); err != nil || len(ready) != 0 || time.Since(begin) >= fdtest.Timeout {
					c.Errorf("Select returned %v, %v after %v", ready, err, time.Since(begin))
				}
				<-woken
				c.selectNow(0) // takes a wake that came too late
			}
			if c.call.number == unix.SYS_TIMERFD_SETTIME {
				// The timer of the last Select was not set, so it does not end
				// this one.
				c.selectNow(30 * time.Millisecond)
			}
		})
	},
	"Wake":                     func(c *faultCell) { c.during(c.s.Wake) },
	"Register during a Select": registerDuringSelect,
	"mute": func(c *faultCell) {
		for _, events := range []Event{EventPriority, EventReadClosed | EdgeTriggered, EventWrite | Exclusive} {
			if CheckInterest(events, c.s.Features()) != nil {
				continue
			}
			r, w := fdtest.Pipe(c)
			mustRegister(c.T, c.s, r, events)
			fdtest.Close(c, w)
		}
		c.with(func() {
			for range 3 {
				c.selectNow(0)
			}
		})
	},
	"unmute": func(c *faultCell) {
		a, b := fdtest.UnixPair(c)
		fdtest.Fill(c, a)
		mustRegister(c.T, c.s, a, EventWrite)
		fdtest.Shutdown(c, a, unix.SHUT_RDWR)
		c.selectNow(0) // the hang-up
		fdtest.Drain(c, b)
		c.with(func() { c.selectNow(0) })
		for begin := time.Now(); c.selectNow(time.Millisecond)[a] == 0 || c.stats().RepairPending; {
			if time.Since(begin) > fdtest.Timeout {
				c.Fatalf("%d is not reported", a)
			}
		}
		for range 3 {
			if got := c.selectNow(0); got[a]&EventWrite == 0 {
				c.Errorf("%v was reported, want %d, which stays writable", got, a)
			}
		}
		if _, err := c.s.Unregister(a); err != nil {
			c.Error(err)
		}
	},
	"repair": func(c *faultCell) {
		c.addBesideOrphan()
		c.with(func() {
			c.selectNow(0)
			c.selectNow(3 * time.Millisecond)
		})
	},
	"Close": func(c *faultCell) {
		c.with(func() {
			if err := c.s.Close(); err != nil {
				c.Errorf("Close: %v", err)
			}
		})
	},
}

func registerAgain(c *faultCell) {
	c.with(func() {
		for fd := range c.writer {
			if key, err := c.s.Register(fd, EventRead, nil); err == nil {
				c.Errorf("Register replaced the key by %+v", key)
			}
		}
	})
}

// addBesideOrphan makes an orphan and registers a file after that: then the backend
// notes which file it is.
func (c *faultCell) addBesideOrphan() {
	c.Helper()
	makeOrphan(c.T, c.s)
	r, w := fdtest.Pipe(c)
	mustRegister(c.T, c.s, r, EventRead)
	c.writer[r] = w
}

// registerDuringSelect: the selector that waits may notice the key late, if it
// cannot be told.
func registerDuringSelect(c *faultCell) {
	r, w := fdtest.Pipe(c)
	fdtest.Write(c, w, "x")
	c.during(func() error {
		_, err := c.s.Register(r, EventRead, nil)
		if err != nil {
			return err
		}
		c.writer[r] = w
		if c.call.number == unix.SYS_WRITE {
			return errors.New("the waker does not work")
		}
		return nil
	})
}

// during calls f while the system call fails and another goroutine waits in Select.
// If f fails, Wake ends that Select afterwards.
func (c *faultCell) during(f func() error) {
	c.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := c.s.Select(-1); err != nil {
			c.Errorf("Select: %v", err)
		}
	}()
	for core := coreOf(c.s); !core.asleep.Load(); {
		time.Sleep(100 * time.Microsecond)
	}
	var err error
	c.with(func() { err = f() })
	if err != nil {
		err = c.s.Wake()
	}
	select {
	case <-done:
	case <-time.After(fdtest.Timeout):
		c.Errorf("Select goes on (Wake: %v)", err)
		c.s.Close()
	}
}

// check checks that every key is reported when it is ready, now that calls no longer
// fail, and that the selector waits when nothing is.
func (c *faultCell) check() {
	c.Helper()
	for fd, w := range c.writer {
		key, err := c.s.Key(fd)
		if err != nil {
			c.Errorf("a key is lost: %v", err)
			continue
		}
		if key.Events&OneShot != 0 {
			if _, err := c.s.Modify(fd, key.Events, nil); err != nil {
				c.Errorf("Modify of a one-shot key: %v", err)
			}
		}
		fdtest.Write(c, w, "x")
	}
	missing := maps.Clone(c.writer)
	for begin := time.Now(); len(missing) > 0; {
		for fd := range c.selectNow(time.Millisecond) {
			delete(missing, fd)
		}
		if time.Since(begin) > fdtest.Timeout {
			c.Fatalf("keys are lost: %v of %v", missing, c.writer)
		}
	}
	for fd := range c.writer {
		fdtest.Drain(c, fd)
	}
	for begin := time.Now(); c.stats().RepairPending && time.Since(begin) < fdtest.Timeout; {
		c.selectNow(time.Millisecond)
	}
	if c.stats().RepairPending {
		c.Error("the set is not repaired")
	}
	for range 5 { // edges of a new set and hints are reported once
		if c.asked.calls.Store(0); len(c.selectNow(2*time.Millisecond)) == 0 {
			if calls := c.asked.calls.Load(); calls > 20 {
				c.Errorf("Select asked the kernel %d times in 2 ms", calls)
			}
			return
		}
	}
	c.Error("Select reports what is not ready, again and again")
}

// TestFaultTable does every operation on every backend while one of its system calls
// fails. The operation works or returns an error and changes nothing; Select returns
// no error; no key is lost, and no descriptor stays open.
func TestFaultTable(t *testing.T) { runFaultTable(t, faultyCalls) }

// TestFaultTableOfMissingCalls runs in a process of its own.
func TestFaultTableOfMissingCalls(t *testing.T) {
	const child = "SELECTORS_FAULT_TABLE"
	if os.Getenv(child) != "" {
		runFaultTable(t, missingCalls)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), child+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func runFaultTable(t *testing.T, calls []faultyCall) {
	for _, call := range calls {
		if testing.Short() {
			call.errnos = call.errnos[:1]
		}
		for _, errno := range call.errnos {
			for _, backend := range slices.Sorted(maps.Keys(constructors())) {
				if !strings.HasPrefix(backend, call.backends) {
					continue
				}
				for _, operation := range slices.Sorted(maps.Keys(operations)) {
					t.Run(fmt.Sprintf("%s/%s/%s/%s", call.name, unix.ErrnoName(errno), backend, operation), func(t *testing.T) {
						runFaultCell(t, call, errno, constructors()[backend], operation)
					})
				}
			}
		}
	}
}

func runFaultCell(t *testing.T, call faultyCall, errno unix.Errno, make func() (Selector, error), operation string) {
	before := fdtest.CountOpen()
	c := newFaultCell(t, call, errno, make)
	operations[operation](c)
	if operation != "Close" {
		c.check()
	}
	if err := c.s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if after := fdtest.CountOpen(); after != before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}
