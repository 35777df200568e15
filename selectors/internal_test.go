//go:build linux

package selectors

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// White-box tests: what the kernel does not do on demand, and what cannot be
// seen from outside.

// aPipe returns a pipe with high numbers, so that they do not count against a
// limit on descriptors that a test sets.
func aPipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for i, fd := range p {
		p[i] = aDup(t, fd)
		unix.Close(fd)
	}
	return p[0], p[1]
}

// nextNumber goes round, so that a number that was closed does not come back
// at once with another file.
var nextNumber = 700

func aDup(t *testing.T, fd int) int {
	t.Helper()
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, nextNumber)
	if err != nil {
		t.Fatal(err)
	}
	if nextNumber = high + 1; nextNumber > 900 {
		nextNumber = 700
	}
	t.Cleanup(func() { unix.Close(high) })
	return high
}

func say(t *testing.T, fd int) {
	t.Helper()
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, fd int) {
	t.Helper()
	if _, err := unix.Read(fd, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func mustRegister(t *testing.T, s Selector, fd int, events Event) {
	t.Helper()
	if _, err := s.Register(fd, events, nil); err != nil {
		t.Fatal(err)
	}
}

// told is what some Selects reported in all.
func told(t *testing.T, s Selector, selects int) map[int]Event {
	t.Helper()
	all := map[int]Event{}
	for range selects {
		ready, err := s.Select(0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range ready {
			all[r.Key.FD] |= r.Events
		}
	}
	return all
}

// makers are all ways to make a selector, whatever it waits with.
func makers() map[string]func() (Selector, error) {
	all := map[string]func() (Selector, error){
		"poll":   func() (Selector, error) { return orNil(NewPollSelector()) },
		"select": func() (Selector, error) { return orNil(NewSelectSelector()) },
	}
	for _, strategy := range Strategies {
		all["epoll/"+strategy.Name] = func() (Selector, error) { return orNil(NewEpollSelector(strategy.Option)) }
	}
	return all
}

// withFree runs f with only so many descriptors left to open.
func withFree(t *testing.T, free int, f func()) {
	t.Helper()
	// The runtime's own poller wants descriptors when it is first used.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()

	var old unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	low := unix.Rlimit{Cur: 512, Max: old.Max}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &low, nil); err != nil {
		t.Fatal(err)
	}
	var taken []int
	defer func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &old, nil); err != nil {
			t.Fatal(err)
		}
	}()
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err == unix.EMFILE {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, fd)
	}
	for range free {
		unix.Close(taken[len(taken)-1])
		taken = taken[:len(taken)-1]
	}
	f()
}

// withFailing runs f in a thread in which the kernel refuses a system call.
// The thread ends with f. What f starts in other threads is not concerned. f
// must not call t.Fatal.
func withFailing(t *testing.T, call uint32, errno unix.Errno, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever: the filter cannot be taken off
		const loadNumber = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		const jumpEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		const ret = unix.BPF_RET | unix.BPF_K
		filter := []unix.SockFilter{
			{Code: loadNumber, K: 0}, // seccomp_data.nr
			{Code: jumpEqual, K: call, Jt: 0, Jf: 1},
			{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
			{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		}
		program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Skip("needs seccomp filters: ", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("hangs")
	}
}

func openDescriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	var all []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			all = append(all, e.Name()+" "+to)
		}
	}
	return all
}

