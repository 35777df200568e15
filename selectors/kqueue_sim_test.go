//go:build linux && simkqueue

package selectors

import (
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the simulated kqueue does, as the manual pages have it, and what the
// backend makes of what no script can bring about.

var flavours = []flavour{simFreeBSD, simMacOS, simNetBSD}

func eachFlavour(t *testing.T, test func(t *testing.T, f flavour)) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

func newSimQueue(t *testing.T, f flavour) *kernelQueue {
	t.Helper()
	q := &kernelQueue{flavour: f}
	if err := q.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.close() })
	return q
}

func newSim(t *testing.T, f flavour) *KqueueSelector {
	t.Helper()
	s, err := newSimulated(f)
	if err != nil {
		t.Fatal(err)
	}
	closing := time.AfterFunc(20*time.Second, func() {
		t.Error("the test hangs: closing its selector")
		s.Close()
	})
	t.Cleanup(func() {
		closing.Stop()
		s.Close()
	})
	return s
}

// ask makes one change, without room for an answer.
func ask(q *kernelQueue, fd, filter, flags int) error {
	var ev kevent
	ev.set(fd, filter, flags, 0, 7)
	_, err := q.call([]kevent{ev}, nil, nil)
	return err
}

// answers is what there is to tell now, without the numbers that vary.
func answers(t *testing.T, q *kernelQueue) (got []kevent) {
	t.Helper()
	events := make([]kevent, 8)
	n, err := q.call(nil, events, &unix.Timespec{})
	if err != nil {
		t.Fatal(err)
	}
	got = events[:n]
	slices.SortFunc(got, func(a, b kevent) int { return b.filt - a.filt })
	return got
}

func aPair(t *testing.T) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, fd := range p {
		p[i] = aDup(t, fd)
		unix.Close(fd)
	}
	return p[0], p[1]
}

func expectErrno(t *testing.T, what string, err, want error) {
	t.Helper()
	if err != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestSimulatedKqueue(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := newSimQueue(t, f)
		a, b := aPair(t)
		for _, filter := range []int{filterRead, filterWrite} {
			expectErrno(t, "delete of what is not there", ask(q, a, filter, evDelete), unix.ENOENT)
			expectErrno(t, "enable of what is not there", ask(q, a, filter, evEnable), unix.ENOENT)
			expectErrno(t, "add", ask(q, a, filter, evAdd), nil)
			expectErrno(t, "add again", ask(q, a, filter, evAdd), nil)
			expectErrno(t, "delete of a number that is not open", ask(q, math.MaxInt32, filter, evDelete), unix.EBADF)
		}

		say(t, b)
		want := []kevent{{id: a, filt: filterRead, udata: 7}, {id: a, filt: filterWrite, udata: 7}}
		for range 2 {
			if got := answers(t, q); !slices.Equal(got, want) {
				t.Fatalf("one event for each filter: %v, want %v", got, want)
			}
		}
		if n, err := q.call(nil, nil, nil); n != 0 || err != nil {
			t.Errorf("a list without room ends the wait: %d, %v", n, err)
		}

		// The flags of a knote are those it was added with.
		expectErrno(t, "add with EV_CLEAR", ask(q, a, filterWrite, evAdd|evClear), nil)
		answers(t, q)
		if got := answers(t, q); !slices.Equal(got, want) {
			t.Errorf("EV_CLEAR came to what was there: %v", got)
		}
		expectErrno(t, "delete", ask(q, a, filterWrite, evDelete), nil)
		expectErrno(t, "add with EV_CLEAR", ask(q, a, filterWrite, evAdd|evClear), nil)
		if got := answers(t, q); len(got) != 2 || got[1].flag != evClear {
			t.Errorf("added with EV_CLEAR: %v", got)
		}
		if got := answers(t, q); !slices.Equal(got, want[:1]) {
			t.Errorf("EV_CLEAR, nothing new: %v", got)
		}
		expectErrno(t, "add", ask(q, a, filterWrite, evAdd), nil)
		if got := answers(t, q); len(got) != 2 {
			t.Errorf("adding looks again: %v", got)
		}

		// The peer closes with something unread: the end of both directions.
		say(t, a)
		unix.Close(b)
		expectErrno(t, "add", ask(q, a, filterWrite, evAdd), nil)
		got := answers(t, q)
		if len(got) != 2 || got[0].flag != evEOF || got[1].flag != evEOF|evClear || got[0].note == 0 {
			t.Errorf("the peer has gone: %v", got)
		}

		// close(2) deletes, also if the file lives on.
		aDup(t, a)
		unix.Close(a)
		if got := answers(t, q); len(got) != 0 {
			t.Errorf("closed: %v", got)
		}
		r, _ := aPipe(t)
		unix.Dup3(r, a, unix.O_CLOEXEC)
		expectErrno(t, "delete under a new file", ask(q, a, filterRead, evDelete), unix.ENOENT)
	})
}

