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

// All tests here except the last use a virtual clock. They do not sleep, and
// their times are exact.

// A testLoop is a loop on a virtual clock with a log of its callbacks.
type testLoop struct {
	*eventloop.Loop
	*looptest.Clock
	sel *looptest.Selector
	t   testing.TB
	log []logEntry
}

type logEntry struct {
	At   time.Duration // by the loop's time
	What string
}

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
func (c *testLoop) Now() time.Duration { return c.Loop.Now() }

// logCall returns a callback that adds to the log.
func (c *testLoop) logCall(what string) func() {
	return func() { c.log = append(c.log, logEntry{c.Now(), what}) }
}

func (c *testLoop) must(t *eventloop.Timer, err error) *eventloop.Timer {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	return t
}

func (c *testLoop) callLater(d time.Duration, fn func()) *eventloop.Timer {
	c.t.Helper()
	return c.must(c.CallLater(d, fn))
}

func (c *testLoop) callAt(when time.Duration, fn func()) *eventloop.Timer {
	c.t.Helper()
	return c.must(c.CallAt(when, fn))
}

func (c *testLoop) callEvery(interval time.Duration, fn func()) *eventloop.Timer {
	c.t.Helper()
	return c.must(c.Every(interval, fn))
}

// runOnce runs one turn and returns how many callbacks ran.
func (c *testLoop) runOnce(timeout time.Duration) int {
	c.t.Helper()
	n, err := c.RunOnce(timeout)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *testLoop) want(want ...logEntry) {
	c.t.Helper()
	if diff := gocmp.Diff(want, c.log); diff != "" {
		c.t.Fatalf("(-want +got):\n%s", diff)
	}
}

func (c *testLoop) checkBool(what string, got, want bool) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s is %v, want %v", what, got, want)
	}
}

const (
	msec = time.Millisecond
	sec  = time.Second
)