// lowDescriptors counts the open descriptors below aPipe's.
func lowDescriptors() (n int) {
	for fd := range 700 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

func TestTable(t *testing.T) {
	var table table
	fds := []int{0, 1, pageSize - 1, pageSize, 5*pageSize + 3, 100_000}
	at := map[int]*entry{}
	for i, fd := range slices.Backward(fds) {
		if table.find(fd) != nil {
			t.Errorf("fd %d is found before it was put", fd)
		}
		at[fd] = table.put(fd, entry{key: &SelectorKey{FD: fd}, gen: uint32(i)})
	}
	if table.len != len(fds) {
		t.Errorf("len is %d, want %d", table.len, len(fds))
	}
	for _, fd := range fds {
		if e := table.find(fd); e != at[fd] || e.key.FD != fd {
			t.Errorf("fd %d is found at %p, want %p", fd, e, at[fd])
		}
	}
	for _, fd := range []int{-1, -2, math.MinInt, 2, pageSize + 1, 4 * pageSize, 100_001, math.MaxInt} {
		if e := table.find(fd); e != nil {
			t.Errorf("fd %d is found, though it was not put", fd)
		}
	}
	pages := 0
	for _, page := range table.pages {
		if page != nil {
			pages++
		}
	}
	if pages != 4 {
		t.Errorf("there are %d pages, want 4", pages)
	}
	var order []int
	table.all(func(e *entry) { order = append(order, e.key.FD) })
	if !slices.Equal(order, fds) {
		t.Errorf("all goes %v, want %v", order, fds)
	}

	if again := table.put(pageSize, entry{key: &SelectorKey{FD: pageSize}}); again != at[pageSize] || table.len != len(fds) {
		t.Errorf("put over it: at %p, want %p; len %d", again, at[pageSize], table.len)
	}
	table.free(at[pageSize])
	if table.find(pageSize) != nil || table.len != len(fds)-1 {
		t.Errorf("a freed entry is found; len is %d", table.len)
	}
}

func TestMasks(t *testing.T) {
	for _, test := range []struct {
		events Event
		want   uint32
	}{
		{EventRead, unix.EPOLLIN | unix.EPOLLRDHUP},
		{EventWrite, unix.EPOLLOUT},
		{EventPriority, unix.EPOLLPRI},
		{EventReadClosed, unix.EPOLLRDHUP},
		{EventRead | EventWrite | EdgeTriggered, unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLOUT | unix.EPOLLET},
		{EventWrite | OneShot, unix.EPOLLOUT | unix.EPOLLONESHOT},
		{EventRead | Exclusive, unix.EPOLLIN | unix.EPOLLEXCLUSIVE},
	} {
		if got := toEpoll(test.events); got != test.want {
			t.Errorf("%v is %#x to epoll, want %#x", test.events, got, test.want)
		}
	}
	for _, test := range []struct {
		mask uint32
		want Event
	}{
		{0, 0},
		{unix.POLLIN, EventRead},
		{unix.POLLOUT, EventWrite},
		{unix.POLLIN | unix.POLLOUT, EventRead | EventWrite},
		{unix.POLLPRI, EventPriority},
		{unix.POLLRDHUP | unix.POLLIN, EventRead | EventReadClosed},
		{unix.POLLHUP, EventRead | EventHangup},
		{unix.POLLERR, EventRead | EventWrite | EventError},
		{unix.POLLOUT | unix.POLLHUP, EventRead | EventWrite | EventHangup},
		{unix.POLLNVAL, EventError | EventInvalid},
		{unix.POLLNVAL | unix.POLLIN, EventError | EventInvalid},
	} {
		if got := fromPoll(test.mask); got != test.want {
			t.Errorf("%#x from poll is %v, want %v", test.mask, got, test.want)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for timeout, want := range map[time.Duration]int{
		-1: -1, math.MinInt64: -1, 0: 0, 1: 1,
		time.Millisecond: 1, time.Millisecond + 1: 2, 9 * time.Millisecond: 9,
		maxSleep: int(maxSleep / time.Millisecond),
	} {
		if got := milliseconds(timeout); got != want {
			t.Errorf("%v is %d ms, want %d", timeout, got, want)
		}
	}
}

// TestPwait2Missing: on kernels before 5.11, and in containers whose filter
// does not know it, there is no epoll_pwait2.
func TestPwait2Missing(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOSYS, unix.EPERM} {
		t.Run(errno.Error(), func(t *testing.T) {
			before := noPwait2.Swap(false)
			defer noPwait2.Store(before)
			r, w := aPipe(t)
			s, err := NewEpollSelector(WithBlockingWait())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			mustRegister(t, s, r, EventRead)
			withFailing(t, unix.SYS_EPOLL_PWAIT2, errno, func() {
				for _, timeout := range []time.Duration{1, 100 * time.Microsecond, 1500 * time.Microsecond, 9 * time.Millisecond} {
					begun := time.Now()
					ready, err := s.Select(timeout)
					if took := time.Since(begun); err != nil || len(ready) != 0 || took < timeout {
						t.Errorf("Select(%v) returned %v, %v after %v", timeout, ready, err, took)
					}
				}
				if !noPwait2.Load() {
					t.Error("the call was not found missing")
				}
				unix.Write(w, []byte("x"))
				for _, timeout := range []time.Duration{time.Second, math.MaxInt64, -1, 0} {
					if ready, err := s.Select(timeout); err != nil || len(ready) != 1 {
						t.Errorf("Select(%v) returned %v, %v", timeout, ready, err)
					}
				}
			})
		})
	}
}

// TestConstructorsWithoutDescriptors: with fewer descriptors left than a
// selector wants, it is an error, or it makes do; it never leaks one.
func TestConstructorsWithoutDescriptors(t *testing.T) {
	for name, make := range makers() {
		t.Run(name, func(t *testing.T) {
			r, w := aPipe(t)
			say(t, w)
			before := openDescriptors(t)
			made := false
			for free := range 6 {
				withFree(t, free, func() {
					s, err := make()
					if err != nil {
						var e *Error
						if !errors.As(err, &e) || e.Op != "new" || !errors.Is(err, unix.EMFILE) || s != nil {
							t.Errorf("with %d descriptors: %v, %v", free, s, err)
						}
						if made {
							t.Errorf("with %d descriptors: %v, with fewer it worked", free, err)
						}
						return
					}
					made = true
					defer s.Close()
					begun := time.Now()
					if ready, err := s.Select(2 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begun) < 2*time.Millisecond {
						t.Errorf("with %d descriptors: Select returned %v, %v after %v", free, ready, err, time.Since(begun))
					}
					stop := time.AfterFunc(5*time.Millisecond, func() { s.Wake() })
					defer stop.Stop()
					if ready, err := s.Select(20 * time.Second); err != nil || len(ready) != 0 || time.Since(begun) > 19*time.Second {
						t.Errorf("with %d descriptors: a woken Select returned %v, %v after %v", free, ready, err, time.Since(begun))
					}
					mustRegister(t, s, r, EventRead)
					if ready, err := s.Select(20 * time.Second); err != nil || len(ready) != 1 {
						t.Errorf("with %d descriptors: Select returned %v, %v", free, ready, err)
					}
				})
			}
			if !made {
				t.Error("no selector with 5 descriptors left")
			}
			if after := openDescriptors(t); !slices.Equal(before, after) {
				t.Errorf("the open descriptors were %v and are %v", before, after)
			}
		})
	}
}

// TestParkingNeedsDescriptors: where there are none for it, a selector blocks.
func TestParkingNeedsDescriptors(t *testing.T) {
	for _, strategy := range Strategies {
		withFree(t, 2, func() { // the set and the waker
			s, err := NewEpollSelector(strategy.Option)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.epoll.wait != blocking {
				t.Errorf("%s with 2 descriptors waits by strategy %d, want blocking", strategy.Name, s.epoll.wait)
			}
		})
	}
	// And where the runtime's poller refuses.
	withFailing(t, unix.SYS_FCNTL, unix.EPERM, func() {
		s, err := NewEpollSelector()
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		if s.epoll.wait != blocking {
			t.Errorf("without the runtime's poller it waits by strategy %d, want blocking", s.epoll.wait)
		}
		if _, err := s.Select(time.Millisecond); err != nil {
			t.Error(err)
		}
	})
}

// TestConstructorRefused: whatever call fails, it is an error or the selector
// makes do, and nothing is left open.
func TestConstructorRefused(t *testing.T) {
	for name, call := range map[string]uint32{
		"epoll_create1": unix.SYS_EPOLL_CREATE1, "eventfd2": unix.SYS_EVENTFD2, "epoll_ctl": unix.SYS_EPOLL_CTL,
	} {
		for maker, make := range makers() {
			before := openDescriptors(t)
			withFailing(t, call, unix.EACCES, func() {
				s, err := make()
				if err == nil {
					s.Close()
				} else if !errors.Is(err, unix.EACCES) || s != nil {
					t.Errorf("%s without %s: %v, %v", maker, name, s, err)
				}
			})
			if after := openDescriptors(t); !slices.Equal(before, after) {
				t.Errorf("%s without %s: the open descriptors were %v and are %v", maker, name, before, after)
			}
		}
	}
}

// TestTimerWithoutDescriptors: a park with a timeout wants a timerfd. Without
// one the wait blocks instead.
func TestTimerWithoutDescriptors(t *testing.T) {
	for _, strategy := range Strategies {
		s, err := NewEpollSelector(strategy.Option)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		withFree(t, 0, func() {
			for range 5 {
				begun := time.Now()
				if ready, err := s.Select(3 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begun) < 3*time.Millisecond {
					t.Errorf("%s: Select returned %v, %v after %v", strategy.Name, ready, err, time.Since(begun))
				}
			}
		})
		if s.epoll.timer >= 0 {
			t.Errorf("%s has a timer, from nowhere", strategy.Name)
		}
		before := openDescriptors(t)
		withFailing(t, unix.SYS_EPOLL_CTL, unix.ENOSPC, func() { // max_user_watches
			begun := time.Now()
			if ready, err := s.Select(3 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begun) < 3*time.Millisecond {
				t.Errorf("%s: Select returned %v, %v after %v", strategy.Name, ready, err, time.Since(begun))
			}
		})
		if after := openDescriptors(t); !slices.Equal(before, after) {
			t.Errorf("%s: the open descriptors were %v and are %v", strategy.Name, before, after)
		}
		if _, err := s.Select(time.Millisecond); err != nil {
			t.Error(err)
		}
	}
}

// anOrphan leaves a registration in the kernel that cannot be removed.
func anOrphan(t *testing.T, s Selector) {
	t.Helper()
	r, w := aPipe(t)
	say(t, w)
	aDup(t, r)
	mustRegister(t, s, r, EventRead)
	unix.Close(r)
	if _, err := s.Unregister(r); err != nil {
		t.Fatal(err)
	}
}

// TestRepairFails: the set cannot be rebuilt for now. Nothing is lost by it,
// and it is done when it can be done.
func TestRepairFails(t *testing.T) {
	type failure struct {
		name string
		with func(t *testing.T, f func())
	}
	failures := []failure{{"no descriptors", func(t *testing.T, f func()) { withFree(t, 0, f) }}}
	for name, call := range map[string]uint32{"epoll_create1": unix.SYS_EPOLL_CREATE1, "dup3": unix.SYS_DUP3} {
		failures = append(failures, failure{"no " + name, func(t *testing.T, f func()) { withFailing(t, call, unix.EACCES, f) }})
	}
	for _, failure := range failures {
		for _, strategy := range Strategies {
			if strategy.Name == "nested" {
				continue // it watches a duplicate of the old set; see repair
			}
			t.Run(failure.name+"/"+strategy.Name, func(t *testing.T) {
				s, err := NewEpollSelector(strategy.Option)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				want := map[int]Event{}
				for _, mode := range []Event{0, OneShot, EdgeTriggered, Exclusive} {
					r, w := aPipe(t)
					mustRegister(t, s, r, EventRead|mode)
					say(t, w)
					want[r] = EventRead
				}
				anOrphan(t, s)
				before := openDescriptors(t)
				got := map[int]Event{}
				failure.with(t, func() {
					for range 3 {
						ready, err := s.Select(0)
						if err != nil && len(ready) != 0 {
							t.Errorf("Select reported %v beside the error %v", ready, err)
						}
						for _, r := range ready {
							got[r.Key.FD] |= r.Events
						}
					}
				})
				if after := openDescriptors(t); !slices.Equal(before, after) {
					t.Errorf("the open descriptors were %v and are %v", before, after)
				}
				maps.Copy(got, told(t, s, 3))
				if !maps.Equal(got, want) {
					t.Errorf("reported %v in all, want %v", got, want)
				}

				// Silence: one that was level-triggered apart.
				quiet, err := NewEpollSelector(strategy.Option)
				if err != nil {
					t.Fatal(err)
				}
				defer quiet.Close()
				anOrphan(t, quiet)
				failure.with(t, func() { quiet.Select(0) })
				begun := time.Now()
				if ready, err := quiet.Select(20 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begun) < 20*time.Millisecond {
					t.Errorf("Select returned %v, %v after %v", ready, err, time.Since(begun))
				}
			})
		}
	}
}

// TestRepairKeepsStates: what a rebuilt set says of entries in every state.
func TestRepairKeepsStates(t *testing.T) {
	for _, strategy := range Strategies {
		t.Run(strategy.Name, func(t *testing.T) {
			s, err := NewEpollSelector(strategy.Option)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Select(time.Millisecond) // so that there is a timer to take along

			level, levelW := aPipe(t)
			mustRegister(t, s, level, EventRead)
			fired, firedW := aPipe(t)
			mustRegister(t, s, fired, EventRead|OneShot)
			say(t, firedW)
			firedHup, firedHupW := aPipe(t)
			mustRegister(t, s, firedHup, EventRead|OneShot)
			say(t, firedHupW)
			unix.Close(firedHupW)
			armed, armedW := aPipe(t)
			mustRegister(t, s, armed, EventRead|OneShot)
			shared, sharedW := aPipe(t)
			mustRegister(t, s, shared, EventRead|Exclusive)
			muted, mutedW := aPipe(t)
			mustRegister(t, s, muted, EventPriority)
			unix.Close(mutedW)
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			always := int(null.Fd())
			mustRegister(t, s, always, EventRead)
			closed, _ := aPipe(t)
			mustRegister(t, s, closed, EventRead)
			unix.Close(closed)
			taken, _ := aPipe(t)
			stranger, strangerW := aPipe(t)
			say(t, strangerW)
			mustRegister(t, s, taken, EventRead)
			if err := unix.Dup3(stranger, taken, unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}

			want := map[int]Event{fired: EventRead, firedHup: EventRead | EventHangup, muted: EventHangup, always: EventRead}
			if got := told(t, s, 3); !maps.Equal(got, want) {
				t.Fatalf("before: reported %v, want %v", got, want)
			}

			set := s.epoll.fd
			anOrphan(t, s)
			got := told(t, s, 5)
			delete(got, muted) // may be told once more
			if want := map[int]Event{always: EventRead}; !maps.Equal(got, want) {
				t.Errorf("rebuilding: reported %v, want %v", got, want)
			}
			if s.epoll.fd != set {
				t.Errorf("the set has moved from %d to %d", set, s.epoll.fd)
			}
			if flags, err := unix.FcntlInt(uintptr(set), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("the new set is inherited: %#x, %v", flags, err)
			}

			for _, w := range []int{levelW, armedW, sharedW} {
				say(t, w)
			}
			want = map[int]Event{level: EventRead, armed: EventRead, shared: EventRead, always: EventRead}
			if got := told(t, s, 3); !maps.Equal(got, want) {
				t.Errorf("after: reported %v, want %v", got, want)
			}
			for _, fd := range []int{fired, firedHup} {
				if _, err := s.Modify(fd, EventRead|OneShot, nil); err != nil {
					t.Error(err)
				}
			}
			if _, err := s.Unregister(always); err != nil {
				t.Error(err)
			}
			want = map[int]Event{level: EventRead, shared: EventRead, fired: EventRead, firedHup: EventRead | EventHangup}
			if got := told(t, s, 3); !maps.Equal(got, want) {
				t.Errorf("armed again: reported %v, want %v", got, want)
			}
		})
	}
}

// TestWaitAfterRepair: all ways to wait work on the rebuilt set: with a
// timeout, for an event, and for a wake.
func TestWaitAfterRepair(t *testing.T) {
	for _, strategy := range Strategies {
		t.Run(strategy.Name, func(t *testing.T) {
			if strategy.Name == "nested" {
				t.Skip("there for comparison only: it goes on watching the old set")
			}
			before := lowDescriptors()
			defer func() {
				if after := lowDescriptors(); after != before {
					t.Errorf("%d descriptors are open, %d were before", after, before)
				}
			}()
			s, err := NewEpollSelector(strategy.Option)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Select(time.Millisecond)
			r, w := aPipe(t)
			mustRegister(t, s, r, EventRead)
			for range 3 {
				anOrphan(t, s)
				told(t, s, 2)
				begun := time.Now()
				if ready, err := s.Select(5 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begun) < 5*time.Millisecond {
					t.Errorf("Select returned %v, %v after %v", ready, err, time.Since(begun))
				}
				for what, end := range map[string]func(){"event": func() { unix.Write(w, []byte("x")) }, "wake": func() { s.Wake() }} {
					stop := time.AfterFunc(10*time.Millisecond, end)
					begun := time.Now()
					ready, err := s.Select(20 * time.Second)
					if err != nil || (len(ready) == 1) != (what == "event") || time.Since(begun) > 19*time.Second {
						t.Errorf("%s: Select returned %v, %v after %v", what, ready, err, time.Since(begun))
					}
					stop.Stop()
					unix.Read(r, make([]byte, 1))
				}
			}
		})
	}
}

// TestPollBeyondLimit: poll(2) refuses a list that is longer than the limit on
// descriptors. That is an error, not a hang, and it passes.
func TestPollBeyondLimit(t *testing.T) {
	s, err := NewPollSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, w := aPipe(t)
	mustRegister(t, s, r, EventRead)
	say(t, w)
	for range 600 { // withFree's limit is lower
		mustRegister(t, s, aDup(t, w), EventPriority)
	}
	withFree(t, 0, func() {
		for _, timeout := range []time.Duration{0, time.Millisecond, -1} {
			ready, err := s.Select(timeout)
			var e *Error
			if !errors.As(err, &e) || e.Op != "select" || e.Backend != "poll" || !errors.Is(err, unix.EINVAL) || len(ready) != 0 {
				t.Errorf("Select(%v) returned %v, %v", timeout, ready, err)
			}
		}
	})
	if got, want := told(t, s, 1), map[int]Event{r: EventRead}; !maps.Equal(got, want) {
		t.Errorf("reported %v, want %v", got, want)
	}
}

// TestWakesAreCounted: epoll's waker is never read, so a wake may add no more
// than 1 to its counter, whatever the machine's byte order.
func TestWakesAreCounted(t *testing.T) {
	var w waker
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	defer w.close()
	const wakes = 1000
	for range wakes {
		if err := w.wake(); err != nil {
			t.Fatal(err)
		}
	}
	var count [8]byte
	if _, err := unix.Read(w.fd(), count[:]); err != nil {
		t.Fatal(err)
	}
	if n := binary.NativeEndian.Uint64(count[:]); n != wakes {
		t.Errorf("%d wakes count as %#x", wakes, n)
	}
}

// TestSelectFindsClosed: select(2) says EBADF of the whole call. Which
// descriptors it means has to be found out, and all others are none the worse.
func TestSelectFindsClosed(t *testing.T) {
	s, err := NewSelectSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := map[int]Event{}
	for i := range 200 {
		r, w := aPipe(t)
		events := []Event{EventRead, EventWrite, EventPriority}[i%3]
		mustRegister(t, s, r, events)
		if i%7 == 0 {
			want[r] = EventError | EventInvalid
		} else if events == EventRead {
			say(t, w)
			want[r] = EventRead
		}
	}
	for fd, events := range want {
		if events&EventInvalid != 0 {
			unix.Close(fd)
		}
	}
	if got := told(t, s, 1); !maps.Equal(got, want) {
		t.Errorf("reported %v, want %v", got, want)
	}
	maps.DeleteFunc(want, func(_ int, events Event) bool { return events&EventInvalid != 0 })
	if got := told(t, s, 2); !maps.Equal(got, want) {
		t.Errorf("then reported %v, want %v", got, want)
	}
}

// TestSelectErrorsOfTheKernel: what the kernel may say to a wait, and nobody
// expects.
func TestSelectErrorsOfTheKernel(t *testing.T) {
	for name, call := range map[string]uint32{
		"poll": unix.SYS_PPOLL, "select": unix.SYS_PSELECT6, "epoll/blocking": unix.SYS_EPOLL_PWAIT, "epoll/armed": unix.SYS_EPOLL_PWAIT,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := makers()[name]()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r, w := aPipe(t)
			mustRegister(t, s, r, EventRead)
			say(t, w)
			for _, errno := range []unix.Errno{unix.ENOMEM, unix.EINTR} {
				withFailing(t, call, errno, func() {
					given := []Ready{{Events: EventWrite}}
					got, err := s.SelectInto(given, 0)
					if len(got) != 1 || got[0] != given[0] {
						t.Errorf("%v: the batch is %v", errno, got)
					}
					if errno == unix.EINTR {
						if err != nil {
							t.Errorf("interrupted: %v", err)
						}
						return
					}
					var e *Error
					if !errors.As(err, &e) || e.Op != "select" || !errors.Is(err, errno) {
						t.Errorf("the error is %v, want %v", err, errno)
					}
				})
			}
			if got, want := told(t, s, 1), map[int]Event{r: EventRead}; !maps.Equal(got, want) {
				t.Errorf("reported %v, want %v", got, want)
			}
		})
	}
	t.Run("epoll/blocking, asleep", func(t *testing.T) {
		s, err := NewEpollSelector(WithBlockingWait())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		withFailing(t, unix.SYS_EPOLL_PWAIT2, unix.ENOMEM, func() {
			if _, err := s.Select(time.Millisecond); !errors.Is(err, unix.ENOMEM) {
				t.Errorf("the error is %v", err)
			}
		})
		if _, err := s.Select(time.Millisecond); err != nil {
			t.Error(err)
		}
	})
}

