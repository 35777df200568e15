//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// sources are the ways to schedule a function for the next turn. Each has its
// own place in the order of a turn.
var sources = []struct {
	name string
	add  func(t *testing.T, l *eventloop.Loop, fn func())
}{
	{"soon", func(_ *testing.T, l *eventloop.Loop, fn func()) { check(l.CallSoon(fn)) }},
	{"file", func(t *testing.T, l *eventloop.Loop, fn func()) {
		must(l.Register(readableSocket(t), read|oneShot, func(any, selectors.Event) { fn() }))
	}},
	{"timer", func(_ *testing.T, l *eventloop.Loop, fn func()) { must(l.CallLater(0, fn)) }},
	{"post", func(_ *testing.T, l *eventloop.Loop, fn func()) { check(l.Post(fn)) }},
}

func panicBoom() { panic("boom") }

// A panic propagates out of Run with the stack of the callback. The rest of the
// turn runs in the next turn, wherever in the turn the panic was. No callback
// runs twice and none is skipped.
func TestPanicPropagates(t *testing.T) {
	var cases []testCase
	for _, source := range sources {
		for _, at := range []int{0, 1, 2} {
			cases = append(cases, testCase{fmt.Sprintf("%s %d of 3", source.name, at+1), func(t *testing.T, k loopKind) {
				l := k.loop(t)
				ran := 0
				for range 3 {
					source.add(t, l, func() {
						if ran++; ran == at+1 {
							panicBoom()
						}
					})
				}
				v, stack := catchPanic(func() { l.Run(context.Background()) })
				if v != "boom" || !strings.Contains(stack, "panicBoom") || ran != at+1 {
					t.Fatalf("panicked with %v after %d callbacks, at\n%s", v, ran, stack)
				}
				if n := runTurn(t, l); n != 2-at || ran != 3 {
					t.Fatalf("the next turn ran %d callbacks, %d in all; want %d and 3", n, ran, 2-at)
				}
				// The loop still works.
				var r recorder
				for _, other := range sources {
					for _, n := range []string{"1", "2"} {
						if other.name == "file" {
							continue // in no particular order
						}
						other.add(t, l, r.fn(other.name+n))
					}
				}
				runTurn(t, l)
				// A call of CallSoon comes before posts.
				r.want(t, "soon1 soon2 timer1 timer2 post1 post2")
				if n := runTurn(t, l); n != 0 {
					t.Errorf("a further turn ran %d callbacks, want none", n)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}})
		}
	}
	forEachLoopKind(t, cases...)
}

// With a handler the loop stays alive and the rest of the turn still runs in
// that turn.
func TestPanicHandler(t *testing.T) {
	var cases []testCase
	for _, source := range sources {
		for _, at := range []int{0, 1, 2} {
			cases = append(cases, testCase{fmt.Sprintf("%s %d of 3", source.name, at+1), func(t *testing.T, k loopKind) {
				var got []eventloop.Panic
				l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) }))
				ran := 0
				for range 3 {
					source.add(t, l, func() {
						if ran++; ran == at+1 {
							panicBoom()
						}
					})
				}
				if n := runTurn(t, l); n != 3 || ran != 3 {
					t.Fatalf("the turn ran %d callbacks, %d in all", n, ran)
				}
				if len(got) != 1 || got[0].Value != "boom" || got[0].Kind != source.name ||
					!strings.Contains(string(got[0].Stack), "panicBoom") || !strings.Contains(got[0].Callback, "eventloop_test.") {
					t.Fatalf("the panic handler got %+v", got)
				}
				var r recorder
				check(l.CallSoon(r.fn("soon")))
				must(l.CallLater(0, r.fn("timer")))
				check(l.Post(r.fn("post")))
				runTurn(t, l)
				r.want(t, "soon timer post")
			}})
		}
	}
	cases = append(cases, testCase{"all panic", func(t *testing.T, k loopKind) {
		handled := 0
		l := k.loop(t, eventloop.WithPanicHandler(func(eventloop.Panic) { handled++ }))
		for range 2 {
			for _, source := range sources {
				source.add(t, l, panicBoom)
			}
		}
		if n := runTurn(t, l); n != 8 || handled != 8 {
			t.Errorf("%d callbacks ran and %d panics were handled, want 8 each", n, handled)
		}
	}}, testCase{"nil and errors", func(t *testing.T, k loopKind) {
		var got []any
		l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p.Value) }))
		check(l.CallSoon(func() { panic(nil) }))
		check(l.CallSoon(func() { panic(context.Canceled) }))
		check(l.CallSoon(func() { _ = sources[len(sources):][0] }))
		runTurn(t, l)
		if len(got) != 3 {
			t.Fatalf("the panic handler got %v", got)
		}
		if _, isNil := got[0].(*runtime.PanicNilError); !isNil || got[1] != context.Canceled {
			t.Errorf("the panic handler got %v", got)
		}
	}}, testCase{"handler panics", func(t *testing.T, k loopKind) {
		l := k.loop(t, eventloop.WithPanicHandler(func(eventloop.Panic) { panic("handler") }))
		var r recorder
		check(l.CallSoon(panicBoom))
		check(l.CallSoon(r.fn("rest")))
		if v, _ := catchPanic(func() { l.Run(context.Background()) }); v != "handler" {
			t.Fatalf("panicked with %v", v)
		}
		r.want(t, "")
		runTurn(t, l)
		r.want(t, "rest")
	}}, testCase{"handler stops and closes", func(t *testing.T, k loopKind) {
		var l *eventloop.Loop
		handle := l.Stop
		l = k.loop(t, eventloop.WithPanicHandler(func(eventloop.Panic) { handle() }))
		var r recorder
		handle = l.Stop
		check(l.CallSoon(panicBoom))
		check(l.CallSoon(r.fn("rest")))
		runLoop(t, l)
		r.want(t, "rest")
		handle = func() { l.Close() }
		check(l.CallSoon(panicBoom))
		check(l.CallSoon(r.fn("rest")))
		if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) {
			t.Error(err)
		}
		r.want(t, "")
	}})
	forEachLoopKind(t, cases...)
}

