//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// loopMethods calls every method of a loop that returns an error, with valid
// arguments or with a nil function. The name is the operation in the error.
func loopMethods(l *eventloop.Loop, isNil bool) map[string][]error {
	var fn func()
	var callback eventloop.Callback
	var handler eventloop.FileHandler
	var onSignal func(os.Signal)
	var work func() (int, error)
	if !isNil {
		fn, callback, handler = func() {}, func(any, selectors.Event) {}, &fileLog{r: new(recorder)}
		onSignal, work = func(os.Signal) {}, func() (int, error) { return 0, nil }
	}
	second := func(_ any, err error) error { return err }
	errs := map[string][]error{
		"register":      {second(l.Register(0, read, callback)), second(l.RegisterHandler(0, read, handler))},
		"modify":        {second(l.Modify(0, read, callback)), second(l.ModifyHandler(0, read, handler))},
		"replace":       {second(l.Replace(0, read, callback))},
		"add reader":    {l.AddReader(0, callback)},
		"add writer":    {l.AddWriter(0, callback)},
		"once readable": {second(l.OnceReadable(0, callback))},
		"once writable": {second(l.OnceWritable(0, callback))},
		"call soon":     {l.CallSoon(fn)},
		"schedule":      {second(l.Schedule(fn))},
		"post":          {l.Post(fn), second(l.PostHandle(fn))},
		"call later":    {second(l.CallLater(time.Hour, fn))},
		"call at":       {second(l.CallAt(math.MaxInt64, fn))},
		"every":         {second(l.Every(time.Hour, fn))},
		"on signal":     {second(l.OnSignal(unix.SIGUSR1, onSignal))},
		"on turn":       {second(l.OnTurn(fn, fn))},
		"do":            {l.Do(fn, fn), eventloop.DoResult(l, work, func(int, error) {})},
	}
	if !isNil {
		errs["unregister"] = []error{second(l.Unregister(0))}
		errs["run"] = []error{l.Run(context.Background()), second(l.RunOnce(-1))}
	}
	return errs
}

// wantErrors checks that each error has the shape "eventloop: operation: cause".
func wantErrors(t *testing.T, errs map[string][]error, cause error) {
	t.Helper()
	for op, list := range errs {
		for _, err := range list {
			if !errors.Is(err, cause) || err.Error() != "eventloop: "+op+": "+cause.Error() {
				t.Errorf("%s: %v, want the cause %v", op, err, cause)
			}
		}
	}
}

