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
	"goselectors/selectors"

	gocmp "github.com/google/go-cmp/cmp"
)

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
