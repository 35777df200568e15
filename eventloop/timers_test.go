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

// The tests here are on a virtual clock, but for the last: none of them sleeps,
// and what they say of time is exact.

// A clocked is a loop on a virtual clock, with what has happened on it.
type clocked struct {
	*eventloop.Loop
	*looptest.Clock
	sel *looptest.Selector
	t   testing.TB
	log []logged
}

type logged struct {
	At   time.Duration // by the loop's time
	What string
}

func virtual(t testing.TB, opts ...eventloop.Option) *clocked {
	t.Helper()
	l, clock, sel := looptest.New(opts...)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &clocked{l, clock, sel, t, nil}
}

// Now is the loop's.
func (c *clocked) Now() time.Duration { return c.Loop.Now() }

// say makes a callback that logs.
func (c *clocked) say(what string) func() {
	return func() { c.log = append(c.log, logged{c.Now(), what}) }
}

func (c *clocked) timer(t *eventloop.Timer, err error) *eventloop.Timer {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	return t
}

func (c *clocked) later(d time.Duration, fn func()) *eventloop.Timer {
	c.t.Helper()
	return c.timer(c.CallLater(d, fn))
}

func (c *clocked) at(when time.Duration, fn func()) *eventloop.Timer {
	c.t.Helper()
	return c.timer(c.CallAt(when, fn))
}

func (c *clocked) every(interval time.Duration, fn func()) *eventloop.Timer {
	c.t.Helper()
	return c.timer(c.Every(interval, fn))
}

// once runs one turn.
func (c *clocked) once(timeout time.Duration) int {
	c.t.Helper()
	n, err := c.RunOnce(timeout)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *clocked) want(want ...logged) {
	c.t.Helper()
	if diff := gocmp.Diff(want, c.log); diff != "" {
		c.t.Fatalf("(-want +got):\n%s", diff)
	}
}