// What is called when, in an hour, on a loop whose time is one second to begin
// with.
func TestTimers(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(c *testLoop)
		want []logEntry
	}{
		{"by deadline", func(c *testLoop) {
			c.callLater(3*sec, c.logCall("c"))
			c.callLater(1*sec, c.logCall("a"))
			c.callAt(5*sec, c.logCall("d"))
			c.callLater(2*sec, c.logCall("b"))
		}, []logEntry{{2 * sec, "a"}, {3 * sec, "b"}, {4 * sec, "c"}, {5 * sec, "d"}}},
		{"equal deadlines, first come first called", func(c *testLoop) {
			c.callAt(3*sec, c.logCall("a"))
			c.callLater(2*sec, c.logCall("b"))
			every := c.callEvery(2*sec, c.logCall("c"))
			f := c.callLater(1*sec, c.logCall("f"))
			c.callLater(2*sec, c.logCall("d"))
			c.callAt(3*sec, c.logCall("e"))
			f.Reset(2 * sec)
			c.callAt(3*sec, func() { every.Stop() })
			c.callAt(3*sec, c.logCall("g"))
		}, []logEntry{{3 * sec, "a"}, {3 * sec, "b"}, {3 * sec, "c"}, {3 * sec, "d"}, {3 * sec, "e"}, {3 * sec, "f"}, {3 * sec, "g"}}},
		{"reset to the same deadline goes to the end", func(c *testLoop) {
			a := c.callLater(1*sec, c.logCall("a"))
			c.callLater(1*sec, c.logCall("b"))
			a.Reset(1 * sec)
		}, []logEntry{{2 * sec, "b"}, {2 * sec, "a"}}},
		{"negative delays are in order", func(c *testLoop) {
			c.callLater(0, c.logCall("z"))
			c.callLater(-1, c.logCall("a"))
			c.callLater(-2, c.logCall("b"))
			c.callAt(-5, c.logCall("c"))
			c.callAt(math.MinInt64, c.logCall("e"))
			c.callLater(math.MinInt64, c.logCall("d"))
		}, []logEntry{{sec, "e"}, {sec, "d"}, {sec, "c"}, {sec, "b"}, {sec, "a"}, {sec, "z"}}},
		{"in one turn, soon and files come before them, posts after", func(c *testLoop) {
			c.callLater(0, c.logCall("timer"))
			c.CallSoon(c.logCall("soon"))
			c.Post(c.logCall("post"))
			c.sel.Once(sec, "f", selectors.EventRead)
			c.Register("f", selectors.EventRead, func(any, selectors.Event) {
				c.logCall("file")()
				c.Unregister("f")
			})
		}, []logEntry{{sec, "soon"}, {sec, "file"}, {sec, "timer"}, {sec, "post"}}},
		{"what a timer schedules waits for the next turn", func(c *testLoop) {
			c.callLater(0, func() {
				c.logCall("a")()
				c.callLater(-1, c.logCall("d"))
				c.callLater(0, c.logCall("e"))
				c.CallSoon(c.logCall("c"))
			})
			c.callLater(0, c.logCall("b"))
		}, []logEntry{{sec, "a"}, {sec, "b"}, {sec, "c"}, {sec, "d"}, {sec, "e"}}},

		{"stopped", func(c *testLoop) {
			a := c.callLater(1*sec, c.logCall("a"))
			c.callLater(1*sec, c.logCall("b"))
			c.checkBool("Active", a.Active(), true)
			c.checkBool("Stop", a.Stop(), true)
			c.checkBool("Active", a.Active(), false)
			c.checkBool("Stop again", a.Stop(), false)
		}, []logEntry{{2 * sec, "b"}}},
		{"stopped by another of the same turn", func(c *testLoop) {
			var a, b, x *eventloop.Timer
			a = c.callLater(1*sec, c.logCall("a"))
			c.callLater(1*sec, func() {
				c.logCall("stop")()
				c.checkBool("Stop of one that was called", a.Stop(), false)
				c.checkBool("Active of one that is due", b.Active(), true)
				c.checkBool("Stop of one that is due", b.Stop(), true)
				c.checkBool("Active then", b.Active(), false)
				c.checkBool("Stop again", b.Stop(), false)
				c.checkBool("Stop of one of Every", x.Stop(), true)
			})
			b = c.callLater(1*sec, c.logCall("b"))
			x = c.callEvery(1*sec, c.logCall("x"))
			c.callLater(1*sec, c.logCall("c"))
		}, []logEntry{{2 * sec, "a"}, {2 * sec, "stop"}, {2 * sec, "c"}}},
		{"stopped by a file of the same turn", func(c *testLoop) {
			a := c.callLater(1*sec, c.logCall("a"))
			c.sel.Once(2*sec, "f", selectors.EventRead)
			c.Register("f", selectors.EventRead, func(any, selectors.Event) {
				c.checkBool("Stop", a.Stop(), true)
				c.Unregister("f")
			})
		}, nil},
		{"reset by another of the same turn", func(c *testLoop) {
			var a, b *eventloop.Timer
			c.callLater(1*sec, func() {
				c.checkBool("Reset of one that is due", a.Reset(3*sec), true)
				c.checkBool("Reset of one that is due", b.Reset(0), true)
				c.checkBool("Active", a.Active(), true)
			})
			a = c.callLater(1*sec, c.logCall("a"))
			b = c.callLater(1*sec, c.logCall("b"))
			c.callLater(1*sec, c.logCall("c"))
		}, []logEntry{{2 * sec, "c"}, {2 * sec, "b"}, {5 * sec, "a"}}},
		{"stopped and reset by another of the same turn", func(c *testLoop) {
			var a *eventloop.Timer
			c.callLater(1*sec, func() {
				a.Stop()
				c.checkBool("Reset of one that was stopped", a.Reset(1*sec), false)
				c.checkBool("Stop of one that was reset", a.Stop(), true)
				c.checkBool("Reset of one that was stopped", a.Reset(2*sec), false)
			})
			a = c.callLater(1*sec, c.logCall("a"))
		}, []logEntry{{4 * sec, "a"}}},
		{"stop in its own callback", func(c *testLoop) {
			var a, x *eventloop.Timer
			a = c.callLater(1*sec, func() {
				c.logCall("a")()
				c.checkBool("Active", a.Active(), false)
				c.checkBool("Stop", a.Stop(), false)
			})
			x = c.callEvery(1*sec, func() {
				c.logCall("x")()
				c.checkBool("Active", x.Active(), true)
				if c.Now() == 3*sec {
					c.checkBool("Stop", x.Stop(), true)
					c.checkBool("Active", x.Active(), false)
				}
			})
		}, []logEntry{{2 * sec, "a"}, {2 * sec, "x"}, {3 * sec, "x"}}},
		{"reset in its own callback", func(c *testLoop) {
			var a *eventloop.Timer
			n := 0
			a = c.callLater(1*sec, func() {
				c.logCall("a")()
				if n++; n < 3 {
					c.checkBool("Reset", a.Reset(time.Duration(n)*sec), false)
				}
			})
		}, []logEntry{{2 * sec, "a"}, {3 * sec, "a"}, {5 * sec, "a"}}},
		{"reset brings one forward, puts it off, brings it back", func(c *testLoop) {
			a, b := c.callLater(9*sec, c.logCall("a")), c.callLater(1*sec, c.logCall("b"))
			x := c.callLater(4*sec, c.logCall("c"))
			c.checkBool("Reset", a.Reset(2*sec), true)
			c.checkBool("Reset", b.Reset(3*sec), true)
			x.Stop()
			c.checkBool("Reset of one that was stopped", x.Reset(5*sec), false)
		}, []logEntry{{3 * sec, "a"}, {4 * sec, "b"}, {6 * sec, "c"}}},
		{"reset after its call", func(c *testLoop) {
			a := c.callLater(1*sec, c.logCall("a"))
			c.callLater(3*sec, func() { c.checkBool("Reset", a.Reset(-1), false) })
		}, []logEntry{{2 * sec, "a"}, {4 * sec, "a"}}},

		{"every, on its grid", func(c *testLoop) {
			n := 0
			var x *eventloop.Timer
			x = c.callEvery(10*sec, func() {
				c.logCall("x")()
				c.Advance(time.Duration(n) * sec) // however long it takes
				if n++; n == 5 {
					x.Stop()
				}
			})
		}, []logEntry{{11 * sec, "x"}, {21 * sec, "x"}, {31 * sec, "x"}, {41 * sec, "x"}, {51 * sec, "x"}}},
		{"every skips what was missed", func(c *testLoop) {
			n := 0
			var x *eventloop.Timer
			x = c.callEvery(10*sec, func() {
				c.logCall("x")()
				switch n++; n {
				case 1:
					c.Advance(35 * sec) // to 46
				case 3:
					c.Advance(30 * sec) // exactly on the grid, which is in time
				case 5:
					x.Stop()
				}
			})
		}, []logEntry{{11 * sec, "x"}, {46 * sec, "x"}, {51 * sec, "x"}, {81 * sec, "x"}, {91 * sec, "x"}}},
		{"every, while another takes long", func(c *testLoop) {
			x := c.callEvery(10*sec, c.logCall("x"))
			c.callAt(10*sec+sec/2, func() { c.Advance(1000*sec + sec/4) })
			c.callAt(1013*sec, func() { x.Stop() })
		}, []logEntry{{1010*sec + sec*3/4, "x"}, {1011 * sec, "x"}}},
		{"every goes on from a reset", func(c *testLoop) {
			var x *eventloop.Timer
			x = c.callEvery(10*sec, func() {
				c.logCall("x")()
				if c.Now() == 36*sec {
					x.Stop()
				}
			})
			c.callAt(15*sec, func() { c.checkBool("Reset", x.Reset(1*sec), true) })
		}, []logEntry{{11 * sec, "x"}, {16 * sec, "x"}, {26 * sec, "x"}, {36 * sec, "x"}}},
		{"every, reset in its own callback", func(c *testLoop) {
			var x *eventloop.Timer
			n := 0
			x = c.callEvery(10*sec, func() {
				c.logCall("x")()
				switch n++; n {
				case 2:
					c.checkBool("Reset", x.Reset(2*sec), true)
				case 4:
					x.Stop()
				}
			})
		}, []logEntry{{11 * sec, "x"}, {21 * sec, "x"}, {23 * sec, "x"}, {33 * sec, "x"}}},
		{"every, stopped and reset", func(c *testLoop) {
			x := c.callEvery(10*sec, c.logCall("x"))
			x.Stop()
			c.checkBool("Reset", x.Reset(5*sec), false)
			c.callAt(20*sec, func() { x.Stop() })
		}, []logEntry{{6 * sec, "x"}, {16 * sec, "x"}}},

		{"by the clock as it is, not as it was when the turn started", func(c *testLoop) {
			var a, r *eventloop.Timer
			r = c.callLater(50*sec, c.logCall("r"))
			c.callLater(1*sec, func() {
				c.Advance(10 * sec) // to 12
				c.checkBool("Now stands still", c.Now() == 2*sec, true)
				a = c.callLater(3*sec, c.logCall("a"))
				r.Reset(4 * sec)
				x := c.callEvery(5*sec, c.logCall("x"))
				c.callAt(18*sec, func() { x.Stop() })
				c.checkBool("When is by the clock", a.When() == 15*sec && r.When() == 16*sec && x.When() == 17*sec, true)
			})
		}, []logEntry{{15 * sec, "a"}, {16 * sec, "r"}, {17 * sec, "x"}}},
		{"what gets due in a turn waits for the next", func(c *testLoop) {
			c.callLater(2*sec, c.logCall("b"))
			c.callLater(1*sec, func() {
				c.Advance(2 * sec)
				c.CallSoon(c.logCall("soon"))
			})
			c.callLater(1*sec, c.logCall("a"))
		}, []logEntry{{2 * sec, "a"}, {4 * sec, "soon"}, {4 * sec, "b"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newTestLoop(t)
			c.Advance(sec)
			test.do(c)
			for c.Alive() && c.Clock.Now() < time.Hour {
				c.runOnce(-1)
			}
			c.want(test.want...)
		})
	}
}

