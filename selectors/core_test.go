package selectors

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestMaxSleep: a backend is never asked to sleep longer than maxSleep, nor longer
// than recheckInterval while there are muted entries to recheck.
func TestMaxSleep(t *testing.T) {
	var c core
	b := &sleepRecorder{}
	c.init(nil, "test", b, traits{})
	for _, test := range []struct {
		left       time.Duration
		mutedCount int32
		want       time.Duration
	}{
		{-1, 0, -1}, {time.Second, 0, time.Second}, {math.MaxInt64, 0, maxSleep}, {maxSleep + 1, 0, maxSleep},
		{-1, 1, recheckInterval}, {time.Second, 1, recheckInterval}, {time.Millisecond, 1, time.Millisecond},
	} {
		c.mutedCount.Store(test.mutedCount)
		if _, err := c.sleep(test.left); err != nil || b.asked != test.want {
			t.Errorf("with %v left the sleep is %v, want %v", test.left, b.asked, test.want)
		}
	}
}

// sleepRecorder is a backend that records how long it was asked to sleep.
type sleepRecorder struct {
	backend
	asked time.Duration
}

func (s *sleepRecorder) sleep(timeout time.Duration) (int, error) { s.asked = timeout; return 0, nil }

// TestPollFirst: where a poll is not cheap, a busy selector polls and does not
// sleep, and an idle one hardly ever polls before it sleeps. One that finds
// something half of the time does mostly sleep.
func TestPollFirst(t *testing.T) {
	b := &countedBackend{found: 1}
	c := core{backend: b, traits: traits{updatesLive: true, scansAll: true}}
	selects := func(n int) (polls, sleeps int) {
		b.polls, b.sleeps = 0, 0
		for range n {
			c.Select(-1)
		}
		return b.polls, b.sleeps
	}
	for range 3 {
		b.found = 1
		selects(100) // to let it adapt
		if polls, sleeps := selects(100); polls != 100 || sleeps != 0 {
			t.Errorf("while something is ready 100 Selects made %d polls and %d sleeps", polls, sleeps)
		}
		b.found = 0
		selects(200)
		if polls, sleeps := selects(640); polls > 10 || polls == 0 || sleeps != 640 {
			t.Errorf("while nothing is ready 640 Selects made %d polls and %d sleeps", polls, sleeps)
		}
	}
	// One Select that finds nothing among many that find something costs few polls.
	b.found = 1
	selects(100)
	b.found = 0
	selects(1)
	b.found = 1
	if polls, _ := selects(100); polls < 95 {
		t.Errorf("after one Select without events, only %d of 100 Selects polled", polls)
	}
	random := rand.New(rand.NewPCG(1, 1))
	b.findNext = func() int { return random.IntN(2) }
	if polls, sleeps := selects(10_000); polls > 1500 || polls < 100 || sleeps < 5000 {
		t.Errorf("while something is ready half of the time 10000 Selects made %d polls and %d sleeps", polls, sleeps)
	}
}

// countedBackend counts polls and sleeps. A poll finds found, or what findNext
// returns if it is set; a sleep always finds something.
type countedBackend struct {
	futileBackend
	found, polls, sleeps int
	findNext             func() int
}

func (b *countedBackend) poll() (int, error) {
	b.polls++
	if b.findNext != nil {
		return b.findNext(), nil
	}
	return b.found, nil
}

func (b *countedBackend) sleep(time.Duration) (int, error) { b.sleeps++; return 1, nil }

func (b *countedBackend) collect(_ *core, dst []Ready) []Ready {
	return append(dst, Ready{Events: EventRead})
}

// TestFutileReports: a Select ends in time even if the kernel keeps reporting
// events that the core does not pass on.
func TestFutileReports(t *testing.T) {
	for _, timeout := range []time.Duration{0, 5 * time.Millisecond} {
		c := core{backend: futileBackend{failAfter: time.Now().Add(5 * time.Second)}, traits: traits{pollIsCheap: true, updatesLive: true}}
		begin := time.Now()
		if ready, err := c.Select(timeout); err != nil || len(ready) != 0 || time.Since(begin) < timeout {
			t.Errorf("Select(%v) returned %v, %v after %v", timeout, ready, err, time.Since(begin))
		}
	}
}

// futileBackend always finds an event, and never reports it. It fails after some
// time, so that a Select that does not end is noticed.
type futileBackend struct {
	backend
	failAfter time.Time
}

func (f futileBackend) poll() (int, error) {
	if time.Now().After(f.failAfter) {
		return 0, errors.New("Select does not end")
	}
	return 1, nil
}

func (f futileBackend) sleep(time.Duration) (int, error) { return f.poll() }

func (futileBackend) prepare(*core) {}

func (futileBackend) collect(_ *core, dst []Ready) []Ready { return dst }

func (futileBackend) wake() error { return nil }

// TestCloseBesideFailingWake: Close ends a sleep also if a Wake that has begun
// before it fails.
func TestCloseBesideFailingWake(t *testing.T) {
	b := &failingWake{woken: make(chan struct{}, 1), begun: make(chan struct{}), mayFail: make(chan struct{})}
	var c core
	c.init(nil, "test", b, traits{pollIsCheap: true, updatesLive: true})
	selected, closed, woken := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.Select(-1)
		selected <- err
	}()
	for !c.asleep.Load() {
		time.Sleep(time.Millisecond)
	}
	go func() { woken <- c.Wake() }()
	<-b.begun
	go func() { closed <- c.Close() }()
	for c.wakes.Load()&wakeInternal == 0 {
		time.Sleep(time.Millisecond)
	}
	close(b.mayFail)
	if err := <-woken; err == nil {
		t.Error("Wake did not fail")
	}
	select {
	case err := <-closed:
		if err != nil {
			t.Errorf("Close returned %v", err)
		}
	case <-time.After(5 * time.Second):
		b.woken <- struct{}{}
		t.Fatal("Close hangs")
	}
	if err := <-selected; !errors.Is(err, ErrClosed) {
		t.Errorf("Select returned %v, want ErrClosed", err)
	}
}

// failingWake is a backend whose first wake fails, when it may.
type failingWake struct {
	backend
	woken, begun, mayFail chan struct{}
	calls                 int
}

func (b *failingWake) prepare(*core)                    {}
func (b *failingWake) poll() (int, error)               { return 0, nil }
func (b *failingWake) sleep(time.Duration) (int, error) { <-b.woken; return 0, nil }
func (b *failingWake) close() error                     { return nil }

func (b *failingWake) wake() error {
	if b.calls++; b.calls == 1 {
		close(b.begun)
		<-b.mayFail
		return errors.New("the wake fails")
	}
	b.woken <- struct{}{}
	return nil
}
