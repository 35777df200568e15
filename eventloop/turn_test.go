//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// TestTurn checks which callbacks one turn runs, in which order, and how long it
// waits.
func TestTurn(t *testing.T) {
	forEachLoopKind(t,
		testCase{"order", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			must(l.CallLater(0, r.fn("timer1")))
			must(l.Register(readableSocket(t), read, r.callback("file")))
			must(l.CallLater(0, r.fn("timer2")))
			check(l.CallSoon(r.fn("soon1")))
			check(l.CallSoon(r.fn("soon2")))
			check(l.Post(r.fn("post1")))
			check(l.Post(r.fn("post2")))
			if n := runTurn(t, l); n != 7 {
				t.Errorf("the turn ran %d callbacks, want 7", n)
			}
			r.want(t, "soon1 soon2 file timer1 timer2 post1 post2")
		}},
		testCase{"additions wait for the next turn", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			add := func() {
				r.add("add")
				check(l.CallSoon(r.fn("soon")))
				must(l.CallLater(0, r.fn("timer")))
				must(l.CallLater(-time.Hour, r.fn("timer")))
				must(l.Register(readableSocket(t), read|oneShot, r.callback("file")))
				check(l.Post(r.fn("post")))
			}
			check(l.CallSoon(add))
			must(l.Register(readableSocket(t), read|oneShot, func(any, selectors.Event) { add() }))
			must(l.CallLater(0, add))
			check(l.Post(add))
			runTurn(t, l)
			r.want(t, "add add add add")
			if n := runTurn(t, l); n != 4*5 {
				t.Errorf("the second turn ran %d callbacks, want %d", n, 4*5)
			}
			for _, kind := range []string{"soon", "file", "post"} {
				if n := r.count(kind); n != 4 {
					t.Errorf("%s: %d calls, want 4", kind, n)
				}
			}
		}},
		testCase{"select timeout", func(t *testing.T, k loopKind) {
			var now time.Duration // changes only where the test sets it
			l, s := k.loopWithSpy(t, eventloop.WithClock(func() time.Duration { return now }))
			checkTimeout := func(timeout, want time.Duration) {
				t.Helper()
				s.timeouts = nil
				if _, err := l.RunOnce(timeout); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(s.timeouts, []time.Duration{want}) {
					t.Errorf("RunOnce(%v) called Select with timeouts %v, want %v", timeout, s.timeouts, want)
				}
			}
			checkTimeout(0, 0)
			checkTimeout(time.Millisecond, time.Millisecond)
			maxTimer := must(l.CallLater(math.MaxInt64, func() { t.Error("called") }))
			must(l.CallAt(math.MaxInt64, func() { t.Error("called") }))
			checkTimeout(time.Millisecond, time.Millisecond)
			timer := must(l.CallLater(2*time.Millisecond, func() {}))
			checkTimeout(-1, 2*time.Millisecond) // the clock does not advance, so the timer stays active
			checkTimeout(time.Millisecond, time.Millisecond)
			checkTimeout(time.Hour, 2*time.Millisecond)
			checkTimeout(0, 0)
			now += 2 * time.Millisecond
			checkTimeout(-1, 0)
			if timer.Active() || !maxTimer.Active() {
				t.Errorf("due timer: Active is %v, want false; later timer: Active is %v, want true", timer.Active(), maxTimer.Active())
			}
			check(l.CallSoon(func() {}))
			checkTimeout(-1, 0)
			check(l.Post(func() {}))
			checkTimeout(-1, 0)
			l.Stop()
			checkTimeout(-1, 0)
			must(l.Register(readableSocket(t), read, func(any, selectors.Event) {}))
			now = math.MaxInt64 - time.Hour
			checkTimeout(-1, time.Hour)
			now = math.MinInt64 + time.Hour
			checkTimeout(-1, math.MaxInt64)
		}},
		testCase{"no starvation", func(t *testing.T, k loopKind) {
			for _, omitted := range []string{"", "soon", "timer", "post"} {
				l := k.loop(t)
				counts := map[string]int{}
				repeat := func(kind string, schedule func(func())) {
					if kind == omitted {
						return
					}
					var fn func()
					fn = func() {
						counts[kind]++
						schedule(fn)
					}
					schedule(fn)
				}
				repeat("soon", func(fn func()) { check(l.CallSoon(fn)) })
				repeat("timer", func(fn func()) { must(l.CallLater(0, fn)) })
				repeat("post", func(fn func()) { check(l.Post(fn)) })
				for _, name := range []string{"file1", "file2"} {
					must(l.Register(readableSocket(t), read, func(any, selectors.Event) { counts[name]++ }))
				}
				for range 150 {
					if _, err := l.RunOnce(-1); err != nil {
						t.Fatal(err)
					}
				}
				for _, n := range counts {
					if n < 148 || n > 151 {
						t.Errorf("without %q: calls in 150 turns: %v, want 148 to 151 of each", omitted, counts)
						break
					}
				}
				l.Close()
			}
		}},
		testCase{"time is fixed during a turn", func(t *testing.T, k loopKind) {
			var reads int
			l := k.loop(t, eventloop.WithClock(func() time.Duration { reads++; return time.Duration(reads) }))
			for range 3 {
				check(l.CallSoon(func() { l.Now() }))
				check(l.Post(func() { l.Now() }))
			}
			var first, last time.Duration
			check(l.CallSoon(func() { first = l.Now() }))
			check(l.Post(func() { last = l.Now() }))
			if runTurn(t, l); first != last || reads != 1 {
				t.Errorf("Now returned %d first and %d last, with %d clock readings; want equal times and 1 reading", first, last, reads)
			}
		}},
		testCase{"CallSoon and Post share one order", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			for pattern := range 64 {
				var r recorder
				var want []string
				addMixed := func() {
					for i := range 6 {
						name := fmt.Sprint(i)
						want = append(want, name)
						if pattern>>i&1 == 0 {
							check(l.CallSoon(r.fn(name)))
						} else {
							check(l.Post(r.fn(name)))
						}
					}
				}
				addMixed()
				runTurn(t, l)
				r.want(t, strings.Join(want, " "))
				want = nil
				check(l.Post(addMixed))
				runTurn(t, l)
				runTurn(t, l)
				r.want(t, strings.Join(want, " "))
			}
		}},
	)
}

