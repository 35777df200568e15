//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

func TestPost(t *testing.T) {
	forEachLoopKind(t,
		testCase{"after a wake that failed", func(t *testing.T, k loopKind) {
			l, s := k.loopWithSpy(t)
			startLoop(t, l)
			time.Sleep(20 * time.Millisecond) // until the loop sleeps
			s.failWakes.Store(1)
			ran := make(chan int, 2)
			check(l.Post(func() { ran <- 1 }))
			check(l.Post(func() { ran <- 2 })) // wakes the loop for both
			for want := 1; want <= 2; want++ {
				if got := receive(t, ran); got != want {
					t.Errorf("post %d ran, want %d", got, want)
				}
			}
		}},
		testCase{"each producer in order", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			ended := startLoop(t, l)
			const producers, each = 8, 500
			var next [producers]int // used on the loop's goroutine
			var wg sync.WaitGroup
			for p := range producers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := range each {
						check(l.Post(func() {
							if next[p] != i {
								t.Errorf("producer %d: post %d ran, want %d next", p, i, next[p])
							}
							next[p] = i + 1
						}))
						if i%50 == 0 {
							time.Sleep(100 * time.Microsecond) // let the loop sleep
						}
					}
				}()
			}
			wg.Wait()
			check(l.Post(l.Stop))
			if err := receive(t, ended); err != nil {
				t.Fatal(err)
			}
			for p, n := range next {
				if n != each {
					t.Errorf("producer %d: %d of %d posts ran", p, n, each)
				}
			}
		}},
		testCase{"from a posted function", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			check(l.Post(func() {
				r.add("1")
				check(l.Post(func() {
					r.add("3")
					check(l.Post(r.fn("4")))
				}))
			}))
			check(l.Post(r.fn("2")))
			for _, want := range []string{"1 2", "3", "4", ""} {
				runTurn(t, l)
				r.want(t, want)
			}
		}},
		testCase{"before Run and between runs", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			for range 3 {
				check(l.Post(r.fn("before")))
				check(l.Post(l.Stop))
				runLoop(t, l)
				r.want(t, "before")
			}
		}},
		testCase{"wakes a sleeping loop", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			ended := startLoop(t, l)
			for range 10 {
				time.Sleep(2 * time.Millisecond)
				came := make(chan struct{})
				check(l.Post(func() { close(came) }))
				receive(t, came)
			}
			l.Stop()
			receive(t, ended)
		}},
		testCase{"one wake a sleep", func(t *testing.T, k loopKind) {
			// The loop is held just before it sleeps while several goroutines post.
			l, s := k.loopWithSpy(t)
			s.beforeSleep = make(chan struct{})
			ended := make(chan error, 1)
			go func() { ended <- l.Run(context.Background()) }()
			const rounds, producers, each = 20, 8, 100
			ran := 0
			for range rounds {
				// The loop counts as asleep here, but has not called Select yet.
				var wg sync.WaitGroup
				for range producers {
					wg.Add(1)
					go func() {
						defer wg.Done()
						for range each {
							check(l.Post(func() { ran++ }))
						}
					}()
				}
				wg.Wait()
				if got := s.wakes.Load(); got > int64(l.Stats().Wakes) {
					t.Fatalf("%d wakes, but Stats has %d", got, l.Stats().Wakes)
				}
				receive(t, s.beforeSleep) // let the loop sleep, or find the posts
			}
			check(l.Post(l.Stop))
			for done := false; !done; {
				select {
				case err := <-ended:
					if done = true; err != nil {
						t.Error(err)
					}
				case <-s.beforeSleep:
				case <-time.After(receiveTimeout):
					t.Fatal("the loop does not end")
				}
			}
			if ran != rounds*producers*each {
				t.Errorf("%d posts ran, want %d", ran, rounds*producers*each)
			}
			if wakes := s.wakes.Load(); wakes == 0 || wakes > int64(len(s.timeouts)) || wakes != int64(l.Stats().Wakes) {
				t.Errorf("%d wakes (Stats: %d) in %d turns for %d posts", wakes, l.Stats().Wakes, len(s.timeouts), ran)
			}
		}},
		testCase{"one for a sleep that goes on", func(t *testing.T, k loopKind) {
			// A Select that does not wait, because there are posts, needs no wake.
			l, s := k.loopWithSpy(t)
			s.duringSelect = func(timeout time.Duration) {
				for range 10 {
					check(l.Post(func() {}))
				}
				if want := map[bool]int64{true: 1}[timeout != 0]; s.wakes.Swap(0) != want {
					t.Errorf("Select(%v): want %d wakes", timeout, want)
				}
			}
			for range 5 {
				must(l.RunOnce(-1))
				check(l.Post(func() {})) // the next turn finds it
				must(l.RunOnce(-1))
			}
			for i, timeout := range s.timeouts {
				if (timeout == 0) != (i%2 == 1) {
					t.Fatalf("Select was called with the timeouts %v", s.timeouts)
				}
			}
		}},
		testCase{"none while it is busy", func(t *testing.T, k loopKind) {
			l, s := k.loopWithSpy(t)
			var wg sync.WaitGroup
			check(l.CallSoon(func() {
				for range 8 {
					wg.Add(1)
					go func() {
						defer wg.Done()
						for range 1000 {
							check(l.Post(func() {}))
						}
					}()
				}
				wg.Wait()
			}))
			runTurn(t, l)
			if n := runTurn(t, l); n != 8000 {
				t.Errorf("the turn ran %d callbacks, want 8000", n)
			}
			if n := s.wakes.Load(); n != 0 {
				t.Errorf("%d wakes, want 0", n)
			}
		}},
		testCase{"after and during Close", func(t *testing.T, k loopKind) {
			for range 20 {
				l := k.loop(t)
				ended := startLoop(t, l)
				var returned atomic.Bool // Run has returned
				var accepted, ran atomic.Int64
				var wg sync.WaitGroup
				for range 4 {
					wg.Add(1)
					go func() {
						defer wg.Done()
						for {
							err := l.Post(func() {
								if ran.Add(1); returned.Load() {
									t.Error("posted function called after Run returned")
								}
							})
							if errors.Is(err, eventloop.ErrClosed) {
								return
							}
							check(err)
							if accepted.Add(1)%64 == 0 {
								runtime.Gosched()
							}
						}
					}()
				}
				for ran.Load() < 100 {
					runtime.Gosched()
				}
				check(l.Close())
				err := receive(t, ended)
				returned.Store(true)
				if !errors.Is(err, eventloop.ErrClosed) {
					t.Error(err)
				}
				wg.Wait()
				if ran.Load() > accepted.Load() {
					t.Errorf("%d posts were accepted and %d ran", accepted.Load(), ran.Load())
				}
				if err := l.Post(func() {}); !errors.Is(err, eventloop.ErrClosed) {
					t.Errorf("Post after Close: %v", err)
				}
			}
		}},
		testCase{"a burst is let go of", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			n := 0
			for range 200_000 {
				check(l.Post(func() { n++ }))
			}
			runTurn(t, l)
			for range 3 {
				check(l.Post(func() { n++ }))
				runTurn(t, l)
			}
			if n != 200_003 {
				t.Errorf("%d callbacks ran, want 200003", n)
			}
		}},
	)
}