// Deadlines that are further in the past than the range of a Duration.
func TestTimerDeadlineFarInThePast(t *testing.T) {
	c := newTestLoop(t)
	c.Advance(time.Hour)
	c.callEvery(time.Minute, c.logCall("x")).Reset(math.MinInt64)
	c.callAt(math.MinInt64, func() {})
	for range 3 {
		c.runOnce(-1)
	}
	if len(c.log) != 3 || c.log[0].At != time.Hour || c.log[1].At <= time.Hour || c.log[1].At > time.Hour+time.Minute || c.log[2].At != c.log[1].At+time.Minute {
		t.Errorf("called at %v, want at 1h, at most a minute later and a minute after that", c.log)
	}
	if got := c.Stats(); got.LatestTimer != math.MaxInt64 || got.LateTimers != 2 {
		t.Errorf("%d were late, by %v at most; want 2, by the longest there is", got.LateTimers, got.LatestTimer)
	}
}

func TestTimersAtMaxDuration(t *testing.T) {
	const end = math.MaxInt64
	c := newTestLoop(t)
	c.Advance(sec)
	c.callLater(end, c.logCall("later"))
	c.callAt(end, c.logCall("at"))
	every := c.callEvery(end, c.logCall("every"))
	c.callEvery(end-sec, c.logCall("every")).Stop()
	c.callAt(end-1, c.logCall("before"))
	c.callLater(1, c.logCall("first")).Reset(end)
	if every.When() != end {
		t.Errorf("every is at %d", every.When())
	}
	c.runOnce(-1)
	c.runOnce(-1)
	every.Stop()
	c.want(logEntry{end - 1, "before"}, logEntry{end, "later"}, logEntry{end, "at"}, logEntry{end, "every"}, logEntry{end, "first"})
	c.checkBool("Alive", c.Alive(), false)
	if diff := gocmp.Diff([]time.Duration{end - 1 - sec, 1}, c.sel.Timeouts()); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
}

