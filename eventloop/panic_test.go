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

// sources are the ways to have a function called in the next turn, each
// several times in one turn, but in its own place there.
var sources = []struct {
	name string
	add  func(t *testing.T, l *eventloop.Loop, fn func())
}{
	{"soon", func(_ *testing.T, l *eventloop.Loop, fn func()) { ok(l.CallSoon(fn)) }},
	{"file", func(t *testing.T, l *eventloop.Loop, fn func()) {
		must(l.Register(readable(t), read|oneShot, func(any, selectors.Event) { fn() }))
	}},
	{"timer", func(_ *testing.T, l *eventloop.Loop, fn func()) { must(l.CallLater(0, fn)) }},
	{"post", func(_ *testing.T, l *eventloop.Loop, fn func()) { ok(l.Post(fn)) }},
}

func explode() { panic("boom") }

// A panic goes through Run with the stack of the callback. What was to run
// behind it runs next time, whichever place in the turn it was at, and nothing
// is run twice or left out after that.
func TestPanicPropagates(t *testing.T) {
	var rules []rule
	for _, source := range sources {
		for _, at := range []int{0, 1, 2} {
			rules = append(rules, rule{fmt.Sprintf("%s %d of 3", source.name, at+1), func(t *testing.T, k kind) {
				l := k.loop(t)
				ran := 0
				for range 3 {
					source.add(t, l, func() {
						if ran++; ran == at+1 {
							explode()
						}
					})
				}
				v, stack := caught(func() { l.Run(context.Background()) })
				if v != "boom" || !strings.Contains(stack, "explode") || ran != at+1 {
					t.Fatalf("panicked with %v after %d callbacks, at\n%s", v, ran, stack)
				}
				if n := turn(t, l); n != 2-at || ran != 3 {
					t.Fatalf("the next turn ran %d, %d in all; want %d and 3", n, ran, 2-at)
				}
				// And the loop is as good as new.
				var r record
				for _, other := range sources {
					for _, n := range []string{"1", "2"} {
						if other.name == "file" {
							continue // in no particular order
						}
						other.add(t, l, r.note(other.name+n))
					}
				}
				turn(t, l)
				// CallSoon came before there were posts.
				r.want(t, "soon1 soon2 timer1 timer2 post1 post2")
				if n := turn(t, l); n != 0 {
					t.Errorf("%d callbacks too many", n)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}})
		}
	}
	hold(t, rules...)
}

// With a handler the loop stays alive and the rest of the turn still runs in
// that turn.
func TestPanicHandler(t *testing.T) {
	var rules []rule
	for _, source := range sources {
		for _, at := range []int{0, 1, 2} {
			rules = append(rules, rule{fmt.Sprintf("%s %d of 3", source.name, at+1), func(t *testing.T, k kind) {
				var got []eventloop.Panic
				l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) }))
				ran := 0
				for range 3 {
					source.add(t, l, func() {
						if ran++; ran == at+1 {
							explode()
						}
					})
				}
				if n := turn(t, l); n != 3 || ran != 3 {
					t.Fatalf("the turn ran %d, %d in all", n, ran)
				}
				if len(got) != 1 || got[0].Value != "boom" || got[0].Kind != source.name ||
					!strings.Contains(string(got[0].Stack), "explode") || !strings.Contains(got[0].Callback, "eventloop_test.") {
					t.Fatalf("handled: %+v", got)
				}
				var r record
				ok(l.CallSoon(r.note("soon")))
				must(l.CallLater(0, r.note("timer")))
				ok(l.Post(r.note("post")))
				turn(t, l)
				r.want(t, "soon timer post")
			}})
		}
	}
	rules = append(rules, rule{"all panic", func(t *testing.T, k kind) {
		handled := 0
		l := k.loop(t, eventloop.WithPanicHandler(func(eventloop.Panic) { handled++ }))
		for range 2 {
			for _, source := range sources {
				source.add(t, l, explode)
			}
		}
		if n := turn(t, l); n != 8 || handled != 8 {
			t.Errorf("%d ran, %d handled, want 8", n, handled)
		}
	}}, rule{"nil and errors", func(t *testing.T, k kind) {
		var got []any
		l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p.Value) }))
		ok(l.CallSoon(func() { panic(nil) }))
		ok(l.CallSoon(func() { panic(context.Canceled) }))
		ok(l.CallSoon(func() { _ = sources[len(sources):][0] }))
		turn(t, l)
		if len(got) != 3 {
			t.Fatalf("handled: %v", got)
		}
		if _, isNil := got[0].(*runtime.PanicNilError); !isNil || got[1] != context.Canceled {
			t.Errorf("handled: %v", got)
		}
	}}, rule{"handler panics", func(t *testing.T, k kind) {
		l := k.loop(t, eventloop.WithPanicHandler(func(eventloop.Panic) { panic("handler") }))
		var r record
		ok(l.CallSoon(explode))
		ok(l.CallSoon(r.note("rest")))
		if v, _ := caught(func() { l.Run(context.Background()) }); v != "handler" {
			t.Fatalf("panicked with %v", v)
		}
		r.want(t, "")
		turn(t, l)
		r.want(t, "rest")
	}}, rule{"handler stops and closes", func(t *testing.T, k kind) {
		var l *eventloop.Loop
		handle := l.Stop
		l = k.loop(t, eventloop.WithPanicHandler(func(eventloop.Panic) { handle() }))
		var r record
		handle = l.Stop
		ok(l.CallSoon(explode))
		ok(l.CallSoon(r.note("rest")))
		run(t, l)
		r.want(t, "rest")
		handle = func() { l.Close() }
		ok(l.CallSoon(explode))
		ok(l.CallSoon(r.note("rest")))
		if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) {
			t.Error(err)
		}
		r.want(t, "")
	}})
	hold(t, rules...)
}

