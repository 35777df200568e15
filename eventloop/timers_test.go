package eventloop_test

import (
	"math"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	gocmp "github.com/google/go-cmp/cmp"
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
					l.Advance(35 * sec) // to 46 s: the deadlines at 21, 31 and 41 s share one call
				case 3:
					l.Advance(30 * sec) // to 81 s, which is a deadline too: the deadlines at 61, 71 and 81 s share one call
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