// TestRegisterErrorsOfTheKernel: the same for registrations: nothing changes.
func TestRegisterErrorsOfTheKernel(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, test := range []struct {
		maker string
		call  uint32
		fds   []int
	}{
		{"poll", callFstat, []int{0}},
		{"select", callFstat, []int{0}},
		{"epoll/adaptive", unix.SYS_EPOLL_CTL, []int{0}},
		{"epoll/adaptive", callFstat, []int{int(null.Fd())}},
	} {
		s, err := makers()[test.maker]()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r, w := aPipe(t)
		mustRegister(t, s, r, EventRead)
		say(t, w)
		for _, fd := range test.fds {
			if fd == 0 {
				fd, _ = aPipe(t)
			}
			withFailing(t, test.call, unix.ENOMEM, func() {
				var e *Error
				if _, err := s.Register(fd, EventRead, nil); !errors.As(err, &e) || !errors.Is(err, unix.ENOMEM) || e.FD != fd || e.Op != "register" {
					t.Errorf("%s: Register: %v", test.maker, err)
				}
				if fd != int(null.Fd()) {
					if _, err := s.Modify(r, EventWrite, nil); !errors.Is(err, unix.ENOMEM) {
						t.Errorf("%s: Modify: %v", test.maker, err)
					}
				}
			})
		}
		if s.Len() != 1 {
			t.Errorf("%s: Len is %d", test.maker, s.Len())
		}
		if got, want := told(t, s, 1), map[int]Event{r: EventRead}; !maps.Equal(got, want) {
			t.Errorf("%s: reported %v, want %v", test.maker, got, want)
		}
	}
}

