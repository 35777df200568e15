package selectors

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/faulttest"
	"goselectors/selectors/internal/fdtest"
	"goselectors/selectors/internal/park"
)

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
			t.Errorf("%v is the mask %#x, want %#x", test.events, got, test.want)
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
			t.Errorf("the mask %#x is %v, want %v", test.mask, got, test.want)
		}
	}
}

// makeOrphan leaves a registration in the kernel's set that cannot be deleted.
func makeOrphan(t *testing.T, s Selector) {
	t.Helper()
	r, w := fdtest.Pipe(t)
	fdtest.Write(t, w, "x")
	fdtest.Dup(t, r)
	mustRegister(t, s, r, EventRead)
	unix.Close(r)
	if _, err := s.Unregister(r); err != nil {
		t.Fatal(err)
	}
}

// TestRepairFails: the set cannot be replaced for now. No event is lost, and the
// repair is done later.
func TestRepairFails(t *testing.T) {
	type failure struct {
		name string
		with func(t *testing.T, f func())
	}
	failures := []failure{{"no descriptors", func(t *testing.T, f func()) { faulttest.WithFreeDescriptors(t, 0, f) }}}
	for name, call := range map[string]uint32{"epoll_create1": unix.SYS_EPOLL_CREATE1, "dup3": unix.SYS_DUP3} {
		failures = append(failures, failure{"no " + name, func(t *testing.T, f func()) { faulttest.WithFailingCall(t, call, unix.EACCES, f) }})
	}
	for _, failure := range failures {
		for _, strategy := range Strategies {
			t.Run(failure.name+"/"+strategy.Name, func(t *testing.T) {
				s, err := NewEpollSelector(strategy.Option)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				want := map[int]Event{}
				for _, mode := range []Event{0, OneShot, EdgeTriggered, Exclusive} {
					r, w := fdtest.Pipe(t)
					mustRegister(t, s, r, EventRead|mode)
					fdtest.Write(t, w, "x")
					want[r] = EventRead
				}
				makeOrphan(t, s)
				before := fdtest.OpenFiles(t)
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
				if after := fdtest.OpenFiles(t); !slices.Equal(before, after) {
					t.Errorf("the open descriptors were %v and are %v", before, after)
				}
				maps.Copy(got, reported(t, s, 3))
				if !maps.Equal(got, want) {
					t.Errorf("reported %v in all, want %v", got, want)
				}

				// An orphan alone: Select waits for the whole timeout afterwards.
				quiet, err := NewEpollSelector(strategy.Option)
				if err != nil {
					t.Fatal(err)
				}
				defer quiet.Close()
				makeOrphan(t, quiet)
				failure.with(t, func() { quiet.Select(0) })
				begin := time.Now()
				if ready, err := quiet.Select(20 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begin) < 20*time.Millisecond {
					t.Errorf("Select returned %v, %v after %v", ready, err, time.Since(begin))
				}
			})
		}
	}
}

