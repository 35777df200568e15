package eventloop_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/looptest"
	"goselectors/selectors"

	gocmp "github.com/google/go-cmp/cmp"
)

// A testLoop is a loop on a virtual clock with a log of its callbacks. Tests on it
// do not sleep, and their times are exact.
type testLoop struct {
	*eventloop.Loop
	*looptest.Clock
	sel *looptest.Selector
	t   testing.TB
	log []logEntry
}

// A logEntry is one call of a callback.
type logEntry struct {
	At   time.Duration // the loop's time
	Name string
}

// newTestLoop returns a testLoop whose clock is at zero. It is closed when the
// test ends.
func newTestLoop(t testing.TB, opts ...eventloop.Option) *testLoop {
	t.Helper()
	l, clock, sel := looptest.New(opts...)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testLoop{l, clock, sel, t, nil}
}

// Now returns the loop's time.
func (l *testLoop) Now() time.Duration { return l.Loop.Now() }

// logCall returns a callback that adds an entry to the log.
func (l *testLoop) logCall(name string) func() {
	return func() { l.log = append(l.log, logEntry{l.Now(), name}) }
}

// must returns t, and ends the test if err is not nil.
func (l *testLoop) must(t *eventloop.Timer, err error) *eventloop.Timer {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	return t
}

func (l *testLoop) callLater(d time.Duration, fn func()) *eventloop.Timer {
	l.t.Helper()
	return l.must(l.CallLater(d, fn))
}

func (l *testLoop) callAt(when time.Duration, fn func()) *eventloop.Timer {
	l.t.Helper()
	return l.must(l.CallAt(when, fn))
}

func (l *testLoop) callEvery(interval time.Duration, fn func()) *eventloop.Timer {
	l.t.Helper()
	return l.must(l.Every(interval, fn))
}

// runOnce runs one turn and returns how many callbacks ran.
func (l *testLoop) runOnce(timeout time.Duration) int {
	l.t.Helper()
	n, err := l.RunOnce(timeout)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// want compares the log with the expected entries.
func (l *testLoop) want(want ...logEntry) {
	l.t.Helper()
	if diff := gocmp.Diff(want, l.log); diff != "" {
		l.t.Fatalf("calls (-want +got):\n%s", diff)
	}
}

// checkBool reports an error if the result of a call is not the expected one.
func (l *testLoop) checkBool(call string, got, want bool) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s is %v, want %v", call, got, want)
	}
}

// Short names for the units, which the tables use.
const (
	msec = time.Millisecond
	sec  = time.Second
)

