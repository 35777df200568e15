package selectortest

import (
	"errors"
	"sync/atomic"
	"time"
)

// wakeRules check Wake with no file registered.
var wakeRules = []rule{
	{"BeforeSelect", 0, func(t *T) {
		t.noError(t.s.Wake(), "Wake")
		t.wantBatch(t.mustSelect(-1))
		t.wantTimeout(t.s, 2*time.Millisecond)
	}},

	{"DuringSelect", 0, func(t *T) {
		for range 10 {
			pending := t.startSelect(t.s, -1)
			t.noError(t.s.Wake(), "Wake")
			t.wantResult(pending)
		}
		t.wantTimeout(t.s, 2*time.Millisecond)
	}},

	{"WakesBeforeSelectCoalesce", 0, func(t *T) {
		// More than the capacity of a pipe.
		for range 100_000 {
			t.noError(t.s.Wake(), "Wake")
		}
		t.wantBatch(t.mustSelect(-1))
		t.wantTimeout(t.s, 2*time.Millisecond)
	}},

	{"WakesDuringSelectCoalesce", 0, func(t *T) {
		pending := t.startSelect(t.s, -1)
		for range 1000 {
			t.noError(t.s.Wake(), "Wake")
		}
		t.wantResult(pending)
		// Wakes after the Select has returned count as one for the next Select.
		t.wantBatch(t.mustSelect(time.Millisecond))
		t.wantTimeout(t.s, 2*time.Millisecond)
	}},

	{"FromManyGoroutines", 0, func(t *T) {
		var stop atomic.Bool
		selectErr := make(chan error, 1)
		go func() {
			for !stop.Load() {
				batch, err := t.s.Select(-1)
				if err == nil && len(batch) != 0 {
					err = errors.New("batch of Select: " + formatBatch(batch) + ", want empty")
				}
				if err != nil {
					selectErr <- err
					return
				}
			}
			selectErr <- nil
		}()
		t.noError(runConcurrently(4, func(int) error {
			for range 500 {
				if err := t.s.Wake(); err != nil {
					return err
				}
			}
			return nil
		}), "Wake")
		stop.Store(true)
		t.noError(t.s.Wake(), "Wake") // ends the last Select
		t.noError(<-selectErr, "Select")
	}},

	{"EachWakeEndsOneSelect", 0, func(t *T) {
		// Each Wake comes after the previous Select has returned, so each must
		// end another Select, before or while that waits.
		results := make(chan error)
		const n = 1000
		go func() {
			for range n {
				_, err := t.s.Select(-1)
				results <- err
			}
		}()
		for range n {
			t.noError(t.s.Wake(), "Wake")
			t.noError(<-results, "Select")
		}
	}},
}