func (c *clocked) is(what string, got, want bool) {
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
		do   func(c *clocked)
		want []logged
	}{
		{"by deadline", func(c *clocked) {
			c.later(3*sec, c.say("c"))
			c.later(1*sec, c.say("a"))
			c.at(5*sec, c.say("d"))
			c.later(2*sec, c.say("b"))
		}, []logged{{2 * sec, "a"}, {3 * sec, "b"}, {4 * sec, "c"}, {5 * sec, "d"}}},
		{"equal deadlines, first come first called", func(c *clocked) {
			c.at(3*sec, c.say("a"))
			c.later(2*sec, c.say("b"))
			every := c.every(2*sec, c.say("c"))
			f := c.later(1*sec, c.say("f"))
			c.later(2*sec, c.say("d"))
			c.at(3*sec, c.say("e"))
			f.Reset(2 * sec)
			c.at(3*sec, func() { every.Stop() })
			c.at(3*sec, c.say("g"))
		}, []logged{{3 * sec, "a"}, {3 * sec, "b"}, {3 * sec, "c"}, {3 * sec, "d"}, {3 * sec, "e"}, {3 * sec, "f"}, {3 * sec, "g"}}},
		{"reset to the same deadline goes to the end", func(c *clocked) {
			a := c.later(1*sec, c.say("a"))
			c.later(1*sec, c.say("b"))
			a.Reset(1 * sec)
		}, []logged{{2 * sec, "b"}, {2 * sec, "a"}}},
		{"negative delays are in order", func(c *clocked) {
			c.later(0, c.say("z"))
			c.later(-1, c.say("a"))
			c.later(-2, c.say("b"))
			c.at(-5, c.say("c"))
			c.at(math.MinInt64, c.say("e"))
			c.later(math.MinInt64, c.say("d"))
		}, []logged{{sec, "e"}, {sec, "d"}, {sec, "c"}, {sec, "b"}, {sec, "a"}, {sec, "z"}}},
		{"in one turn, soon and files come before them, posts after", func(c *clocked) {
			c.later(0, c.say("timer"))
			c.CallSoon(c.say("soon"))
			c.Post(c.say("post"))
			c.sel.Once(sec, "f", selectors.EventRead)
			c.Register("f", selectors.EventRead, func(any, selectors.Event) {
				c.say("file")()
				c.Unregister("f")
			})
		}, []logged{{sec, "soon"}, {sec, "file"}, {sec, "timer"}, {sec, "post"}}},
		{"what a timer schedules waits for the next turn", func(c *clocked) {
			c.later(0, func() {
				c.say("a")()
				c.later(-1, c.say("d"))
				c.later(0, c.say("e"))
				c.CallSoon(c.say("c"))
			})
			c.later(0, c.say("b"))
		}, []logged{{sec, "a"}, {sec, "b"}, {sec, "c"}, {sec, "d"}, {sec, "e"}}},

		{"stopped", func(c *clocked) {
			a := c.later(1*sec, c.say("a"))
			c.later(1*sec, c.say("b"))
			c.is("Active", a.Active(), true)
			c.is("Stop", a.Stop(), true)
			c.is("Active", a.Active(), false)
			c.is("Stop again", a.Stop(), false)
		}, []logged{{2 * sec, "b"}}},
		{"stopped by another of the same turn", func(c *clocked) {
			var a, b, x *eventloop.Timer
			a = c.later(1*sec, c.say("a"))
			c.later(1*sec, func() {
				c.say("stop")()
				c.is("Stop of one that was called", a.Stop(), false)
				c.is("Active of one that is due", b.Active(), true)
				c.is("Stop of one that is due", b.Stop(), true)
				c.is("Active then", b.Active(), false)
				c.is("Stop again", b.Stop(), false)
				c.is("Stop of one of Every", x.Stop(), true)
			})
			b = c.later(1*sec, c.say("b"))
			x = c.every(1*sec, c.say("x"))
			c.later(1*sec, c.say("c"))
		}, []logged{{2 * sec, "a"}, {2 * sec, "stop"}, {2 * sec, "c"}}},
		{"stopped by a file of the same turn", func(c *clocked) {
			a := c.later(1*sec, c.say("a"))
			c.sel.Once(2*sec, "f", selectors.EventRead)
			c.Register("f", selectors.EventRead, func(any, selectors.Event) {
				c.is("Stop", a.Stop(), true)
				c.Unregister("f")
			})
		}, nil},
		{"reset by another of the same turn", func(c *clocked) {
			var a, b *eventloop.Timer
			c.later(1*sec, func() {
				c.is("Reset of one that is due", a.Reset(3*sec), true)
				c.is("Reset of one that is due", b.Reset(0), true)
				c.is("Active", a.Active(), true)
			})
			a = c.later(1*sec, c.say("a"))
			b = c.later(1*sec, c.say("b"))
			c.later(1*sec, c.say("c"))
		}, []logged{{2 * sec, "c"}, {2 * sec, "b"}, {5 * sec, "a"}}},
		{"stopped and reset by another of the same turn", func(c *clocked) {
			var a *eventloop.Timer
			c.later(1*sec, func() {
				a.Stop()
				c.is("Reset of one that was stopped", a.Reset(1*sec), false)
				c.is("Stop of one that was reset", a.Stop(), true)
				c.is("Reset of one that was stopped", a.Reset(2*sec), false)
			})
			a = c.later(1*sec, c.say("a"))
		}, []logged{{4 * sec, "a"}}},
		{"stop in its own callback", func(c *clocked) {
			var a, x *eventloop.Timer
			a = c.later(1*sec, func() {
				c.say("a")()
				c.is("Active", a.Active(), false)
				c.is("Stop", a.Stop(), false)
			})
			x = c.every(1*sec, func() {
				c.say("x")()
				c.is("Active", x.Active(), true)
				if c.Now() == 3*sec {
					c.is("Stop", x.Stop(), true)
					c.is("Active", x.Active(), false)
				}
			})
		}, []logged{{2 * sec, "a"}, {2 * sec, "x"}, {3 * sec, "x"}}},
		{"reset in its own callback", func(c *clocked) {
			var a *eventloop.Timer
			n := 0
			a = c.later(1*sec, func() {
				c.say("a")()
				if n++; n < 3 {
					c.is("Reset", a.Reset(time.Duration(n)*sec), false)
				}
			})
		}, []logged{{2 * sec, "a"}, {3 * sec, "a"}, {5 * sec, "a"}}},
		{"reset brings one forward, puts it off, brings it back", func(c *clocked) {
			a, b := c.later(9*sec, c.say("a")), c.later(1*sec, c.say("b"))
			x := c.later(4*sec, c.say("c"))
			c.is("Reset", a.Reset(2*sec), true)
			c.is("Reset", b.Reset(3*sec), true)
			x.Stop()
			c.is("Reset of one that was stopped", x.Reset(5*sec), false)
		}, []logged{{3 * sec, "a"}, {4 * sec, "b"}, {6 * sec, "c"}}},
		{"reset after its call", func(c *clocked) {
			a := c.later(1*sec, c.say("a"))
			c.later(3*sec, func() { c.is("Reset", a.Reset(-1), false) })
		}, []logged{{2 * sec, "a"}, {4 * sec, "a"}}},

		{"every, on its grid", func(c *clocked) {
			n := 0
			var x *eventloop.Timer
			x = c.every(10*sec, func() {
				c.say("x")()
				c.Advance(time.Duration(n) * sec) // however long it takes
				if n++; n == 5 {
					x.Stop()
				}
			})
		}, []logged{{11 * sec, "x"}, {21 * sec, "x"}, {31 * sec, "x"}, {41 * sec, "x"}, {51 * sec, "x"}}},
		{"every skips what was missed", func(c *clocked) {
			n := 0
			var x *eventloop.Timer
			x = c.every(10*sec, func() {
				c.say("x")()
				switch n++; n {
				case 1:
					c.Advance(35 * sec) // to 46
				case 3:
					c.Advance(30 * sec) // exactly on the grid, which is in time
				case 5:
					x.Stop()
				}
			})
		}, []logged{{11 * sec, "x"}, {46 * sec, "x"}, {51 * sec, "x"}, {81 * sec, "x"}, {91 * sec, "x"}}},
		{"every, while another takes long", func(c *clocked) {
			x := c.every(10*sec, c.say("x"))
			c.at(10*sec+sec/2, func() { c.Advance(1000*sec + sec/4) })
			c.at(1013*sec, func() { x.Stop() })
		}, []logged{{1010*sec + sec*3/4, "x"}, {1011 * sec, "x"}}},
		{"every goes on from a reset", func(c *clocked) {
			var x *eventloop.Timer
			x = c.every(10*sec, func() {
				c.say("x")()
				if c.Now() == 36*sec {
					x.Stop()
				}
			})
			c.at(15*sec, func() { c.is("Reset", x.Reset(1*sec), true) })
		}, []logged{{11 * sec, "x"}, {16 * sec, "x"}, {26 * sec, "x"}, {36 * sec, "x"}}},
		{"every, reset in its own callback", func(c *clocked) {
			var x *eventloop.Timer
			n := 0
			x = c.every(10*sec, func() {
				c.say("x")()
				switch n++; n {
				case 2:
					c.is("Reset", x.Reset(2*sec), true)
				case 4:
					x.Stop()
				}
			})
		}, []logged{{11 * sec, "x"}, {21 * sec, "x"}, {23 * sec, "x"}, {33 * sec, "x"}}},
		{"every, stopped and reset", func(c *clocked) {
			x := c.every(10*sec, c.say("x"))
			x.Stop()
			c.is("Reset", x.Reset(5*sec), false)
			c.at(20*sec, func() { x.Stop() })
		}, []logged{{6 * sec, "x"}, {16 * sec, "x"}}},

		{"by the clock as it is, not as it was when the turn began", func(c *clocked) {
			var a, r *eventloop.Timer
			r = c.later(50*sec, c.say("r"))
			c.later(1*sec, func() {
				c.Advance(10 * sec) // to 12
				c.is("Now stands still", c.Now() == 2*sec, true)
				a = c.later(3*sec, c.say("a"))
				r.Reset(4 * sec)
				x := c.every(5*sec, c.say("x"))
				c.at(18*sec, func() { x.Stop() })
				c.is("When is by the clock", a.When() == 15*sec && r.When() == 16*sec && x.When() == 17*sec, true)
			})
		}, []logged{{15 * sec, "a"}, {16 * sec, "r"}, {17 * sec, "x"}}},
		{"what gets due in a turn waits for the next", func(c *clocked) {
			c.later(2*sec, c.say("b"))
			c.later(1*sec, func() {
				c.Advance(2 * sec)
				c.CallSoon(c.say("soon"))
			})
			c.later(1*sec, c.say("a"))
		}, []logged{{2 * sec, "a"}, {4 * sec, "soon"}, {4 * sec, "b"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := virtual(t)
			c.Advance(sec)
			test.do(c)
			for c.Alive() && c.Clock.Now() < time.Hour {
				c.once(-1)
			}
			c.want(test.want...)
		})
	}
}

