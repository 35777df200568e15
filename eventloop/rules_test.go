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
	timeouts []time.Duration // of each Select
	wakes    atomic.Int64
	asleep   chan struct{} // if not nil, gets something before each Select that may wait
	during   func(timeout time.Duration)
}

func (s *spy) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	s.timeouts = append(s.timeouts, timeout)
	if s.asleep != nil && timeout != 0 {
		s.asleep <- struct{}{}
	}
	if s.during != nil {
		s.during(timeout)
	}
	return s.Selector.SelectInto(dst, timeout)
}

func (s *spy) Wake() error {
	s.wakes.Add(1)
	return s.Selector.Wake()
}

// spied is a loop on a spy.
func (k kind) spied(t testing.TB, opts ...eventloop.Option) (*eventloop.Loop, *spy) {
	t.Helper()
	s := &spy{Selector: k.selector(t)}
	return k.loop(t, append([]eventloop.Option{eventloop.WithSelector(s)}, opts...)...), s
}

// One turn runs what there was when it began, in order, and nothing else.
func TestTurn(t *testing.T) {
	hold(t,
		rule{"order", func(t *testing.T, k kind) {
			l := k.loop(t)
			var r record
			must(l.CallLater(0, r.note("timer1")))
			must(l.Register(readable(t), read, r.callback("file")))
			must(l.CallLater(0, r.note("timer2")))
			ok(l.CallSoon(r.note("soon1")))
			ok(l.CallSoon(r.note("soon2")))
			ok(l.Post(r.note("post1")))
			ok(l.Post(r.note("post2")))
			if n := turn(t, l); n != 7 {
				t.Errorf("the turn ran %d", n)
			}
			r.want(t, "soon1 soon2 file timer1 timer2 post1 post2")
		}},
		rule{"what callbacks add waits", func(t *testing.T, k kind) {
			l := k.loop(t)
			var r record
			add := func() {
				r.add("+")
				ok(l.CallSoon(r.note("soon")))
				must(l.CallLater(0, r.note("timer")))
				must(l.CallLater(-time.Hour, r.note("timer")))
				must(l.Register(readable(t), read|oneShot, r.callback("file")))
				ok(l.Post(r.note("post")))
			}
			ok(l.CallSoon(add))
			must(l.Register(readable(t), read|oneShot, func(any, selectors.Event) { add() }))
			must(l.CallLater(0, add))
			ok(l.Post(add))
			turn(t, l)
			r.want(t, "+ + + +")
			if n := turn(t, l); n != 4*5 {
				t.Errorf("the second turn ran %d", n)
			}
			for _, what := range []string{"soon", "file", "post"} {
				if n := r.count(what); n != 4 {
					t.Errorf("%s: %d", what, n)
				}
			}
		}},
		rule{"how long it waits", func(t *testing.T, k kind) {
			var at time.Duration // stands still
			l, s := k.spied(t, eventloop.WithClock(func() time.Duration { return at }))
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
			ok(l.CallSoon(func() {}))
			waits(-1, 0)
			ok(l.Post(func() {}))
			waits(-1, 0)
			l.Stop()
			waits(-1, 0)
			must(l.Register(readable(t), read, func(any, selectors.Event) {}))
			at = math.MaxInt64 - time.Hour
			waits(-1, time.Hour)
			at = math.MinInt64 + time.Hour
			waits(-1, math.MaxInt64)
		}},
		rule{"nothing starves", func(t *testing.T, k kind) {
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
				again("soon", func(fn func()) { ok(l.CallSoon(fn)) })
				again("timer", func(fn func()) { must(l.CallLater(0, fn)) })
				again("post", func(fn func()) { ok(l.Post(fn)) })
				for _, name := range []string{"file", "other"} {
					must(l.Register(readable(t), read, func(any, selectors.Event) { counts[name]++ }))
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
		rule{"the clock stands still", func(t *testing.T, k kind) {
			var reads int
			l := k.loop(t, eventloop.WithClock(func() time.Duration { reads++; return time.Duration(reads) }))
			for range 3 {
				ok(l.CallSoon(func() { l.Now() }))
				ok(l.Post(func() { l.Now() }))
			}
			var first, last time.Duration
			ok(l.CallSoon(func() { first = l.Now() }))
			ok(l.Post(func() { last = l.Now() }))
			if turn(t, l); first != last || reads != 1 {
				t.Errorf("from %d to %d, %d readings", first, last, reads)
			}
		}},
		rule{"soon and post keep one order", func(t *testing.T, k kind) {
			l := k.loop(t)
			for pattern := range 64 {
				var r record
				var want []string
				mix := func() {
					for i := range 6 {
						name := fmt.Sprint(i)
						want = append(want, name)
						if pattern>>i&1 == 0 {
							ok(l.CallSoon(r.note(name)))
						} else {
							ok(l.Post(r.note(name)))
						}
					}
				}
				mix()
				turn(t, l)
				r.want(t, strings.Join(want, " "))
				want = nil
				ok(l.Post(mix))
				turn(t, l)
				turn(t, l)
				r.want(t, strings.Join(want, " "))
			}
		}},
	)
}

// Keys that were registered with the selector are dispatched as well.
func TestKeysOfTheSelector(t *testing.T) {
	hold(t, rule{"callback", func(t *testing.T, k kind) {
		l := k.loop(t)
		a := readable(t)
		var r record
		must(l.Selector().Register(a, read, r.callback("callback")))
		turn(t, l)
		r.want(t, "callback")
		var got selectors.Event
		must(l.Selector().Modify(a, read|write, func(fileobj any, events selectors.Event) {
			if fileobj != any(a) {
				t.Errorf("called with %v", fileobj)
			}
			got = events
		}))
		if turn(t, l); got != read|write {
			t.Errorf("called for %v", got)
		}
		must(l.Modify(a, read, r.callback("own")))
		turn(t, l)
		r.want(t, "own")
	}}, rule{"something else", func(t *testing.T, k kind) {
		for _, data := range []any{nil, "text", func() {}, eventloop.Callback(nil), (func(any, selectors.Event))(nil)} {
			l := k.loop(t)
			a := readable(t)
			var r record
			must(l.Register(readable(t), read, r.callback("file")))
			must(l.Selector().Register(a, read, data))
			must(l.Register(readable(t), read, r.callback("file")))
			ok(l.Post(r.note("post")))
			n, err := l.RunOnce(0)
			if n != 3 || !errors.Is(err, eventloop.ErrNoCallback) || !strings.Contains(err.Error(), fmt.Sprint("descriptor ", a)) {
				t.Errorf("%T: ran %d, %v", data, n, err)
			}
			r.want(t, "file file post")
			if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrNoCallback) {
				t.Errorf("%T: Run returned %v", data, err)
			}
			must(l.Replace(a, read, r.callback("mine")))
			turn(t, l)
			if r.count("mine") != 1 {
				t.Error("a callback given later is not called")
			}
			l.Close()
		}
	}}, rule{"two of them", func(t *testing.T, k kind) {
		l := k.loop(t)
		a, b := readable(t), readable(t)
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
	hold(t,
		rule{"stopped before", func(t *testing.T, k kind) {
			l, s := k.spied(t)
			var r record
			must(l.Register(readable(t), read, r.callback("file")))
			must(l.CallLater(time.Hour, r.note("timer")))
			l.Stop()
			l.Stop() // once is enough
			run(t, l)
			r.want(t, "file")
			if !slices.Equal(s.timeouts, []time.Duration{0}) {
				t.Errorf("it waited %v", s.timeouts)
			}
			// And the next Run is not stopped any more.
			ok(l.CallSoon(func() { ok(l.CallSoon(func() { ok(l.CallSoon(l.Stop)) })) }))
			run(t, l)
			r.want(t, "file file file")
		}},
		rule{"stopped in a callback", func(t *testing.T, k kind) {
			l := k.loop(t)
			var r record
			ok(l.CallSoon(func() {
				l.Stop()
				ok(l.CallSoon(r.note("next")))
				must(l.CallLater(0, r.note("next")))
				ok(l.Post(r.note("next")))
			}))
			must(l.Register(readable(t), read|oneShot, r.callback("file")))
			must(l.CallLater(0, r.note("timer")))
			run(t, l)
			r.want(t, "file timer")
			l.Stop()
			run(t, l)
			r.want(t, "next next next")
		}},
		rule{"stopped from elsewhere", func(t *testing.T, k kind) {
			l := k.loop(t)
			for range 20 { // and run again
				ended := start(t, l)
				l.Stop()
				if err := await(t, ended); err != nil {
					t.Fatal(err)
				}
			}
			ended := start(t, l)
			time.Sleep(2 * moment) // now it sleeps
			l.Stop()
			if err := await(t, ended); err != nil {
				t.Fatal(err)
			}
			if l.Stats().Wakes == 0 {
				t.Error("nobody had to wake it?")
			}
		}},
		rule{"is running already", func(t *testing.T, k kind) {
			l := k.loop(t)
			again := func() {
				if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrRunning) {
					t.Errorf("Run in Run: %v", err)
				}
				if n, err := l.RunOnce(0); n != 0 || !errors.Is(err, eventloop.ErrRunning) {
					t.Errorf("RunOnce in Run: %d, %v", n, err)
				}
			}
			ok(l.CallSoon(again))
			turn(t, l)
			must(l.Register(readable(t), read|oneShot, func(any, selectors.Event) { again() }))
			ended := start(t, l)
			again()
			l.Stop() // which those that were refused have not undone
			if err := await(t, ended); err != nil {
				t.Fatal(err)
			}
			l.Stop()
			run(t, l)
		}},
		rule{"another loop", func(t *testing.T, k kind) {
			outer, inner := k.loop(t), k.loop(t)
			var r record
			ok(inner.CallSoon(r.note("inner")))
			ok(inner.CallSoon(inner.Stop))
			ok(outer.CallSoon(func() { run(t, inner) }))
			ok(outer.CallSoon(r.note("outer")))
			turn(t, outer)
			r.want(t, "inner outer")
		}},
		rule{"context", func(t *testing.T, k kind) {
			l := k.loop(t)
			var r record
			// Cancelled before: nothing runs.
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			ok(l.CallSoon(r.note("soon")))
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run with a cancelled context: %v", err)
			}
			r.want(t, "")
			// In a callback: the turn is finished.
			ctx, cancel = context.WithCancel(context.Background())
			ok(l.CallSoon(cancel))
			ok(l.CallSoon(r.note("rest")))
			ok(l.Post(r.note("post")))
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run with a context cancelled in a callback: %v", err)
			}
			r.want(t, "soon rest post")
			// From elsewhere, while the loop sleeps.
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(moment, cancel)
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run with a context cancelled meanwhile: %v", err)
			}
			// By its deadline.
			ctx, cancel = context.WithTimeout(context.Background(), moment)
			defer cancel()
			began := time.Now()
			if err := l.Run(ctx); err != context.DeadlineExceeded {
				t.Errorf("Run with a deadline: %v", err)
			}
			if took := time.Since(began); took < moment {
				t.Errorf("after %v", took)
			}
			// One that ends after Run has returned is nothing to the next Run.
			for range 50 {
				ctx, cancel = context.WithCancel(context.Background())
				ok(l.CallSoon(l.Stop))
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
					ok(l.CallSoon(fn))
				}
				ok(l.CallSoon(fn))
				run(t, l)
				if turns != 3 {
					t.Fatalf("ended after %d turns", turns)
				}
			}
			// And none is fine.
			ok(l.CallSoon(l.Stop))
			//lint:ignore SA1012 callers who have none
			if err := l.Run(nil); err != nil {
				t.Error(err)
			}
		}},
		rule{"once", func(t *testing.T, k kind) {
			l := k.loop(t)
			began := time.Now()
			if n, err := l.RunOnce(moment); n != 0 || err != nil || time.Since(began) < moment {
				t.Errorf("with nothing to do: %d, %v, after %v", n, err, time.Since(began))
			}
			time.AfterFunc(moment, func() { l.Post(func() {}) })
			for n := 0; n == 0; {
				n = must(l.RunOnce(-1)) // an earlier wake may come first
			}
			must(l.CallLater(moment, func() {}))
			began = time.Now()
			for n := 0; n == 0; {
				n = must(l.RunOnce(patience))
			}
			if took := time.Since(began); took < moment-5*time.Millisecond || took > patience/2 {
				t.Errorf("a timer of %v took %v", moment, took)
			}
			for _, n := range []int{1, 7} {
				for range n {
					ok(l.CallSoon(func() {}))
				}
				if ran := turn(t, l); ran != n {
					t.Errorf("ran %d of %d", ran, n)
				}
			}
		}},
		rule{"error of the selector", func(t *testing.T, k kind) {
			l := k.loop(t)
			ok(l.CallSoon(func() { l.Selector().Close() }))
			if err := l.Run(context.Background()); !errors.Is(err, selectors.ErrClosed) || errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("Run on a closed selector: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}},
		rule{"while alive", func(t *testing.T, k kind) {
			// uv_run's default: until nothing is left.
			l := k.loop(t)
			if l.Alive() {
				t.Error("a new loop is alive")
			}
			var r record
			a := readable(t)
			must(l.Register(a, read, func(any, selectors.Event) {
				r.add("file")
				must(l.Unregister(a))
				must(l.CallLater(time.Millisecond, func() {
					r.add("timer")
					ok(l.Do(r.note("work"), func() {
						r.add("done")
						ok(l.Post(func() {
							r.add("post")
							ok(l.CallSoon(r.note("soon")))
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
			if v, _ := caught(func() {
				ok(l.Do(explode, nil))
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
	full := func(t *testing.T, l *eventloop.Loop) (fd int) {
		fd = readable(t)
		bad := func() { t.Error("called after Close") }
		must(l.Register(fd, read, func(any, selectors.Event) { bad() }))
		must(l.CallLater(0, bad))
		must(l.Every(time.Microsecond, bad))
		ok(l.CallSoon(bad))
		ok(l.Post(bad))
		must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { bad() }))
		return fd
	}
	closed := func(t *testing.T, l *eventloop.Loop, fd int) {
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
	hold(t,
		rule{"with things registered", func(t *testing.T, k kind) {
			l := k.loop(t)
			fd := full(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			closed(t, l, fd)
		}},
		rule{"new", func(t *testing.T, k kind) {
			l := k.loop(t)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			closed(t, l, 0)
		}},
		rule{"in a callback", func(t *testing.T, k kind) {
			for _, source := range sources {
				l := k.loop(t)
				for range 3 { // the first closes, and there are others
					source.add(t, l, func() {
						if !l.Alive() {
							t.Error("called after Close")
						}
						fd := full(t, l)
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
				closed(t, l, 0)
			}
		}},
		rule{"in a callback of RunOnce", func(t *testing.T, k kind) {
			l := k.loop(t)
			ok(l.CallSoon(func() {}))
			ok(l.CallSoon(func() { l.Close() }))
			ok(l.CallSoon(func() { t.Error("called after Close") }))
			if n, err := l.RunOnce(0); n != 2 || !errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("RunOnce: %d, %v", n, err)
			}
			closed(t, l, 0)
		}},
		rule{"while Run waits", func(t *testing.T, k kind) {
			for range 20 {
				l := k.loop(t)
				a, _ := pair(t)
				must(l.Register(a, read, func(any, selectors.Event) { t.Error("called") }))
				ended := start(t, l)
				closed := make(chan error, 2)
				for range 2 {
					go func() { closed <- l.Close() }()
				}
				if err := await(t, ended); !errors.Is(err, eventloop.ErrClosed) {
					t.Errorf("Run returned %v", err)
				}
				for range 2 {
					if err := await(t, closed); err != nil {
						t.Error(err)
					}
				}
				if !isOpen(a) {
					t.Error("Close has closed a file")
				}
			}
		}},
		rule{"every call after it", func(t *testing.T, k kind) {
			l := k.loop(t)
			timer := must(l.CallLater(time.Hour, func() {}))
			a := readable(t)
			must(l.Register(a, read, func(any, selectors.Event) {}))
			h := must(l.OnSignal(unix.SIGUSR1, func(os.Signal) {}))
			l.Close()
			for what, err := range errorsOf(l, a) {
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
		rule{"with posts and work under way", func(t *testing.T, k kind) {
			l := k.loop(t)
			release, worked := make(chan struct{}), make(chan struct{})
			ok(l.Do(func() {
				<-release
				close(worked)
			}, func() { t.Error("done after Close") }))
			ok(l.Post(func() { t.Error("called after Close") }))
			l.Close()
			if l.Alive() {
				t.Error("alive after Close")
			}
			close(release)
			await(t, worked)
			time.Sleep(time.Millisecond)
			if l.Alive() {
				t.Error("alive after Close and the end of the work")
			}
		}},
	)
}

// errorsOf calls everything that a closed loop must refuse.
func errorsOf(l *eventloop.Loop, fd int) map[string]error {
	errs := map[string]error{}
	fn, callback := func() {}, func(any, selectors.Event) {}
	errs["Run"] = l.Run(context.Background())
	_, errs["RunOnce"] = l.RunOnce(0)
	errs["Post"] = l.Post(fn)
	errs["Do"] = l.Do(fn, nil)
	for name, err := range wrongOf(l, fd, fn, callback) {
		errs[name] = err
	}
	return errs
}

// wrongOf calls everything that belongs to the loop's goroutine and can fail.
func wrongOf(l *eventloop.Loop, fd int, fn func(), callback eventloop.Callback) map[string]error {
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
	hold(t,
		rule{"nil callback", func(t *testing.T, k kind) {
			l := k.loop(t)
			a := readable(t)
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
			if n := turn(t, l); n != 1 {
				t.Errorf("%d callbacks, want that of the file", n)
			}
		}},
		rule{"file object", func(t *testing.T, k kind) {
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
			a, _ := pair(t)
			unix.Close(a)
			if _, err := l.Register(a, read, func(any, selectors.Event) {}); !errors.Is(err, unix.EBADF) {
				t.Errorf("Register of a closed number: %v", err)
			}
		}},
		rule{"events", func(t *testing.T, k kind) {
			l := k.loop(t)
			a := readable(t)
			var r record
			must(l.Register(a, read, r.callback("file")))
			b := readable(t)
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
			turn(t, l)
			r.want(t, "file")
		}},
		rule{"registered twice", func(t *testing.T, k kind) {
			l := k.loop(t)
			a := readable(t)
			var r record
			first := must(l.Register(a, read, r.callback("first")))
			if _, err := l.Register(a, read, r.callback("second")); !errors.Is(err, selectors.ErrRegistered) {
				t.Errorf("Register again: %v", err)
			}
			if key := must(l.Selector().Key(a)); key != first {
				t.Error("the key is another one")
			}
			turn(t, l)
			r.want(t, "first")
			second := must(l.Replace(a, read, r.callback("second")))
			if key := must(l.Selector().Key(a)); key != second || key == first {
				t.Error("Replace has not replaced the key")
			}
			turn(t, l)
			r.want(t, "second")
			if key := must(l.Unregister(a)); key != second {
				t.Error("Unregister returned another key")
			}
			must(l.Replace(a, read, r.callback("third")))
			turn(t, l)
			r.want(t, "third")
		}},
		rule{"not registered", func(t *testing.T, k kind) {
			l := k.loop(t)
			a := readable(t)
			_, err1 := l.Unregister(a)
			_, err2 := l.Modify(a, read, func(any, selectors.Event) {})
			for _, err := range []error{err1, err2} {
				if !errors.Is(err, selectors.ErrNotRegistered) {
					t.Error(err)
				}
			}
		}},
		rule{"times", func(t *testing.T, k kind) {
			l := k.loop(t)
			for _, d := range []time.Duration{0, -1, math.MinInt64} {
				if _, err := l.Every(d, func() {}); !errors.Is(err, eventloop.ErrInvalidInterval) {
					t.Errorf("Every(%v): %v", d, err)
				}
			}
			var r record
			must(l.CallLater(-time.Second, r.note("late")))
			must(l.CallLater(math.MinInt64, r.note("first")))
			must(l.CallLater(math.MaxInt64, r.note("never")))
			must(l.Every(math.MaxInt64, r.note("never")))
			turn(t, l)
			r.want(t, "first late")
		}},
		rule{"options", func(t *testing.T, k kind) {
			l := k.loop(t, nil, eventloop.WithLogger(nil), eventloop.WithClock(nil), eventloop.WithPanicHandler(nil))
			ok(l.CallSoon(func() {}))
			turn(t, l)
		}},
	)
	t.Run("no backend", func(t *testing.T) {
		t.Setenv(selectors.BackendEnv, "bogus")
		if l, err := eventloop.New(); l != nil || err == nil || !strings.Contains(err.Error(), "bogus") {
			t.Errorf("New on a backend that does not exist: %v, %v", l, err)
		}
	})
}