func TestSimulatedKqueuePipe(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := newSimQueue(t, f)
		r, w := aPipe(t)
		expectErrno(t, "add", ask(q, w, filterWrite, evAdd), nil)
		unix.Close(r)
		if got := answers(t, q); len(got) != 1 || got[0].flag != evEOF {
			t.Errorf("nobody reads: %v", got)
		}
		expectErrno(t, "delete", ask(q, w, filterWrite, evDelete), nil)
		expectErrno(t, "add when nobody reads", ask(q, w, filterWrite, evAdd), unix.EPIPE)
	})
}

func TestSimulatedKqueueReceipts(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := newSimQueue(t, f)
		a, _ := aPair(t)
		changes := make([]kevent, 3)
		changes[0].set(a, filterWrite, evAdd|evReceipt, 0, 1)
		changes[1].set(a, filterRead, evDelete|evReceipt, 0, 2)
		changes[2].set(a, filterRead, evAdd|evReceipt, 0, 3)
		events := make([]kevent, 3)
		n, err := q.call(changes, events, nil)
		var got []int64
		for _, ev := range events[:n] {
			if ev.flag != evError {
				t.Errorf("an answer with flags %#x", ev.flag)
			}
			got = append(got, int64(ev.udata), ev.datum)
		}
		want := []int64{1, 0, 2, int64(unix.ENOENT), 3, 0}
		if !f.receipt {
			want = want[2:4]
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("the answers are %v, %v, want %v", got, err, want)
		}
		// Without room the first error ends it.
		changes[0].set(a, filterRead, evDelete, 0, 1)
		changes[1].set(a, filterRead, evDelete, 0, 2)
		changes[2].set(a, filterWrite, evDelete, 0, 3)
		if _, err := q.call(changes, nil, nil); err != unix.ENOENT {
			t.Errorf("a list with an error: %v", err)
		}
		if _, there := q.knotes[knoteKey{a, filterWrite}]; !there {
			t.Error("the change behind the error was made")
		}
	})
}

func TestSimulatedKqueueFiles(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := newSimQueue(t, f)
		file, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		fd := int(file.Fd())
		say(t, fd)
		expectErrno(t, "add of a regular file", ask(q, fd, filterRead, evAdd), nil)
		if got := answers(t, q); len(got) != 0 {
			t.Errorf("at the end: %v", got)
		}
		if _, err := file.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		if got := answers(t, q); len(got) != 1 || got[0].datum != 1 {
			t.Errorf("one byte before the end: %v", got)
		}
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { null.Close() })
		expectErrno(t, "add of a device", ask(q, int(null.Fd()), filterRead, evAdd), f.device)
	})
}

