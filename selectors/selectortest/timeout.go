package selectortest

import (
	"math"
	"time"

	"goselectors/selectors"
)

// timeoutRules check how long Select waits with no file registered.
var timeoutRules = []rule{
	{"ZeroReturnsImmediately", 0, func(t *T) {
		start := time.Now()
		for range 100 {
			t.wantBatch(t.mustSelect(0))
		}
		if elapsed := time.Since(start); elapsed > reportTimeout {
			t.Errorf("100 calls of Select(0) took %v, want at most %v", elapsed, reportTimeout)
		}
	}},

	{"NotBeforeTimeout", 0, func(t *T) {
		for _, c := range []struct {
			timeout time.Duration
			times   int
		}{
			{1, 10},
			{time.Microsecond, 10},
			{100 * time.Microsecond, 10},
			{999 * time.Microsecond, 3},
			{1001 * time.Microsecond, 3},
			{3100 * time.Microsecond, 3},
			// These are rounded wrongly if milliseconds are computed from
			// floating-point seconds.
			{9 * time.Millisecond, 1},
			{13 * time.Millisecond, 1},
			{18 * time.Millisecond, 1},
			{26 * time.Millisecond, 1},
		} {
			for range c.times {
				t.wantTimeout(t.s, c.timeout)
			}
		}
	}},

	{"ShortTimeoutEnds", 0, func(t *T) {
		shortest := time.Duration(math.MaxInt64)
		for range 10 {
			start := time.Now()
			t.wantBatch(t.mustSelect(100 * time.Microsecond))
			shortest = min(shortest, time.Since(start))
		}
		if shortest > 250*time.Millisecond {
			t.Errorf("the shortest of 10 calls of Select(100µs) took %v, want at most 250ms", shortest)
		}
	}},

	{"NegativeWaitsForWake", 0, func(t *T) { wantUntilWake(t, -1, -time.Hour, math.MinInt64) }},
	{"HugeWaitsForWake", 0, func(t *T) { wantUntilWake(t, math.MaxInt64, math.MaxInt64-1, 1<<62, 290*365*24*time.Hour) }},

	{"SelectIntoReturnsDst", 0, func(t *T) {
		dst := []selectors.Ready{{Key: &selectors.SelectorKey{FD: 1}, Events: selectors.EventRead}}
		for _, timeout := range []time.Duration{0, time.Millisecond} {
			batch, err := t.s.SelectInto(dst, timeout)
			t.noError(err, "SelectInto")
			if len(batch) != 1 || batch[0] != dst[0] {
				t.Errorf("batch of SelectInto with nothing ready: %v, want dst: %v", formatBatch(batch), formatBatch(dst))
			}
		}
	}},
}

// wantUntilWake checks that Select waits until Wake for each of the timeouts.
func wantUntilWake(t *T, timeouts ...time.Duration) {
	for _, timeout := range timeouts {
		pending := t.startSelect(t.s, timeout)
		t.wantBlocked(pending)
		t.noError(t.s.Wake(), "Wake")
		t.wantResult(pending)
	}
}
