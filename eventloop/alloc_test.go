//go:build unix

package eventloop_test

import (
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A turn allocates nothing: bytes that go round in a ring of pipes, functions
// that schedule themselves, a timer that repeats.
func TestNoAllocations(t *testing.T) {
	forEachLoopKind(t, testCase{"ring", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		const pipes, active = 50, 10
		var readers, writers [pipes]int
		for i := range pipes {
			readers[i], writers[i] = pipe(t)
		}
		var buf [1]byte
		events := 0
		for i, fd := range readers {
			to := any(writers[(i+1)%pipes]) // to make an interface of a number allocates
			must(l.Register(fd, read, func(fileobj any, _ selectors.Event) {
				selectors.TryRead(fileobj, buf[:])
				selectors.TryWrite(to, buf[:])
				events++
			}))
		}
		for i := range active {
			writeTo(t, writers[i*pipes/active], "x")
		}
		once := func() {
			if _, err := l.RunOnce(-1); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			once()
		}
		before := events
		if n := testing.AllocsPerRun(100, once); n != 0 {
			t.Errorf("%v allocations a turn", n)
		}
		if events -= before; events < 100 {
			t.Errorf("only %d events", events)
		}
	}}, testCase{"soon, post, every", func(t *testing.T, k loopKind) {
		var at time.Duration
		l := k.loop(t, eventloop.WithClock(func() time.Duration { return at }))
		var n [3]int
		var soon, post func()
		soon = func() { n[0]++; check(l.CallSoon(soon)) }
		post = func() { n[1]++; check(l.Post(post)) }
		check(l.CallSoon(soon))
		check(l.Post(post))
		must(l.Every(time.Second, func() { n[2]++ }))
		once := func() {
			at += time.Second
			if _, err := l.RunOnce(-1); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			once()
		}
		if allocs := testing.AllocsPerRun(100, once); allocs != 0 {
			t.Errorf("%v allocations a turn", allocs)
		}
		if n[0] != n[1] || n[0] != n[2] || n[0] < 110 {
			t.Errorf("calls: %v", n)
		}
	}})
}
