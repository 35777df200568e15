//go:build unix

package eventloop_test

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

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
