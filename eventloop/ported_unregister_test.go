//go:build unix

package eventloop_test

import (
	"context"
	"testing"
	"time"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A file that is closed while it is registered is told once at most, keeps
// nobody from being called, and does not make the loop spin.
func TestLibeventClosedFD(t *testing.T) {
	forEachLoopKind(t, testCase{"no spin", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		closed, other := readableSocket(t), readableSocket(t)
		calls, others := 0, 0
		check(unix.Close(closed))
		// Registered as it still was open, and then closed.
		reopened := readableSocket(t)
		check(dup2(reopened, closed))
		check(unix.Close(reopened))
		must(l.Register(closed, read, func(_ any, events selectors.Event) {
			if calls++; events != selectors.EventError|selectors.EventInvalid {
				t.Errorf("called for %v", events)
			}
		}))
		must(l.Register(other, read|oneShot, func(any, selectors.Event) { others++ }))
		check(unix.Close(closed))
		for range 5 {
			runTurn(t, l)
		}
		want := 0
		if k.Features&selectors.FeatureInvalid != 0 {
			want = 1
		}
		if calls != want || others != 1 {
			t.Errorf("%d calls for the closed file, want %d; %d for the other", calls, want, others)
		}
		before := l.Stats().Turns
		ctx, cancel := context.WithTimeout(context.Background(), 5*quietPeriod)
		defer cancel()
		l.Run(ctx)
		if turns := l.Stats().Turns - before; turns > 3 {
			t.Errorf("%d turns with nothing to do", turns)
		}
		must(l.Unregister(closed))
	}})
}

// What happens to a closed file that lives on in a duplicate never surfaces.
func TestLibuvClosedFDEvents(t *testing.T) {
	forEachLoopKind(t, testCase{"duplicate", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		prepareFD(t, must(unix.Dup(a)))
		must(l.Register(a, read, func(any, selectors.Event) { t.Error("called for a closed file") }))
		check(unix.Close(a))
		must(l.Unregister(a))
		writeTo(t, b, "x")
		for range 3 {
			runTurn(t, l)
		}
		// Its number with a new file is that file's.
		newFile, peer := socketPair(t)
		check(dup2(newFile, a))
		var r recorder
		must(l.Register(a, read, func(any, selectors.Event) { r.add(readFrom(t, a)) }))
		runTurn(t, l)
		r.want(t, "")
		writeTo(t, peer, "new")
		runTurn(t, l)
		r.want(t, "new")
		before := l.Stats().Turns
		ctx, cancel := context.WithTimeout(context.Background(), 5*quietPeriod)
		defer cancel()
		l.Run(ctx)
		if turns := l.Stats().Turns - before; turns > 3 {
			t.Errorf("%d turns with nothing to do", turns)
		}
	}})
}

// Taking the last thing away lets a loop that runs while it is alive end.
func TestLibeventDelNotify(t *testing.T) {
	forEachLoopKind(t, testCase{"the last one", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, _ := socketPair(t)
		must(l.Register(a, read, func(any, selectors.Event) { t.Error("called") }))
		timer := must(l.CallLater(time.Hour, func() { t.Error("called") }))
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

// Registering and unregistering over and over in a callback leaves nothing
// behind that keeps the loop busy.
func TestLibeventChangelist(t *testing.T) {
	forEachLoopKind(t, testCase{"in a callback", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := readableSocket(t), readableSocket(t)
		nobody := func(any, selectors.Event) { t.Error("called") }
		must(l.Register(a, read, func(any, selectors.Event) {
			for range 3 {
				must(l.Register(b, read, nobody))
				must(l.Modify(b, write, nobody))
				must(l.Unregister(b))
			}
			must(l.Unregister(a))
		}))
		before := l.Stats().Turns
		ctx, cancel := context.WithTimeout(context.Background(), 5*quietPeriod)
		defer cancel()
		l.Run(ctx)
		if turns := l.Stats().Turns - before; turns > 4 {
			t.Errorf("%d turns with nothing to do", turns)
		}
	}})
}
