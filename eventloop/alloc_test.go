//go:build unix

package eventloop_test

import (
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// TestNoAllocations checks that a turn does not allocate, whether its callbacks
// are those of files, functions that schedule themselves again, or a repeating
// timer.
func TestNoAllocations(t *testing.T) {
	forEachLoopKind(t, testCase{"ring of pipes", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		const pipes, active = 50, 10
		var readers, writers [pipes]int
		for i := range pipes {
			readers[i], writers[i] = pipe(t)
		}
		var buf [1]byte
		events := 0
		for i, fd := range readers {
			nextWriter := any(writers[(i+1)%pipes]) // converted once, because the conversion allocates
			must(l.Register(fd, read, func(fileobj any, _ selectors.Event) {
				selectors.TryRead(fileobj, buf[:])
				selectors.TryWrite(nextWriter, buf[:])
				events++
			}))
		}
		for i := range active {
			writeTo(t, writers[i*pipes/active], "x")
		}
		turn := func() {
			if _, err := l.RunOnce(-1); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			turn()
		}
		eventsBefore := events
		if allocs := testing.AllocsPerRun(100, turn); allocs != 0 {
			t.Errorf("%v allocations per turn, want 0", allocs)
		}
		if n := events - eventsBefore; n < 100 {
			t.Errorf("%d events during the measurement, want at least 100", n)
		}
	}}, testCase{"CallSoon, Post and Every", func(t *testing.T, k loopKind) {
		var now time.Duration
		l := k.loop(t, eventloop.WithClock(func() time.Duration { return now }))
		var soonCalls, postCalls, timerCalls int
		var soon, post func()
		soon = func() { soonCalls++; check(l.CallSoon(soon)) }
		post = func() { postCalls++; check(l.Post(post)) }
		check(l.CallSoon(soon))
		check(l.Post(post))
		must(l.Every(time.Second, func() { timerCalls++ }))
		turn := func() {
			now += time.Second
			if _, err := l.RunOnce(-1); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			turn()
		}
		if allocs := testing.AllocsPerRun(100, turn); allocs != 0 {
			t.Errorf("%v allocations per turn, want 0", allocs)
		}
		if soonCalls != postCalls || soonCalls != timerCalls || soonCalls < 110 {
			t.Errorf("%d calls by CallSoon, %d by Post, %d by Every; want the same number, at least 110", soonCalls, postCalls, timerCalls)
		}
	}})
}