// Deadlines further in the past than a Duration can tell.
func TestTimerFarBehind(t *testing.T) {
	c := virtual(t)
	c.Advance(time.Hour)
	c.every(time.Minute, c.say("x")).Reset(math.MinInt64)
	c.at(math.MinInt64, func() {})
	for range 3 {
		c.once(-1)
	}
	if len(c.log) != 3 || c.log[0].At != time.Hour || c.log[1].At <= time.Hour || c.log[1].At > time.Hour+time.Minute || c.log[2].At != c.log[1].At+time.Minute {
		t.Errorf("called at %v, want at 1h, at most a minute later and a minute after that", c.log)
	}
	if got := c.Stats(); got.LatestTimer != math.MaxInt64 || got.LateTimers != 2 {
		t.Errorf("%d were late, by %v at most; want 2, by the longest there is", got.LateTimers, got.LatestTimer)
	}
}

func TestTimersAtTheEndOfTime(t *testing.T) {
	const end = math.MaxInt64
	c := virtual(t)
	c.Advance(sec)
	c.later(end, c.say("later"))
	c.at(end, c.say("at"))
	every := c.every(end, c.say("every"))
	c.every(end-sec, c.say("every")).Stop()
	c.at(end-1, c.say("before"))
	c.later(1, c.say("first")).Reset(end)
	if every.When() != end {
		t.Errorf("every is at %d", every.When())
	}
	c.once(-1)
	c.once(-1)
	every.Stop()
	c.want(logged{end - 1, "before"}, logged{end, "later"}, logged{end, "at"}, logged{end, "every"}, logged{end, "first"})
	c.is("Alive", c.Alive(), false)
	if diff := gocmp.Diff([]time.Duration{end - 1 - sec, 1}, c.sel.Timeouts()); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
}

