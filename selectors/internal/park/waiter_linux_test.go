package park

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/faulttest"
	"goselectors/selectors/internal/fdtest"
	"goselectors/selectors/internal/sys"
)

// A testSet is an epoll set with a Waiter, as a selector has them, and the
// selector's wake protocol.
type testSet struct {
	t      *testing.T
	fd     int
	events [16]unix.EpollEvent
	found  int
	waiter Waiter

	mu     sync.Mutex
	wakes  atomic.Uint32
	asleep atomic.Bool
}

const ownFD = -1

func newTestSet(t *testing.T, strategy Strategy) *testSet {
	t.Helper()
	s := &testSet{t: t}
	var err error
	if s.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := s.waiter.Open(s.fd, s, strategy, &s.wakes); err != nil {
		unix.Close(s.fd)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.waiter.Close()
		unix.Close(s.fd)
	})
	return s
}

// newParkingSet returns a set whose Waiter always parks, and a pipe whose reading
// end is in it.
func newParkingSet(t *testing.T) (s *testSet, r, w int) {
	t.Helper()
	s = newTestSet(t, Parking)
	if s.waiter.Strategy() != Parking {
		t.Skip("the runtime poller does not take epoll descriptors here")
	}
	r, w = fdtest.Pipe(t)
	if err := unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, r, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(r)}); err != nil {
		t.Fatal(err)
	}
	return s, r, w
}

func (s *testSet) harvested(n int, err error) (int, error) {
	s.found = n
	if n > 0 {
		s.waiter.Disarm()
	}
	return n, err
}

func (s *testSet) Poll() (int, error) { return s.harvested(sys.EpollPoll(s.fd, s.events[:], false)) }

func (s *testSet) Block(timeout time.Duration) (int, error) {
	return s.harvested(sys.EpollWait(s.fd, s.events[:], timeout))
}

func (s *testSet) Nest(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

func (s *testSet) HasUserEvents() bool {
	return slices.ContainsFunc(s.events[:s.found], func(ev unix.EpollEvent) bool { return ev.Fd != ownFD })
}

func (s *testSet) Watch(fd int) error {
	return unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: ownFD})
}

func (s *testSet) wake() {
	if s.wakes.Swap(1) == 0 && s.asleep.Load() {
		if err := s.waiter.Wake(); err != nil {
			s.t.Error(err)
		}
	}
}

// wait sleeps until there are events of the user's, a wake, or the timeout ends,
// and returns whether there are events. It polls first, as a selector does.
func (s *testSet) wait(timeout time.Duration) (ready bool) {
	s.t.Helper()
	deadline := sys.Now() + timeout
	for {
		woken := s.wakes.Swap(0) != 0
		_, err := s.Poll()
		left := timeout
		if timeout > 0 {
			left = max(deadline-sys.Now(), 0)
		}
		if err == nil && !s.HasUserEvents() && !woken && left != 0 {
			s.asleep.Store(true)
			if s.wakes.Load() == 0 {
				_, err = s.waiter.Sleep(left)
			}
			s.asleep.Store(false)
			woken = s.wakes.Swap(0) != 0
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if s.HasUserEvents() || woken || left == 0 {
			return s.HasUserEvents()
		}
	}
}

// boundedWait is wait that fails the test if it takes longer than 5 seconds.
func (s *testSet) boundedWait(timeout time.Duration, wantReady bool) {
	s.t.Helper()
	guard := time.AfterFunc(5*time.Second, func() {
		s.t.Error("the wait hangs: a wake or an event was lost")
		s.waiter.Wake()
		s.wakes.Store(1)
		s.waiter.Wake()
	})
	defer guard.Stop()
	if ready := s.wait(timeout); ready != wantReady {
		s.t.Fatalf("ready is %t, want %t", ready, wantReady)
	}
}

var strategies = []struct {
	name string
	Strategy
}{{"adaptive", Adaptive}, {"blocking", Blocking}, {"parking", Parking}}

// TestSleep: every strategy waits for an event, for a wake and for a timeout.
func TestSleep(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(strategy.name, func(t *testing.T) {
			s := newTestSet(t, strategy.Strategy)
			r, w := fdtest.Pipe(t)
			if err := unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, r, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(r)}); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				begin := time.Now()
				s.boundedWait(3*time.Millisecond, false)
				if took := time.Since(begin); took < 3*time.Millisecond {
					t.Errorf("a wait of 3ms took %v", took)
				}
				timer := time.AfterFunc(time.Millisecond, func() { s.wake() })
				s.boundedWait(-1, false)
				timer.Stop()
				timer = time.AfterFunc(time.Millisecond, func() { unix.Write(w, []byte("x")) })
				s.boundedWait(-1, true)
				timer.Stop()
				fdtest.Read(t, r, 1)
			}
		})
	}
}

