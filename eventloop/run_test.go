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

// TestRun checks how Run and RunOnce start, wait and end.
func TestRun(t *testing.T) {
	forEachLoopKind(t,
		testCase{"Stop before Run", func(t *testing.T, k loopKind) {
			l, s := k.loopWithSpy(t)
			var r recorder
			must(l.Register(readableSocket(t), read, r.callback("file")))
			must(l.CallLater(time.Hour, r.fn("timer")))
			l.Stop()
			l.Stop() // has no further effect
			runLoop(t, l)
			r.want(t, "file")
			if !slices.Equal(s.timeouts, []time.Duration{0}) {
				t.Errorf("Select timeouts: %v, want [0]", s.timeouts)
			}
			// The stop request is used up: the next Run runs until its own Stop.
			check(l.CallSoon(func() { check(l.CallSoon(func() { check(l.CallSoon(l.Stop)) })) }))
			runLoop(t, l)
			r.want(t, "file file file")
		}},
		testCase{"Stop in a callback", func(t *testing.T, k loopKind) {
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
		testCase{"Stop from another goroutine", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			for range 20 { // a stopped loop can run again
				ended := startLoop(t, l)
				l.Stop()
				if err := receive(t, ended); err != nil {
					t.Fatal(err)
				}
			}
			ended := startLoop(t, l)
			time.Sleep(2 * quietPeriod) // let the loop sleep
			l.Stop()
			if err := receive(t, ended); err != nil {
				t.Fatal(err)
			}
			if l.Stats().Wakes == 0 {
				t.Error("Stop did not wake the sleeping loop: Wakes is 0")
			}
		}},
		testCase{"nested calls", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			checkRefused := func() {
				if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrRunning) {
					t.Errorf("Run on a running loop: %v, want ErrRunning", err)
				}
				if n, err := l.RunOnce(0); n != 0 || !errors.Is(err, eventloop.ErrRunning) {
					t.Errorf("RunOnce on a running loop: %d, %v, want 0, ErrRunning", n, err)
				}
			}
			check(l.CallSoon(checkRefused))
			runTurn(t, l)
			must(l.Register(readableSocket(t), read|oneShot, func(any, selectors.Event) { checkRefused() }))
			ended := startLoop(t, l)
			checkRefused()
			l.Stop() // the refused calls must not cancel it
			if err := receive(t, ended); err != nil {
				t.Fatal(err)
			}
			l.Stop()
			runLoop(t, l)
		}},
		testCase{"Run of another loop in a callback", func(t *testing.T, k loopKind) {
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
			// Cancelled before Run: no callback runs.
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			check(l.CallSoon(r.fn("soon")))
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run with a cancelled context: %v, want context.Canceled", err)
			}
			r.want(t, "")
			// Cancelled in a callback: the turn runs to its end.
			ctx, cancel = context.WithCancel(context.Background())
			check(l.CallSoon(cancel))
			check(l.CallSoon(r.fn("rest")))
			check(l.Post(r.fn("post")))
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run with a context cancelled in a callback: %v, want context.Canceled", err)
			}
			r.want(t, "soon rest post")
			// Cancelled by another goroutine while the loop sleeps.
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(quietPeriod, cancel)
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run with a context cancelled by another goroutine: %v, want context.Canceled", err)
			}
			// Deadline.
			ctx, cancel = context.WithTimeout(context.Background(), quietPeriod)
			defer cancel()
			started := time.Now()
			if err := l.Run(ctx); err != context.DeadlineExceeded {
				t.Errorf("Run with a deadline: %v, want context.DeadlineExceeded", err)
			}
			if took := time.Since(started); took < quietPeriod {
				t.Errorf("Run returned after %v, want at least %v", took, quietPeriod)
			}
			// A context cancelled after Run has returned does not end the next Run.
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
					t.Fatalf("Run ended after %d turns, want 3", turns)
				}
			}
			// A nil context is allowed.
			check(l.CallSoon(l.Stop))
			//lint:ignore SA1012 Run accepts a nil context
			if err := l.Run(nil); err != nil {
				t.Error(err)
			}
		}},
		testCase{"RunOnce", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			started := time.Now()
			if n, err := l.RunOnce(quietPeriod); n != 0 || err != nil || time.Since(started) < quietPeriod {
				t.Errorf("RunOnce(%v) with nothing to do: %d, %v, after %v", quietPeriod, n, err, time.Since(started))
			}
			time.AfterFunc(quietPeriod, func() { l.Post(func() {}) })
			for n := 0; n == 0; {
				n = must(l.RunOnce(-1)) // a wake may end the first wait before the post arrives
			}
			must(l.CallLater(quietPeriod, func() {}))
			started = time.Now()
			for n := 0; n == 0; {
				n = must(l.RunOnce(receiveTimeout))
			}
			if took := time.Since(started); took < quietPeriod-5*time.Millisecond || took > receiveTimeout/2 {
				t.Errorf("a timer with a delay of %v ran after %v", quietPeriod, took)
			}
			for _, n := range []int{1, 7} {
				for range n {
					check(l.CallSoon(func() {}))
				}
				if ran := runTurn(t, l); ran != n {
					t.Errorf("ran %d callbacks, want %d", ran, n)
				}
			}
		}},
		testCase{"selector error", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			check(l.CallSoon(func() { l.Selector().Close() }))
			if err := l.Run(context.Background()); !errors.Is(err, selectors.ErrClosed) || errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("Run on a closed selector: %v, want selectors.ErrClosed", err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}},
		testCase{"while alive", func(t *testing.T, k loopKind) {
			// The loop of uv_run(UV_RUN_DEFAULT): run until nothing is active.
			l := k.loop(t)
			if l.Alive() {
				t.Error("Alive is true for a new loop")
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
				t.Error("Alive is false with a signal handler")
			}
			if h.Stop(); l.Alive() {
				t.Error("Alive is true after the signal handler was stopped")
			}
			if v, _ := catchPanic(func() {
				check(l.Do(panicBoom, nil))
				for l.Alive() {
					must(l.RunOnce(-1))
				}
			}); v == nil {
				t.Error("Alive became false before the panic of the work was delivered")
			}
			if l.Alive() {
				t.Error("Alive is true after the panic of the work was delivered")
			}
		}},
	)
}