// TestModifyExclusiveRefused: an exclusive registration is changed by leaving
// and joining, so the kernel may refuse halfway. The old one stands.
func TestModifyExclusiveRefused(t *testing.T) {
	s, err := NewEpollSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, w := aPipe(t)
	mustRegister(t, s, r, EventRead|Exclusive)
	say(t, w)
	for _, events := range []Event{EventRead | EventWrite | Exclusive, EventRead, EventRead | Exclusive | EdgeTriggered, EventRead | Exclusive} {
		if _, err := s.Modify(r, events, nil); err != nil {
			t.Errorf("Modify to %v: %v", events, err)
		}
		if got, want := told(t, s, 1), map[int]Event{r: EventRead}; !maps.Equal(got, want) {
			t.Errorf("%v: reported %v, want %v", events, got, want)
		}
	}
	if _, err := s.Modify(r, EventRead|Exclusive|EventPriority, nil); !errors.Is(err, ErrInvalidEvents) {
		t.Errorf("Modify to what does not go together: %v", err)
	}
	unix.Close(r)
	if _, err := s.Modify(r, EventRead, nil); !errors.Is(err, unix.EBADF) {
		t.Errorf("Modify of a closed one: %v", err)
	}
	if key, err := s.Key(r); err != nil || key.Events != EventRead|Exclusive {
		t.Errorf("Key is %v, %v", key, err)
	}
}