// The timeout of Select is the time until the next active timer.
func TestTimeoutIsTheNextTimers(t *testing.T) {
	for _, test := range []struct {
		name    string
		do      func(c *testLoop)
		timeout time.Duration // of RunOnce
		want    time.Duration
	}{
		{"nothing", func(c *testLoop) { c.Post(func() {}) }, -1, 0},
		{"nothing, for so long", func(c *testLoop) {}, 5 * sec, 5 * sec},
		{"one", func(c *testLoop) { c.callLater(10*sec, func() {}) }, -1, 10 * sec},
		{"a nanosecond", func(c *testLoop) { c.callLater(1, func() {}) }, -1, 1},
		{"the earliest", func(c *testLoop) {
			c.callLater(10*sec, func() {})
			c.callLater(8*sec, func() {})
			c.callLater(9*sec, func() {})
		}, -1, 8 * sec},
		{"the first has been stopped", func(c *testLoop) { // asyncio's test__run_once
			c.callLater(5*sec, func() {}).Stop()
			c.callLater(10*sec, func() {})
			c.Advance(sec / 2)
		}, -1, 9*sec + sec/2},
		{"all have been stopped", func(c *testLoop) {
			c.callLater(5*sec, func() {}).Stop()
			c.callEvery(5*sec, func() {}).Stop()
		}, 7 * sec, 7 * sec},
		{"the first has been put off", func(c *testLoop) {
			c.callLater(5*sec, func() {}).Reset(20 * sec)
			c.callLater(10*sec, func() {})
		}, -1, 10 * sec},
		{"every", func(c *testLoop) { c.callEvery(3*sec, func() {}) }, -1, 3 * sec},
		{"the caller's is shorter", func(c *testLoop) { c.callLater(10*sec, func() {}) }, 4 * sec, 4 * sec},
		{"the caller's is longer", func(c *testLoop) { c.callLater(4*sec, func() {}) }, 10 * sec, 4 * sec},
		{"the caller's is none", func(c *testLoop) { c.callLater(4*sec, func() {}) }, 0, 0},
		{"one that is due", func(c *testLoop) { c.callLater(0, func() {}) }, -1, 0},
		{"one that is overdue", func(c *testLoop) {
			c.callLater(5*sec, func() {})
			c.Advance(time.Minute)
		}, -1, 0},
		{"longer than there is", func(c *testLoop) { c.callAt(math.MaxInt64, func() {}) }, -1, math.MaxInt64 - 100*sec},
		{"ages ago", func(c *testLoop) { c.callAt(math.MinInt64, func() {}) }, -1, 0},
		{"something is to be called soon", func(c *testLoop) {
			c.callLater(4*sec, func() {})
			c.CallSoon(func() {})
		}, -1, 0},
		{"something was posted", func(c *testLoop) {
			c.callLater(4*sec, func() {})
			c.Post(func() {})
		}, -1, 0},
		{"the loop was stopped", func(c *testLoop) {
			c.callLater(4*sec, func() {})
			c.Stop()
		}, -1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newTestLoop(t)
			c.Advance(100 * sec)
			test.do(c)
			c.runOnce(test.timeout)
			if diff := gocmp.Diff([]time.Duration{test.want}, c.sel.Timeouts()); diff != "" {
				t.Errorf("timeouts (-want +got):\n%s", diff)
			}
		})
	}
}

