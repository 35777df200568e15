package selectors

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/faulttest"
	"goselectors/selectors/internal/fdtest"
	"goselectors/selectors/internal/sys"
)

// eachStrategy runs a test for every strategy of the epoll backend.
func eachStrategy(t *testing.T, test func(t *testing.T, s *EpollSelector)) {
	t.Helper()
	for _, strategy := range Strategies {
		t.Run(strategy.Name, func(t *testing.T) {
			s, err := NewEpollSelector(strategy.Option)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			test(t, s)
		})
	}
}

// postponeRepair keeps a selector from trying to repair its set.
func postponeRepair(s *EpollSelector) { s.repairAt.Store(int64(sys.Now() + time.Hour)) }

// A countingBackend counts the calls that ask the kernel.
type countingBackend struct {
	backend
	calls atomic.Int32
}

func (b *countingBackend) poll() (int, error) { b.calls.Add(1); return b.backend.poll() }
func (b *countingBackend) sleep(timeout time.Duration) (int, error) {
	b.calls.Add(1)
	return b.backend.sleep(timeout)
}

// TestOrphanThatStays: an orphan that cannot be removed for the moment is always
// ready. Select asks the kernel from time to time only, and does everything that it
// does without an orphan.
func TestOrphanThatStays(t *testing.T) {
	eachStrategy(t, func(t *testing.T, s *EpollSelector) {
		counting := &countingBackend{backend: s.backend}
		s.backend = counting
		r, w := fdtest.Pipe(t)
		mustRegister(t, s, r, EventRead)
		added, addedW := fdtest.Pipe(t)
		fdtest.Write(t, addedW, "x")
		makeOrphan(t, s)
		postponeRepair(s)

		for _, test := range []struct {
			name             string
			timeout, atLeast time.Duration
			meanwhile        func()
			want             map[int]Event
			err              error
		}{
			{"no timeout", 0, 0, nil, map[int]Event{}, nil},
			{"shorter than a pause", time.Millisecond, time.Millisecond, nil, map[int]Event{}, nil},
			{"longer than a pause", 100 * time.Millisecond, 100 * time.Millisecond, nil, map[int]Event{}, nil},
			{"an event", -1, 0, func() { unix.Write(w, []byte("x")) }, map[int]Event{r: EventRead}, nil},
			{"a wake", 20 * time.Second, 0, func() { s.Wake() }, map[int]Event{}, nil},
			{"a registration", -1, 0, func() { s.Register(added, EventRead, nil) }, map[int]Event{added: EventRead}, nil},
			{"Close", -1, 0, func() { s.Close() }, map[int]Event{}, ErrClosed},
		} {
			counting.calls.Store(0)
			if test.meanwhile != nil {
				time.AfterFunc(20*time.Millisecond, test.meanwhile)
			}
			begin := time.Now()
			ready, err := s.Select(test.timeout)
			took := time.Since(begin)
			if diff := cmp.Diff(test.want, byDescriptor(ready)); diff != "" || !errors.Is(err, test.err) || took < test.atLeast || took > 15*time.Second {
				t.Errorf("%s: %v after %v (-want +got):\n%s", test.name, err, took, diff)
			}
			if calls, most := counting.calls.Load(), int32(took/pauseTime)+4; calls > most {
				t.Errorf("%s: the kernel was asked %d times in %v, want at most %d", test.name, calls, took, most)
			}
			for fd := range test.want {
				fdtest.Drain(t, fd)
			}
		}
	})
}