// TestTimers checks which timers are called, and when. The loop's time is one
// second at the start, and the test ends after one hour.
func TestTimers(t *testing.T) {
	for _, test := range []struct {
		name  string
		setup func(l *testLoop)
		want  []logEntry
	}{
		{"ordered by deadline", func(l *testLoop) {
			l.callLater(3*sec, l.logCall("c"))
			l.callLater(1*sec, l.logCall("a"))
			l.callAt(5*sec, l.logCall("d"))
			l.callLater(2*sec, l.logCall("b"))
		}, []logEntry{{2 * sec, "a"}, {3 * sec, "b"}, {4 * sec, "c"}, {5 * sec, "d"}}},
		{"equal deadlines in order of scheduling", func(l *testLoop) {
			l.callAt(3*sec, l.logCall("a"))
			l.callLater(2*sec, l.logCall("b"))
			every := l.callEvery(2*sec, l.logCall("c"))
			f := l.callLater(1*sec, l.logCall("f"))
			l.callLater(2*sec, l.logCall("d"))
			l.callAt(3*sec, l.logCall("e"))
			f.Reset(2 * sec)
			l.callAt(3*sec, func() { every.Stop() })
			l.callAt(3*sec, l.logCall("g"))
		}, []logEntry{{3 * sec, "a"}, {3 * sec, "b"}, {3 * sec, "c"}, {3 * sec, "d"}, {3 * sec, "e"}, {3 * sec, "f"}, {3 * sec, "g"}}},
		{"reset to the same deadline moves behind equal ones", func(l *testLoop) {
			a := l.callLater(1*sec, l.logCall("a"))
			l.callLater(1*sec, l.logCall("b"))
			a.Reset(1 * sec)
		}, []logEntry{{2 * sec, "b"}, {2 * sec, "a"}}},
		{"negative delays in order", func(l *testLoop) {
			l.callLater(0, l.logCall("z"))
			l.callLater(-1, l.logCall("a"))
			l.callLater(-2, l.logCall("b"))
			l.callAt(-5, l.logCall("c"))
			l.callAt(math.MinInt64, l.logCall("e"))
			l.callLater(math.MinInt64, l.logCall("d"))
		}, []logEntry{{sec, "e"}, {sec, "d"}, {sec, "c"}, {sec, "b"}, {sec, "a"}, {sec, "z"}}},
		{"timers run after files and before posts", func(l *testLoop) {
			l.callLater(0, l.logCall("timer"))
			l.CallSoon(l.logCall("soon"))
			l.Post(l.logCall("post"))
			l.sel.Once(sec, "f", selectors.EventRead)
			l.Register("f", selectors.EventRead, func(any, selectors.Event) {
				l.logCall("file")()
				l.Unregister("f")
			})
		}, []logEntry{{sec, "soon"}, {sec, "file"}, {sec, "timer"}, {sec, "post"}}},
		{"additions by a timer wait for the next turn", func(l *testLoop) {
			l.callLater(0, func() {
				l.logCall("a")()
				l.callLater(-1, l.logCall("d"))
				l.callLater(0, l.logCall("e"))
				l.CallSoon(l.logCall("c"))
			})
			l.callLater(0, l.logCall("b"))
		}, []logEntry{{sec, "a"}, {sec, "b"}, {sec, "c"}, {sec, "d"}, {sec, "e"}}},

		{"stop", func(l *testLoop) {
			a := l.callLater(1*sec, l.logCall("a"))
			l.callLater(1*sec, l.logCall("b"))
			l.checkBool("Active before Stop", a.Active(), true)
			l.checkBool("Stop", a.Stop(), true)
			l.checkBool("Active after Stop", a.Active(), false)
			l.checkBool("second Stop", a.Stop(), false)
		}, []logEntry{{2 * sec, "b"}}},
		{"stop by a timer of the same turn", func(l *testLoop) {
			var a, b, x *eventloop.Timer
			a = l.callLater(1*sec, l.logCall("a"))
			l.callLater(1*sec, func() {
				l.logCall("stop")()
				l.checkBool("Stop of a timer that has run", a.Stop(), false)
				l.checkBool("Active of a due timer", b.Active(), true)
				l.checkBool("Stop of a due timer", b.Stop(), true)
				l.checkBool("Active of a stopped timer", b.Active(), false)
				l.checkBool("second Stop", b.Stop(), false)
				l.checkBool("Stop of a due repeating timer", x.Stop(), true)
			})
			b = l.callLater(1*sec, l.logCall("b"))
			x = l.callEvery(1*sec, l.logCall("x"))
			l.callLater(1*sec, l.logCall("c"))
		}, []logEntry{{2 * sec, "a"}, {2 * sec, "stop"}, {2 * sec, "c"}}},
		{"stop by a file of the same turn", func(l *testLoop) {
			a := l.callLater(1*sec, l.logCall("a"))
			l.sel.Once(2*sec, "f", selectors.EventRead)
			l.Register("f", selectors.EventRead, func(any, selectors.Event) {
				l.checkBool("Stop", a.Stop(), true)
				l.Unregister("f")
			})
		}, nil},
		{"reset by a timer of the same turn", func(l *testLoop) {
			var a, b *eventloop.Timer
			l.callLater(1*sec, func() {
				l.checkBool("Reset of a due timer", a.Reset(3*sec), true)
				l.checkBool("Reset of a due timer", b.Reset(0), true)
				l.checkBool("Active", a.Active(), true)
			})
			a = l.callLater(1*sec, l.logCall("a"))
			b = l.callLater(1*sec, l.logCall("b"))
			l.callLater(1*sec, l.logCall("c"))
		}, []logEntry{{2 * sec, "c"}, {2 * sec, "b"}, {5 * sec, "a"}}},
		{"stop and reset by a timer of the same turn", func(l *testLoop) {
			var a *eventloop.Timer
			l.callLater(1*sec, func() {
				a.Stop()
				l.checkBool("Reset of a stopped timer", a.Reset(1*sec), false)
				l.checkBool("Stop of a timer that was reset", a.Stop(), true)
				l.checkBool("Reset of a stopped timer", a.Reset(2*sec), false)
			})
			a = l.callLater(1*sec, l.logCall("a"))
		}, []logEntry{{4 * sec, "a"}}},
		{"stop in its own callback", func(l *testLoop) {
			var a, x *eventloop.Timer
			a = l.callLater(1*sec, func() {
				l.logCall("a")()
				l.checkBool("Active", a.Active(), false)
				l.checkBool("Stop", a.Stop(), false)
			})
			x = l.callEvery(1*sec, func() {
				l.logCall("x")()
				l.checkBool("Active", x.Active(), true)
				if l.Now() == 3*sec {
					l.checkBool("Stop", x.Stop(), true)
					l.checkBool("Active", x.Active(), false)
				}
			})
		}, []logEntry{{2 * sec, "a"}, {2 * sec, "x"}, {3 * sec, "x"}}},
		{"reset in its own callback", func(l *testLoop) {
			var a *eventloop.Timer
			n := 0
			a = l.callLater(1*sec, func() {
				l.logCall("a")()
				if n++; n < 3 {
					l.checkBool("Reset", a.Reset(time.Duration(n)*sec), false)
				}
			})
		}, []logEntry{{2 * sec, "a"}, {3 * sec, "a"}, {5 * sec, "a"}}},
		{"reset to earlier, to later, and after a stop", func(l *testLoop) {
			a, b := l.callLater(9*sec, l.logCall("a")), l.callLater(1*sec, l.logCall("b"))
			x := l.callLater(4*sec, l.logCall("c"))
			l.checkBool("Reset", a.Reset(2*sec), true)
			l.checkBool("Reset", b.Reset(3*sec), true)
			x.Stop()
			l.checkBool("Reset of a stopped timer", x.Reset(5*sec), false)
		}, []logEntry{{3 * sec, "a"}, {4 * sec, "b"}, {6 * sec, "c"}}},
		{"reset after the call", func(l *testLoop) {
			a := l.callLater(1*sec, l.logCall("a"))
			l.callLater(3*sec, func() { l.checkBool("Reset", a.Reset(-1), false) })
		}, []logEntry{{2 * sec, "a"}, {4 * sec, "a"}}},

		{"deadlines of Every are multiples of the interval", func(l *testLoop) {
			n := 0
			var x *eventloop.Timer
			x = l.callEvery(10*sec, func() {
				l.logCall("x")()
				l.Advance(time.Duration(n) * sec) // the callback takes up to 4 s
				if n++; n == 5 {
					x.Stop()
				}
			})
		}, []logEntry{{11 * sec, "x"}, {21 * sec, "x"}, {31 * sec, "x"}, {41 * sec, "x"}, {51 * sec, "x"}}},
		{"Every skips missed calls", func(l *testLoop) {
			n := 0
			var x *eventloop.Timer
			x = l.callEvery(10*sec, func() {
				l.logCall("x")()
				switch n++; n {
				case 1:
					l.Advance(35 * sec) // to 46 s: the calls at 21, 31 and 41 s are missed
				case 3:
					l.Advance(30 * sec) // to 81 s, exactly a deadline: this call is not missed
				case 5:
					x.Stop()
				}
			})
		}, []logEntry{{11 * sec, "x"}, {46 * sec, "x"}, {51 * sec, "x"}, {81 * sec, "x"}, {91 * sec, "x"}}},
		{"Every skips calls missed during another callback", func(l *testLoop) {
			x := l.callEvery(10*sec, l.logCall("x"))
			l.callAt(10*sec+sec/2, func() { l.Advance(1000*sec + sec/4) })
			l.callAt(1013*sec, func() { x.Stop() })
		}, []logEntry{{1010*sec + sec*3/4, "x"}, {1011 * sec, "x"}}},
		{"reset shifts the deadlines of Every", func(l *testLoop) {
			var x *eventloop.Timer
			x = l.callEvery(10*sec, func() {
				l.logCall("x")()
				if l.Now() == 36*sec {
					x.Stop()
				}
			})
			l.callAt(15*sec, func() { l.checkBool("Reset", x.Reset(1*sec), true) })
		}, []logEntry{{11 * sec, "x"}, {16 * sec, "x"}, {26 * sec, "x"}, {36 * sec, "x"}}},
		{"reset of Every in its own callback", func(l *testLoop) {
			var x *eventloop.Timer
			n := 0
			x = l.callEvery(10*sec, func() {
				l.logCall("x")()
				switch n++; n {
				case 2:
					l.checkBool("Reset", x.Reset(2*sec), true)
				case 4:
					x.Stop()
				}
			})
		}, []logEntry{{11 * sec, "x"}, {21 * sec, "x"}, {23 * sec, "x"}, {33 * sec, "x"}}},
		{"stop and reset of Every", func(l *testLoop) {
			x := l.callEvery(10*sec, l.logCall("x"))
			x.Stop()
			l.checkBool("Reset", x.Reset(5*sec), false)
			l.callAt(20*sec, func() { x.Stop() })
		}, []logEntry{{6 * sec, "x"}, {16 * sec, "x"}}},

		{"delays start at the clock, not at the time of the turn", func(l *testLoop) {
			var a, r *eventloop.Timer
			r = l.callLater(50*sec, l.logCall("r"))
			l.callLater(1*sec, func() {
				l.Advance(10 * sec) // to 12 s
				l.checkBool("Now is the time of the turn", l.Now() == 2*sec, true)
				a = l.callLater(3*sec, l.logCall("a"))
				r.Reset(4 * sec)
				x := l.callEvery(5*sec, l.logCall("x"))
				l.callAt(18*sec, func() { x.Stop() })
				l.checkBool("When is relative to the clock", a.When() == 15*sec && r.When() == 16*sec && x.When() == 17*sec, true)
			})
		}, []logEntry{{15 * sec, "a"}, {16 * sec, "r"}, {17 * sec, "x"}}},
		{"timers that become due in a turn wait for the next", func(l *testLoop) {
			l.callLater(2*sec, l.logCall("b"))
			l.callLater(1*sec, func() {
				l.Advance(2 * sec)
				l.CallSoon(l.logCall("soon"))
			})
			l.callLater(1*sec, l.logCall("a"))
		}, []logEntry{{2 * sec, "a"}, {4 * sec, "soon"}, {4 * sec, "b"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newTestLoop(t)
			l.Advance(sec)
			test.setup(l)
			for l.Alive() && l.Clock.Now() < time.Hour {
				l.runOnce(-1)
			}
			l.want(test.want...)
		})
	}
}

// TestTimerDeadlineFarInThePast checks deadlines whose lateness exceeds the range
// of a Duration.
func TestTimerDeadlineFarInThePast(t *testing.T) {
	l := newTestLoop(t)
	l.Advance(time.Hour)
	l.callEvery(time.Minute, l.logCall("x")).Reset(math.MinInt64)
	l.callAt(math.MinInt64, func() {})
	for range 3 {
		l.runOnce(-1)
	}
	if len(l.log) != 3 || l.log[0].At != time.Hour || l.log[1].At <= time.Hour || l.log[1].At > time.Hour+time.Minute || l.log[2].At != l.log[1].At+time.Minute {
		t.Errorf("calls: %v; want one at 1h, one at most a minute later, and one a minute after that", l.log)
	}
	if stats := l.Stats(); stats.LatestTimer != math.MaxInt64 || stats.LateTimers != 2 {
		t.Errorf("%d late timers, by at most %v; want 2, by at most %v", stats.LateTimers, stats.LatestTimer, time.Duration(math.MaxInt64))
	}
}

// TestTimersAtMaxDuration checks that deadlines are clamped to the largest
// Duration, and that such timers are called in order of scheduling.
func TestTimersAtMaxDuration(t *testing.T) {
	const maxTime = math.MaxInt64
	l := newTestLoop(t)
	l.Advance(sec)
	l.callLater(maxTime, l.logCall("later"))
	l.callAt(maxTime, l.logCall("at"))
	every := l.callEvery(maxTime, l.logCall("every"))
	l.callEvery(maxTime-sec, l.logCall("every")).Stop()
	l.callAt(maxTime-1, l.logCall("first"))
	l.callLater(1, l.logCall("reset")).Reset(maxTime)
	if every.When() != maxTime {
		t.Errorf("When of Every is %d, want %d", every.When(), time.Duration(maxTime))
	}
	l.runOnce(-1)
	l.runOnce(-1)
	every.Stop()
	l.want(logEntry{maxTime - 1, "first"}, logEntry{maxTime, "later"}, logEntry{maxTime, "at"}, logEntry{maxTime, "every"}, logEntry{maxTime, "reset"})
	l.checkBool("Alive", l.Alive(), false)
	if diff := gocmp.Diff([]time.Duration{maxTime - 1 - sec, 1}, l.sel.Timeouts()); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
}

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

// TestZeroTimersDoNotStarve checks that timers without delay that start themselves
// again do not starve other callbacks. Each turn calls each of them once.
func TestZeroTimersDoNotStarve(t *testing.T) {
	l := newTestLoop(t)
	const turns = 200
	counts := make(map[string]int)
	var zero, soon, post func()
	var resetTimer *eventloop.Timer
	zero = func() { counts["timer"]++; l.callLater(0, zero) }
	resetTimer = l.callLater(-1, func() { counts["reset"]++; resetTimer.Reset(-1) })
	soon = func() { counts["soon"]++; l.CallSoon(soon) }
	post = func() { counts["post"]++; l.Post(post) }
	l.callLater(0, zero)
	l.CallSoon(soon)
	l.Post(post)
	l.sel.At(0, "f", selectors.EventRead)
	if _, err := l.Register("f", selectors.EventRead, func(any, selectors.Event) { counts["file"]++ }); err != nil {
		t.Fatal(err)
	}
	for i := range turns {
		if ran := l.runOnce(-1); ran != 5 {
			t.Fatalf("turn %d ran %d callbacks, want 5", i, ran)
		}
	}
	want := map[string]int{"timer": turns, "reset": turns, "soon": turns, "post": turns, "file": turns}
	if diff := gocmp.Diff(want, counts); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if l.Clock.Now() != 0 {
		t.Errorf("the loop slept until %v, want no sleep", l.Clock.Now())
	}
}

// TestTimerErrors checks the errors of the methods that schedule timers, and what
// timers do after Close.
func TestTimerErrors(t *testing.T) {
	l := newTestLoop(t)
	fn := func() {}
	check := func(name string, timer *eventloop.Timer, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || timer != nil {
			t.Errorf("%s: %v, %v; want %v", name, timer, err, want)
		}
	}
	checkAll := func(fn func(), want error) {
		t.Helper()
		timer, err := l.CallLater(1, fn)
		check("CallLater", timer, err, want)
		timer, err = l.CallAt(1, fn)
		check("CallAt", timer, err, want)
		timer, err = l.Every(1, fn)
		check("Every", timer, err, want)
	}
	for _, interval := range []time.Duration{0, -1, math.MinInt64} {
		timer, err := l.Every(interval, fn)
		check(fmt.Sprintf("Every(%d)", interval), timer, err, eventloop.ErrInvalidInterval)
	}
	checkAll(nil, eventloop.ErrNilCallback)
	l.checkBool("Alive", l.Alive(), false)

	active, stopped := l.callLater(sec, l.logCall("a")), l.callLater(sec, l.logCall("b"))
	every := l.callEvery(sec, l.logCall("c"))
	stopped.Stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	checkAll(fn, eventloop.ErrClosed)
	checkAll(fn, os.ErrClosed)
	for name, timer := range map[string]*eventloop.Timer{"the active timer": active, "the stopped timer": stopped, "the repeating timer": every} {
		l.checkBool("Active after Close of "+name, timer.Active(), false)
		l.checkBool("Reset after Close of "+name, timer.Reset(1), false)
		l.checkBool("Active after Close and Reset of "+name, timer.Active(), false)
		l.checkBool("Stop after Close of "+name, timer.Stop(), false)
	}
	l.want()
}

// TestCloseInTimer checks that no other timer is called after a timer has closed
// the loop.
func TestCloseInTimer(t *testing.T) {
	l := newTestLoop(t)
	l.callLater(sec, l.logCall("a"))
	l.callLater(sec, func() {
		l.logCall("close")()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	due, every := l.callLater(sec, l.logCall("b")), l.callEvery(sec, l.logCall("c"))
	later := l.callLater(2*sec, l.logCall("d"))
	if err := l.Run(t.Context()); !errors.Is(err, eventloop.ErrClosed) {
		t.Errorf("Run returned %v, want ErrClosed", err)
	}
	l.want(logEntry{sec, "a"}, logEntry{sec, "close"})
	for _, timer := range []*eventloop.Timer{due, every, later} {
		l.checkBool("Active after Close", timer.Active(), false)
		l.checkBool("Stop after Close", timer.Stop(), false)
	}
}

// TestPanicInTimer checks that the turn after a panic runs the rest of the turn
// that the panic ended, and that the due timers keep their state.
func TestPanicInTimer(t *testing.T) {
	l := newTestLoop(t)
	l.callLater(sec, l.logCall("a"))
	panicking := l.callEvery(sec, func() {
		l.logCall("panic")()
		panic("boom")
	})
	stopped := l.callLater(sec, l.logCall("b"))
	l.callLater(sec, l.logCall("c"))
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v, want boom", v)
			}
		}()
		l.Run(t.Context())
	}()
	l.checkBool("Active of the timer that panicked", panicking.Active(), true)
	l.checkBool("Stop of a due timer", stopped.Stop(), true)
	l.checkBool("Stop of the timer that panicked", panicking.Stop(), true)
	l.Advance(sec)
	if ran := l.runOnce(-1); ran != 1 {
		t.Errorf("the rest of the turn ran %d callbacks, want 1", ran)
	}
	l.want(logEntry{sec, "a"}, logEntry{sec, "panic"}, logEntry{2 * sec, "c"})
}