// TestOpenWithoutDescriptors: with no descriptor left for the gate the Waiter
// blocks. It parks when there is one again.
func TestOpenWithoutDescriptors(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(strategy.name, func(t *testing.T) {
			var s *testSet
			faulttest.WithFreeDescriptors(t, 2, func() { // the set and the waker
				s = newTestSet(t, strategy.Strategy)
				s.boundedWait(time.Millisecond, false)
				s.waiter.retryAt = min(s.waiter.retryAt, 1) // as if the time had passed
				s.boundedWait(time.Millisecond, false)
			})
			if s.waiter.gate.file != nil {
				t.Fatal("it has a gate without a descriptor for one")
			}
			if strategy.Strategy == Blocking {
				return
			}
			if s.waiter.backoff != 2*minRetryInterval {
				t.Errorf("after two failures the back-off is %v, want %v", s.waiter.backoff, 2*minRetryInterval)
			}
			s.boundedWait(time.Millisecond, false)
			if s.waiter.gate.file != nil {
				t.Error("it did not wait before it tried again")
			}
			s.waiter.retryAt = 1
			s.boundedWait(time.Millisecond, false)
			if s.waiter.gate.file == nil || strategy.Strategy == Parking && s.waiter.backoff != 0 {
				t.Error("it does not park although there are descriptors again")
			}
		})
	}
}

// TestNotPollable: where the runtime poller refuses the gate the Waiter blocks.
func TestNotPollable(t *testing.T) {
	faulttest.WithFailingCall(t, unix.SYS_FCNTL, unix.EPERM, func() {
		s := newTestSet(t, Adaptive)
		if got := s.waiter.Strategy(); got != Blocking {
			t.Errorf("without the runtime poller it has strategy %d, want blocking", got)
		}
		s.wait(time.Millisecond)
	})
}

// TestTimerWithoutDescriptors: a park with a timeout needs a timerfd. Without
// one the sleep blocks.
func TestTimerWithoutDescriptors(t *testing.T) {
	for _, strategy := range strategies {
		s := newTestSet(t, strategy.Strategy)
		lasts := func() {
			begin := time.Now()
			s.wait(3 * time.Millisecond)
			if took := time.Since(begin); took < 3*time.Millisecond {
				t.Errorf("%s: a wait of 3ms took %v", strategy.name, took)
			}
		}
		faulttest.WithFreeDescriptors(t, 0, func() {
			for range 5 {
				lasts()
			}
		})
		if s.waiter.timer >= 0 {
			t.Errorf("%s: there is a timer, though no descriptor was free", strategy.name)
		}
		before := fdtest.OpenFiles(t)
		faulttest.WithFailingCall(t, unix.SYS_EPOLL_CTL, unix.ENOSPC, lasts) // max_user_watches
		if after := fdtest.OpenFiles(t); !slices.Equal(before, after) {
			t.Errorf("%s: the open descriptors were %v and are %v", strategy.name, before, after)
		}
		s.wait(time.Millisecond)
	}
}

// TestParkFails: if the runtime poller refuses a park, the wait blocks instead,
// and a wake that came at that moment is not lost.
func TestParkFails(t *testing.T) {
	for _, test := range []struct {
		name  string
		woken bool
	}{{"asleep", false}, {"woken", true}} {
		t.Run(test.name, func(t *testing.T) {
			s, _, _ := newParkingSet(t)
			refused := 0
			s.waiter.gate.raw = refusingConn{s.waiter.gate.raw, func() {
				refused++
				if test.woken {
					s.wake()
				}
			}}
			if test.woken {
				s.boundedWait(-1, false)
			} else {
				for range 2 {
					begin := time.Now()
					s.boundedWait(3*time.Millisecond, false)
					if took := time.Since(begin); took < 3*time.Millisecond {
						t.Errorf("a wait of 3ms took %v", took)
					}
				}
			}
			if refused != 1 {
				t.Errorf("it tried to park %d times, want once", refused)
			}
		})
	}
}