// TestKeysRegisteredWithSelector checks that the loop also dispatches keys that
// were registered directly with its selector.
func TestKeysRegisteredWithSelector(t *testing.T) {
	forEachLoopKind(t, testCase{"callback", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a := readableSocket(t)
		var r recorder
		must(l.Selector().Register(a, read, r.callback("callback")))
		runTurn(t, l)
		r.want(t, "callback")
		var got selectors.Event
		must(l.Selector().Modify(a, read|write, func(fileobj any, events selectors.Event) {
			if fileobj != any(a) {
				t.Errorf("called with file object %v, want %v", fileobj, a)
			}
			got = events
		}))
		if runTurn(t, l); got != read|write {
			t.Errorf("called for %v, want %v", got, read|write)
		}
		must(l.Modify(a, read, r.callback("loop")))
		runTurn(t, l)
		r.want(t, "loop")
	}}, testCase{"no callback", func(t *testing.T, k loopKind) {
		for _, data := range []any{nil, "text", func() {}, eventloop.Callback(nil), (func(any, selectors.Event))(nil)} {
			l := k.loop(t)
			a := readableSocket(t)
			var r recorder
			must(l.Register(readableSocket(t), read, r.callback("file")))
			must(l.Selector().Register(a, read, data))
			must(l.Register(readableSocket(t), read, r.callback("file")))
			check(l.Post(r.fn("post")))
			n, err := l.RunOnce(0)
			if n != 3 || !errors.Is(err, eventloop.ErrNoCallback) || !strings.Contains(err.Error(), fmt.Sprint("descriptor ", a)) {
				t.Errorf("%T: RunOnce = %d, %v; want 3, ErrNoCallback for descriptor %d", data, n, err, a)
			}
			r.want(t, "file file post")
			if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrNoCallback) {
				t.Errorf("%T: Run returned %v, want ErrNoCallback", data, err)
			}
			must(l.Replace(a, read, r.callback("replaced")))
			runTurn(t, l)
			if r.count("replaced") != 1 {
				t.Errorf("the callback set with Replace was called %d times, want 1", r.count("replaced"))
			}
			l.Close()
		}
	}}, testCase{"two keys without callback", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := readableSocket(t), readableSocket(t)
		must(l.Selector().Register(a, read, 1))
		must(l.Selector().Register(b, read, "2"))
		_, err := l.RunOnce(0)
		for _, want := range []string{fmt.Sprint("descriptor ", a, " has int"), fmt.Sprint("descriptor ", b, " has string")} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v does not contain %q", err, want)
			}
		}
	}})
}