// TestTimerStats checks which timers Stats counts as late.
func TestTimerStats(t *testing.T) {
	l := newTestLoop(t, eventloop.WithSlowCallback(time.Hour))
	for _, d := range []time.Duration{0, 1, sec} {
		l.callLater(d, func() {})
	}
	l.callAt(2*sec, func() { l.Advance(eventloop.LateAfter) })
	l.callAt(2*sec+1, func() { l.Advance(2 * sec) }) // LateAfter minus 1 ns after its deadline: not late
	l.callAt(2*sec+eventloop.LateAfter+1, func() {}) // 2 s minus 1 ns after its deadline: late
	for l.Alive() {
		l.runOnce(-1)
	}
	stats := l.Stats()
	if stats.Timers != 6 || stats.LateTimers != 1 || stats.LatestTimer != 2*sec-1 || stats.LongestCallback != 2*sec {
		t.Errorf("Stats: %+v; want 6 timers, 1 of them late by 1.999999999s, and a longest callback of 2s", stats)
	}
}

// TestMillionTimers schedules a million timers, stops some and resets some. It
// compares the order of the calls with that of a sorted slice.
func TestMillionTimers(t *testing.T) {
	count := 1_000_000
	if eventloop.Race || testing.Short() {
		count /= 20
	}
	l := newTestLoop(t)
	r := rand.New(rand.NewPCG(1, 2))
	type entry struct {
		when time.Duration
		seq  int // number of its last start; 0 if stopped
		id   int // index in timers
	}
	timers, model := make([]*eventloop.Timer, count), make([]entry, count)
	var called []int // ids in the order of the calls
	lastSeq := 0
	delay := func() time.Duration { return time.Duration(r.IntN(1000)) * msec } // 1000 different deadlines
	for i := range timers {
		d := delay()
		timers[i] = l.callLater(d, func() { called = append(called, i) })
		lastSeq++
		model[i] = entry{d, lastSeq, i}
	}
	for range count {
		switch i := r.IntN(count); r.IntN(4) {
		case 0:
			if timers[i].Stop() != (model[i].seq > 0) {
				t.Fatalf("Stop of timer %d returned %v", i, model[i].seq == 0)
			}
			model[i].seq = 0
		case 1:
			d := delay()
			if timers[i].Reset(d) != (model[i].seq > 0) {
				t.Fatalf("Reset of timer %d returned %v", i, model[i].seq == 0)
			}
			lastSeq++
			model[i] = entry{d, lastSeq, i}
		}
	}
	model = slices.DeleteFunc(model, func(e entry) bool { return e.seq == 0 })
	slices.SortFunc(model, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.when, b.when), cmp.Compare(a.seq, b.seq))
	})
	turns := 0
	for ; l.Alive(); turns++ {
		l.runOnce(-1)
	}
	if turns != 1000 {
		t.Errorf("%d turns, want 1000, one for each deadline", turns)
	}
	if len(called) != len(model) {
		t.Fatalf("%d timers were called, want %d", len(called), len(model))
	}
	for i, e := range model {
		if called[i] != e.id {
			t.Fatalf("call %d was of timer %d, want %d", i, called[i], e.id)
		}
	}
	for i, timer := range timers {
		if timer.Active() {
			t.Fatalf("timer %d is active after all calls", i)
		}
	}
}