// refusingConn is a RawConn that cannot wait.
type refusingConn struct {
	syscall.RawConn
	refuse func()
}

func (c refusingConn) Read(func(uintptr) bool) error {
	c.refuse()
	return errNotPollable
}

// TestEventBesideWake: an event that reaches the gate at the moment when a wake
// ends the park is not harvested by the runtime. It leaves the set on the gate's
// own ready list, and the kernel does not report a file that is already on that
// list when it is armed (fs/eventpoll.c, ep_modify). So an event that comes between the
// last poll of the set and the next park would be lost if the gate were not
// polled after it is armed.
func TestEventBesideWake(t *testing.T) {
	s, r, w := newParkingSet(t)
	g := &s.waiter.gate
	for range 3 {
		checks := 0
		g.check = func(fd uintptr) bool {
			checks++
			if checks > 1 {
				return g.checkNow(fd)
			}
			done := g.checkNow(fd)
			s.wake()
			fdtest.Write(t, w, "x")
			time.Sleep(15 * time.Millisecond) // the runtime polls every 10 ms
			return done
		}
		s.wait(-1) // it may find the event or only the wake
		if checks != 1 {
			t.Fatalf("the gate was checked %d times before the wake, want once", checks)
		}
		fdtest.Read(t, r, 1)

		parked := false
		g.check = func(fd uintptr) bool {
			if !parked {
				parked = true
				fdtest.Write(t, w, "x")
			}
			return g.checkNow(fd)
		}
		s.boundedWait(-1, true)
		if !parked {
			t.Fatal("it did not park")
		}
		fdtest.Read(t, r, 1)
	}
}

// TestGateAfterWake: a wake leaves the gate armed. It is disarmed when events are
// found without waiting, so that a busy set does not wake the runtime.
func TestGateAfterWake(t *testing.T) {
	s, r, w := newParkingSet(t)
	g := &s.waiter.gate
	afterCheck := func(f func()) { // f runs once, when the gate has just been armed
		g.check = func(fd uintptr) bool {
			done := g.checkNow(fd)
			if f != nil {
				f()
				f = nil
			}
			return done
		}
	}
	gateReadable := func() bool {
		n, err := unix.EpollWait(g.fd, make([]unix.EpollEvent, 1), 0)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	for range 2 {
		for range 2 {
			afterCheck(func() { s.wake() })
			s.boundedWait(-1, false)
			if !g.armed {
				t.Error("a wake has disarmed the gate")
			}
		}
		raw := g.raw
		g.raw = wokenFirstConn{raw, s}
		afterCheck(func() { t.Error("it parks although it was woken") })
		s.boundedWait(-1, false)
		g.raw = raw
		if !g.armed {
			t.Error("a park that never checked the gate has cleared armed")
		}
		afterCheck(func() { fdtest.Write(t, w, "x") })
		s.boundedWait(-1, true)
		if g.armed || gateReadable() {
			t.Error("the gate is armed after an event passed it")
		}
		fdtest.Read(t, r, 1)

		afterCheck(func() { s.wake() })
		s.boundedWait(-1, false)
		fdtest.Write(t, w, "x")
		s.boundedWait(0, true) // this disarms it
		gateReadable()
		fdtest.Read(t, r, 1)
		fdtest.Write(t, w, "x")
		if g.armed || gateReadable() {
			t.Error("a busy set's gate is armed")
		}
		fdtest.Read(t, r, 1)
	}
}

// wokenFirstConn is a RawConn whose user is woken just before it waits.
type wokenFirstConn struct {
	syscall.RawConn
	s *testSet
}

func (c wokenFirstConn) Read(check func(uintptr) bool) error {
	c.s.wake()
	return c.RawConn.Read(check)
}

// TestForbid: between Forbid and Permit sleeps block, and the set is not in the
// gate. A sleep that is parked ends.
func TestForbid(t *testing.T) {
	s, r, w := newParkingSet(t)
	g := &s.waiter.gate
	inGate := func() bool { return unix.EpollCtl(g.fd, unix.EPOLL_CTL_DEL, g.set, nil) == nil }
	parks := 0
	check := g.check
	g.check = func(fd uintptr) bool { parks++; return check(fd) }
	forbid := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.waiter.Forbid()
	}
	for range 3 {
		timer := time.AfterFunc(10*time.Millisecond, func() {
			if !forbid() {
				t.Error("Forbid did not take the set out of the gate")
			}
			s.wake()
		})
		s.boundedWait(-1, false)
		timer.Stop()
		if forbid() {
			t.Error("a second Forbid reports that it took the set out of the gate")
		}
		s.waiter.Permit()
		if parks == 0 {
			t.Fatal("it did not park before")
		}
		parks = 0
		s.boundedWait(3*time.Millisecond, false)
		fdtest.Write(t, w, "x")
		s.boundedWait(-1, true)
		fdtest.Read(t, r, 1)
		if parks != 0 || inGate() || s.waiter.MayAsk() {
			t.Error("it parks, or the set is in the gate, although that is forbidden")
		}
		s.waiter.Permit()
		timer = time.AfterFunc(10*time.Millisecond, func() { unix.Write(w, []byte("x")) })
		s.boundedWait(-1, true)
		timer.Stop()
		fdtest.Read(t, r, 1)
		if parks == 0 {
			t.Error("it does not park although that is permitted again")
		}
	}

	// The gate was armed when the set was taken out of it.
	timer := time.AfterFunc(10*time.Millisecond, s.wake)
	s.boundedWait(-1, false)
	timer.Stop()
	forbid()
	s.waiter.Permit()
	timer = time.AfterFunc(10*time.Millisecond, func() { unix.Write(w, []byte("x")) })
	defer timer.Stop()
	s.boundedWait(-1, true)
}

