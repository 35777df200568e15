//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A spy is a selector that keeps count of how the loop uses it.
type spy struct {
	selectors.Selector
	timeouts     []time.Duration // of each Select
	wakes        atomic.Int64
	beforeSleep  chan struct{} // if not nil, gets something before each Select that may wait
	duringSelect func(timeout time.Duration)
}

func (s *spy) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	s.timeouts = append(s.timeouts, timeout)
	if s.beforeSleep != nil && timeout != 0 {
		s.beforeSleep <- struct{}{}
	}
	if s.duringSelect != nil {
		s.duringSelect(timeout)
	}
	return s.Selector.SelectInto(dst, timeout)
}

func (s *spy) Wake() error {
	s.wakes.Add(1)
	return s.Selector.Wake()
}

// spied is a loop on a spy.
func (k loopKind) loopWithSpy(t testing.TB, opts ...eventloop.Option) (*eventloop.Loop, *spy) {
	t.Helper()
	s := &spy{Selector: k.selector(t)}
	return k.loop(t, append([]eventloop.Option{eventloop.WithSelector(s)}, opts...)...), s
}

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

func TestClose(t *testing.T) {
	populate := func(t *testing.T, l *eventloop.Loop) (fd int) {
		fd = readableSocket(t)
		bad := func() { t.Error("called after Close") }
		must(l.Register(fd, read, func(any, selectors.Event) { bad() }))
		must(l.CallLater(0, bad))
		must(l.Every(time.Microsecond, bad))
		check(l.CallSoon(bad))
		check(l.Post(bad))
		must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { bad() }))
		return fd
	}
	checkClosed := func(t *testing.T, l *eventloop.Loop, fd int) {
		t.Helper()
		if err := l.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
		if l.Alive() {
			t.Error("alive after Close")
		}
		if !isOpen(fd) {
			t.Error("Close has closed a file")
		}
		if n := l.Selector().Len(); n != 0 {
			t.Errorf("%d keys are left", n)
		}
		if err := l.Selector().Wake(); !errors.Is(err, selectors.ErrClosed) {
			t.Errorf("the selector is not closed: %v", err)
		}
	}
	forEachLoopKind(t,
		testCase{"with things registered", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			fd := populate(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			checkClosed(t, l, fd)
		}},
		testCase{"new", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			checkClosed(t, l, 0)
		}},
		testCase{"in a callback", func(t *testing.T, k loopKind) {
			for _, source := range sources {
				l := k.loop(t)
				for range 3 { // the first closes, and there are others
					source.add(t, l, func() {
						if !l.Alive() {
							t.Error("called after Close")
						}
						fd := populate(t, l)
						for range 2 {
							if err := l.Close(); err != nil {
								t.Error(err)
							}
						}
						if l.Alive() {
							t.Error("alive after Close")
						}
						if !isOpen(fd) {
							t.Error("Close has closed a file")
						}
					})
				}
				if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) || !errors.Is(err, os.ErrClosed) {
					t.Errorf("%s: Run returned %v", source.name, err)
				}
				checkClosed(t, l, 0)
			}
		}},
		testCase{"in a callback of RunOnce", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			check(l.CallSoon(func() {}))
			check(l.CallSoon(func() { l.Close() }))
			check(l.CallSoon(func() { t.Error("called after Close") }))
			if n, err := l.RunOnce(0); n != 2 || !errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("RunOnce: %d, %v", n, err)
			}
			checkClosed(t, l, 0)
		}},
		testCase{"while Run waits", func(t *testing.T, k loopKind) {
			for range 20 {
				l := k.loop(t)
				a, _ := socketPair(t)
				must(l.Register(a, read, func(any, selectors.Event) { t.Error("called") }))
				ended := startLoop(t, l)
				closed := make(chan error, 2)
				for range 2 {
					go func() { closed <- l.Close() }()
				}
				if err := receive(t, ended); !errors.Is(err, eventloop.ErrClosed) {
					t.Errorf("Run returned %v", err)
				}
				for range 2 {
					if err := receive(t, closed); err != nil {
						t.Error(err)
					}
				}
				if !isOpen(a) {
					t.Error("Close has closed a file")
				}
			}
		}},
		testCase{"every call after it", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			timer := must(l.CallLater(time.Hour, func() {}))
			a := readableSocket(t)
			must(l.Register(a, read, func(any, selectors.Event) {}))
			h := must(l.OnSignal(unix.SIGUSR1, func(os.Signal) {}))
			l.Close()
			for what, err := range callEveryMethod(l, a) {
				if !errors.Is(err, eventloop.ErrClosed) || !errors.Is(err, os.ErrClosed) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if timer.Active() || timer.Stop() || timer.Reset(0) || timer.Active() {
				t.Error("a timer lives on")
			}
			if h.Stop() {
				t.Error("a signal handler lives on")
			}
			l.Stop() // does nothing
			l.Now()
			l.Stats()
		}},
		testCase{"with posts and work under way", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			release, worked := make(chan struct{}), make(chan struct{})
			check(l.Do(func() {
				<-release
				close(worked)
			}, func() { t.Error("done after Close") }))
			check(l.Post(func() { t.Error("called after Close") }))
			l.Close()
			if l.Alive() {
				t.Error("alive after Close")
			}
			close(release)
			receive(t, worked)
			time.Sleep(time.Millisecond)
			if l.Alive() {
				t.Error("alive after Close and the end of the work")
			}
		}},
	)
}

