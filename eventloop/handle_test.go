//go:build unix

package eventloop_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"goselectors/eventloop"
)

// schedulers are the two ways to get a Handle.
var schedulers = []struct {
	name string
	add  func(l *eventloop.Loop, fn func()) (*eventloop.Handle, error)
}{
	{"Schedule", (*eventloop.Loop).Schedule},
	{"PostHandle", (*eventloop.Loop).PostHandle},
}

func TestHandle(t *testing.T) {
	var cases []testCase
	for _, s := range schedulers {
		cases = append(cases,
			testCase{s.name + " cancelled before the turn", func(t *testing.T, k loopKind) {
				l := k.loop(t)
				var r recorder
				must(s.add(l, r.fn("a")))
				h := must(s.add(l, r.fn("b")))
				must(s.add(l, r.fn("c")))
				if !h.Cancel() || h.Cancel() {
					t.Error("Cancel must be true once")
				}
				if n := runTurn(t, l); n != 2 {
					t.Errorf("%d callbacks ran, want 2", n)
				}
				r.want(t, "a c")
				if h.Cancel() || l.Alive() {
					t.Error("the cancelled function is still scheduled")
				}
			}},
			testCase{s.name + " cancelled in the turn", func(t *testing.T, k loopKind) {
				l := k.loop(t)
				var r recorder
				var first, second *eventloop.Handle
				first = must(s.add(l, func() {
					r.add("first")
					if first.Cancel() {
						t.Error("a function cancelled itself")
					}
					if !second.Cancel() {
						t.Error("Cancel of a pending function is false")
					}
				}))
				second = must(s.add(l, r.fn("second")))
				runTurn(t, l)
				r.want(t, "first")
				if first.Cancel() {
					t.Error("Cancel is true after the function has run")
				}
			}},
			testCase{s.name + " panics", func(t *testing.T, k loopKind) {
				var got []eventloop.Panic
				l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) }))
				h := must(s.add(l, panicBoom))
				runTurn(t, l)
				kind := map[string]string{"Schedule": "soon", "PostHandle": "post"}[s.name]
				if len(got) != 1 || got[0].Kind != kind || !strings.HasSuffix(got[0].Callback, ".panicBoom") {
					t.Errorf("the panic handler got %+v", got)
				}
				if h.Cancel() {
					t.Error("Cancel is true after the function has panicked")
				}
			}},
			testCase{s.name + " and Close", func(t *testing.T, k loopKind) {
				l := k.loop(t)
				h := must(s.add(l, func() { t.Error("called after Close") }))
				check(l.Close())
				h.Cancel()
				if h, err := s.add(l, func() {}); h != nil || !errors.Is(err, eventloop.ErrClosed) {
					t.Errorf("after Close: %v, %v, want ErrClosed", h, err)
				}
			}})
	}
	cases = append(cases, testCase{"one order with CallSoon and Post", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		var r recorder
		check(l.Post(r.fn("post1")))
		must(l.PostHandle(r.fn("post2")))
		must(l.Schedule(r.fn("soon1")))
		check(l.CallSoon(r.fn("soon2")))
		must(l.Schedule(r.fn("soon3")))
		check(l.Post(r.fn("post3")))
		must(l.PostHandle(r.fn("post4")))
		runTurn(t, l)
		r.want(t, "post1 post2 soon1 soon2 soon3 post3 post4")
	}}, testCase{"cancelled by other goroutines", func(t *testing.T, k loopKind) {
		// Each function either runs or is cancelled, never both or neither.
		l := k.loop(t)
		ended := startLoop(t, l)
		var ran, cancelled atomic.Int64
		var wg sync.WaitGroup
		const goroutines, each = 4, 500
		for range goroutines {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range each {
					h := must(l.PostHandle(func() { ran.Add(1) }))
					if h.Cancel() {
						cancelled.Add(1)
					}
				}
			}()
		}
		wg.Wait()
		check(l.Post(l.Stop))
		check(receive(t, ended))
		if n := ran.Load() + cancelled.Load(); n != goroutines*each {
			t.Errorf("%d ran and %d were cancelled, want %d in all", ran.Load(), cancelled.Load(), goroutines*each)
		}
	}})
	forEachLoopKind(t, cases...)
}