// A clock that started below zero: the wait would overflow.
func TestTimeoutClamps(t *testing.T) {
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

// libuv's timer_run_once and run_nowait.
func TestTimersAndTurns(t *testing.T) {
	c := newTestLoop(t)
	a := c.callLater(2*sec, c.logCall("a"))
	c.checkBool("Alive", c.Alive(), true)
	for _, turn := range []struct {
		timeout time.Duration
		ran     int
		at      time.Duration
	}{
		{0, 0, 0}, // not due
		{sec, 0, sec},
		{sec - 1, 0, 2*sec - 1}, // never early
		{sec, 1, 2 * sec},
		{0, 0, 2 * sec}, // nor twice
		{sec, 0, 3 * sec},
	} {
		if ran := c.runOnce(turn.timeout); ran != turn.ran || c.Clock.Now() != turn.at {
			t.Fatalf("a turn of %v calls %d until %v, want %d until %v", turn.timeout, ran, c.Clock.Now(), turn.ran, turn.at)
		}
	}
	c.want(logEntry{2 * sec, "a"})
	c.checkBool("Alive", c.Alive(), false)
	if a.When() != 2*sec {
		t.Errorf("it was called at %v, says When", a.When())
	}
	got, want := c.Stats(), eventloop.Stats{Turns: 6, Callbacks: 1, Timers: 1}
	got.Turns = want.Turns
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Timers of no delay that start themselves anew leave room for all else, and
// each turn calls each of them once.
func TestZeroTimersStarveNothing(t *testing.T) {
	c := newTestLoop(t)
	const turns = 200
	counts := make(map[string]int)
	var zero, soon, post func()
	var own *eventloop.Timer
	zero = func() { counts["timer"]++; c.callLater(0, zero) }
	own = c.callLater(-1, func() { counts["reset"]++; own.Reset(-1) })
	soon = func() { counts["soon"]++; c.CallSoon(soon) }
	post = func() { counts["post"]++; c.Post(post) }
	c.callLater(0, zero)
	c.CallSoon(soon)
	c.Post(post)
	c.sel.At(0, "f", selectors.EventRead)
	if _, err := c.Register("f", selectors.EventRead, func(any, selectors.Event) { counts["file"]++ }); err != nil {
		t.Fatal(err)
	}
	for i := range turns {
		if ran := c.runOnce(-1); ran != 5 {
			t.Fatalf("turn %d called %d", i, ran)
		}
	}
	want := map[string]int{"timer": turns, "reset": turns, "soon": turns, "post": turns, "file": turns}
	if diff := gocmp.Diff(want, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Clock.Now() != 0 {
		t.Errorf("the loop slept until %v", c.Clock.Now())
	}
}

func TestTimerErrors(t *testing.T) {
	c := newTestLoop(t)
	fn := func() {}
	check := func(name string, timer *eventloop.Timer, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || timer != nil {
			t.Errorf("%s: %v, %v; want %v", name, timer, err, want)
		}
	}
	all := func(fn func(), want error) {
		t.Helper()
		timer, err := c.CallLater(1, fn)
		check("CallLater", timer, err, want)
		timer, err = c.CallAt(1, fn)
		check("CallAt", timer, err, want)
		timer, err = c.Every(1, fn)
		check("Every", timer, err, want)
	}
	for _, interval := range []time.Duration{0, -1, math.MinInt64} {
		timer, err := c.Every(interval, fn)
		check(fmt.Sprintf("Every(%d)", interval), timer, err, eventloop.ErrInvalidInterval)
	}
	all(nil, eventloop.ErrNilCallback)
	c.checkBool("Alive", c.Alive(), false)

	running, stopped := c.callLater(sec, c.logCall("a")), c.callLater(sec, c.logCall("b"))
	every := c.callEvery(sec, c.logCall("c"))
	stopped.Stop()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	all(fn, eventloop.ErrClosed)
	all(fn, os.ErrClosed)
	for name, timer := range map[string]*eventloop.Timer{"one that ran": running, "one that was stopped": stopped, "one of Every": every} {
		c.checkBool("at Close, Active of "+name, timer.Active(), false)
		c.checkBool("Reset of "+name, timer.Reset(1), false)
		c.checkBool("Active of "+name, timer.Active(), false)
		c.checkBool("Stop of "+name, timer.Stop(), false)
	}
	c.want()
}

// Close by a timer: none of the others is called.
func TestCloseInATimer(t *testing.T) {
	c := newTestLoop(t)
	c.callLater(sec, c.logCall("a"))
	c.callLater(sec, func() {
		c.logCall("close")()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	due, every := c.callLater(sec, c.logCall("b")), c.callEvery(sec, c.logCall("c"))
	running := c.callLater(2*sec, c.logCall("d"))
	if err := c.Run(t.Context()); !errors.Is(err, eventloop.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	c.want(logEntry{sec, "a"}, logEntry{sec, "close"})
	for _, timer := range []*eventloop.Timer{due, every, running} {
		c.checkBool("Active", timer.Active(), false)
		c.checkBool("Stop", timer.Stop(), false)
	}
}

// A panic ends the turn, which the next one goes on with; timers that were due
// then are what they were.
func TestPanicInATimer(t *testing.T) {
	c := newTestLoop(t)
	c.callLater(sec, c.logCall("a"))
	bad := c.callEvery(sec, func() {
		c.logCall("panic")()
		panic("boom")
	})
	stopped := c.callLater(sec, c.logCall("b"))
	c.callLater(sec, c.logCall("c"))
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v", v)
			}
		}()
		c.Run(t.Context())
	}()
	c.checkBool("Active", bad.Active(), true)
	c.checkBool("Stop of one that was due", stopped.Stop(), true)
	c.checkBool("Stop of the one that panicked", bad.Stop(), true)
	c.Advance(sec)
	if ran := c.runOnce(-1); ran != 1 {
		t.Errorf("the rest of the turn called %d", ran)
	}
	c.want(logEntry{sec, "a"}, logEntry{sec, "panic"}, logEntry{2 * sec, "c"})
}

func TestTimerStats(t *testing.T) {
	c := newTestLoop(t, eventloop.WithSlowCallback(time.Hour))
	for _, d := range []time.Duration{0, 1, sec} {
		c.callLater(d, func() {})
	}
	c.callAt(2*sec, func() { c.Advance(eventloop.LateAfter) })
	c.callAt(2*sec+1, func() { c.Advance(2 * sec) }) // late, but for a nanosecond
	c.callAt(2*sec+eventloop.LateAfter+1, func() {}) // late by almost 2 s
	for c.Alive() {
		c.runOnce(-1)
	}
	got := c.Stats()
	if got.Timers != 6 || got.LateTimers != 1 || got.LatestTimer != 2*sec-1 || got.LongestCallback != 2*sec {
		t.Errorf("%+v", got)
	}
}

// A million timers, some stopped and some reset, beside what a sort says.
func TestAMillionTimers(t *testing.T) {
	many := 1_000_000
	if eventloop.Race || testing.Short() {
		many /= 20
	}
	c := newTestLoop(t)
	r := rand.New(rand.NewPCG(1, 2))
	type entry struct {
		when  time.Duration
		order int
		id    int
	}
	timers, model := make([]*eventloop.Timer, many), make([]entry, many)
	var got []int
	order := 0
	delay := func() time.Duration { return time.Duration(r.IntN(1000)) * msec } // a thousand of each
	for i := range timers {
		d := delay()
		timers[i] = c.callLater(d, func() { got = append(got, i) })
		order++
		model[i] = entry{d, order, i}
	}
	for range many {
		switch i := r.IntN(many); r.IntN(4) {
		case 0:
			if timers[i].Stop() != (model[i].order > 0) {
				t.Fatalf("Stop of %d", i)
			}
			model[i].order = 0
		case 1:
			d := delay()
			if timers[i].Reset(d) != (model[i].order > 0) {
				t.Fatalf("Reset of %d", i)
			}
			order++
			model[i] = entry{d, order, i}
		}
	}
	model = slices.DeleteFunc(model, func(e entry) bool { return e.order == 0 })
	slices.SortFunc(model, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.when, b.when), cmp.Compare(a.order, b.order))
	})
	turns := 0
	for ; c.Alive(); turns++ {
		c.runOnce(-1)
	}
	if turns != 1000 {
		t.Errorf("%d turns, want one a deadline, 1000", turns)
	}
	if len(got) != len(model) {
		t.Fatalf("%d were called, want %d", len(got), len(model))
	}
	for i, e := range model {
		if got[i] != e.id {
			t.Fatalf("number %d was timer %d, want %d", i, got[i], e.id)
		}
	}
	for i, timer := range timers {
		if timer.Active() {
			t.Fatalf("timer %d is active", i)
		}
	}
}

