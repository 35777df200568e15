package eventloop_test

import (
	"math"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/looptest"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestTimeoutUntilNextTimer checks that the timeout of Select is the time until
// the next active timer, or less.
func TestTimeoutUntilNextTimer(t *testing.T) {
	for _, test := range []struct {
		name    string
		setup   func(l *testLoop)
		timeout time.Duration // of RunOnce
		want    time.Duration // of Select
	}{
		{"no timer, a post", func(l *testLoop) { l.Post(func() {}) }, -1, 0},
		{"no timer", func(l *testLoop) {}, 5 * sec, 5 * sec},
		{"one timer", func(l *testLoop) { l.callLater(10*sec, func() {}) }, -1, 10 * sec},
		{"one nanosecond", func(l *testLoop) { l.callLater(1, func() {}) }, -1, 1},
		{"earliest of three", func(l *testLoop) {
			l.callLater(10*sec, func() {})
			l.callLater(8*sec, func() {})
			l.callLater(9*sec, func() {})
		}, -1, 8 * sec},
		{"earliest is stopped", func(l *testLoop) { // asyncio's test__run_once
			l.callLater(5*sec, func() {}).Stop()
			l.callLater(10*sec, func() {})
			l.Advance(sec / 2)
		}, -1, 9*sec + sec/2},
		{"all are stopped", func(l *testLoop) {
			l.callLater(5*sec, func() {}).Stop()
			l.callEvery(5*sec, func() {}).Stop()
		}, 7 * sec, 7 * sec},
		{"earliest is reset to later", func(l *testLoop) {
			l.callLater(5*sec, func() {}).Reset(20 * sec)
			l.callLater(10*sec, func() {})
		}, -1, 10 * sec},
		{"repeating timer", func(l *testLoop) { l.callEvery(3*sec, func() {}) }, -1, 3 * sec},
		{"shorter timeout of RunOnce", func(l *testLoop) { l.callLater(10*sec, func() {}) }, 4 * sec, 4 * sec},
		{"longer timeout of RunOnce", func(l *testLoop) { l.callLater(4*sec, func() {}) }, 10 * sec, 4 * sec},
		{"zero timeout of RunOnce", func(l *testLoop) { l.callLater(4*sec, func() {}) }, 0, 0},
		{"due timer", func(l *testLoop) { l.callLater(0, func() {}) }, -1, 0},
		{"overdue timer", func(l *testLoop) {
			l.callLater(5*sec, func() {})
			l.Advance(time.Minute)
		}, -1, 0},
		{"maximal deadline", func(l *testLoop) { l.callAt(math.MaxInt64, func() {}) }, -1, math.MaxInt64 - 100*sec},
		{"minimal deadline", func(l *testLoop) { l.callAt(math.MinInt64, func() {}) }, -1, 0},
		{"pending CallSoon", func(l *testLoop) {
			l.callLater(4*sec, func() {})
			l.CallSoon(func() {})
		}, -1, 0},
		{"pending post", func(l *testLoop) {
			l.callLater(4*sec, func() {})
			l.Post(func() {})
		}, -1, 0},
		{"pending Stop", func(l *testLoop) {
			l.callLater(4*sec, func() {})
			l.Stop()
		}, -1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newTestLoop(t)
			l.Advance(100 * sec)
			test.setup(l)
			l.runOnce(test.timeout)
			if diff := gocmp.Diff([]time.Duration{test.want}, l.sel.Timeouts()); diff != "" {
				t.Errorf("timeouts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTimeoutClamped checks that the timeout does not overflow when the clock is
// negative.
func TestTimeoutClamped(t *testing.T) {
	clock := looptest.NewClock()
	sel := looptest.NewSelector(clock)
	l, err := eventloop.New(eventloop.WithSelector(sel), eventloop.WithClock(func() time.Duration { return clock.Now() - sec }))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	called := false
	if _, err := l.CallAt(math.MaxInt64, func() { called = true }); err != nil {
		t.Fatal(err)
	}
	if _, err := l.RunOnce(-1); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]time.Duration{math.MaxInt64}, sel.Timeouts()); diff != "" || called {
		t.Errorf("called: %v; timeouts (-want +got):\n%s", called, diff)
	}
}

// TestTimerRunOnce checks that RunOnce calls a timer once and never early. It
// follows libuv's timer_run_once and run_nowait.
func TestTimerRunOnce(t *testing.T) {
	l := newTestLoop(t)
	a := l.callLater(2*sec, l.logCall("a"))
	l.checkBool("Alive", l.Alive(), true)
	for _, turn := range []struct {
		timeout time.Duration
		ran     int           // callbacks
		endTime time.Duration // the clock after the turn
	}{
		{0, 0, 0}, // no timer is due
		{sec, 0, sec},
		{sec - 1, 0, 2*sec - 1}, // a nanosecond before the deadline
		{sec, 1, 2 * sec},
		{0, 0, 2 * sec}, // the timer is not called again
		{sec, 0, 3 * sec},
	} {
		if ran := l.runOnce(turn.timeout); ran != turn.ran || l.Clock.Now() != turn.endTime {
			t.Fatalf("RunOnce(%v) ran %d callbacks and ended at %v, want %d and %v", turn.timeout, ran, l.Clock.Now(), turn.ran, turn.endTime)
		}
	}
	l.want(logEntry{2 * sec, "a"})
	l.checkBool("Alive", l.Alive(), false)
	if a.When() != 2*sec {
		t.Errorf("When after the call is %v, want %v", a.When(), 2*sec)
	}
	got, want := l.Stats(), eventloop.Stats{Callbacks: 1, Timers: 1}
	got.Turns = 0 // not compared
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("Stats (-want +got):\n%s", diff)
	}
}
