//go:build unix

package eventloop_test

import (
	"context"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// checkMaxTurns runs the loop for a while and fails if it makes more than limit
// turns. A loop that has nothing to do must sleep.
func checkMaxTurns(t *testing.T, l *eventloop.Loop, limit uint64) {
	t.Helper()
	start := l.Stats().Turns
	ctx, cancel := context.WithTimeout(context.Background(), 5*quietPeriod)
	defer cancel()
	l.Run(ctx)
	if turns := l.Stats().Turns - start; turns > limit {
		t.Errorf("the loop made %d turns, want at most %d", turns, limit)
	}
}

// A descriptor that is closed while it is registered is reported at most once.
// Other callbacks still run, and the loop does not spin.
func TestLibeventClosedFD(t *testing.T) {
	forEachLoopKind(t, testCase{"no spin", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		closed, other := readableSocket(t), readableSocket(t)
		closedCalls, otherCalls := 0, 0
		check(unix.Close(closed))
		// Register a descriptor while it is open, then close it.
		reopened := readableSocket(t)
		check(dup2(reopened, closed))
		check(unix.Close(reopened))
		must(l.Register(closed, read, func(_ any, events selectors.Event) {
			if closedCalls++; events != selectors.EventError|selectors.EventInvalid {
				t.Errorf("callback called with events %v", events)
			}
		}))
		must(l.Register(other, read|oneShot, func(any, selectors.Event) { otherCalls++ }))
		check(unix.Close(closed))
		for range 5 {
			runTurn(t, l)
		}
		want := 0
		if k.Features&selectors.FeatureInvalid != 0 {
			want = 1
		}
		if closedCalls != want || otherCalls != 1 {
			t.Errorf("%d calls for the closed descriptor, want %d; %d for the other, want 1", closedCalls, want, otherCalls)
		}
		checkMaxTurns(t, l, 3)
		must(l.Unregister(closed))
	}})
}

// After a descriptor is closed and unregistered, events of its file are not
// reported, even if a duplicate keeps the file open.
func TestLibuvClosedFDEvents(t *testing.T) {
	forEachLoopKind(t, testCase{"duplicate", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		prepareFD(t, must(unix.Dup(a)))
		must(l.Register(a, read, func(any, selectors.Event) { t.Error("callback called for a closed descriptor") }))
		check(unix.Close(a))
		must(l.Unregister(a))
		writeTo(t, b, "x")
		for range 3 {
			runTurn(t, l)
		}
		// The same descriptor number now refers to a new file.
		newFile, peer := socketPair(t)
		check(dup2(newFile, a))
		var r recorder
		must(l.Register(a, read, func(any, selectors.Event) { r.add(readFrom(t, a)) }))
		runTurn(t, l)
		r.want(t, "")
		writeTo(t, peer, "new")
		runTurn(t, l)
		r.want(t, "new")
		checkMaxTurns(t, l, 3)
	}})
}

// A loop that runs while Alive ends when its last registration and its last
// timer are removed.
func TestLibeventDelNotify(t *testing.T) {
	forEachLoopKind(t, testCase{"last registration", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, _ := socketPair(t)
		must(l.Register(a, read, func(any, selectors.Event) { t.Error("callback called") }))
		timer := must(l.CallLater(time.Hour, func() { t.Error("callback called") }))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for l.Alive() {
				must(l.RunOnce(-1))
			}
		}()
		time.Sleep(quietPeriod)
		check(l.Post(func() { must(l.Unregister(a)) }))
		check(l.Post(func() { timer.Stop() }))
		receive(t, ended)
	}})
}

// Repeated registration and removal in a callback leave no state that keeps the
// loop busy.
func TestLibeventChangelist(t *testing.T) {
	forEachLoopKind(t, testCase{"in a callback", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := readableSocket(t), readableSocket(t)
		unexpected := func(any, selectors.Event) { t.Error("callback called") }
		must(l.Register(a, read, func(any, selectors.Event) {
			for range 3 {
				must(l.Register(b, read, unexpected))
				must(l.Modify(b, write, unexpected))
				must(l.Unregister(b))
			}
			must(l.Unregister(a))
		}))
		checkMaxTurns(t, l, 4)
	}})
}