func TestSimulatedKqueueUserAndTime(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := newSimQueue(t, f)
		want := error(nil)
		if !f.user {
			want = unix.EINVAL
		}
		expectErrno(t, "add of an event of our own", ask(q, wakeIdent, filterUser, evAdd|evClear), want)
		if f.user {
			var ev kevent
			ev.set(wakeIdent, filterUser, evEnable, noteTrigger, 7)
			if _, err := q.call([]kevent{ev}, nil, nil); err != nil {
				t.Fatal(err)
			}
			if got := answers(t, q); len(got) != 1 || got[0].id != wakeIdent || got[0].filt != filterUser {
				t.Errorf("triggered: %v", got)
			}
			if got := answers(t, q); len(got) != 0 {
				t.Errorf("told, and EV_CLEAR: %v", got)
			}
		}
		events := make([]kevent, 1)
		bad := []unix.Timespec{{Sec: -1}, {Nsec: 1e9}}
		if f.million {
			bad = append(bad, unix.Timespec{Sec: 1e6 + 1})
		}
		for _, ts := range bad {
			if _, err := q.call(nil, events, &ts); err != unix.EINVAL {
				t.Errorf("a timeout of %v: %v", ts, err)
			}
		}
		begun := time.Now()
		if n, err := q.call(nil, events, &unix.Timespec{Nsec: 2e6}); n != 0 || err != nil && err != unix.EINTR {
			t.Errorf("a wait: %d, %v", n, err)
		} else if err == nil && time.Since(begun) < 2*time.Millisecond {
			t.Error("a wait ended early")
		}
	})
}

// refuse lets the kernel refuse a filter to be added.
func refuse(s *KqueueSelector, filter int, errno unix.Errno) {
	s.kqueue.queue.fault = func(c *kevent) unix.Errno {
		if c.filt == filter && c.flag&evAdd != 0 {
			return errno
		}
		return 0
	}
}

// filtersOf lists what the kernel watches of a descriptor.
func filtersOf(s *KqueueSelector, fd int) (list []int) {
	for key := range s.kqueue.queue.knotes {
		if key.ident == fd {
			list = append(list, key.filter)
		}
	}
	slices.SortFunc(list, func(a, b int) int { return b - a })
	return list
}

func expectTold(t *testing.T, s Selector, want map[int]Event) {
	t.Helper()
	if got := told(t, s, 1); !maps.Equal(got, want) {
		t.Errorf("reported %v, want %v", got, want)
	}
}

// TestKqueueRollsBack: a change of which one half fails leaves nothing of the
// other.
func TestKqueueRollsBack(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		s := newSim(t, f)
		a, b := aPair(t)
		say(t, b)

		refuse(s, filterWrite, unix.ENOMEM)
		if _, err := s.Register(a, EventRead|EventWrite, nil); !errors.Is(err, unix.ENOMEM) {
			t.Fatalf("Register: %v", err)
		}
		if left := filtersOf(s, a); len(left) != 0 {
			t.Errorf("a Register that failed left %v", left)
		}
		expectTold(t, s, map[int]Event{})

		for _, mode := range []Event{0, OneShot, EdgeTriggered} {
			refuse(s, filterWrite, 0)
			mustRegister(t, s, a, EventRead|mode)
			refuse(s, filterWrite, unix.ENOMEM)
			for _, events := range []Event{EventRead | EventWrite, EventWrite, EventWrite | EdgeTriggered} {
				if _, err := s.Modify(a, events, nil); !errors.Is(err, unix.ENOMEM) {
					t.Fatalf("Modify: %v", err)
				}
				if left := filtersOf(s, a); !slices.Equal(left, []int{filterRead}) {
					t.Errorf("a Modify that failed left %v, want the filter for reading", left)
				}
			}
			expectTold(t, s, map[int]Event{a: EventRead})
			if mode == 0 {
				expectTold(t, s, map[int]Event{a: EventRead})
			} else {
				expectTold(t, s, map[int]Event{})
			}
			s.Unregister(a)
		}
	})
}

// TestKqueueAsksOnce: one kevent call for whatever changes of a key.
func TestKqueueAsksOnce(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		s := newSim(t, f)
		a, _ := aPair(t)
		q := &s.kqueue.queue
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
			before := q.calls
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if n := q.calls - before; n != step.calls {
				t.Errorf("%s: %d calls, want %d", step.name, n, step.calls)
			}
		}
		if left := filtersOf(s, a); len(left) != 0 {
			t.Errorf("Unregister left %v", left)
		}
	})
}