// How long the loop wants to sleep: until the next timer that runs.
func TestTimeoutIsTheNextTimers(t *testing.T) {
	for _, test := range []struct {
		name    string
		do      func(c *clocked)
		timeout time.Duration // of RunOnce
		want    time.Duration
	}{
		{"nothing", func(c *clocked) { c.Post(func() {}) }, -1, 0},
		{"nothing, for so long", func(c *clocked) {}, 5 * sec, 5 * sec},
		{"one", func(c *clocked) { c.later(10*sec, func() {}) }, -1, 10 * sec},
		{"a nanosecond", func(c *clocked) { c.later(1, func() {}) }, -1, 1},
		{"the earliest", func(c *clocked) {
			c.later(10*sec, func() {})
			c.later(8*sec, func() {})
			c.later(9*sec, func() {})
		}, -1, 8 * sec},
		{"the first has been stopped", func(c *clocked) { // asyncio's test__run_once
			c.later(5*sec, func() {}).Stop()
			c.later(10*sec, func() {})
			c.Advance(sec / 2)
		}, -1, 9*sec + sec/2},
		{"all have been stopped", func(c *clocked) {
			c.later(5*sec, func() {}).Stop()
			c.every(5*sec, func() {}).Stop()
		}, 7 * sec, 7 * sec},
		{"the first has been put off", func(c *clocked) {
			c.later(5*sec, func() {}).Reset(20 * sec)
			c.later(10*sec, func() {})
		}, -1, 10 * sec},
		{"every", func(c *clocked) { c.every(3*sec, func() {}) }, -1, 3 * sec},
		{"the caller's is shorter", func(c *clocked) { c.later(10*sec, func() {}) }, 4 * sec, 4 * sec},
		{"the caller's is longer", func(c *clocked) { c.later(4*sec, func() {}) }, 10 * sec, 4 * sec},
		{"the caller's is none", func(c *clocked) { c.later(4*sec, func() {}) }, 0, 0},
		{"one that is due", func(c *clocked) { c.later(0, func() {}) }, -1, 0},
		{"one that is overdue", func(c *clocked) {
			c.later(5*sec, func() {})
			c.Advance(time.Minute)
		}, -1, 0},
		{"longer than there is", func(c *clocked) { c.at(math.MaxInt64, func() {}) }, -1, math.MaxInt64 - 100*sec},
		{"ages ago", func(c *clocked) { c.at(math.MinInt64, func() {}) }, -1, 0},
		{"something is to be called soon", func(c *clocked) {
			c.later(4*sec, func() {})
			c.CallSoon(func() {})
		}, -1, 0},
		{"something was posted", func(c *clocked) {
			c.later(4*sec, func() {})
			c.Post(func() {})
		}, -1, 0},
		{"the loop was stopped", func(c *clocked) {
			c.later(4*sec, func() {})
			c.Stop()
		}, -1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := virtual(t)
			c.Advance(100 * sec)
			test.do(c)
			c.once(test.timeout)
			if diff := gocmp.Diff([]time.Duration{test.want}, c.sel.Timeouts()); diff != "" {
				t.Errorf("timeouts (-want +got):\n%s", diff)
			}
		})
	}
}

