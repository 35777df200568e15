//go:build linux && simkqueue

package selectors

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
	"goselectors/selectors/internal/kqueue"
)

// White-box tests of the kqueue backend over the simulated kqueues.

func eachDialect(t *testing.T, test func(t *testing.T, d kqueue.Dialect)) {
	for _, d := range kqueue.Simulated() {
		t.Run(d.Name, func(t *testing.T) { test(t, d) })
	}
}

func dialect(t *testing.T, name string) kqueue.Dialect {
	t.Helper()
	for _, d := range kqueue.Simulated() {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no dialect %s", name)
	return kqueue.Dialect{}
}

func newSimulated(t *testing.T, d kqueue.Dialect) *KqueueSelector {
	t.Helper()
	s, err := newKqueueSelector(d)
	if err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(20*time.Second, func() {
		t.Error("the test hangs; closing its selector")
		s.Close()
	})
	t.Cleanup(func() {
		guard.Stop()
		s.Close()
	})
	return s
}

// refuse makes the kernel refuse to add a filter.
func refuse(s *KqueueSelector, filter int, errno unix.Errno) {
	s.kq.queue.Fault = func(c *kqueue.Event) unix.Errno {
		if c.Filter() == filter && c.Flags()&kqueue.Add != 0 {
			return errno
		}
		return 0
	}
}

// TestKqueueRollsBack: if one direction of a change fails, the other one is
// restored.
func TestKqueueRollsBack(t *testing.T) {
	eachDialect(t, func(t *testing.T, d kqueue.Dialect) {
		s := newSimulated(t, d)
		a, b := fdtest.UnixPair(t)
		fdtest.Write(t, b, "x")

		refuse(s, kqueue.FilterWrite, unix.ENOMEM)
		if _, err := s.Register(a, EventRead|EventWrite, nil); !errors.Is(err, unix.ENOMEM) {
			t.Fatalf("Register: %v", err)
		}
		if filters := s.kq.queue.Filters(a); len(filters) != 0 {
			t.Errorf("a Register that failed left %v", filters)
		}
		expectReported(t, s, 1, map[int]Event{})

		for _, mode := range []Event{0, OneShot, EdgeTriggered} {
			refuse(s, kqueue.FilterWrite, 0)
			mustRegister(t, s, a, EventRead|mode)
			refuse(s, kqueue.FilterWrite, unix.ENOMEM)
			for _, events := range []Event{EventRead | EventWrite, EventWrite, EventWrite | EdgeTriggered} {
				if _, err := s.Modify(a, events, nil); !errors.Is(err, unix.ENOMEM) {
					t.Fatalf("Modify: %v", err)
				}
				if filters := s.kq.queue.Filters(a); !slices.Equal(filters, []int{kqueue.FilterRead}) {
					t.Errorf("a Modify that failed left %v, want the filter for reading", filters)
				}
			}
			expectReported(t, s, 1, map[int]Event{a: EventRead})
			if mode == 0 {
				expectReported(t, s, 1, map[int]Event{a: EventRead})
			} else {
				expectReported(t, s, 1, map[int]Event{})
			}
			s.Unregister(a)
		}
	})
}

// TestKqueueOneCall: every change of a key is one kevent call.
func TestKqueueOneCall(t *testing.T) {
	eachDialect(t, func(t *testing.T, d kqueue.Dialect) {
		s := newSimulated(t, d)
		a, _ := fdtest.UnixPair(t)
		q := &s.kq.queue
		for _, step := range []struct {
			name  string
			do    func() error
			calls int
		}{
			{"Register", func() error { _, err := s.Register(a, EventRead|EventWrite, nil); return err }, 1},
			{"Modify to less", func() error { _, err := s.Modify(a, EventWrite, nil); return err }, 1},
			{"Modify to others", func() error { _, err := s.Modify(a, EventRead, nil); return err }, 1},
			{"Modify of the data", func() error { _, err := s.Modify(a, EventRead, "data"); return err }, 0},
			{"Modify of modes", func() error { _, err := s.Modify(a, EventRead|EventWrite|EdgeTriggered, nil); return err }, 1},
			{"Unregister", func() error { _, err := s.Unregister(a); return err }, 1},
		} {
			before := q.Calls
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if n := q.Calls - before; n != step.calls {
				t.Errorf("%s: %d calls, want %d", step.name, n, step.calls)
			}
		}
		if filters := s.kq.queue.Filters(a); len(filters) != 0 {
			t.Errorf("Unregister left %v", filters)
		}
	})
}

// TestKqueueNoReader: the kernel does not watch a pipe without a reader for writing.
// It is always ready: a write fails at once.
func TestKqueueNoReader(t *testing.T) {
	eachDialect(t, func(t *testing.T, d kqueue.Dialect) {
		s := newSimulated(t, d)
		r, w := fdtest.Pipe(t)
		other, _ := fdtest.Pipe(t)
		mustRegister(t, s, other, EventRead)
		mustRegister(t, s, w, EventRead)
		unix.Close(r)
		for _, events := range []Event{EventRead | EventWrite, EventWrite} {
			if _, err := s.Modify(w, events, nil); err != nil {
				t.Fatal(err)
			}
			if filters := s.kq.queue.Filters(w); len(filters) != 0 {
				t.Errorf("always ready, but there are filters: %v", filters)
			}
			for range 2 {
				expectReported(t, s, 1, map[int]Event{w: events})
			}
		}
		if _, err := s.Register(w, EventWrite, nil); !errors.Is(err, ErrRegistered) {
			t.Errorf("Register again: %v", err)
		}
		if _, err := s.Modify(w, EventRead, nil); err != nil {
			t.Fatal(err)
		}
		expectReported(t, s, 1, map[int]Event{w: EventRead | EventError})
		unix.Close(w)
		expectReported(t, s, 1, map[int]Event{})
	})
}

// TestKqueueSameFileAgain: a descriptor that is closed loses its filters, even if
// the same file comes back under its number.
func TestKqueueSameFileAgain(t *testing.T) {
	s := newSimulated(t, kqueue.Native)
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	first := open()
	fd := fdtest.Dup(t, first)
	unix.Close(first)
	writer := fdtest.Dup(t, fd) // keeps the pipe's data
	mustRegister(t, s, fd, EventRead)
	again := open()
	unix.Dup3(again, fd, unix.O_CLOEXEC)
	unix.Close(again)
	fdtest.Write(t, writer, "x")
	expectReported(t, s, 1, map[int]Event{})
	mustRegister(t, s, fd, EventRead)
	expectReported(t, s, 1, map[int]Event{fd: EventRead})
	if _, err := s.Register(fd, EventRead, nil); !errors.Is(err, ErrRegistered) {
		t.Errorf("Register again: %v", err)
	}
	if n := s.Len(); n != 1 {
		t.Errorf("Len is %d, want 1", n)
	}
}

// TestKqueueNamedPipe: Darwin does not report the end of a named pipe, so an
// interest in reading from one is refused there.
func TestKqueueNamedPipe(t *testing.T) {
	eachDialect(t, func(t *testing.T, d kqueue.Dialect) {
		s := newSimulated(t, d)
		name := filepath.Join(t.TempDir(), "pipe")
		if err := unix.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		_, err = s.Register(fd, EventRead, nil)
		if d.FIFOEnd != (err == nil) || err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("Register: %v", err)
		}
		s.Unregister(fd)
		mustRegister(t, s, fd, EventWrite)
		expectReported(t, s, 1, map[int]Event{fd: EventWrite})
		_, err = s.Modify(fd, EventRead|EventWrite, nil)
		if d.FIFOEnd != (err == nil) || err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("Modify: %v", err)
		}
		expectReported(t, s, 1, map[int]Event{fd: EventWrite})
	})
}

