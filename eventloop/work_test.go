//go:build unix

package eventloop_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// runUntil runs turns until condition returns true.
func runUntil(t testing.TB, l *eventloop.Loop, what string, condition func() bool) {
	t.Helper()
	eventually(t, what, func() bool {
		runTurn(t, l)
		return condition()
	})
}

// TestDoResult: done gets what work has returned, its panic or its Goexit, once.
func TestDoResult(t *testing.T) {
	errWork := errors.New("work has failed")
	for _, c := range []struct {
		name  string
		work  func() (int, error)
		value int
		check func(err error) bool
	}{
		{"value", func() (int, error) { return 7, nil }, 7, func(err error) bool { return err == nil }},
		{"error", func() (int, error) { return 3, errWork }, 3, func(err error) bool { return err == errWork }},
		{"panic", func() (int, error) { panicBoom(); return 1, nil }, 0, func(err error) bool {
			var p *eventloop.WorkPanic
			return errors.As(err, &p) && p.Value == "boom" && strings.Contains(string(p.Stack), "panicBoom")
		}},
		{"panic with an error", func() (int, error) { panic(errWork) }, 0, func(err error) bool { return errors.Is(err, errWork) }},
		{"Goexit", func() (int, error) { runtime.Goexit(); return 1, nil }, 0, func(err error) bool {
			return errors.Is(err, eventloop.ErrWorkExited) && err.Error() == "eventloop: do: work called runtime.Goexit"
		}},
	} {
		for _, opts := range [][]eventloop.Option{nil, {eventloop.WithWorkers(1)}} {
			t.Run(fmt.Sprint(c.name, "/", len(opts)), func(t *testing.T) {
				l := must(eventloop.New(opts...))
				defer l.Close()
				calls := 0
				check(eventloop.DoResult(l, c.work, func(value int, err error) {
					if calls++; value != c.value || !c.check(err) {
						t.Errorf("done got %v, %v", value, err)
					}
				}))
				runUntil(t, l, "done is called", func() bool { return calls > 0 })
				if runTurn(t, l); calls != 1 || l.Alive() {
					t.Errorf("done was called %d times; Alive is %v", calls, l.Alive())
				}
			})
		}
	}
}

// A panic of done reports the function given by the user, and that of work of Do
// the work.
func TestWorkPanicNames(t *testing.T) {
	var got []eventloop.Panic
	l := must(eventloop.New(eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) })))
	defer l.Close()
	check(l.Do(panicBoom, nil))
	runUntil(t, l, "the work panics", func() bool { return len(got) == 1 })
	check(l.Do(func() {}, panicBoom))
	runUntil(t, l, "done panics", func() bool { return len(got) == 2 })
	check(eventloop.DoResult(l, func() (int, error) { return 0, nil }, panicResult))
	runUntil(t, l, "done of DoResult panics", func() bool { return len(got) == 3 })
	for i, name := range []string{"panicBoom", "panicBoom", "panicResult"} {
		if got[i].Kind != "work" || !strings.HasSuffix(got[i].Callback, "."+name) {
			t.Errorf("panic %d: %s %s, want work and %s", i, got[i].Kind, got[i].Callback, name)
		}
	}
}

func panicResult(int, error) { panic("boom") }

// WithWorkers bounds the goroutines of Do. What waits is started in order, also
// after work that panics or calls Goexit.
func TestWithWorkers(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			l := must(eventloop.New(eventloop.WithWorkers(workers), eventloop.WithPanicHandler(func(eventloop.Panic) {})))
			defer l.Close()
			const calls = 30
			var running, most atomic.Int64
			var mu sync.Mutex
			var started []int
			release := make(chan struct{})
			ended := 0
			for i := range calls {
				check(l.Do(func() {
					defer running.Add(-1)
					mu.Lock()
					most.Store(max(most.Load(), running.Add(1)))
					started = append(started, i)
					mu.Unlock()
					switch <-release; i % 3 {
					case 1:
						runtime.Goexit()
					case 2:
						panicBoom()
					}
				}, func() { ended++ }))
			}
			eventually(t, "all workers are busy", func() bool { return running.Load() == int64(workers) })
			if s := l.Stats(); s.PendingWork != calls || s.QueuedWork != calls-workers {
				t.Errorf("%d pending and %d queued, want %d and %d", s.PendingWork, s.QueuedWork, calls, calls-workers)
			}
			close(release)
			runUntil(t, l, "all work has ended", func() bool { return !l.Alive() })
			if s := l.Stats(); s.PendingWork != 0 || s.QueuedWork != 0 {
				t.Errorf("%d pending and %d queued at the end", s.PendingWork, s.QueuedWork)
			}
			if n := most.Load(); n != int64(workers) {
				t.Errorf("%d ran at a time, want %d", n, workers)
			}
			if workers == 1 && !slices.IsSorted(started) {
				t.Errorf("started in the order %v", started)
			}
			again := false // the workers are free again
			check(l.Do(func() {}, func() { again = true }))
			runUntil(t, l, "further work has ended", func() bool { return again })
			if len(started) != calls || ended != calls-calls/3 {
				t.Errorf("%d started and %d done, want %d and %d", len(started), ended, calls, calls-calls/3)
			}
		})
	}
}

