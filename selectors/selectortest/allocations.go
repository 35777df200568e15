package selectortest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"goselectors/selectors"
)

// allocationRules check that SelectInto with a large enough dst does not allocate.
var allocationRules = []rule{
	{"Wait", 0, func(t *T) {
		t.skipIfAllocating()
		buf := make([]selectors.Ready, 0, 1)
		for _, timeout := range []time.Duration{0, 50 * time.Microsecond} {
			if n := testing.AllocsPerRun(20, func() { t.s.SelectInto(buf, timeout) }); n != 0 {
				t.Errorf("SelectInto(%v): %v allocations, want 0", timeout, n)
			}
		}
	}},

	{"Ready", 0, func(t *T) {
		t.skipIfAllocating()
		for i := range 50 {
			a, b := t.pair()
			t.register(a, r|w, i)
			t.register(b, w|r, i)
		}
		if t.features&anyFile != 0 {
			t.register(t.regularFile(), r, nil)
		}
		buf := make([]selectors.Ready, 0, 200)
		var errs error
		n := testing.AllocsPerRun(100, func() {
			for _, timeout := range []time.Duration{0, time.Hour, -1} {
				batch, err := t.s.SelectInto(buf, timeout)
				if len(batch) < 100 {
					errs = errors.Join(errs, fmt.Errorf("SelectInto returned %d entries, want at least 100", len(batch)), err)
				}
			}
		})
		if n != 0 || errs != nil {
			t.Errorf("SelectInto: %v allocations, error %v, want none", n, errs)
		}
	}},

	{"WaitWithFiles", 0, func(t *T) {
		t.skipIfAllocating()
		a, _ := t.pair()
		t.register(a, r, nil)
		buf := make([]selectors.Ready, 0, 1)
		if n := testing.AllocsPerRun(20, func() { t.s.SelectInto(buf, 100*time.Microsecond) }); n != 0 {
			t.Errorf("SelectInto: %v allocations, want 0", n)
		}
	}},
}

// skipIfAllocating skips a test for allocations where some cannot be avoided.
func (t *T) skipIfAllocating() {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var e *selectors.Error
	if _, err := t.s.Key(-1); errors.As(err, &e) && e.Backend == "eventport" {
		t.Skip("unix.EventPort allocates in every wait")
	}
}
