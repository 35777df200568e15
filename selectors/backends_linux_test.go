package selectors

import (
	"errors"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// White-box tests of the backends: what the kernel does not do on demand, and what
// cannot be seen from outside.

func mustRegister(t *testing.T, s Selector, fd int, events Event) {
	t.Helper()
	if _, err := s.Register(fd, events, nil); err != nil {
		t.Fatal(err)
	}
}

// reported returns what n Selects without waiting report in all, by descriptor.
func reported(t *testing.T, s Selector, n int) map[int]Event {
	t.Helper()
	all := map[int]Event{}
	for range n {
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

// expectReported checks what n Selects report in all.
func expectReported(t *testing.T, s Selector, n int, want map[int]Event) {
	t.Helper()
	if diff := cmp.Diff(want, reported(t, s, n)); diff != "" {
		t.Errorf("reported by descriptor (-want +got):\n%s", diff)
	}
}

// constructors has every backend, and every strategy of waiting.
func constructors() map[string]func() (Selector, error) {
	all := map[string]func() (Selector, error){
		"poll":   func() (Selector, error) { return orNil(NewPollSelector()) },
		"select": func() (Selector, error) { return orNil(NewSelectSelector()) },
	}
	for _, strategy := range Strategies {
		all["epoll/"+strategy.Name] = func() (Selector, error) { return orNil(NewEpollSelector(strategy.Option)) }
	}
	return all
}

func coreOf(s Selector) *core {
	return s.(interface{ inner() *core }).inner()
}

// TestSelectFindsClosed: one closed descriptor makes the whole select(2) fail with
// EBADF. The backend finds out which one; the others are reported as usual.
func TestSelectFindsClosed(t *testing.T) {
	s, err := NewSelectSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := map[int]Event{}
	for i := range 200 {
		r, w := fdtest.Pipe(t)
		events := []Event{EventRead, EventWrite, EventPriority}[i%3]
		mustRegister(t, s, r, events)
		if i%7 == 0 {
			want[r] = EventError | EventInvalid
		} else if events == EventRead {
			fdtest.Write(t, w, "x")
			want[r] = EventRead
		}
	}
	for fd, events := range want {
		if events&EventInvalid != 0 {
			unix.Close(fd)
		}
	}
	expectReported(t, s, 1, want)
	maps.DeleteFunc(want, func(_ int, events Event) bool { return events&EventInvalid != 0 })
	expectReported(t, s, 2, want)
}

// TestBuffersGrowAndShrink: the buffers of many registrations are released after
// those are gone.
func TestBuffersGrowAndShrink(t *testing.T) {
	const many = 1000
	size := map[string]func(s Selector) int{
		"epoll/adaptive": func(s Selector) int { return len(s.(*EpollSelector).epoll.events) },
		"poll": func(s Selector) int {
			b := &s.(*PollSelector).poll
			return max(cap(b.fds), cap(b.asked))
		},
		"select": func(s Selector) int {
			b := &s.(*SelectSelector).fdsets
			return 64 * max(cap(b.interest[0]), cap(b.asked[1]), cap(b.ready[2]))
		},
	}
	for name, size := range size {
		t.Run(name, func(t *testing.T) {
			s, err := constructors()[name]()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r, w := fdtest.Pipe(t)
			fdtest.Write(t, w, "x")
			if err := unix.Dup3(r, 200, unix.O_CLOEXEC); err != nil { // a low number, because the size of select's sets depends on it
				t.Fatal(err)
			}
			defer unix.Close(200)
			mustRegister(t, s, 200, EventRead)
			reported(t, s, 1)
			small := size(s)
			var fds []int
			for range many {
				_, w := fdtest.Pipe(t)
				fds = append(fds, w)
				mustRegister(t, s, w, EventWrite)
			}
			if got := reported(t, s, 1); len(got) != many+1 {
				t.Errorf("%d of %d were reported", len(got), many+1)
			}
			if big := size(s); big < many {
				t.Errorf("there is room for %d only", big)
			}
			for i, fd := range fds {
				if _, err := s.Unregister(fd); err != nil {
					t.Fatal(err)
				}
				if i%100 == 0 {
					reported(t, s, 1)
				}
			}
			expectReported(t, s, 2, map[int]Event{200: EventRead})
			if now := size(s); now > max(4*small, 300) {
				t.Errorf("there is room for %d afterwards, for %d before", now, small)
			}
		})
	}
}

// TestGenerationsWrap: the generation overflows after 2³² changes.
func TestGenerationsWrap(t *testing.T) {
	for name, make := range constructors() {
		t.Run(name, func(t *testing.T) {
			s, err := make()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c := coreOf(s)
			c.generation = math.MaxUint32 - 12
			c.waitGeneration = c.generation
			old, oldW := fdtest.Pipe(t)
			mustRegister(t, s, old, EventRead)
			reported(t, s, 1)
			fdtest.Write(t, oldW, "x")
			for range 30 {
				r, w := fdtest.Pipe(t)
				mustRegister(t, s, r, EventRead)
				expectReported(t, s, 1, map[int]Event{old: EventRead})
				fdtest.Write(t, w, "x")
				if _, err := s.Modify(r, EventRead|OneShot, nil); err != nil {
					t.Fatal(err)
				}
				expectReported(t, s, 2, map[int]Event{old: EventRead, r: EventRead})
				if _, err := s.Unregister(r); err != nil {
					t.Fatal(err)
				}
			}
			makeOrphan(t, s)
			expectReported(t, s, 2, map[int]Event{old: EventRead})
		})
	}
}

// TestChangesWhileTheKernelReports: between a wait and the collection of its
// events, a registration may end and its number get another one. The events are
// stale then and are not reported.
func TestChangesWhileTheKernelReports(t *testing.T) {
	for name, make := range constructors() {
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
				fd, w := fdtest.Pipe(t)
				quiet, _ := fdtest.Pipe(t)
				fdtest.Write(t, w, "x")
				mustRegister(t, s, fd, EventRead)
				if err := c.prepare(); err != nil {
					t.Fatal(err)
				}
				n, err := c.backend.poll()
				if n != 1 || err != nil {
					t.Fatalf("the kernel reported %d, %v", n, err)
				}
				test.change(t, s, fd, quiet)
				if ready, err := c.collect(nil, n); err != nil || len(ready) != 0 {
					t.Errorf("reported %v, %v for a registration that has ended", ready, err)
				}
				if got := reported(t, s, 3); len(got) != 0 {
					t.Errorf("then reported %v", got)
				}
			})
		}
	}
}