// callEveryMethod calls everything that a closed loop must refuse.
func callEveryMethod(l *eventloop.Loop, fd int) map[string]error {
	errs := map[string]error{}
	fn, callback := func() {}, func(any, selectors.Event) {}
	errs["Run"] = l.Run(context.Background())
	_, errs["RunOnce"] = l.RunOnce(0)
	errs["Post"] = l.Post(fn)
	errs["Do"] = l.Do(fn, nil)
	for name, err := range callLoopMethods(l, fd, fn, callback) {
		errs[name] = err
	}
	return errs
}

// callLoopMethods calls everything that belongs to the loop's goroutine and can fail.
func callLoopMethods(l *eventloop.Loop, fd int, fn func(), callback eventloop.Callback) map[string]error {
	errs := map[string]error{}
	errs["CallSoon"] = l.CallSoon(fn)
	_, errs["CallLater"] = l.CallLater(0, fn)
	_, errs["CallAt"] = l.CallAt(0, fn)
	_, errs["Every"] = l.Every(1, fn)
	_, errs["Register"] = l.Register(fd, read, callback)
	_, errs["Modify"] = l.Modify(fd, read, callback)
	_, errs["Replace"] = l.Replace(fd, read, callback)
	_, errs["Unregister"] = l.Unregister(fd)
	_, errs["OnSignal"] = l.OnSignal(unix.SIGUSR1, func(os.Signal) {})
	return errs
}