// TestMayAsk: the kernel may ask the set through the gate from arming to the next
// harvest that finds something, even if the gate is disarmed in between.
func TestMayAsk(t *testing.T) {
	s, r, w := newParkingSet(t)
	expect := func(want bool, when string) {
		t.Helper()
		if got := s.waiter.MayAsk(); got != want {
			t.Errorf("%s: MayAsk is %t, want %t", when, got, want)
		}
	}
	write := func() { unix.Write(w, []byte("x")) }
	expect(false, "before the first sleep")
	s.boundedWait(time.Millisecond, false)
	timer := time.AfterFunc(10*time.Millisecond, write)
	s.boundedWait(-1, true)
	timer.Stop()
	expect(false, "after a park that an event ended")
	fdtest.Read(t, r, 1)
	timer = time.AfterFunc(10*time.Millisecond, s.wake)
	s.boundedWait(-1, false)
	timer.Stop()
	expect(true, "after a park that a wake ended")
	write()
	s.boundedWait(0, true) // disarms the gate
	expect(true, "disarmed")
	fdtest.Read(t, r, 1)
}

// TestArmFails: if the gate cannot be armed the sleep blocks, and later ones try
// again.
func TestArmFails(t *testing.T) {
	s, r, w := newParkingSet(t)
	faulttest.WithFailingCall(t, unix.SYS_EPOLL_CTL, unix.ENOSPC, func() {
		s.waiter.timer = -1
		if err := s.waiter.gate.arm(); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("arm returned %v, want ENOSPC", err)
		}
		if s.waiter.gate.armed || s.waiter.gate.attached {
			t.Error("a gate that could not be armed counts as armed")
		}
		if _, _, err := s.waiter.park(-1, 0); err != nil {
			t.Error(err)
		}
		if !s.waiter.mustBlock() {
			t.Error("it goes on trying to park")
		}
		fdtest.Write(t, w, "x")
		s.boundedWait(-1, true)
	})
	fdtest.Read(t, r, 1)
	s.waiter.retryAt = 1
	timer := time.AfterFunc(10*time.Millisecond, func() { unix.Write(w, []byte("x")) })
	defer timer.Stop()
	s.boundedWait(-1, true)
	if s.waiter.backoff != 0 || s.waiter.mustBlock() {
		t.Error("it does not park again after the shortage")
	}
}