// Beyond the timer itself nothing is allocated.
func TestTimersAllocate(t *testing.T) {
	c := newTestLoop(t)
	fn := func() {}
	for range 1000 { // standing ones, and room for what follows
		c.callAt(math.MaxInt64, fn)
		c.callLater(sec, fn)
	}
	c.runOnce(-1)
	timer := c.callLater(time.Hour, fn)
	every := c.callEvery(sec, fn)
	for _, test := range []struct {
		name string
		want float64
		do   func()
	}{
		{"schedule and stop", 1, func() { c.callLater(sec, fn).Stop() }},
		{"schedule and call", 1, func() { c.callLater(0, fn); c.runOnce(-1) }},
		{"reset", 0, func() { timer.Reset(2 * time.Hour) }},
		{"stop and reset", 0, func() { timer.Stop(); timer.Reset(time.Hour) }},
		{"reset and call", 0, func() { timer.Reset(0); c.runOnce(-1) }},
		{"every", 0, func() { c.runOnce(-1) }},
	} {
		before := c.Stats().Timers
		if got := testing.AllocsPerRun(200, test.do); got != test.want {
			t.Errorf("%s: %v allocations, want %v", test.name, got, test.want)
		}
		if test.name == "every" && c.Stats().Timers != before+201 {
			t.Errorf("every was called %d times", c.Stats().Timers-before)
		}
	}
	every.Stop()
}

// In real time, on each backend: never early, and late within reason; and the
// loop does not spin towards a deadline (asyncio's test_timeout_rounding).
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
				delay, took time.Duration // really
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
					t.Errorf("tick %d after %v", ticks, time.Since(started))
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
			for _, c := range calls {
				if c.took < c.delay || c.took > 10*sec || c.early {
					t.Errorf("one of %v was called after %v; early by the loop's time: %v", c.delay, c.took, c.early)
				}
			}
			if ticks == 0 {
				t.Error("Every was not called")
			}
			// At most one turn a deadline, and an idle one now and then.
			if turns := l.Stats().Turns; turns > 60 {
				t.Errorf("%d turns", turns)
			}
		})
	}
}
