package eventloop_test

import (
	"math"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/looptest"
)

// The tests here are on a virtual clock: none of them sleeps, and what they say
// of time is exact.

// virtual makes a loop on a virtual clock for a test.
func virtual(t testing.TB, opts ...eventloop.Option) (*eventloop.Loop, *looptest.Clock, *looptest.Selector) {
	t.Helper()
	l, clock, sel := looptest.New(opts...)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, clock, sel
}

// Deadlines further in the past than a Duration can tell.
func TestTimerFarBehind(t *testing.T) {
	l, clock, _ := virtual(t)
	clock.Advance(time.Hour)
	var calls []time.Duration
	every, err := l.Every(time.Minute, func() { calls = append(calls, l.Now()) })
	if err != nil {
		t.Fatal(err)
	}
	every.Reset(math.MinInt64)
	if _, err := l.CallAt(math.MinInt64, func() {}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.RunOnce(-1); err != nil {
			t.Fatal(err)
		}
	}
	if len(calls) != 3 || calls[0] != time.Hour || calls[1] <= time.Hour || calls[1] > time.Hour+time.Minute || calls[2] != calls[1]+time.Minute {
		t.Errorf("called at %v, want at 1h, at most a minute later and a minute after that", calls)
	}
	if s := l.Stats(); s.LatestTimer != math.MaxInt64 || s.LateTimers != 2 {
		t.Errorf("%d were late, by %v at most; want 2, by the longest there is", s.LateTimers, s.LatestTimer)
	}
}