// Close drops the work that has not been started, and the completions of what runs.
func TestCloseDropsWork(t *testing.T) {
	l := must(eventloop.New(eventloop.WithWorkers(1)))
	entered, release, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	check(l.Do(func() {
		defer close(left)
		close(entered)
		<-release
	}, func() { t.Error("done was called after Close") }))
	check(l.Do(func() { t.Error("work was started after Close") }, nil))
	receive(t, entered)
	check(l.Close())
	if s := l.Stats(); s.PendingWork != 0 || s.QueuedWork != 0 {
		t.Errorf("%d pending and %d queued after Close", s.PendingWork, s.QueuedWork)
	}
	if err := l.Do(func() {}, nil); !errors.Is(err, eventloop.ErrClosed) {
		t.Errorf("Do after Close: %v, want ErrClosed", err)
	}
	if err := eventloop.DoResult(l, func() (int, error) { return 0, nil }, func(int, error) {}); !errors.Is(err, eventloop.ErrClosed) {
		t.Errorf("DoResult after Close: %v, want ErrClosed", err)
	}
	close(release)
	receive(t, left)
}

// Stop does not lose what is in flight: work that ends while the loop does not run
// is completed in the next Run, as are posts and waiters.
func TestStopWithWorkInFlight(t *testing.T) {
	forEachLoopKind(t, testCase{"completed in the next Run", func(t *testing.T, k loopKind) {
		l := k.loop(t, eventloop.WithWorkers(2))
		var r recorder
		release, left := make(chan struct{}), make(chan struct{})
		check(eventloop.DoResult(l, func() (string, error) {
			defer close(left)
			<-release
			return "result", nil
		}, func(s string, err error) { r.add(s) }))
		l.Stop()
		runLoop(t, l)
		close(release)
		receive(t, left)
		check(l.Post(r.fn("post")))
		must(l.OnceReadable(readableSocket(t), r.callback("waiter")))
		if !l.Alive() {
			t.Error("Alive is false though work is pending")
		}
		runUntil(t, l, "all has run", func() bool { return r.count("result")+r.count("post")+r.count("waiter") == 3 })
		if l.Alive() {
			t.Error("Alive is true at the end")
		}
	}}, testCase{"dropped by Close", func(t *testing.T, k loopKind) {
		l := k.loop(t, eventloop.WithWorkers(1))
		dropped := func() { t.Error("called after Close") }
		entered, release := make(chan struct{}), make(chan struct{})
		var workers sync.WaitGroup
		workers.Add(1)
		check(l.Do(func() {
			defer workers.Done()
			close(entered)
			<-release
		}, dropped))
		check(l.Do(dropped, dropped))
		ended := startLoop(t, l)
		receive(t, entered)
		must(l.PostHandle(l.Stop))
		check(receive(t, ended))
		check(l.Post(dropped))
		must(l.Schedule(dropped))
		must(l.OnTurn(dropped, dropped))
		waiter := must(l.OnceReadable(readableSocket(t), func(any, selectors.Event) { dropped() }))
		check(l.Close())
		close(release)
		workers.Wait()
		if waiter.Cancel() {
			t.Error("Cancel is true after Close")
		}
		if _, err := l.RunOnce(0); !errors.Is(err, eventloop.ErrClosed) {
			t.Errorf("RunOnce after Close: %v, want ErrClosed", err)
		}
	}})
}