// TestMisuse is the rule in the package documentation, for each wrong argument and
// receiver.
func TestMisuse(t *testing.T) {
	for name, l := range map[string]*eventloop.Loop{"nil": nil, "zero": new(eventloop.Loop)} {
		t.Run(name+" loop", func(t *testing.T) {
			wantErrors(t, loopMethods(l, false), eventloop.ErrInvalidLoop)
			wantErrors(t, loopMethods(l, true), eventloop.ErrInvalidLoop)
			wantErrors(t, map[string][]error{"close": {l.Close()}}, eventloop.ErrInvalidLoop)
			l.Stop()
			l.SetSubject("nothing")
			if l.Alive() || l.Now() != 0 || l.ReadClock() != 0 || l.Selector() != nil || l.RemoveReader(0) || l.RemoveWriter(0) {
				t.Error("a loop that New has not made is in use")
			}
			if diff := gocmp.Diff(eventloop.Stats{}, l.Stats()); diff != "" {
				t.Errorf("Stats (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("nil function", func(t *testing.T) {
		l := must(eventloop.New())
		defer l.Close()
		wantErrors(t, loopMethods(l, true), eventloop.ErrNilCallback)
		wantErrors(t, map[string][]error{"do": {
			eventloop.DoResult(l, func() (int, error) { return 0, nil }, nil),
			eventloop.DoResult[int](l, nil, nil),
		}}, eventloop.ErrNilCallback)
		if l.Alive() || l.Selector().Len() != 0 {
			t.Error("a call that failed has changed the loop")
		}
	})
	t.Run("closed loop", func(t *testing.T) {
		l := must(eventloop.New())
		check(l.Close())
		wantErrors(t, loopMethods(l, false), eventloop.ErrClosed)
		wantErrors(t, loopMethods(l, true), eventloop.ErrNilCallback)
		if err := l.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
	t.Run("nil and zero objects", func(t *testing.T) {
		for _, timer := range []*eventloop.Timer{nil, {}} {
			if timer.Stop() || timer.Active() || timer.When() != 0 || timer.Reset(time.Hour) {
				t.Errorf("the timer %v is in use", timer)
			}
		}
		for _, handle := range []*eventloop.Handle{nil, {}} {
			if handle.Cancel() {
				t.Errorf("the handle %v is in use", handle)
			}
		}
		for _, waiter := range []*eventloop.Waiter{nil, {}} {
			if waiter.Cancel() {
				t.Errorf("the waiter %v is in use", waiter)
			}
		}
		for _, handler := range []*eventloop.SignalHandler{nil, {}} {
			if handler.Stop() {
				t.Errorf("the signal handler %v is in use", handler)
			}
		}
		for _, hook := range []*eventloop.TurnHook{nil, {}} {
			if hook.Stop() {
				t.Errorf("the hook %v is in use", hook)
			}
		}
		if (&eventloop.WorkPanic{}).Error() == "" || (&eventloop.WorkPanic{}).Unwrap() != nil {
			t.Error("the zero WorkPanic is wrong")
		}
	})
	t.Run("nil options", func(t *testing.T) {
		l := must(eventloop.New(nil, eventloop.WithSelector(nil), eventloop.WithClock(nil), eventloop.WithLogger(nil),
			eventloop.WithPanicHandler(nil), eventloop.WithSlowCallback(-1), eventloop.WithWorkers(-1)))
		defer l.Close()
		var r recorder
		check(l.CallSoon(r.fn("soon")))
		check(l.Do(func() {}, r.fn("done")))
		runUntil(t, l, "the work has ended", func() bool { return r.count("done") == 1 })
	})
	t.Run("nil selector", func(t *testing.T) {
		var none *spy
		l, err := eventloop.New(eventloop.WithSelector(none))
		if l != nil || !errors.Is(err, eventloop.ErrNilSelector) || err.Error() != "eventloop: new: selector is nil" {
			t.Errorf("New with a nil selector: %v, %v", l, err)
		}
	})
	t.Run("nil context", func(t *testing.T) {
		l := must(eventloop.New())
		defer l.Close()
		l.Stop()
		//lint:ignore SA1012 this is what is tested
		if err := l.Run(nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("durations", func(t *testing.T) {
		l := newTestLoop(t)
		for _, d := range []time.Duration{math.MinInt64, -1, 0, 1, math.MaxInt64} {
			l.callLater(d, func() {}).Reset(d)
			l.callAt(d, func() {})
			if _, err := l.Every(d, func() {}); (d > 0) != (err == nil) {
				t.Errorf("Every(%d): %v", d, err)
			}
		}
		for range 3 {
			l.runOnce(0)
		}
		l.runOnce(math.MaxInt64)
	})
	t.Run("errors of the selector", func(t *testing.T) {
		l := must(eventloop.New())
		defer l.Close()
		for _, err := range []error{
			func() error { _, err := l.Register(-1, read, func(any, selectors.Event) {}); return err }(),
			l.AddReader(-1, func(any, selectors.Event) {}),
			func() error { _, err := l.OnceWritable("x", func(any, selectors.Event) {}); return err }(),
		} {
			var own *selectors.Error
			if !errors.As(err, &own) || !strings.HasPrefix(err.Error(), "selectors: ") || !errors.Is(err, selectors.ErrInvalidFileObj) {
				t.Errorf("%v, want the selector's error unchanged", err)
			}
		}
	})
}
