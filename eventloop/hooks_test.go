//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

func TestTurnHooks(t *testing.T) {
	forEachLoopKind(t,
		testCase{"order", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			must(l.OnTurn(r.fn("before1"), r.fn("after1")))
			must(l.OnTurn(r.fn("before2"), nil))
			third := must(l.OnTurn(nil, r.fn("after3")))
			must(l.Register(readableSocket(t), read|oneShot, r.callback("file")))
			check(l.CallSoon(r.fn("soon")))
			must(l.CallLater(0, r.fn("timer")))
			check(l.Post(r.fn("post")))
			if n := runTurn(t, l); n != 4 {
				t.Errorf("%d callbacks ran, want 4: hooks do not count", n)
			}
			// The call of Post came after that of CallSoon.
			r.want(t, "before1 before2 soon file timer post after1 after3")
			if !third.Stop() || third.Stop() {
				t.Error("Stop must be true once")
			}
			runTurn(t, l)
			r.want(t, "before1 before2 after1")
		}},
		testCase{"before keeps the turn from waiting", func(t *testing.T, k loopKind) {
			for name, schedule := range map[string]func(l *eventloop.Loop, fn func()) error{
				"CallSoon":  (*eventloop.Loop).CallSoon,
				"Schedule":  func(l *eventloop.Loop, fn func()) error { _, err := l.Schedule(fn); return err },
				"Post":      (*eventloop.Loop).Post,
				"CallLater": func(l *eventloop.Loop, fn func()) error { _, err := l.CallLater(0, fn); return err },
				"Stop":      func(l *eventloop.Loop, fn func()) error { l.Stop(); fn(); return nil },
			} {
				l, s := k.loopWithSpy(t)
				var r recorder
				var h *eventloop.TurnHook
				h = must(l.OnTurn(func() {
					check(schedule(l, r.fn(name)))
					h.Stop()
				}, nil))
				if _, err := l.RunOnce(-1); err != nil {
					t.Fatal(err)
				}
				if r.want(t, name); len(s.timeouts) != 1 || s.timeouts[0] != 0 {
					t.Errorf("%s: the timeouts of Select were %v, want 0", name, s.timeouts)
				}
				l.Close()
			}
		}},
		testCase{"what before changes is found in the turn", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			var r recorder
			var h *eventloop.TurnHook
			h = must(l.OnTurn(func() {
				h.Stop()
				must(l.Register(a, read, r.callback("file")))
				check(l.AddReader(readableSocket(t), r.callback("reader")))
			}, func() { t.Error("after was called though the hook was stopped") }))
			if n := runTurn(t, l); n != 2 || r.count("file") != 1 || r.count("reader") != 1 {
				t.Errorf("called %v", r.log)
			}
		}},
		testCase{"after schedules for the next turn", func(t *testing.T, k loopKind) {
			l, s := k.loopWithSpy(t)
			var r recorder
			h := must(l.OnTurn(nil, func() { check(l.CallSoon(r.fn("soon"))) }))
			runTurn(t, l)
			r.want(t, "")
			h.Stop()
			if _, err := l.RunOnce(-1); err != nil {
				t.Fatal(err)
			}
			if r.want(t, "soon"); s.timeouts[1] != 0 {
				t.Errorf("the second turn waited for %v", s.timeouts[1])
			}
		}},
		testCase{"hooks that change hooks", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			var first, second, third *eventloop.TurnHook
			first = must(l.OnTurn(func() {
				r.add("before1")
				first.Stop()
				second.Stop()
				third = must(l.OnTurn(r.fn("before3"), r.fn("after3")))
			}, r.fn("after1")))
			second = must(l.OnTurn(r.fn("before2"), r.fn("after2")))
			check(l.CallSoon(func() { must(l.OnTurn(r.fn("before4"), r.fn("after4"))) }))
			runTurn(t, l)
			r.want(t, "before1")
			runTurn(t, l)
			r.want(t, "before3 before4 after3 after4")
			check(l.CallSoon(func() { third.Stop() }))
			runTurn(t, l)
			r.want(t, "before3 before4 after4")
		}},
		testCase{"Alive", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			must(l.OnTurn(func() {
				if l.Alive() {
					t.Error("a hook keeps the loop alive")
				}
			}, nil))
			must(l.OnTurn(nil, func() {
				if l.Alive() {
					t.Error("a hook keeps the loop alive")
				}
			}))
			if l.Alive() {
				t.Error("a hook keeps the loop alive")
			}
			runTurn(t, l)
		}},
		testCase{"Close in a hook", func(t *testing.T, k loopKind) {
			for _, at := range []string{"before1", "before2", "after1"} {
				l := k.loop(t)
				var r recorder
				add := func(before, after string) {
					do := func(name string) func() {
						return func() {
							r.add(name)
							if name == at {
								check(l.Close())
							}
						}
					}
					must(l.OnTurn(do(before), do(after)))
				}
				add("before1", "after1")
				add("before2", "after2")
				check(l.CallSoon(r.fn("soon")))
				if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) {
					t.Errorf("Run: %v, want ErrClosed", err)
				}
				r.want(t, map[string]string{"before1": "before1", "before2": "before1 before2", "after1": "before1 before2 soon after1"}[at])
			}
		}},
		testCase{"error of Select", func(t *testing.T, k loopKind) {
			l, s := k.loopWithSpy(t)
			var r recorder
			must(l.OnTurn(r.fn("before"), r.fn("after")))
			check(s.Selector.Close())
			if _, err := l.RunOnce(0); !errors.Is(err, selectors.ErrClosed) {
				t.Errorf("RunOnce: %v, want the selector's error", err)
			}
			r.want(t, "before after")
		}},
		testCase{"observed", func(t *testing.T, k loopKind) {
			var s logBuffer
			l := k.loop(t, eventloop.WithSlowCallback(1), eventloop.WithLogger(s.logger()))
			_, from := must(l.OnTurn(quickTask, nil)), currentLine()
			runTurn(t, l)
			if lines := s.lines(); len(lines) != 1 || !strings.Contains(lines[0], "kind=hook") ||
				!strings.Contains(lines[0], "quickTask") || !strings.Contains(lines[0], "from="+from) {
				t.Errorf("logged %v", lines)
			}
		}},
	)
}