// TestTimerAllocations checks that scheduling a timer allocates only the Timer, and
// that the other operations allocate nothing.
func TestTimerAllocations(t *testing.T) {
	l := newTestLoop(t)
	fn := func() {}
	for range 1000 { // timers that remain, and capacity for the timers that follow
		l.callAt(math.MaxInt64, fn)
		l.callLater(sec, fn)
	}
	l.runOnce(-1)
	timer := l.callLater(time.Hour, fn)
	every := l.callEvery(sec, fn)
	for _, test := range []struct {
		name string
		want float64
		op   func()
	}{
		{"schedule and stop", 1, func() { l.callLater(sec, fn).Stop() }},
		{"schedule and call", 1, func() { l.callLater(0, fn); l.runOnce(-1) }},
		{"reset", 0, func() { timer.Reset(2 * time.Hour) }},
		{"stop and reset", 0, func() { timer.Stop(); timer.Reset(time.Hour) }},
		{"reset and call", 0, func() { timer.Reset(0); l.runOnce(-1) }},
		{"every", 0, func() { l.runOnce(-1) }},
	} {
		timersBefore := l.Stats().Timers
		if got := testing.AllocsPerRun(200, test.op); got != test.want {
			t.Errorf("%s: %v allocations, want %v", test.name, got, test.want)
		}
		if test.name == "every" && l.Stats().Timers != timersBefore+201 {
			t.Errorf("Every was called %d times, want 201", l.Stats().Timers-timersBefore)
		}
	}
	every.Stop()
}