// TestRepairKeepsStates: the new set treats entries in every state as the old one
// did.
func TestRepairKeepsStates(t *testing.T) {
	for _, strategy := range Strategies {
		t.Run(strategy.Name, func(t *testing.T) {
			s, err := NewEpollSelector(strategy.Option)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Select(time.Millisecond) // creates the timer, which has to move too

			level, levelW := fdtest.Pipe(t)
			mustRegister(t, s, level, EventRead)
			fired, firedW := fdtest.Pipe(t)
			mustRegister(t, s, fired, EventRead|OneShot)
			fdtest.Write(t, firedW, "x")
			firedHup, firedHupW := fdtest.Pipe(t)
			mustRegister(t, s, firedHup, EventRead|OneShot)
			fdtest.Write(t, firedHupW, "x")
			unix.Close(firedHupW)
			armed, armedW := fdtest.Pipe(t)
			mustRegister(t, s, armed, EventRead|OneShot)
			shared, sharedW := fdtest.Pipe(t)
			mustRegister(t, s, shared, EventRead|Exclusive)
			muted, mutedW := fdtest.Pipe(t)
			mustRegister(t, s, muted, EventPriority)
			unix.Close(mutedW)
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			always := int(null.Fd())
			mustRegister(t, s, always, EventRead)
			closed, _ := fdtest.Pipe(t)
			mustRegister(t, s, closed, EventRead)
			unix.Close(closed)
			taken, _ := fdtest.Pipe(t)
			other, otherW := fdtest.Pipe(t)
			fdtest.Write(t, otherW, "x")
			mustRegister(t, s, taken, EventRead)
			if err := unix.Dup3(other, taken, unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}

			want := map[int]Event{fired: EventRead, firedHup: EventRead | EventHangup, muted: EventHangup, always: EventRead}
			if got := reported(t, s, 3); !maps.Equal(got, want) {
				t.Fatalf("before: reported %v, want %v", got, want)
			}

			set := s.epoll.fd
			makeOrphan(t, s)
			got := reported(t, s, 5)
			delete(got, muted) // may be reported once more
			if want := map[int]Event{always: EventRead}; !maps.Equal(got, want) {
				t.Errorf("during the repair: reported %v, want %v", got, want)
			}
			if s.epoll.fd != set {
				t.Errorf("the set's descriptor was %d and is %d", set, s.epoll.fd)
			}
			if flags, err := unix.FcntlInt(uintptr(set), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("the new set is inherited: %#x, %v", flags, err)
			}

			for _, w := range []int{levelW, armedW, sharedW} {
				fdtest.Write(t, w, "x")
			}
			want = map[int]Event{level: EventRead, armed: EventRead, shared: EventRead, always: EventRead}
			if got := reported(t, s, 3); !maps.Equal(got, want) {
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
			if got := reported(t, s, 3); !maps.Equal(got, want) {
				t.Errorf("armed again: reported %v, want %v", got, want)
			}
		})
	}
}

// TestWaitAfterRepair: every strategy waits on the new set: for a timeout, an event
// and a wake.
func TestWaitAfterRepair(t *testing.T) {
	for _, strategy := range Strategies {
		t.Run(strategy.Name, func(t *testing.T) {
			before := fdtest.CountOpen()
			defer func() {
				if after := fdtest.CountOpen(); after != before {
					t.Errorf("%d descriptors are open, %d were before", after, before)
				}
			}()
			s, err := NewEpollSelector(strategy.Option)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Select(time.Millisecond)
			r, w := fdtest.Pipe(t)
			mustRegister(t, s, r, EventRead)
			for range 3 {
				makeOrphan(t, s)
				reported(t, s, 2)
				begin := time.Now()
				if ready, err := s.Select(5 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begin) < 5*time.Millisecond {
					t.Errorf("Select returned %v, %v after %v", ready, err, time.Since(begin))
				}
				for what, end := range map[string]func(){"event": func() { unix.Write(w, []byte("x")) }, "wake": func() { s.Wake() }} {
					stop := time.AfterFunc(10*time.Millisecond, end)
					begin := time.Now()
					ready, err := s.Select(20 * time.Second)
					if err != nil || (len(ready) == 1) != (what == "event") || time.Since(begin) > 19*time.Second {
						t.Errorf("%s: Select returned %v, %v after %v", what, ready, err, time.Since(begin))
					}
					stop.Stop()
					unix.Read(r, make([]byte, 1))
				}
			}
		})
	}
}

// TestModifyExclusiveRefused: an exclusive registration is modified by deleting and
// adding it, so the kernel may refuse halfway. The old registration stands.
func TestModifyExclusiveRefused(t *testing.T) {
	s, err := NewEpollSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, w := fdtest.Pipe(t)
	mustRegister(t, s, r, EventRead|Exclusive)
	fdtest.Write(t, w, "x")
	for _, events := range []Event{EventRead | EventWrite | Exclusive, EventRead, EventRead | Exclusive | EdgeTriggered, EventRead | Exclusive} {
		if _, err := s.Modify(r, events, nil); err != nil {
			t.Errorf("Modify to %v: %v", events, err)
		}
		if got, want := reported(t, s, 1), map[int]Event{r: EventRead}; !maps.Equal(got, want) {
			t.Errorf("%v: reported %v, want %v", events, got, want)
		}
	}
	if _, err := s.Modify(r, EventRead|Exclusive|EventPriority, nil); !errors.Is(err, ErrInvalidEvents) {
		t.Errorf("Modify to an invalid combination: %v", err)
	}
	unix.Close(r)
	if _, err := s.Modify(r, EventRead, nil); !errors.Is(err, unix.EBADF) {
		t.Errorf("Modify of a closed one: %v", err)
	}
	if key, err := s.Key(r); err != nil || key.Events != EventRead|Exclusive {
		t.Errorf("Key is %v, %v", key, err)
	}
}

// TestBusySelectorDisarmsGate: a wake leaves the gate armed. A Select that finds
// events without waiting disarms it, so that later events do not wake the
// runtime's poller. The mask of the set in the gate is in /proc/self/fdinfo.
func TestBusySelectorDisarmsGate(t *testing.T) {
	s, err := NewEpollSelector(func(o *options) { o.wait = park.Parking })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Features()&FeatureParked == 0 {
		t.Skip("the runtime poller does not take epoll descriptors here")
	}
	armed := func() bool {
		t.Helper()
		infos, err := filepath.Glob("/proc/self/fdinfo/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range infos {
			info, _ := os.ReadFile(name) // some are closed by now
			for line := range strings.Lines(string(info)) {
				var fd int
				var mask uint32
				if n, _ := fmt.Sscanf(line, "tfd: %d events: %x", &fd, &mask); n == 2 && fd == s.epoll.fd {
					return mask&unix.EPOLLIN != 0
				}
			}
		}
		t.Skip("no gate in /proc/self/fdinfo")
		return false
	}
	r, w := fdtest.Pipe(t)
	mustRegister(t, s, r, EventRead)
	wake := time.AfterFunc(20*time.Millisecond, func() { s.Wake() })
	defer wake.Stop()
	if ready, err := s.Select(20 * time.Second); err != nil || len(ready) != 0 {
		t.Fatalf("Select returned %v, %v, want a wake", ready, err)
	}
	if !armed() {
		t.Error("the gate is not armed after a wake")
	}
	fdtest.Write(t, w, "x")
	expectReported(t, s, 1, map[int]Event{r: EventRead})
	if armed() {
		t.Error("the gate is armed after a Select that found events without waiting")
	}
}