// TestBuffersGrowAndShrink: a crowd that has left does not cost memory for
// ever.
func TestBuffersGrowAndShrink(t *testing.T) {
	const crowd = 1000
	size := map[string]func(s Selector) int{
		"epoll/adaptive": func(s Selector) int { return len(s.(*EpollSelector).epoll.events) },
		"poll": func(s Selector) int {
			b := &s.(*PollSelector).poll
			return max(cap(b.fds), cap(b.copy))
		},
		"select": func(s Selector) int {
			b := &s.(*SelectSelector).sel
			return 64 * max(cap(b.want[0]), cap(b.asked[1]), cap(b.got[2]))
		},
	}
	for name, size := range size {
		t.Run(name, func(t *testing.T) {
			s, err := makers()[name]()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r, w := aPipe(t)
			say(t, w)
			if err := unix.Dup3(r, 200, unix.O_CLOEXEC); err != nil { // low, for select's sake
				t.Fatal(err)
			}
			defer unix.Close(200)
			mustRegister(t, s, 200, EventRead)
			told(t, s, 1)
			small := size(s)
			var fds []int
			for range crowd {
				_, w := aPipe(t)
				fds = append(fds, w)
				mustRegister(t, s, w, EventWrite)
			}
			if got := told(t, s, 1); len(got) != crowd+1 {
				t.Errorf("%d of %d are reported", len(got), crowd+1)
			}
			if big := size(s); big < crowd {
				t.Errorf("there is room for %d", big)
			}
			for i, fd := range fds {
				if _, err := s.Unregister(fd); err != nil {
					t.Fatal(err)
				}
				if i%100 == 0 {
					told(t, s, 1)
				}
			}
			if got, want := told(t, s, 2), map[int]Event{200: EventRead}; !maps.Equal(got, want) {
				t.Errorf("reported %v, want %v", got, want)
			}
			if now := size(s); now > max(4*small, 300) {
				t.Errorf("the room is %d after it was %d", now, small)
			}
		})
	}
}

