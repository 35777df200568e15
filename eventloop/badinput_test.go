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

// TestBadInput checks that invalid arguments return the documented error and
// leave the loop unchanged.
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
			_, errs["Replace of a registered file"] = l.Replace(a, write, nil)
			for method, err := range errs {
				if !errors.Is(err, eventloop.ErrNilCallback) {
					t.Errorf("%s: %v, want ErrNilCallback", method, err)
				}
			}
			if n := runTurn(t, l); n != 1 {
				t.Errorf("%d callbacks ran, want 1, that of the file", n)
			}
		}},
		testCase{"file object", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var file *os.File
			for _, fileobj := range []any{nil, -1, "stdin", 1.5, file} {
				for method, call := range map[string]func(any, selectors.Event, eventloop.Callback) (*selectors.SelectorKey, error){
					"Register": l.Register, "Modify": l.Modify, "Replace": l.Replace,
				} {
					key, err := call(fileobj, read, func(any, selectors.Event) {})
					if key != nil || !errors.Is(err, selectors.ErrInvalidFileObj) {
						t.Errorf("%s of %v: %v, %v, want ErrInvalidFileObj", method, fileobj, key, err)
					}
				}
				if key, err := l.Unregister(fileobj); key != nil || !errors.Is(err, selectors.ErrInvalidFileObj) {
					t.Errorf("Unregister of %v: %v, %v, want ErrInvalidFileObj", fileobj, key, err)
				}
			}
			a, _ := socketPair(t)
			unix.Close(a)
			if _, err := l.Register(a, read, func(any, selectors.Event) {}); !errors.Is(err, unix.EBADF) {
				t.Errorf("Register of a closed descriptor: %v, want EBADF", err)
			}
		}},
		testCase{"events", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			var r recorder
			must(l.Register(a, read, r.callback("file")))
			b := readableSocket(t)
			for _, events := range []selectors.Event{0, edge, oneShot, selectors.EventHangup, selectors.EventError, 1 << 30, ^selectors.Event(0)} {
				_, err1 := l.Register(b, events, r.callback("invalid"))
				_, err2 := l.Modify(a, events, r.callback("invalid"))
				_, err3 := l.Replace(a, events, r.callback("invalid"))
				for _, err := range []error{err1, err2, err3} {
					if !errors.Is(err, selectors.ErrInvalidEvents) {
						t.Errorf("events %v: %v, want ErrInvalidEvents", events, err)
					}
				}
			}
			if k.Features&selectors.FeatureEdgeTriggered == 0 {
				if _, err := l.Register(b, read|edge, r.callback("invalid")); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("Register with EdgeTriggered: %v, want ErrUnsupported", err)
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
				t.Errorf("second Register: %v, want ErrRegistered", err)
			}
			if key := must(l.Selector().Key(a)); key != first {
				t.Error("the refused Register changed the key")
			}
			runTurn(t, l)
			r.want(t, "first")
			second := must(l.Replace(a, read, r.callback("second")))
			if key := must(l.Selector().Key(a)); key != second || key == first {
				t.Error("Replace did not replace the key")
			}
			runTurn(t, l)
			r.want(t, "second")
			if key := must(l.Unregister(a)); key != second {
				t.Error("Unregister did not return the current key")
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
					t.Errorf("%v, want ErrNotRegistered", err)
				}
			}
		}},
		testCase{"intervals and delays", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			for _, d := range []time.Duration{0, -1, math.MinInt64} {
				if _, err := l.Every(d, func() {}); !errors.Is(err, eventloop.ErrInvalidInterval) {
					t.Errorf("Every(%v): %v, want ErrInvalidInterval", d, err)
				}
			}
			var r recorder
			must(l.CallLater(-time.Second, r.fn("second")))
			must(l.CallLater(math.MinInt64, r.fn("first")))
			must(l.CallLater(math.MaxInt64, r.fn("never")))
			must(l.Every(math.MaxInt64, r.fn("never")))
			runTurn(t, l)
			r.want(t, "first second")
		}},
		testCase{"nil options", func(t *testing.T, k loopKind) {
			l := k.loop(t, nil, eventloop.WithLogger(nil), eventloop.WithClock(nil), eventloop.WithPanicHandler(nil))
			check(l.CallSoon(func() {}))
			runTurn(t, l)
		}},
	)
	t.Run("unknown backend", func(t *testing.T) {
		t.Setenv(selectors.BackendEnv, "bogus")
		if l, err := eventloop.New(); l != nil || err == nil || !strings.Contains(err.Error(), "bogus") {
			t.Errorf("New with an unknown backend: %v, %v, want an error that names it", l, err)
		}
	})
}