// TestOrphansFillTheBatch: more orphans are ready than there are keys, and cannot be
// removed for the moment. Every ready key is reported, once.
func TestOrphansFillTheBatch(t *testing.T) {
	eachStrategy(t, func(t *testing.T, s *EpollSelector) {
		for range 50 {
			makeOrphan(t, s)
		}
		postponeRepair(s)
		want := map[int]Event{}
		for _, mode := range []Event{0, OneShot, EdgeTriggered, Exclusive} {
			r, w := fdtest.Pipe(t)
			mustRegister(t, s, r, EventRead|mode)
			fdtest.Write(t, w, "x")
			want[r] = EventRead
		}
		for range 2 {
			s.epoll.events = make([]unix.EpollEvent, 3)
			s.dirty.Store(false) // do not prepare a larger one
			ready, err := s.Select(-1)
			if diff := cmp.Diff(want, byDescriptor(ready)); diff != "" || err != nil || len(ready) != len(want) {
				t.Errorf("Select returned %d, %v (-want +got):\n%s", len(ready), err, diff)
			}
			for fd := range want {
				if key, err := s.Key(fd); err != nil || key.Events&(OneShot|EdgeTriggered) != 0 {
					delete(want, fd)
				}
			}
		}
		if got := s.Stats(); got.Orphans != 50 || !got.RepairPending || got.Repairs != 0 {
			t.Errorf("Stats are %+v", got)
		}
		s.repairAt.Store(1)
		got := reported(t, s, 2)
		for fd := range got {
			if key, err := s.Key(fd); err == nil && key.Events&EdgeTriggered != 0 {
				delete(got, fd) // the new set reports it anew
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reported after the repair (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(Stats{Orphans: 50, Repairs: 1}, s.Stats()); diff != "" {
			t.Errorf("Stats after the repair (-want +got):\n%s", diff)
		}
	})
}

// TestOrphanWithoutDescriptors: the set cannot be replaced while no descriptor is
// free. Select goes on, and the orphan is removed afterwards, also if it is not ready.
func TestOrphanWithoutDescriptors(t *testing.T) {
	eachStrategy(t, func(t *testing.T, s *EpollSelector) {
		r, w := fdtest.Pipe(t)
		mustRegister(t, s, r, EventRead)
		orphan, orphanW := fdtest.Pipe(t)
		dup := fdtest.Dup(t, orphan)
		fdtest.Write(t, orphanW, "x")
		mustRegister(t, s, orphan, EventRead)
		fdtest.Close(t, orphan)
		if _, err := s.Unregister(orphan); err != nil {
			t.Fatal(err)
		}
		faulttest.WithFreeDescriptors(t, 0, func() {
			begin := time.Now()
			if ready, err := s.Select(30 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begin) < 30*time.Millisecond {
				t.Errorf("Select returned %v, %v after %v", ready, err, time.Since(begin))
			}
			time.AfterFunc(5*time.Millisecond, func() { unix.Write(w, []byte("x")) })
			if ready, err := s.Select(-1); err != nil || len(ready) != 1 {
				t.Errorf("Select returned %v, %v, want an event", ready, err)
			}
			if got := s.Stats(); got.Orphans != 1 || got.RepairFailures < 2 || got.Repairs != 0 || !got.RepairPending {
				t.Errorf("Stats are %+v", got)
			}
		})
		fdtest.Drain(t, dup)
		fdtest.Drain(t, r)
		go func() {
			for begin := time.Now(); s.Stats().RepairPending && time.Since(begin) < fdtest.Timeout; {
				time.Sleep(time.Millisecond)
			}
			s.Wake()
		}()
		if ready, err := s.Select(-1); err != nil || len(ready) != 0 {
			t.Errorf("Select returned %v, %v, want a wake", ready, err)
		}
		if got := s.Stats(); got.Orphans != 1 || got.Repairs != 1 || got.RepairPending {
			t.Errorf("Stats after the shortage are %+v", got)
		}
		fdtest.Write(t, w, "x")
		expectReported(t, s, 1, map[int]Event{r: EventRead})
	})
}

// TestRepairKeepsMuted: a key whose hints were reported does not keep Select from
// waiting after a repair.
func TestRepairKeepsMuted(t *testing.T) {
	eachStrategy(t, func(t *testing.T, s *EpollSelector) {
		counting := &countingBackend{backend: s.backend}
		s.backend = counting
		r, w := fdtest.Pipe(t)
		mustRegister(t, s, r, EventPriority)
		fdtest.Close(t, w)
		expectReported(t, s, 1, map[int]Event{r: EventHangup})
		makeOrphan(t, s)
		expectReported(t, s, 3, map[int]Event{})
		if s.Stats().Repairs != 1 {
			t.Errorf("Stats are %+v", s.Stats())
		}
		counting.calls.Store(0)
		if ready, err := s.Select(50 * time.Millisecond); err != nil || len(ready) != 0 {
			t.Errorf("Select returned %v, %v", ready, err)
		}
		if calls := counting.calls.Load(); calls > 10 {
			t.Errorf("the kernel was asked %d times", calls)
		}
	})
}

// TestRepairOverWatchLimit: fs.epoll.max_user_watches allows the keys once, but not
// twice. No key is lost, and the orphan is removed when the limit is raised.
func TestRepairOverWatchLimit(t *testing.T) {
	const keys, limit, duplicates = 6000, 10000, 50
	var noFile unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &noFile); err != nil || noFile.Cur < 2*keys {
		t.Skip("needs more descriptors: ", noFile, err)
	}
	var reads, writes []int
	for range keys / duplicates {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(p[0])
		defer unix.Close(p[1])
		writes = append(writes, p[1])
		for range duplicates {
			reads = append(reads, dupAnywhere(t, p[0]))
		}
	}
	for _, strategy := range Strategies {
		t.Run(strategy.Name, func(t *testing.T) {
			orphan, orphanW := fdtest.Pipe(t)
			fdtest.Dup(t, orphan)
			fdtest.Write(t, orphanW, "x")
			var s *EpollSelector
			var err error
			faulttest.WithEpollWatches(t, limit, func() {
				if s, err = NewEpollSelector(strategy.Option); err != nil {
					return
				}
				for _, fd := range append(reads[:len(reads):len(reads)], orphan) {
					if _, err = s.Register(fd, EventRead, nil); err != nil {
						return
					}
				}
				unix.Close(orphan)
				s.Unregister(orphan)
				var ready []Ready
				for range 3 {
					ready, err = s.Select(2 * time.Millisecond)
					if len(ready) != 0 || err != nil {
						t.Errorf("Select returned %d, %v", len(ready), err)
					}
				}
			})
			if s != nil {
				defer s.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Stats(); got.RepairFailures == 0 || got.Repairs != 0 || !got.RepairPending {
				t.Errorf("Stats are %+v", got)
			}
			s.repairAt.Store(1)
			for range 2 {
				for _, w := range writes {
					unix.Write(w, []byte("x"))
				}
				if got := reported(t, s, 1); len(got) != keys {
					t.Errorf("%d keys were reported, want %d", len(got), keys)
				}
				for i := 0; i < keys; i += duplicates {
					unix.Read(reads[i], make([]byte, 1))
				}
				if ready, err := s.Select(time.Millisecond); err != nil || len(ready) != 0 {
					t.Errorf("Select returned %d, %v", len(ready), err)
				}
				if got := s.Stats(); got.Repairs != 1 || got.RepairPending {
					t.Errorf("Stats after the shortage are %+v", got)
				}
			}
		})
	}
}

// TestRegisterOverOrphan: the descriptor of an orphan gets its file back. Register
// works, whatever the modes of the two registrations.
func TestRegisterOverOrphan(t *testing.T) {
	modes := []Event{0, OneShot, EdgeTriggered, Exclusive}
	eachStrategy(t, func(t *testing.T, s *EpollSelector) {
		for _, oldMode := range modes {
			for _, newMode := range modes {
				r, w := fdtest.Pipe(t)
				dup := fdtest.Dup(t, r)
				mustRegister(t, s, r, EventRead|oldMode)
				fdtest.Close(t, r)
				if _, err := s.Unregister(r); err != nil {
					t.Fatal(err)
				}
				fdtest.Replace(t, r, dup)
				mustRegister(t, s, r, EventRead|newMode)
				fdtest.Write(t, w, "x")
				expectReported(t, s, 1, map[int]Event{r: EventRead})
				if _, err := s.Unregister(r); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestExclusiveRefusedHalfway: a change of an exclusive key deletes and adds its
// registration. If the kernel refuses to add it, with the old mask too, the old key
// stands: the registration is made later.
func TestExclusiveRefusedHalfway(t *testing.T) {
	for _, test := range []struct {
		name string
		then func(t *testing.T, s *EpollSelector, r, w int) (want map[int]Event)
	}{
		{"nothing", func(t *testing.T, s *EpollSelector, r, w int) map[int]Event {
			return map[int]Event{r: EventRead}
		}},
		{"registered again", func(t *testing.T, s *EpollSelector, r, w int) map[int]Event {
			if _, err := s.Register(r, EventRead, nil); !errors.Is(err, ErrRegistered) {
				t.Errorf("Register: %v", err)
			}
			return map[int]Event{r: EventRead}
		}},
		{"modified", func(t *testing.T, s *EpollSelector, r, w int) map[int]Event {
			if _, err := s.Modify(r, EventRead|OneShot, nil); err != nil {
				t.Errorf("Modify: %v", err)
			}
			return map[int]Event{r: EventRead}
		}},
		{"unregistered", func(t *testing.T, s *EpollSelector, r, w int) map[int]Event {
			if _, err := s.Unregister(r); err != nil {
				t.Errorf("Unregister: %v", err)
			}
			return map[int]Event{}
		}},
		{"closed", func(t *testing.T, s *EpollSelector, r, w int) map[int]Event {
			fdtest.Close(t, r)
			return map[int]Event{}
		}},
		{"replaced by another file", func(t *testing.T, s *EpollSelector, r, w int) map[int]Event {
			other, otherW := fdtest.Pipe(t)
			fdtest.Write(t, otherW, "x")
			fdtest.Replace(t, r, other)
			return map[int]Event{}
		}},
		{"an orphan", func(t *testing.T, s *EpollSelector, r, w int) map[int]Event {
			makeOrphan(t, s)
			return map[int]Event{r: EventRead}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachStrategy(t, func(t *testing.T, s *EpollSelector) {
				r, w := fdtest.Pipe(t)
				fdtest.Dup(t, r) // the pipe stays readable, so that w can be written
				mustRegister(t, s, r, EventRead|Exclusive)
				add := faulttest.Fault{Call: unix.SYS_EPOLL_CTL, Errno: unix.ENOSPC, Args: map[int]uint32{1: unix.EPOLL_CTL_ADD}}
				faulttest.WithFault(t, add, func() {
					if _, err := s.Modify(r, EventRead, nil); !errors.Is(err, unix.ENOSPC) {
						t.Errorf("Modify: %v", err)
					}
					if key, err := s.Key(r); err != nil || key.Events != EventRead|Exclusive {
						t.Errorf("Key is %+v, %v", key, err)
					}
					begin := time.Now()
					if ready, err := s.Select(time.Millisecond); err != nil || len(ready) != 0 || time.Since(begin) < time.Millisecond {
						t.Errorf("Select returned %v, %v after %v", ready, err, time.Since(begin))
					}
				})
				if got := s.Stats(); !got.RepairPending || got.RepairFailures == 0 {
					t.Errorf("Stats are %+v", got)
				}
				want := test.then(t, s, r, w)
				fdtest.Write(t, w, "x")
				for begin := time.Now(); s.Stats().RepairPending && time.Since(begin) < fdtest.Timeout; {
					if ready, err := s.Select(time.Millisecond); err != nil || len(ready) > len(want) {
						t.Errorf("Select returned %v, %v", ready, err)
					}
					if key, err := s.Key(r); err == nil && key.Events&OneShot != 0 {
						s.Modify(r, key.Events, nil)
					}
				}
				expectReported(t, s, 3, want)
				if got := s.Stats(); got.RepairPending || got.Repairs == 0 || len(s.epoll.refused) != 0 {
					t.Errorf("Stats after the repair are %+v, %v are refused", got, s.epoll.refused)
				}
			})
		})
	}
}

// TestRepairDuringSelect: a change that the kernel refused is repeated while a Select
// waits without a limit.
func TestRepairDuringSelect(t *testing.T) {
	eachStrategy(t, func(t *testing.T, s *EpollSelector) {
		r, w := fdtest.Pipe(t)
		mustRegister(t, s, r, EventRead|Exclusive)
		done := make(chan error, 1)
		go func() {
			ready, err := s.Select(-1)
			if err == nil && len(ready) != 1 {
				err = errors.New("an empty batch")
			}
			done <- err
		}()
		for !s.asleep.Load() {
			time.Sleep(100 * time.Microsecond)
		}
		add := faulttest.Fault{Call: unix.SYS_EPOLL_CTL, Errno: unix.ENOSPC, Args: map[int]uint32{1: unix.EPOLL_CTL_ADD}}
		faulttest.WithFault(t, add, func() {
			if _, err := s.Modify(r, EventRead, nil); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("Modify: %v", err)
			}
		})
		fdtest.Write(t, w, "x")
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(fdtest.Timeout):
			t.Error("the key is not reported")
			s.Close()
		}
	})
}

// TestOrphanHints: an orphan that has only hints to report, an error among them, is
// reported at most once while the epoll set cannot be replaced. It does not end
// one Select after the other.
func TestOrphanHints(t *testing.T) {
	eachStrategy(t, func(t *testing.T, s *EpollSelector) {
		r, w := fdtest.Pipe(t)
		mustRegister(t, s, w, EventPriority)
		fdtest.Dup(t, w)
		other, _ := fdtest.Pipe(t)
		fdtest.Replace(t, w, other) // the number has another file now
		fdtest.Close(t, r)
		postponeRepair(s)
		reports := 0
		for start := time.Now(); time.Since(start) < 100*time.Millisecond; {
			ready, err := s.Select(50 * time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			reports += len(ready)
		}
		if reports > 1 {
			t.Errorf("the hints of an orphan were reported %d times", reports)
		}
	})
}