// TestGenerationsWrap: the number of registrations overflows after 2³² of
// them.
func TestGenerationsWrap(t *testing.T) {
	for name, make := range makers() {
		t.Run(name, func(t *testing.T) {
			s, err := make()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c := coreOf(s)
			c.gens = math.MaxUint32 - 12
			c.seen = c.gens
			old, oldW := aPipe(t)
			mustRegister(t, s, old, EventRead)
			told(t, s, 1)
			say(t, oldW)
			for i := range 30 {
				r, w := aPipe(t)
				mustRegister(t, s, r, EventRead)
				if got, want := told(t, s, 1), map[int]Event{old: EventRead}; !maps.Equal(got, want) {
					t.Fatalf("%d: reported %v, want %v", i, got, want)
				}
				say(t, w)
				if _, err := s.Modify(r, EventRead|OneShot, nil); err != nil {
					t.Fatal(err)
				}
				if got, want := told(t, s, 2), map[int]Event{old: EventRead, r: EventRead}; !maps.Equal(got, want) {
					t.Fatalf("%d: reported %v, want %v", i, got, want)
				}
				if _, err := s.Unregister(r); err != nil {
					t.Fatal(err)
				}
			}
			anOrphan(t, s)
			if got, want := told(t, s, 2), map[int]Event{old: EventRead}; !maps.Equal(got, want) {
				t.Errorf("reported %v, want %v", got, want)
			}
		})
	}
}

// TestChangesWhileTheKernelReports: between a wait and the look at what it
// found, a registration may end, and its number get another one. What the
// kernel said is not news of that.
func TestChangesWhileTheKernelReports(t *testing.T) {
	for name, make := range makers() {
		for _, test := range []struct {
			name   string
			change func(t *testing.T, s Selector, fd, quiet int)
		}{
			{"unregistered", func(t *testing.T, s Selector, fd, _ int) {
				s.Unregister(fd)
			}},
			{"registered again", func(t *testing.T, s Selector, fd, quiet int) {
				s.Unregister(fd)
				unix.Dup3(quiet, fd, unix.O_CLOEXEC)
				mustRegister(t, s, fd, EventRead)
			}},
			{"registered over", func(t *testing.T, s Selector, fd, quiet int) {
				unix.Dup3(quiet, fd, unix.O_CLOEXEC)
				mustRegister(t, s, fd, EventRead)
			}},
			{"modified", func(t *testing.T, s Selector, fd, quiet int) {
				unix.Dup3(quiet, fd, unix.O_CLOEXEC)
				if _, err := s.Modify(fd, EventRead|OneShot, nil); err != nil {
					t.Error(err)
				}
			}},
		} {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				s, err := make()
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				c := coreOf(s)
				fd, w := aPipe(t)
				quiet, _ := aPipe(t)
				say(t, w)
				mustRegister(t, s, fd, EventRead)
				if err := c.prepare(); err != nil {
					t.Fatal(err)
				}
				n, err := c.b.poll()
				if n != 1 || err != nil {
					t.Fatalf("the kernel found %d, %v", n, err)
				}
				test.change(t, s, fd, quiet)
				if ready, err := c.collect(nil, n); err != nil || len(ready) != 0 {
					t.Errorf("reported %v, %v of a registration that has ended", ready, err)
				}
				if got := told(t, s, 3); len(got) != 0 {
					t.Errorf("then reported %v", got)
				}
			})
		}
	}
}

// TestCloseWhileTheKernelReports: after Close nothing is reported, whatever
// the kernel has found.
func TestCloseWhileTheKernelReports(t *testing.T) {
	for name, make := range makers() {
		s, err := make()
		if err != nil {
			t.Fatal(err)
		}
		c := coreOf(s)
		fd, w := aPipe(t)
		say(t, w)
		mustRegister(t, s, fd, EventRead)
		c.prepare()
		n, err := c.b.poll()
		if n != 1 || err != nil {
			t.Fatalf("%s: the kernel found %d, %v", name, n, err)
		}
		s.Close()
		if ready, err := c.collect(nil, n); !errors.Is(err, ErrClosed) || len(ready) != 0 {
			t.Errorf("%s: reported %v, %v", name, ready, err)
		}
	}
}

func coreOf(s Selector) *core {
	switch s := s.(type) {
	case *EpollSelector:
		return &s.core
	case *PollSelector:
		return &s.core
	case *SelectSelector:
		return &s.core
	}
	panic("not one of ours")
}

// TestWakerFull: an eventfd whose counter is full is awake enough.
func TestWakerFull(t *testing.T) {
	var w waker
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if _, err := unix.Write(w.fd(), slices.Repeat([]byte{0xff}, 7)); err == nil {
		t.Fatal("an eventfd took 7 bytes")
	}
	most := uint64(math.MaxUint64 - 1)
	if _, err := unix.Write(w.fd(), (*[8]byte)(unsafe.Pointer(&most))[:]); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.wake(); err != nil {
			t.Errorf("wake of a full one: %v", err)
		}
	}
	w.drain()
	w.drain() // must not block
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd()), Events: unix.POLLIN}}, 0); n != 0 || err != nil {
		t.Errorf("drained it is still readable: %d, %v", n, err)
	}
	if err := w.wake(); err != nil {
		t.Error(err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd()), Events: unix.POLLIN}}, 0); n != 1 || err != nil {
		t.Errorf("woken it is not readable: %d, %v", n, err)
	}
}