// What else can go wrong in a callback that panics.
func TestPanicAnd(t *testing.T) {
	hold(t,
		rule{"close", func(t *testing.T, k kind) {
			l := k.loop(t)
			a := readable(t)
			must(l.Register(a, read, func(any, selectors.Event) { t.Error("called after Close") }))
			ok(l.CallSoon(func() {
				l.Close()
				explode()
			}))
			if v, _ := caught(func() { l.Run(context.Background()) }); v != "boom" {
				t.Fatalf("panicked with %v", v)
			}
			if _, err := l.RunOnce(0); !errors.Is(err, eventloop.ErrClosed) {
				t.Error(err)
			}
			if n := l.Selector().Len(); n != 0 {
				t.Errorf("the selector has %d keys yet", n)
			}
		}},
		rule{"remove others", func(t *testing.T, k kind) {
			// Between the panic and the next run the rest can still be removed.
			l := k.loop(t)
			fds := []int{readable(t), readable(t), readable(t)}
			called := 0
			for _, fd := range fds {
				must(l.Register(fd, read, func(any, selectors.Event) {
					called++
					explode()
				}))
			}
			if v, _ := caught(func() { l.RunOnce(0) }); v != "boom" {
				t.Fatalf("panicked with %v", v)
			}
			for _, fd := range fds {
				must(l.Unregister(fd))
			}
			if turn(t, l); called != 1 {
				t.Errorf("%d calls, want 1", called)
			}
		}},
		rule{"is recovered by nobody: Goexit", func(t *testing.T, k kind) {
			for _, opts := range [][]eventloop.Option{nil, {eventloop.WithPanicHandler(func(p eventloop.Panic) { t.Errorf("handled: %v", p.Value) })}} {
				l := k.loop(t, opts...)
				var r record
				ok(l.CallSoon(runtime.Goexit))
				ok(l.CallSoon(r.note("rest")))
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					l.Run(context.Background())
					t.Error("Run has returned")
				}()
				await(t, gone)
				r.want(t, "")
				turn(t, l)
				r.want(t, "rest")
			}
		}},
	)
}