// A clock that began below zero: the wait would overflow.
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
	c := virtual(t)
	a := c.later(2*sec, c.say("a"))
	c.is("Alive", c.Alive(), true)
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
		if ran := c.once(turn.timeout); ran != turn.ran || c.Clock.Now() != turn.at {
			t.Fatalf("a turn of %v calls %d until %v, want %d until %v", turn.timeout, ran, c.Clock.Now(), turn.ran, turn.at)
		}
	}
	c.want(logged{2 * sec, "a"})
	c.is("Alive", c.Alive(), false)
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
	c := virtual(t)
	const turns = 200
	counts := make(map[string]int)
	var zero, soon, post func()
	var own *eventloop.Timer
	zero = func() { counts["timer"]++; c.later(0, zero) }
	own = c.later(-1, func() { counts["reset"]++; own.Reset(-1) })
	soon = func() { counts["soon"]++; c.CallSoon(soon) }
	post = func() { counts["post"]++; c.Post(post) }
	c.later(0, zero)
	c.CallSoon(soon)
	c.Post(post)
	c.sel.At(0, "f", selectors.EventRead)
	if _, err := c.Register("f", selectors.EventRead, func(any, selectors.Event) { counts["file"]++ }); err != nil {
		t.Fatal(err)
	}
	for i := range turns {
		if ran := c.once(-1); ran != 5 {
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
	c := virtual(t)
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
	c.is("Alive", c.Alive(), false)

	running, stopped := c.later(sec, c.say("a")), c.later(sec, c.say("b"))
	every := c.every(sec, c.say("c"))
	stopped.Stop()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	all(fn, eventloop.ErrClosed)
	all(fn, os.ErrClosed)
	for name, timer := range map[string]*eventloop.Timer{"one that ran": running, "one that was stopped": stopped, "one of Every": every} {
		c.is("at Close, Active of "+name, timer.Active(), false)
		c.is("Reset of "+name, timer.Reset(1), false)
		c.is("Active of "+name, timer.Active(), false)
		c.is("Stop of "+name, timer.Stop(), false)
	}
	c.want()
}

// Close by a timer: none of the others is called.
func TestCloseInATimer(t *testing.T) {
	c := virtual(t)
	c.later(sec, c.say("a"))
	c.later(sec, func() {
		c.say("close")()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	due, every := c.later(sec, c.say("b")), c.every(sec, c.say("c"))
	running := c.later(2*sec, c.say("d"))
	if err := c.Run(t.Context()); !errors.Is(err, eventloop.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	c.want(logged{sec, "a"}, logged{sec, "close"})
	for _, timer := range []*eventloop.Timer{due, every, running} {
		c.is("Active", timer.Active(), false)
		c.is("Stop", timer.Stop(), false)
	}
}

// A panic ends the turn, which the next one goes on with; timers that were due
// then are what they were.
func TestPanicInATimer(t *testing.T) {
	c := virtual(t)
	c.later(sec, c.say("a"))
	bad := c.every(sec, func() {
		c.say("panic")()
		panic("boom")
	})
	stopped := c.later(sec, c.say("b"))
	c.later(sec, c.say("c"))
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v", v)
			}
		}()
		c.Run(t.Context())
	}()
	c.is("Active", bad.Active(), true)
	c.is("Stop of one that was due", stopped.Stop(), true)
	c.is("Stop of the one that panicked", bad.Stop(), true)
	c.Advance(sec)
	if ran := c.once(-1); ran != 1 {
		t.Errorf("the rest of the turn called %d", ran)
	}
	c.want(logged{sec, "a"}, logged{sec, "panic"}, logged{2 * sec, "c"})
}

func TestTimerStats(t *testing.T) {
	c := virtual(t, eventloop.WithSlowCallback(time.Hour))
	for _, d := range []time.Duration{0, 1, sec} {
		c.later(d, func() {})
	}
	c.at(2*sec, func() { c.Advance(eventloop.LateAfter) })
	c.at(2*sec+1, func() { c.Advance(2 * sec) }) // late, but for a nanosecond
	c.at(2*sec+eventloop.LateAfter+1, func() {}) // late by almost 2 s
	for c.Alive() {
		c.once(-1)
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
	c := virtual(t)
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
		timers[i] = c.later(d, func() { got = append(got, i) })
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
		c.once(-1)
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
	c := virtual(t)
	fn := func() {}
	for range 1000 { // standing ones, and room for what follows
		c.at(math.MaxInt64, fn)
		c.later(sec, fn)
	}
	c.once(-1)
	timer := c.later(time.Hour, fn)
	every := c.every(sec, fn)
	for _, test := range []struct {
		name string
		want float64
		do   func()
	}{
		{"schedule and stop", 1, func() { c.later(sec, fn).Stop() }},
		{"schedule and call", 1, func() { c.later(0, fn); c.once(-1) }},
		{"reset", 0, func() { timer.Reset(2 * time.Hour) }},
		{"stop and reset", 0, func() { timer.Stop(); timer.Reset(time.Hour) }},
		{"reset and call", 0, func() { timer.Reset(0); c.once(-1) }},
		{"every", 0, func() { c.once(-1) }},
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
				began := time.Now()
				var timer *eventloop.Timer
				if timer, err = l.CallLater(d, func() {
					calls = append(calls, call{d, time.Since(began), l.Now() < timer.When()})
				}); err != nil {
					t.Fatal(err)
				}
			}
			began, ticks := time.Now(), 0
			every, err := l.Every(5*msec, func() {
				if ticks++; time.Since(began) < time.Duration(ticks)*5*msec {
					t.Errorf("tick %d after %v", ticks, time.Since(began))
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