// TestKqueueWriteToNobody: the kernel does not watch a pipe that nobody reads,
// but it is ready: a write fails at once.
func TestKqueueWriteToNobody(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		s := newSim(t, f)
		r, w := aPipe(t)
		other, _ := aPipe(t)
		mustRegister(t, s, other, EventRead)
		mustRegister(t, s, w, EventRead)
		unix.Close(r)
		for _, events := range []Event{EventRead | EventWrite, EventWrite} {
			if _, err := s.Modify(w, events, nil); err != nil {
				t.Fatal(err)
			}
			if left := filtersOf(s, w); len(left) != 0 {
				t.Errorf("filters %v, and a list of those that are always ready", left)
			}
			for range 2 {
				expectTold(t, s, map[int]Event{w: events})
			}
		}
		if _, err := s.Register(w, EventWrite, nil); !errors.Is(err, ErrRegistered) {
			t.Errorf("Register again: %v", err)
		}
		if _, err := s.Modify(w, EventRead, nil); err != nil {
			t.Fatal(err)
		}
		expectTold(t, s, map[int]Event{w: EventRead | EventError})
		unix.Close(w)
		expectTold(t, s, map[int]Event{})
	})
}

// TestKqueueSameFileAgain: a number that is closed loses its filters, though
// the same file comes back under it.
func TestKqueueSameFileAgain(t *testing.T) {
	s := newSim(t, simFreeBSD)
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
	fd := aDup(t, first)
	unix.Close(first)
	writer := aDup(t, fd) // keeps the data
	mustRegister(t, s, fd, EventRead)
	again := open()
	unix.Dup3(again, fd, unix.O_CLOEXEC)
	unix.Close(again)
	say(t, writer)
	expectTold(t, s, map[int]Event{})
	mustRegister(t, s, fd, EventRead)
	expectTold(t, s, map[int]Event{fd: EventRead})
	if _, err := s.Register(fd, EventRead, nil); !errors.Is(err, ErrRegistered) {
		t.Errorf("Register again: %v", err)
	}
	if n := s.Len(); n != 1 {
		t.Errorf("Len is %d, want 1", n)
	}
}

// TestKqueueNamedPipe: Darwin does not tell the end of a named pipe, so it is
// refused there, with anything to read in the interest.
func TestKqueueNamedPipe(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		s := newSim(t, f)
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
		if f.fifoEnd != (err == nil) || err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("Register: %v", err)
		}
		s.Unregister(fd)
		mustRegister(t, s, fd, EventWrite)
		expectTold(t, s, map[int]Event{fd: EventWrite})
		_, err = s.Modify(fd, EventRead|EventWrite, nil)
		if f.fifoEnd != (err == nil) || err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("Modify: %v", err)
		}
		expectTold(t, s, map[int]Event{fd: EventWrite})
	})
}

// TestKqueueTerminal: a device that the kernel refuses is always ready, but
// not if it is a terminal.
func TestKqueueTerminal(t *testing.T) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs pseudo-terminals: ", err)
	}
	t.Cleanup(func() { unix.Close(master) })
	s := newSim(t, simMacOS)
	refuse(s, filterRead, unix.EINVAL)
	if _, err := s.Register(master, EventRead, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a terminal: %v", err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(null) })
	mustRegister(t, s, null, EventRead)
	expectTold(t, s, map[int]Event{null: EventRead})
	if n := s.Len(); n != 1 {
		t.Errorf("Len is %d, want 1", n)
	}
}

// TestKqueueLongWait: no timeout is too long for the kernel.
func TestKqueueLongWait(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		s := newSim(t, f)
		waking := time.AfterFunc(5*time.Millisecond, func() { s.Wake() })
		defer waking.Stop()
		if ready, err := s.Select(100 * 365 * 24 * time.Hour); len(ready) != 0 || err != nil {
			t.Errorf("Select: %v, %v", ready, err)
		}
	})
}

// TestKqueueInterruptedChange: a signal while changes are made.
func TestKqueueInterruptedChange(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		s := newSim(t, f)
		a, _ := aPair(t)
		s.kqueue.queue.signal = true
		mustRegister(t, s, a, EventWrite)
		s.kqueue.queue.signal = true
		if _, err := s.Modify(a, EventRead|EventWrite, nil); err != nil {
			t.Fatal(err)
		}
		expectTold(t, s, map[int]Event{a: EventWrite})
		s.kqueue.queue.signal = true
		if _, err := s.Unregister(a); err != nil {
			t.Fatal(err)
		}
		if left := filtersOf(s, a); len(left) != 0 {
			t.Errorf("Unregister left %v", left)
		}
	})
}