// Now is read anew in before, and once more after Select.
func TestTurnHookTime(t *testing.T) {
	l := newTestLoop(t)
	var times []time.Duration
	must(l.OnTurn(func() {
		l.Advance(sec)
		times = append(times, l.Now())
	}, func() { times = append(times, l.Now()) }))
	l.callLater(3*sec, func() {})
	l.callLater(6*sec, l.Stop)
	if err := l.Run(context.Background()); err != nil { // two turns
		t.Fatal(err)
	}
	want := []time.Duration{sec, 3 * sec, 4 * sec, 6 * sec}
	for i := range want {
		if i >= len(times) || times[i] != want[i] {
			t.Fatalf("the hooks have seen the times %v, want %v", times, want)
		}
	}
}

// A panic or Goexit in a hook leaves the others to be called, each once.
func TestPanicInTurnHook(t *testing.T) {
	var cases []testCase
	for _, at := range []string{"before1", "before2", "after1", "after2", "soon"} {
		cases = append(cases, testCase{"at " + at, func(t *testing.T, k loopKind) {
			const all = "before1 before2 soon after1 after2"
			for _, end := range []func(){panicBoom, runtime.Goexit} {
				l := k.loop(t)
				var r recorder
				armed := true
				do := func(name string) func() {
					return func() {
						if r.add(name); name == at && armed {
							armed = false
							end()
						}
					}
				}
				must(l.OnTurn(do("before1"), do("after1")))
				must(l.OnTurn(do("before2"), do("after2")))
				check(l.CallSoon(do("soon")))
				done := make(chan struct{})
				go func() { // a goroutine that Goexit may end
					defer close(done)
					catchPanic(func() { l.RunOnce(0) })
				}()
				receive(t, done)
				if at != "after2" { // nothing is left of the turn
					runTurn(t, l)
				}
				r.want(t, all)
				if runTurn(t, l); r.count("before1") != 1 || r.count("soon") != 0 || r.count("after2") != 1 {
					t.Errorf("the next turn has called %v", r.log)
				}
				l.Close()
			}
			var got []eventloop.Panic
			l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) }))
			var r recorder
			do := func(name string) func() {
				return func() {
					if r.add(name); name == at {
						panicBoom()
					}
				}
			}
			must(l.OnTurn(do("before1"), do("after1")))
			must(l.OnTurn(do("before2"), do("after2")))
			check(l.CallSoon(do("soon")))
			runTurn(t, l)
			r.want(t, all)
			kind := "hook"
			if at == "soon" {
				kind = at
			}
			if len(got) != 1 || got[0].Kind != kind || got[0].Value != "boom" {
				t.Errorf("the panic handler got %+v", got)
			}
		}})
	}
	forEachLoopKind(t, cases...)
}