// TestWakeFails: Wake says so when it could not wake.
func TestWakeFails(t *testing.T) {
	s, err := NewPollSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fd := s.poll.eventfd
	s.poll.eventfd = -1
	s.asleep.Store(true)
	err = s.Wake()
	var e *Error
	if !errors.As(err, &e) || e.Op != "wake" || !errors.Is(err, unix.EBADF) {
		t.Errorf("the error is %v", err)
	}
	s.asleep.Store(false)
	s.poll.eventfd = fd
}

// TestCloseFails: Close says so when it could not close, once, and is closed.
func TestCloseFails(t *testing.T) {
	for name, make := range makers() {
		s, err := make()
		if err != nil {
			t.Fatal(err)
		}
		var fd *int
		switch s := s.(type) {
		case *EpollSelector:
			fd = &s.epoll.fd
		case *PollSelector:
			fd = &s.poll.eventfd
		case *SelectSelector:
			fd = &s.sel.eventfd
		}
		real := *fd
		*fd = -1
		err = s.Close()
		unix.Close(real)
		var e *Error
		if !errors.As(err, &e) || e.Op != "close" || !errors.Is(err, unix.EBADF) || errors.Is(err, ErrClosed) {
			t.Errorf("%s: the error is %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: then it is %v", name, err)
		}
		if _, err := s.Select(0); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Select says %v", name, err)
		}
	}
}

// parking returns a selector that always parks, and a pipe whose end r it watches.
func parking(t *testing.T) (s *EpollSelector, r, w int) {
	t.Helper()
	s, err := NewEpollSelector(func(o *options) { o.wait = armed })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if s.epoll.wait != armed {
		t.Skip("the runtime's poller does not take epoll descriptors here")
	}
	r, w = aPipe(t)
	mustRegister(t, s, r, EventRead)
	return s, r, w
}

// TestParkFails: where the runtime's poller fails a park, the wait goes on
// blocking, and a wake that came just then is not lost.
func TestParkFails(t *testing.T) {
	for _, test := range []struct {
		name  string
		woken bool
	}{{"asleep", false}, {"woken", true}} {
		t.Run(test.name, func(t *testing.T) {
			s, _, w := parking(t)
			refused := 0
			s.epoll.parker.raw = refusing{s.epoll.parker.raw, func() {
				refused++
				if test.woken {
					s.Wake()
				}
			}}
			if test.woken {
				help := time.AfterFunc(5*time.Second, func() {
					t.Error("the wake was lost")
					unix.Write(w, []byte("x"))
				})
				defer help.Stop()
				if ready, err := s.Select(-1); err != nil || len(ready) != 0 {
					t.Errorf("Select returned %v, %v", ready, err)
				}
			} else {
				for range 2 {
					begun := time.Now()
					if ready, err := s.Select(3 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begun) < 3*time.Millisecond {
						t.Errorf("Select returned %v, %v after %v", ready, err, time.Since(begun))
					}
				}
			}
			if refused != 1 {
				t.Errorf("it tried to park %d times, want once", refused)
			}
		})
	}
}

// TestEventBesideWake: an event that comes to the gate just when a wake ends the
// park is not taken by the runtime, and leaves the set on the gate's own list of
// what is ready. The kernel says nothing when a file is armed that is on that
// list and ready (fs/eventpoll.c, ep_modify). So an event that comes between the
// last look at the set and the next park would be lost, if nothing looked after.
func TestEventBesideWake(t *testing.T) {
	s, r, w := parking(t)
	p := &s.epoll.parker
	look := p.look
	for range 3 {
		looks := 0
		p.try = func(fd uintptr) bool {
			looks++
			if looks > 1 {
				return look(fd)
			}
			done := look(fd)
			s.Wake()
			say(t, w)
			time.Sleep(15 * time.Millisecond) // the runtime looks every 10 ms
			return done
		}
		if ready, err := s.Select(-1); err != nil || len(ready) > 1 {
			t.Fatalf("Select returned %v, %v beside a wake", ready, err)
		}
		if looks != 1 {
			t.Fatalf("it looked %d times, want once before the wake", looks)
		}
		hear(t, r)

		late := false
		p.try = func(fd uintptr) bool {
			if !late {
				late = true
				say(t, w)
			}
			return look(fd)
		}
		help := time.AfterFunc(5*time.Second, func() {
			t.Error("the event was lost")
			s.Wake()
		})
		if ready, err := s.Select(-1); err != nil || len(ready) != 1 {
			t.Fatalf("Select returned %v, %v, want the pipe", ready, err)
		}
		help.Stop()
		if !late {
			t.Fatal("it did not park")
		}
		hear(t, r)
	}
}