// TestKqueueTerminal: a device that the kernel refuses is always ready, unless it
// is a terminal.
func TestKqueueTerminal(t *testing.T) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs pseudo-terminals: ", err)
	}
	t.Cleanup(func() { unix.Close(master) })
	s := newSimulated(t, dialect(t, "kqueue-macos"))
	refuse(s, kqueue.FilterRead, unix.EINVAL)
	if _, err := s.Register(master, EventRead, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a terminal: %v", err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(null) })
	mustRegister(t, s, null, EventRead)
	expectReported(t, s, 1, map[int]Event{null: EventRead})
	if n := s.Len(); n != 1 {
		t.Errorf("Len is %d, want 1", n)
	}
}

// TestKqueueLongWait: no timeout is too long.
func TestKqueueLongWait(t *testing.T) {
	eachDialect(t, func(t *testing.T, d kqueue.Dialect) {
		s := newSimulated(t, d)
		wake := time.AfterFunc(5*time.Millisecond, func() { s.Wake() })
		defer wake.Stop()
		if ready, err := s.Select(100 * 365 * 24 * time.Hour); len(ready) != 0 || err != nil {
			t.Errorf("Select: %v, %v", ready, err)
		}
	})
}

// TestKqueueInterruptedChange: a signal interrupts the call that makes changes.
func TestKqueueInterruptedChange(t *testing.T) {
	eachDialect(t, func(t *testing.T, d kqueue.Dialect) {
		s := newSimulated(t, d)
		a, _ := fdtest.UnixPair(t)
		s.kq.queue.Interrupt = true
		mustRegister(t, s, a, EventWrite)
		s.kq.queue.Interrupt = true
		if _, err := s.Modify(a, EventRead|EventWrite, nil); err != nil {
			t.Fatal(err)
		}
		expectReported(t, s, 1, map[int]Event{a: EventWrite})
		s.kq.queue.Interrupt = true
		if _, err := s.Unregister(a); err != nil {
			t.Fatal(err)
		}
		if filters := s.kq.queue.Filters(a); len(filters) != 0 {
			t.Errorf("Unregister left %v", filters)
		}
	})
}