// TestKqueueStaleEvent: what the kernel said of a registration that has ended
// meanwhile is not told of the next one.
func TestKqueueStaleEvent(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		s := newSim(t, f)
		a, b := aPair(t)
		mustRegister(t, s, a, EventRead)
		expectTold(t, s, map[int]Event{})
		say(t, b)
		n, err := s.kqueue.poll()
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

// TestKqueueHints: the hints that are told, though Features does not promise
// them.
func TestKqueueHints(t *testing.T) {
	const both = EventRead | EventWrite
	readEnd := func(t *testing.T) (int, int) { r, w := aPipe(t); return r, w }
	writeEnd := func(t *testing.T) (int, int) { r, w := aPipe(t); return w, r }
	shut := func(how int) func(a, b int) { return func(a, b int) { unix.Shutdown(b, how) } }
	closed := func(a, b int) { unix.Close(b) }
	for _, c := range []struct {
		name           string
		make           func(*testing.T) (a, b int)
		then           func(a, b int)
		interest, want Event
	}{
		{"the peer writes no more", aPair, shut(unix.SHUT_WR), both, both | EventReadClosed},
		{"the peer reads no more", aPair, shut(unix.SHUT_RD), both, EventWrite},
		{"we write no more", aPair, func(a, b int) { unix.Shutdown(a, unix.SHUT_WR) }, both, EventWrite},
		{"the peer has gone", aPair, closed, both, both | EventReadClosed | EventHangup},
		{"the peer has gone, read", aPair, closed, EventRead, EventRead | EventReadClosed},
		{"the peer has gone, write", aPair, closed, EventWrite, EventWrite},
		{"the peer has gone and not read all", aPair, func(a, b int) { unix.Write(a, []byte("x")); unix.Close(b) }, both,
			both | EventReadClosed | EventHangup | EventError},
		{"nobody writes to a pipe", readEnd, closed, EventRead, EventRead | EventHangup},
		{"nobody writes to a pipe, both", readEnd, closed, both, EventRead | EventHangup},
		{"nobody writes to a pipe, the end alone", readEnd, closed, EventReadClosed, EventHangup},
		{"nobody reads from a pipe", writeEnd, closed, EventWrite, EventWrite | EventError},
		{"nobody reads from a pipe, read", writeEnd, closed, EventRead, EventRead | EventError},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachFlavour(t, func(t *testing.T, f flavour) {
				s := newSim(t, f)
				a, b := c.make(t)
				mustRegister(t, s, a, c.interest)
				c.then(a, b)
				expectTold(t, s, map[int]Event{a: c.want})
				again := map[int]Event{a: c.want}
				if c.want&c.interest == 0 {
					again = map[int]Event{} // a hint alone is told once
				}
				expectTold(t, s, again)
			})
		})
	}
}

// TestKqueueWaitsForTheEnd: data does not disturb who waits for its end alone,
// nor the end who waits for urgent data.
func TestKqueueWaitsForTheEnd(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		s := newSim(t, f)
		a, b := aPair(t)
		rests := func(what string) {
			t.Helper()
			before := s.kqueue.queue.calls
			if ready, err := s.Select(30 * time.Millisecond); len(ready) != 0 || err != nil {
				t.Errorf("%s: Select: %v, %v", what, ready, err)
			}
			if n := s.kqueue.queue.calls - before; n > 8 {
				t.Errorf("%s: a wait took %d calls", what, n)
			}
		}
		say(t, b)
		mustRegister(t, s, a, EventReadClosed)
		rests("beside unread data")
		unix.Shutdown(b, unix.SHUT_WR)
		for range 3 {
			expectTold(t, s, map[int]Event{a: EventReadClosed})
		}
		if f.urgent {
			if _, err := s.Modify(a, EventPriority, nil); err != nil {
				t.Fatal(err)
			}
			rests("at the end of the stream")
		}
	})
}
