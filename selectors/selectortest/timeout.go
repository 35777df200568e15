package selectortest

import (
	"math"
	"testing"
	"time"

	"goselectors/selectors"
)

// timeoutRules check how long Select waits with no file registered.
var timeoutRules = []rule{
	{"ZeroReturnsImmediately", 0, func(t *T) {
		from := time.Now()
		for range 100 {
			t.wantBatch(t.mustSelect(0))
		}
		if took := time.Since(from); took > reportTimeout {
			t.Errorf("100 calls of Select(0) took %v, want at most %v", took, reportTimeout)
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
		best := time.Duration(math.MaxInt64)
		for range 10 {
			from := time.Now()
			t.wantBatch(t.mustSelect(100 * time.Microsecond))
			best = min(best, time.Since(from))
		}
		if best > 250*time.Millisecond {
			t.Errorf("the shortest of 10 calls of Select(100µs) took %v, want at most 250ms", best)
		}
	}},

	{"NegativeWaitsForWake", 0, func(t *T) { wantUntilWake(t, -1, -time.Hour, math.MinInt64) }},
	{"HugeWaitsForWake", 0, func(t *T) { wantUntilWake(t, math.MaxInt64, math.MaxInt64-1, 1<<62, 290*365*24*time.Hour) }},

	{"SelectIntoReturnsDst", 0, func(t *T) {
		given := []selectors.Ready{{Key: &selectors.SelectorKey{FD: 1}, Events: selectors.EventRead}}
		for _, timeout := range []time.Duration{0, time.Millisecond} {
			batch, err := t.s.SelectInto(given, timeout)
			t.noError(err, "SelectInto")
			if len(batch) != 1 || batch[0] != given[0] {
				t.Errorf("batch of SelectInto with nothing ready: %v, want dst: %v", formatBatch(batch), formatBatch(given))
			}
		}
	}},

	{"SleepAllocatesNothing", 0, func(t *T) {
		t.skipIfAllocating()
		buf := make([]selectors.Ready, 0, 1)
		for _, timeout := range []time.Duration{0, 50 * time.Microsecond} {
			if n := testing.AllocsPerRun(20, func() { t.s.SelectInto(buf, timeout) }); n != 0 {
				t.Errorf("SelectInto(%v): %v allocations, want 0", timeout, n)
			}
		}
	}},
}

// wantUntilWake checks that Select waits until Wake for each of the timeouts.
func wantUntilWake(t *T, timeouts ...time.Duration) {
	for _, timeout := range timeouts {
		w := t.startSelect(t.s, timeout)
		t.wantBlocked(w)
		t.noError(t.s.Wake(), "Wake")
		t.wantResult(w)
	}
}