// TestGateAfterWake: a selector that is only woken leaves its gate armed. One
// that finds something without waiting does not, so that the runtime does not
// hear of each event.
func TestGateAfterWake(t *testing.T) {
	s, r, w := parking(t)
	p := &s.epoll.parker
	meanwhile := func(what func()) { // what happens when the gate has just been armed
		p.try = func(fd uintptr) bool {
			done := p.look(fd)
			if what != nil {
				what()
				what = nil
			}
			return done
		}
	}
	gate := func() bool { // has something come to it?
		n, err := unix.EpollWait(p.fd, make([]unix.EpollEvent, 1), 0)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	selects := func(timeout time.Duration, want int) {
		t.Helper()
		help := time.AfterFunc(5*time.Second, func() {
			t.Error("Select hangs")
			s.Close()
		})
		defer help.Stop()
		if ready, err := s.Select(timeout); err != nil || len(ready) != want {
			t.Fatalf("Select returned %v, %v, want %d ready", ready, err, want)
		}
	}
	for range 2 {
		for range 2 {
			meanwhile(func() { s.Wake() })
			selects(-1, 0)
			if !p.ajar {
				t.Error("a wake has disarmed the gate")
			}
		}
		raw := p.raw
		p.raw = wokenFirst{raw, s}
		meanwhile(func() { t.Error("it parks, woken") })
		selects(-1, 0)
		p.raw = raw
		if !p.ajar {
			t.Error("a gate that was not come to is taken for disarmed")
		}
		meanwhile(func() { say(t, w) })
		selects(-1, 1)
		if p.ajar || gate() {
			t.Error("an event went through the gate and it is still armed")
		}
		hear(t, r)

		meanwhile(func() { s.Wake() })
		selects(-1, 0)
		say(t, w)
		selects(0, 1) // in which it is disarmed
		gate()
		hear(t, r)
		say(t, w)
		if p.ajar || gate() {
			t.Error("a busy selector's gate is armed")
		}
		hear(t, r)
	}
}

// wokenFirst is a RawConn that is overtaken by a wake.
type wokenFirst struct {
	syscall.RawConn
	s Selector
}

func (c wokenFirst) Read(try func(uintptr) bool) error {
	c.s.Wake()
	return c.RawConn.Read(try)
}

// refusing is a RawConn that cannot wait.
type refusing struct {
	syscall.RawConn
	refuse func()
}

func (r refusing) Read(func(uintptr) bool) error {
	r.refuse()
	return errNotPollable
}

// TestMaxSleep: a sleep asked of the kernel is never longer than maxSleep, and
// looks after those it could not mute.
func TestMaxSleep(t *testing.T) {
	var c core
	b := &sleeper{}
	c.init(nil, "test", b, traits{})
	for _, test := range []struct {
		left     time.Duration
		restless int32
		want     time.Duration
	}{
		{-1, 0, -1}, {time.Second, 0, time.Second}, {math.MaxInt64, 0, maxSleep}, {maxSleep + 1, 0, maxSleep},
		{-1, 1, lookAfter}, {time.Second, 1, lookAfter}, {time.Millisecond, 1, time.Millisecond},
	} {
		c.restless.Store(test.restless)
		if _, err := c.sleep(test.left); err != nil || b.asked != test.want {
			t.Errorf("with %v left the kernel is asked for %v, want %v", test.left, b.asked, test.want)
		}
	}
}

// sleeper is a backend that knows how long it was asked to sleep.
type sleeper struct {
	backend
	asked time.Duration
}

func (s *sleeper) sleep(timeout time.Duration) (int, error) { s.asked = timeout; return 0, nil }

// TestHabit: where asking is not cheap, a busy selector asks without waiting and
// an idle one hardly ever asks twice; one that is busy now and then does more
// of what serves.
func TestHabit(t *testing.T) {
	b := &countedBackend{found: 1}
	c := core{b: b, traits: traits{live: true, scans: true}}
	selects := func(n int) (polls, sleeps int) {
		b.polls, b.sleeps = 0, 0
		for range n {
			c.Select(-1)
		}
		return b.polls, b.sleeps
	}
	for range 3 {
		b.found = 1
		selects(100) // until it has noticed
		if polls, sleeps := selects(100); polls != 100 || sleeps != 0 {
			t.Errorf("while something is ready 100 Selects made %d polls and %d sleeps", polls, sleeps)
		}
		b.found = 0
		selects(200)
		if polls, sleeps := selects(640); polls > 10 || polls == 0 || sleeps != 640 {
			t.Errorf("while nothing is ready 640 Selects made %d polls and %d sleeps", polls, sleeps)
		}
	}
	toss := rand.New(rand.NewPCG(1, 1))
	b.toss = func() int { return toss.IntN(2) }
	if polls, sleeps := selects(10_000); polls > 1500 || polls < 100 || sleeps < 5000 {
		t.Errorf("while something is ready half of the time 10000 Selects made %d polls and %d sleeps", polls, sleeps)
	}
}

// TestBusyScan: poll and select do not wait, while something is ready each time.
func TestBusyScan(t *testing.T) {
	poll, err := NewPollSelector()
	if err != nil {
		t.Fatal(err)
	}
	sel, err := NewSelectSelector()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*core{&poll.core, &sel.core} {
		t.Cleanup(func() { c.Close() })
		b := &sleepless{backend: c.b}
		c.b = b
		r, w := aPipe(t)
		if _, err := unix.Write(w, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Register(r, EventRead, nil); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if ready, err := c.Select(-1); err != nil || len(ready) != 1 {
				t.Errorf("%s: Select returned %v, %v", c.name, ready, err)
			}
		}
		if b.sleeps != 0 {
			t.Errorf("%s: %d of 10 Selects waited", c.name, b.sleeps)
		}
	}
}

// sleepless counts the sleeps of a backend.
type sleepless struct {
	backend
	sleeps int
}

func (s *sleepless) sleep(timeout time.Duration) (int, error) {
	s.sleeps++
	return s.backend.sleep(timeout)
}

// countedBackend is one whose polls find so much, and whose sleeps something.
type countedBackend struct {
	futile
	found, polls, sleeps int
	toss                 func() int
}

func (b *countedBackend) poll() (int, error) {
	b.polls++
	if b.toss != nil {
		return b.toss(), nil
	}
	return b.found, nil
}

func (b *countedBackend) sleep(time.Duration) (int, error) { b.sleeps++; return 1, nil }
func (b *countedBackend) collect(_ *core, dst []Ready) []Ready {
	return append(dst, Ready{Events: EventRead})
}

// TestFutileReports: a kernel that goes on reporting what the core does not
// pass on does not keep a Select from ending in time.
func TestFutileReports(t *testing.T) {
	for _, timeout := range []time.Duration{0, 5 * time.Millisecond} {
		c := core{b: futile{patience: time.Now().Add(5 * time.Second)}, traits: traits{cheap: true, live: true}}
		begun := time.Now()
		if ready, err := c.Select(timeout); err != nil || len(ready) != 0 || time.Since(begun) < timeout {
			t.Errorf("Select(%v) returned %v, %v after %v", timeout, ready, err, time.Since(begun))
		}
	}
}

// futile is a backend that finds something all the time, and it is nothing.
type futile struct {
	backend
	patience time.Time
}

func (f futile) poll() (int, error) {
	if time.Now().After(f.patience) {
		return 0, errors.New("for ever")
	}
	return 1, nil
}

func (f futile) sleep(time.Duration) (int, error)   { return f.poll() }
func (futile) prepare(*core)                        {}
func (futile) collect(_ *core, dst []Ready) []Ready { return dst }
func (futile) wake() error                          { return nil }