// TestCloseWhileTheKernelReports: after Close nothing is reported, even if the
// kernel has reported events before.
func TestCloseWhileTheKernelReports(t *testing.T) {
	for name, make := range constructors() {
		s, err := make()
		if err != nil {
			t.Fatal(err)
		}
		c := coreOf(s)
		fd, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		mustRegister(t, s, fd, EventRead)
		c.prepare()
		n, err := c.backend.poll()
		if n != 1 || err != nil {
			t.Fatalf("%s: the kernel reported %d, %v", name, n, err)
		}
		s.Close()
		if ready, err := c.collect(nil, n); !errors.Is(err, ErrClosed) || len(ready) != 0 {
			t.Errorf("%s: reported %v, %v", name, ready, err)
		}
	}
}

// TestBusyScan: poll and select do not sleep as long as every Select finds
// something ready.
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
		b := &sleepCounter{backend: c.backend}
		c.backend = b
		r, w := fdtest.Pipe(t)
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
			t.Errorf("%s: %d of 10 Selects slept", c.name, b.sleeps)
		}
	}
}

// sleepCounter counts the sleeps of a backend.
type sleepCounter struct {
	backend
	sleeps int
}

func (s *sleepCounter) sleep(timeout time.Duration) (int, error) {
	s.sleeps++
	return s.backend.sleep(timeout)
}
