//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

func TestRun(t *testing.T) {
	forEachLoopKind(t,
		testCase{"stopped before", func(t *testing.T, k loopKind) {
			l, s := k.loopWithSpy(t)
			var r recorder
			must(l.Register(readableSocket(t), read, r.callback("file")))
			must(l.CallLater(time.Hour, r.fn("timer")))
			l.Stop()
			l.Stop() // once is enough
			runLoop(t, l)
			r.want(t, "file")
			if !slices.Equal(s.timeouts, []time.Duration{0}) {
				t.Errorf("it waited %v", s.timeouts)
			}
			// And the next Run is not stopped any more.
			check(l.CallSoon(func() { check(l.CallSoon(func() { check(l.CallSoon(l.Stop)) })) }))
			runLoop(t, l)
			r.want(t, "file file file")
		}},
		testCase{"stopped in a callback", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			check(l.CallSoon(func() {
				l.Stop()
				check(l.CallSoon(r.fn("next")))
				must(l.CallLater(0, r.fn("next")))
				check(l.Post(r.fn("next")))
			}))
			must(l.Register(readableSocket(t), read|oneShot, r.callback("file")))
			must(l.CallLater(0, r.fn("timer")))
			runLoop(t, l)
			r.want(t, "file timer")
			l.Stop()
			runLoop(t, l)
			r.want(t, "next next next")
		}},
		testCase{"stopped from elsewhere", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			for range 20 { // and run again
				ended := startLoop(t, l)
				l.Stop()
				if err := receive(t, ended); err != nil {
					t.Fatal(err)
				}
			}
			ended := startLoop(t, l)
			time.Sleep(2 * quietPeriod) // now it sleeps
			l.Stop()
			if err := receive(t, ended); err != nil {
				t.Fatal(err)
			}
			if l.Stats().Wakes == 0 {
				t.Error("nobody had to wake it?")
			}
		}},
		testCase{"is running already", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			again := func() {
				if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrRunning) {
					t.Errorf("Run in Run: %v", err)
				}
				if n, err := l.RunOnce(0); n != 0 || !errors.Is(err, eventloop.ErrRunning) {
					t.Errorf("RunOnce in Run: %d, %v", n, err)
				}
			}
			check(l.CallSoon(again))
			runTurn(t, l)
			must(l.Register(readableSocket(t), read|oneShot, func(any, selectors.Event) { again() }))
			ended := startLoop(t, l)
			again()
			l.Stop() // which those that were refused have not undone
			if err := receive(t, ended); err != nil {
				t.Fatal(err)
			}
			l.Stop()
			runLoop(t, l)
		}},
		testCase{"another loop", func(t *testing.T, k loopKind) {
			outer, inner := k.loop(t), k.loop(t)
			var r recorder
			check(inner.CallSoon(r.fn("inner")))
			check(inner.CallSoon(inner.Stop))
			check(outer.CallSoon(func() { runLoop(t, inner) }))
			check(outer.CallSoon(r.fn("outer")))
			runTurn(t, outer)
			r.want(t, "inner outer")
		}},
		testCase{"context", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			// Cancelled before: nothing runs.
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			check(l.CallSoon(r.fn("soon")))
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run with a cancelled context: %v", err)
			}
			r.want(t, "")
			// In a callback: the turn is finished.
			ctx, cancel = context.WithCancel(context.Background())
			check(l.CallSoon(cancel))
			check(l.CallSoon(r.fn("rest")))
			check(l.Post(r.fn("post")))
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run with a context cancelled in a callback: %v", err)
			}
			r.want(t, "soon rest post")
			// From elsewhere, while the loop sleeps.
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(quietPeriod, cancel)
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run with a context cancelled meanwhile: %v", err)
			}
			// By its deadline.
			ctx, cancel = context.WithTimeout(context.Background(), quietPeriod)
			defer cancel()
			started := time.Now()
			if err := l.Run(ctx); err != context.DeadlineExceeded {
				t.Errorf("Run with a deadline: %v", err)
			}
			if took := time.Since(started); took < quietPeriod {
				t.Errorf("after %v", took)
			}
			// One that ends after Run has returned is nothing to the next Run.
			for range 50 {
				ctx, cancel = context.WithCancel(context.Background())
				check(l.CallSoon(l.Stop))
				if err := l.Run(ctx); err != nil {
					t.Fatal(err)
				}
				go cancel()
				turns := 0
				var fn func()
				fn = func() {
					if turns++; turns == 3 {
						l.Stop()
						return
					}
					check(l.CallSoon(fn))
				}
				check(l.CallSoon(fn))
				runLoop(t, l)
				if turns != 3 {
					t.Fatalf("ended after %d turns", turns)
				}
			}
			// And none is fine.
			check(l.CallSoon(l.Stop))
			//lint:ignore SA1012 callers who have none
			if err := l.Run(nil); err != nil {
				t.Error(err)
			}
		}},
		testCase{"once", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			started := time.Now()
			if n, err := l.RunOnce(quietPeriod); n != 0 || err != nil || time.Since(started) < quietPeriod {
				t.Errorf("with nothing to do: %d, %v, after %v", n, err, time.Since(started))
			}
			time.AfterFunc(quietPeriod, func() { l.Post(func() {}) })
			for n := 0; n == 0; {
				n = must(l.RunOnce(-1)) // an earlier wake may come first
			}
			must(l.CallLater(quietPeriod, func() {}))
			started = time.Now()
			for n := 0; n == 0; {
				n = must(l.RunOnce(receiveTimeout))
			}
			if took := time.Since(started); took < quietPeriod-5*time.Millisecond || took > receiveTimeout/2 {
				t.Errorf("a timer of %v took %v", quietPeriod, took)
			}
			for _, n := range []int{1, 7} {
				for range n {
					check(l.CallSoon(func() {}))
				}
				if ran := runTurn(t, l); ran != n {
					t.Errorf("ran %d of %d", ran, n)
				}
			}
		}},
		testCase{"error of the selector", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			check(l.CallSoon(func() { l.Selector().Close() }))
			if err := l.Run(context.Background()); !errors.Is(err, selectors.ErrClosed) || errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("Run on a closed selector: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}},
		testCase{"while alive", func(t *testing.T, k loopKind) {
			// uv_run's default: until nothing is left.
			l := k.loop(t)
			if l.Alive() {
				t.Error("a new loop is alive")
			}
			var r recorder
			a := readableSocket(t)
			must(l.Register(a, read, func(any, selectors.Event) {
				r.add("file")
				must(l.Unregister(a))
				must(l.CallLater(time.Millisecond, func() {
					r.add("timer")
					check(l.Do(r.fn("work"), func() {
						r.add("done")
						check(l.Post(func() {
							r.add("post")
							check(l.CallSoon(r.fn("soon")))
						}))
					}))
				}))
			}))
			for l.Alive() {
				must(l.RunOnce(-1))
			}
			r.want(t, "file timer work done post soon")
			h := must(l.OnSignal(unix.SIGUSR1, func(os.Signal) {}))
			if !l.Alive() {
				t.Error("a signal handler does not keep it alive")
			}
			if h.Stop(); l.Alive() {
				t.Error("a signal handler that is stopped keeps it alive")
			}
			if v, _ := catchPanic(func() {
				check(l.Do(panicBoom, nil))
				for l.Alive() {
					must(l.RunOnce(-1))
				}
			}); v == nil {
				t.Error("work that panics was not waited for")
			}
			if l.Alive() {
				t.Error("work that has panicked keeps it alive")
			}
		}},
	)
}
