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

// One turn runs what there was when it started, in order, and nothing else.
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
				t.Errorf("the turn ran %d", n)
			}
			r.want(t, "soon1 soon2 file timer1 timer2 post1 post2")
		}},
		testCase{"what callbacks add waits", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			add := func() {
				r.add("+")
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
			r.want(t, "+ + + +")
			if n := runTurn(t, l); n != 4*5 {
				t.Errorf("the second turn ran %d", n)
			}
			for _, what := range []string{"soon", "file", "post"} {
				if n := r.count(what); n != 4 {
					t.Errorf("%s: %d", what, n)
				}
			}
		}},
		testCase{"how long it waits", func(t *testing.T, k loopKind) {
			var at time.Duration // stands still
			l, s := k.loopWithSpy(t, eventloop.WithClock(func() time.Duration { return at }))
			waits := func(timeout, want time.Duration) {
				t.Helper()
				s.timeouts = nil
				if _, err := l.RunOnce(timeout); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(s.timeouts, []time.Duration{want}) {
					t.Errorf("RunOnce(%v) waited %v, want %v", timeout, s.timeouts, want)
				}
			}
			waits(0, 0)
			waits(time.Millisecond, time.Millisecond)
			far := must(l.CallLater(math.MaxInt64, func() { t.Error("called") }))
			must(l.CallAt(math.MaxInt64, func() { t.Error("called") }))
			waits(time.Millisecond, time.Millisecond)
			near := must(l.CallLater(2*time.Millisecond, func() {}))
			waits(-1, 2*time.Millisecond) // the clock stands still: the timer stays
			waits(time.Millisecond, time.Millisecond)
			waits(time.Hour, 2*time.Millisecond)
			waits(0, 0)
			at += 2 * time.Millisecond
			waits(-1, 0)
			if near.Active() || !far.Active() {
				t.Error("it was not the right timer")
			}
			check(l.CallSoon(func() {}))
			waits(-1, 0)
			check(l.Post(func() {}))
			waits(-1, 0)
			l.Stop()
			waits(-1, 0)
			must(l.Register(readableSocket(t), read, func(any, selectors.Event) {}))
			at = math.MaxInt64 - time.Hour
			waits(-1, time.Hour)
			at = math.MinInt64 + time.Hour
			waits(-1, math.MaxInt64)
		}},
		testCase{"nothing starves", func(t *testing.T, k loopKind) {
			for _, without := range []string{"", "soon", "timer", "post"} {
				l := k.loop(t)
				counts := map[string]int{}
				again := func(what string, add func(func())) {
					if what == without {
						return
					}
					var fn func()
					fn = func() {
						counts[what]++
						add(fn)
					}
					add(fn)
				}
				again("soon", func(fn func()) { check(l.CallSoon(fn)) })
				again("timer", func(fn func()) { must(l.CallLater(0, fn)) })
				again("post", func(fn func()) { check(l.Post(fn)) })
				for _, name := range []string{"file", "other"} {
					must(l.Register(readableSocket(t), read, func(any, selectors.Event) { counts[name]++ }))
				}
				for range 150 {
					if _, err := l.RunOnce(-1); err != nil {
						t.Fatal(err)
					}
				}
				for _, n := range counts {
					if n < 148 || n > 151 {
						t.Errorf("without %q, in 150 turns: %v", without, counts)
						break
					}
				}
				l.Close()
			}
		}},
		testCase{"the clock stands still", func(t *testing.T, k loopKind) {
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
				t.Errorf("from %d to %d, %d readings", first, last, reads)
			}
		}},
		testCase{"soon and post keep one order", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			for pattern := range 64 {
				var r recorder
				var want []string
				mix := func() {
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
				mix()
				runTurn(t, l)
				r.want(t, strings.Join(want, " "))
				want = nil
				check(l.Post(mix))
				runTurn(t, l)
				runTurn(t, l)
				r.want(t, strings.Join(want, " "))
			}
		}},
	)
}

// Keys that were registered with the selector are dispatched as well.
func TestKeysOfTheSelector(t *testing.T) {
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
				t.Errorf("called with %v", fileobj)
			}
			got = events
		}))
		if runTurn(t, l); got != read|write {
			t.Errorf("called for %v", got)
		}
		must(l.Modify(a, read, r.callback("own")))
		runTurn(t, l)
		r.want(t, "own")
	}}, testCase{"something else", func(t *testing.T, k loopKind) {
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
				t.Errorf("%T: ran %d, %v", data, n, err)
			}
			r.want(t, "file file post")
			if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrNoCallback) {
				t.Errorf("%T: Run returned %v", data, err)
			}
			must(l.Replace(a, read, r.callback("mine")))
			runTurn(t, l)
			if r.count("mine") != 1 {
				t.Error("a callback given later is not called")
			}
			l.Close()
		}
	}}, testCase{"two of them", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := readableSocket(t), readableSocket(t)
		must(l.Selector().Register(a, read, 1))
		must(l.Selector().Register(b, read, "2"))
		_, err := l.RunOnce(0)
		for _, part := range []string{fmt.Sprint("descriptor ", a, " has int"), fmt.Sprint("descriptor ", b, " has string")} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not say %q", err, part)
			}
		}
	}})
}