// A panic together with Close, with Unregister, and Goexit in place of a panic.
func TestPanicCombinations(t *testing.T) {
	forEachLoopKind(t,
		testCase{"close", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			must(l.Register(a, read, func(any, selectors.Event) { t.Error("called after Close") }))
			check(l.CallSoon(func() {
				l.Close()
				panicBoom()
			}))
			if v, _ := catchPanic(func() { l.Run(context.Background()) }); v != "boom" {
				t.Fatalf("panicked with %v", v)
			}
			if _, err := l.RunOnce(0); !errors.Is(err, eventloop.ErrClosed) {
				t.Error(err)
			}
			if n := l.Selector().Len(); n != 0 {
				t.Errorf("the selector still has %d keys", n)
			}
		}},
		testCase{"remove others", func(t *testing.T, k loopKind) {
			// Between the panic and the next run the rest can still be removed.
			l := k.loop(t)
			fds := []int{readableSocket(t), readableSocket(t), readableSocket(t)}
			called := 0
			for _, fd := range fds {
				must(l.Register(fd, read, func(any, selectors.Event) {
					called++
					panicBoom()
				}))
			}
			if v, _ := catchPanic(func() { l.RunOnce(0) }); v != "boom" {
				t.Fatalf("panicked with %v", v)
			}
			for _, fd := range fds {
				must(l.Unregister(fd))
			}
			if runTurn(t, l); called != 1 {
				t.Errorf("%d calls, want 1", called)
			}
		}},
		testCase{"Goexit", func(t *testing.T, k loopKind) {
			for _, opts := range [][]eventloop.Option{nil, {eventloop.WithPanicHandler(func(p eventloop.Panic) { t.Errorf("the panic handler got %v", p.Value) })}} {
				l := k.loop(t, opts...)
				var r recorder
				check(l.CallSoon(runtime.Goexit))
				check(l.CallSoon(r.fn("rest")))
				exited := make(chan struct{})
				go func() {
					defer close(exited)
					l.Run(context.Background())
					t.Error("Run has returned")
				}()
				receive(t, exited)
				r.want(t, "")
				runTurn(t, l)
				r.want(t, "rest")
			}
		}},
	)
}