func TestDo(t *testing.T) {
	forEachLoopKind(t,
		testCase{"work there, done here", func(t *testing.T, k loopKind) {
			l := k.loop(t, eventloop.WithDebug(), discardLog)
			result := 0
			release := make(chan struct{})
			check(l.CallSoon(func() {
				check(l.Do(func() {
					if err := l.CallSoon(func() {}); !errors.Is(err, eventloop.ErrWrongGoroutine) {
						t.Errorf("work runs on the goroutine of the loop: %v", err)
					}
					<-release // the loop runs meanwhile
					result = 42
				}, func() {
					if result != 42 {
						t.Errorf("the result is %d", result)
					}
					check(l.CallSoon(l.Stop)) // only allowed on the loop's goroutine
				}))
				check(l.CallSoon(func() { close(release) }))
			}))
			runLoop(t, l)
		}},
		testCase{"from another goroutine", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			ended := startLoop(t, l)
			var r recorder
			check(l.Do(r.fn("work"), func() {
				r.add("done")
				l.Stop()
			}))
			if err := receive(t, ended); err != nil {
				t.Fatal(err)
			}
			r.want(t, "work done")
		}},
		testCase{"without done", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			check(l.Do(r.fn("work"), nil))
			for l.Alive() {
				must(l.RunOnce(-1))
			}
			r.want(t, "work")
		}},
		testCase{"concurrent functions", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			const numFuncs = 50
			n := 0
			var running sync.WaitGroup
			running.Add(numFuncs)
			for range numFuncs {
				check(l.Do(func() {
					running.Done()
					running.Wait() // returns only if all functions run concurrently
				}, func() {
					if n++; n == numFuncs {
						l.Stop()
					}
				}))
			}
			runLoop(t, l)
		}},
		testCase{"panics", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			cause := errors.New("cause")
			check(l.Do(func() { panicWith(cause) }, func() { t.Error("done called after a panic") }))
			v, _ := catchPanic(func() { l.Run(context.Background()) })
			p, isWork := v.(*eventloop.WorkPanic)
			if !isWork || p.Value != any(cause) || !errors.Is(p, cause) || !strings.Contains(string(p.Stack), "panicWith") ||
				!strings.Contains(p.Error(), "cause") || !strings.Contains(p.Error(), "panicWith") {
				t.Fatalf("panicked with %v", v)
			}
			check(l.Do(panicBoom, nil))
			v, _ = catchPanic(func() { l.Run(context.Background()) })
			if p, _ := v.(*eventloop.WorkPanic); p == nil || p.Value != "boom" || p.Unwrap() != nil {
				t.Fatalf("panicked with %v", v)
			}
		}},
		testCase{"panics, with a handler", func(t *testing.T, k loopKind) {
			var l *eventloop.Loop
			var got eventloop.Panic
			l = k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) {
				got = p
				l.Stop()
			}))
			check(l.Do(panicBoom, nil))
			runLoop(t, l)
			if p, _ := got.Value.(*eventloop.WorkPanic); p == nil || p.Value != "boom" || got.Kind != "work" {
				t.Errorf("the panic handler got %+v", got)
			}
			if l.Alive() {
				t.Error("the loop is alive after the panic")
			}
		}},
		testCase{"done panics", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			check(l.Do(func() {}, panicBoom))
			if v, _ := catchPanic(func() { l.Run(context.Background()) }); v != "boom" {
				t.Fatalf("panicked with %v", v)
			}
			if l.Alive() {
				t.Error("the loop is alive after the panic")
			}
		}},
		testCase{"exits", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			check(l.Do(runtime.Goexit, l.Stop))
			runLoop(t, l)
		}},
		testCase{"the loop is closed before", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			for _, work := range []func(){func() {}, panicBoom, runtime.Goexit} {
				release, worked := make(chan struct{}), make(chan struct{})
				if err := l.Do(func() {
					defer close(worked)
					<-release
					work()
				}, func() { t.Error("done after Close") }); errors.Is(err, eventloop.ErrClosed) {
					break // closed in the previous round
				}
				l.Close()
				close(release)
				receive(t, worked)
			}
			if err := l.Do(func() { t.Error("work after Close") }, nil); !errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("Do after Close: %v", err)
			}
		}},
	)
}

func panicWith(v any) { panic(v) }

// Any goroutine may call Stats and Stop at any time.
func TestFromAnyGoroutine(t *testing.T) {
	forEachLoopKind(t, testCase{"stats, post, do, stop", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		must(l.Register(readableSocket(t), read, func(any, selectors.Event) {}))
		must(l.Every(time.Microsecond, func() {}))
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 50 {
					l.Stats()
					check(l.Post(func() {}))
					check(l.Do(func() {}, func() {}))
					l.Stop()
				}
			}()
		}
		finished := make(chan struct{})
		go func() {
			wg.Wait()
			close(finished)
		}()
		for stop := false; !stop; {
			runLoop(t, l)
			select {
			case <-finished:
				stop = true
			default:
				time.AfterFunc(quietPeriod, l.Stop)
			}
		}
		if s := l.Stats(); s.Turns == 0 || s.Callbacks < s.Turns {
			t.Errorf("Stats() = %+v", s)
		}
	}})
}