// TestTimersInRealTime runs timers by the real clock on each backend. No timer may
// be called early, or more than 10 seconds after its start, and the loop must not
// run many turns before a deadline (asyncio's test_timeout_rounding).
func TestTimersInRealTime(t *testing.T) {
	for _, backend := range selectors.Backends() {
		t.Run(backend.Name, func(t *testing.T) {
			sel, err := backend.New()
			if err != nil {
				t.Fatal(err)
			}
			l, err := eventloop.New(eventloop.WithSelector(sel))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			delays := []time.Duration{-sec, 0, 1, 10, 100, 1000, 10_000, 100_000, 999_999, msec, msec + 1, 3*msec + msec/2, 10 * msec, 20 * msec, 20 * msec}
			type call struct {
				delay, took time.Duration // took is by the real clock
				early       bool          // by the loop's time
			}
			var calls []call
			for _, d := range delays {
				started := time.Now()
				var timer *eventloop.Timer
				if timer, err = l.CallLater(d, func() {
					calls = append(calls, call{d, time.Since(started), l.Now() < timer.When()})
				}); err != nil {
					t.Fatal(err)
				}
			}
			started, ticks := time.Now(), 0
			every, err := l.Every(5*msec, func() {
				if ticks++; time.Since(started) < time.Duration(ticks)*5*msec {
					t.Errorf("tick %d is early: after %v, want at least %v", ticks, time.Since(started), time.Duration(ticks)*5*msec)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.CallLater(30*msec, l.Stop); err != nil {
				t.Fatal(err)
			}
			if err := l.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			every.Stop()
			if len(calls) != len(delays) {
				t.Fatalf("%d of %d timers were called", len(calls), len(delays))
			}
			for _, call := range calls {
				if call.took < call.delay || call.took > 10*sec || call.early {
					t.Errorf("a timer with a delay of %v was called after %v; early by the loop's time: %v", call.delay, call.took, call.early)
				}
			}
			if ticks == 0 {
				t.Error("Every was not called")
			}
			// About one turn for each deadline, and a few turns without callbacks.
			if turns := l.Stats().Turns; turns > 60 {
				t.Errorf("%d turns, want at most 60", turns)
			}
		})
	}
}