// TestKqueueStaleEvent: an event of a registration that has ended is not reported
// for the next one.
func TestKqueueStaleEvent(t *testing.T) {
	eachDialect(t, func(t *testing.T, d kqueue.Dialect) {
		s := newSimulated(t, d)
		a, b := fdtest.UnixPair(t)
		mustRegister(t, s, a, EventRead)
		expectReported(t, s, 1, map[int]Event{})
		fdtest.Write(t, b, "x")
		n, err := s.kq.poll()
		if n != 1 || err != nil {
			t.Fatalf("poll: %d, %v", n, err)
		}
		if _, err := s.Unregister(a); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Read(a, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		mustRegister(t, s, a, EventRead)
		if ready, err := s.collect(nil, n); len(ready) != 0 || err != nil {
			t.Errorf("reported %v, %v", ready, err)
		}
	})
}

// TestKqueueHints: the hints that are reported although FeatureHangup is not set.
func TestKqueueHints(t *testing.T) {
	const both = EventRead | EventWrite
	readEnd := func(t testing.TB) (int, int) { r, w := fdtest.Pipe(t); return r, w }
	writeEnd := func(t testing.TB) (int, int) { r, w := fdtest.Pipe(t); return w, r }
	shut := func(how int) func(a, b int) { return func(a, b int) { unix.Shutdown(b, how) } }
	closed := func(a, b int) { unix.Close(b) }
	for _, c := range []struct {
		name           string
		make           func(testing.TB) (a, b int)
		then           func(a, b int)
		interest, want Event
	}{
		{"peer shut down writing", fdtest.UnixPair, shut(unix.SHUT_WR), both, both | EventReadClosed},
		{"peer shut down reading", fdtest.UnixPair, shut(unix.SHUT_RD), both, EventWrite},
		{"we shut down writing", fdtest.UnixPair, func(a, b int) { unix.Shutdown(a, unix.SHUT_WR) }, both, EventWrite},
		{"peer closed", fdtest.UnixPair, closed, both, both | EventReadClosed | EventHangup},
		{"peer closed, read", fdtest.UnixPair, closed, EventRead, EventRead | EventReadClosed},
		{"peer closed, write", fdtest.UnixPair, closed, EventWrite, EventWrite},
		{"peer closed with unread data", fdtest.UnixPair, func(a, b int) { unix.Write(a, []byte("x")); unix.Close(b) }, both,
			both | EventReadClosed | EventHangup | EventError},
		{"pipe without writer", readEnd, closed, EventRead, EventRead | EventHangup},
		{"pipe without writer, both", readEnd, closed, both, EventRead | EventHangup},
		{"pipe without writer, the end alone", readEnd, closed, EventReadClosed, EventHangup},
		{"pipe without reader", writeEnd, closed, EventWrite, EventWrite | EventError},
		{"pipe without reader, read", writeEnd, closed, EventRead, EventRead | EventError},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachDialect(t, func(t *testing.T, d kqueue.Dialect) {
				s := newSimulated(t, d)
				a, b := c.make(t)
				mustRegister(t, s, a, c.interest)
				c.then(a, b)
				expectReported(t, s, 1, map[int]Event{a: c.want})
				again := map[int]Event{a: c.want}
				if c.want&c.interest == 0 {
					again = map[int]Event{} // a hint alone is reported once
				}
				expectReported(t, s, 1, again)
			})
		})
	}
}

// TestKqueueWaitsForTheEnd: data does not end a wait for the end alone, and the end
// does not end a wait for urgent data.
func TestKqueueWaitsForTheEnd(t *testing.T) {
	eachDialect(t, func(t *testing.T, d kqueue.Dialect) {
		s := newSimulated(t, d)
		a, b := fdtest.UnixPair(t)
		waitsQuietly := func(what string) {
			t.Helper()
			before := s.kq.queue.Calls
			if ready, err := s.Select(30 * time.Millisecond); len(ready) != 0 || err != nil {
				t.Errorf("%s: Select: %v, %v", what, ready, err)
			}
			if n := s.kq.queue.Calls - before; n > 8 {
				t.Errorf("%s: a wait took %d calls", what, n)
			}
		}
		fdtest.Write(t, b, "x")
		mustRegister(t, s, a, EventReadClosed)
		waitsQuietly("beside unread data")
		unix.Shutdown(b, unix.SHUT_WR)
		for range 3 {
			expectReported(t, s, 1, map[int]Event{a: EventReadClosed})
		}
		if d.UrgentFilter {
			if _, err := s.Modify(a, EventPriority, nil); err != nil {
				t.Fatal(err)
			}
			waitsQuietly("at the end of the stream")
		}
	})
}