// What makes no sense is an error that says so, and changes nothing.
func TestBadInput(t *testing.T) {
	forEachLoopKind(t,
		testCase{"nil callback", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			errs := map[string]error{"Post": l.Post(nil), "Do": l.Do(nil, func() {}), "CallSoon": l.CallSoon(nil)}
			_, errs["CallLater"] = l.CallLater(0, nil)
			_, errs["CallAt"] = l.CallAt(0, nil)
			_, errs["Every"] = l.Every(1, nil)
			_, errs["Register"] = l.Register(a, read, nil)
			_, errs["Replace"] = l.Replace(a, read, nil)
			_, errs["OnSignal"] = l.OnSignal(unix.SIGUSR1, nil)
			must(l.Register(a, read, func(any, selectors.Event) {}))
			_, errs["Modify"] = l.Modify(a, write, nil)
			_, errs["Replace again"] = l.Replace(a, write, nil)
			for what, err := range errs {
				if !errors.Is(err, eventloop.ErrNilCallback) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if n := runTurn(t, l); n != 1 {
				t.Errorf("%d callbacks, want that of the file", n)
			}
		}},
		testCase{"file object", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var file *os.File
			for _, bad := range []any{nil, -1, "stdin", 1.5, file} {
				for name, set := range map[string]func(any, selectors.Event, eventloop.Callback) (*selectors.SelectorKey, error){
					"Register": l.Register, "Modify": l.Modify, "Replace": l.Replace,
				} {
					key, err := set(bad, read, func(any, selectors.Event) {})
					if key != nil || !errors.Is(err, selectors.ErrInvalidFileObj) {
						t.Errorf("%s of %v: %v, %v", name, bad, key, err)
					}
				}
				if key, err := l.Unregister(bad); key != nil || !errors.Is(err, selectors.ErrInvalidFileObj) {
					t.Errorf("Unregister of %v: %v, %v", bad, key, err)
				}
			}
			a, _ := socketPair(t)
			unix.Close(a)
			if _, err := l.Register(a, read, func(any, selectors.Event) {}); !errors.Is(err, unix.EBADF) {
				t.Errorf("Register of a closed number: %v", err)
			}
		}},
		testCase{"events", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			var r recorder
			must(l.Register(a, read, r.callback("file")))
			b := readableSocket(t)
			for _, bad := range []selectors.Event{0, edge, oneShot, selectors.EventHangup, selectors.EventError, 1 << 30, ^selectors.Event(0)} {
				_, err1 := l.Register(b, bad, r.callback("bad"))
				_, err2 := l.Modify(a, bad, r.callback("bad"))
				_, err3 := l.Replace(a, bad, r.callback("bad"))
				for _, err := range []error{err1, err2, err3} {
					if !errors.Is(err, selectors.ErrInvalidEvents) {
						t.Errorf("%v: %v", bad, err)
					}
				}
			}
			if k.Features&selectors.FeatureEdgeTriggered == 0 {
				if _, err := l.Register(b, read|edge, r.callback("bad")); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("edge-triggered: %v", err)
				}
			}
			runTurn(t, l)
			r.want(t, "file")
		}},
		testCase{"registered twice", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			var r recorder
			first := must(l.Register(a, read, r.callback("first")))
			if _, err := l.Register(a, read, r.callback("second")); !errors.Is(err, selectors.ErrRegistered) {
				t.Errorf("Register again: %v", err)
			}
			if key := must(l.Selector().Key(a)); key != first {
				t.Error("the key is another one")
			}
			runTurn(t, l)
			r.want(t, "first")
			second := must(l.Replace(a, read, r.callback("second")))
			if key := must(l.Selector().Key(a)); key != second || key == first {
				t.Error("Replace has not replaced the key")
			}
			runTurn(t, l)
			r.want(t, "second")
			if key := must(l.Unregister(a)); key != second {
				t.Error("Unregister returned another key")
			}
			must(l.Replace(a, read, r.callback("third")))
			runTurn(t, l)
			r.want(t, "third")
		}},
		testCase{"not registered", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			_, err1 := l.Unregister(a)
			_, err2 := l.Modify(a, read, func(any, selectors.Event) {})
			for _, err := range []error{err1, err2} {
				if !errors.Is(err, selectors.ErrNotRegistered) {
					t.Error(err)
				}
			}
		}},
		testCase{"times", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			for _, d := range []time.Duration{0, -1, math.MinInt64} {
				if _, err := l.Every(d, func() {}); !errors.Is(err, eventloop.ErrInvalidInterval) {
					t.Errorf("Every(%v): %v", d, err)
				}
			}
			var r recorder
			must(l.CallLater(-time.Second, r.fn("late")))
			must(l.CallLater(math.MinInt64, r.fn("first")))
			must(l.CallLater(math.MaxInt64, r.fn("never")))
			must(l.Every(math.MaxInt64, r.fn("never")))
			runTurn(t, l)
			r.want(t, "first late")
		}},
		testCase{"options", func(t *testing.T, k loopKind) {
			l := k.loop(t, nil, eventloop.WithLogger(nil), eventloop.WithClock(nil), eventloop.WithPanicHandler(nil))
			check(l.CallSoon(func() {}))
			runTurn(t, l)
		}},
	)
	t.Run("no backend", func(t *testing.T) {
		t.Setenv(selectors.BackendEnv, "bogus")
		if l, err := eventloop.New(); l != nil || err == nil || !strings.Contains(err.Error(), "bogus") {
			t.Errorf("New on a backend that does not exist: %v, %v", l, err)
		}
	})
}
