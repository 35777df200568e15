//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// TestClose checks that Close ends the loop from any goroutine, drops all pending
// callbacks and leaves the files open.
func TestClose(t *testing.T) {
	populate := func(t *testing.T, l *eventloop.Loop) (fd int) {
		fd = readableSocket(t)
		notCalled := func() { t.Error("called after Close") }
		must(l.Register(fd, read, func(any, selectors.Event) { notCalled() }))
		must(l.CallLater(0, notCalled))
		must(l.Every(time.Microsecond, notCalled))
		check(l.CallSoon(notCalled))
		check(l.Post(notCalled))
		must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { notCalled() }))
		return fd
	}
	checkClosed := func(t *testing.T, l *eventloop.Loop, fd int) {
		t.Helper()
		if err := l.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if l.Alive() {
			t.Error("Alive is true after Close")
		}
		if !isOpen(fd) {
			t.Error("Close closed a registered file")
		}
		if n := l.Selector().Len(); n != 0 {
			t.Errorf("the selector has %d keys after Close, want 0", n)
		}
		if err := l.Selector().Wake(); !errors.Is(err, selectors.ErrClosed) {
			t.Errorf("Wake of the selector after Close: %v, want selectors.ErrClosed", err)
		}
	}
	forEachLoopKind(t,
		testCase{"with registrations", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			fd := populate(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			checkClosed(t, l, fd)
		}},
		testCase{"new loop", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			checkClosed(t, l, 0)
		}},
		testCase{"in a callback", func(t *testing.T, k loopKind) {
			for _, source := range sources {
				l := k.loop(t)
				for range 3 { // the first callback closes the loop, the others are pending
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
							t.Error("Alive is true after Close")
						}
						if !isOpen(fd) {
							t.Error("Close closed a registered file")
						}
					})
				}
				if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) || !errors.Is(err, os.ErrClosed) {
					t.Errorf("%s: Run returned %v, want ErrClosed", source.name, err)
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
				t.Errorf("RunOnce: %d, %v, want 2, ErrClosed", n, err)
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
					t.Errorf("Run returned %v, want ErrClosed", err)
				}
				for range 2 {
					if err := receive(t, closed); err != nil {
						t.Error(err)
					}
				}
				if !isOpen(a) {
					t.Error("Close closed a registered file")
				}
			}
		}},
		testCase{"methods of a closed loop", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			timer := must(l.CallLater(time.Hour, func() {}))
			a := readableSocket(t)
			must(l.Register(a, read, func(any, selectors.Event) {}))
			h := must(l.OnSignal(unix.SIGUSR1, func(os.Signal) {}))
			l.Close()
			for method, err := range callEveryMethod(l, a) {
				if !errors.Is(err, eventloop.ErrClosed) || !errors.Is(err, os.ErrClosed) {
					t.Errorf("%s: %v, want ErrClosed", method, err)
				}
			}
			if timer.Active() || timer.Stop() || timer.Reset(0) || timer.Active() {
				t.Error("a timer is active, or can be started, after Close")
			}
			if h.Stop() {
				t.Error("a signal handler is active after Close")
			}
			l.Stop() // does nothing
			l.Now()
			l.Stats()
		}},
		testCase{"with pending posts and work", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			release, worked := make(chan struct{}), make(chan struct{})
			check(l.Do(func() {
				<-release
				close(worked)
			}, func() { t.Error("done after Close") }))
			check(l.Post(func() { t.Error("called after Close") }))
			l.Close()
			if l.Alive() {
				t.Error("Alive is true after Close")
			}
			close(release)
			receive(t, worked)
			time.Sleep(time.Millisecond)
			if l.Alive() {
				t.Error("Alive is true after Close and the end of the work")
			}
		}},
	)
}

// callEveryMethod calls all methods that return ErrClosed on a closed loop. It
// returns their errors by method name.
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

// callLoopMethods calls the methods that only the loop's goroutine may call and
// that can fail. It returns their errors by method name.
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
