package selectortest

import (
	"os"
	"time"

	"goselectors/selectors"
)

// closeRules check Close with no file registered.
var closeRules = []rule{
	{"Idempotent", 0, func(t *T) {
		for range 3 {
			t.noError(t.s.Close(), "Close")
		}
	}},

	{"LaterCallsReturnErrClosed", 0, func(t *T) {
		features := t.s.Features()
		t.noError(t.s.Close(), "Close")
		wantAllClosed(t, 0)
		if got := t.s.Features(); got != features {
			t.Errorf("Features() = %v after Close, want %v as before", got, features)
		}
	}},

	{"EndsBlockedSelect", 0, func(t *T) {
		for _, timeout := range []time.Duration{-1, time.Hour} {
			s := t.newTestSelector()
			pending := t.startSelect(s, timeout)
			t.noError(s.Close(), "Close")
			result := pending.result()
			t.wantError(result.err, "the pending Select", selectors.ErrClosed, os.ErrClosed)
			if len(result.batch) != 0 {
				t.Errorf("batch of the pending Select: %v, want empty", formatBatch(result.batch))
			}
		}
	}},

	{"SelectIntoReturnsDst", 0, func(t *T) {
		dst := []selectors.Ready{{Key: &selectors.SelectorKey{FD: 1}, Events: selectors.EventRead}}
		pending := t.startSelectFunc(t.s, func() ([]selectors.Ready, error) { return t.s.SelectInto(dst, -1) })
		t.noError(t.s.Close(), "Close")
		result := pending.result()
		t.wantError(result.err, "the pending SelectInto", selectors.ErrClosed)
		later, err := t.s.SelectInto(dst, 0)
		t.wantError(err, "SelectInto after Close", selectors.ErrClosed)
		for _, batch := range [][]selectors.Ready{result.batch, later} {
			if len(batch) != 1 || batch[0] != dst[0] {
				t.Errorf("batch of SelectInto with an error: %v, want dst: %v", formatBatch(batch), formatBatch(dst))
			}
		}
	}},

	{"FromManyGoroutines", 0, func(t *T) {
		pending := t.startSelect(t.s, -1)
		t.noError(runConcurrently(8, func(int) error { return t.s.Close() }), "Close")
		t.wantError(pending.result().err, "the pending Select", selectors.ErrClosed)
	}},

	{"ConcurrentWithWake", 0, func(t *T) {
		for range 12 {
			s := t.newTestSelector()
			selectErr := make(chan error, 1)
			go func() {
				for {
					if _, err := s.Select(-1); err != nil {
						selectErr <- err
						return
					}
				}
			}()
			t.noError(runConcurrently(3, func(i int) error {
				if i == 0 {
					return s.Close()
				}
				for s.Wake() == nil {
				}
				return nil
			}), "Close")
			t.wantError(<-selectErr, "Select", selectors.ErrClosed)
		}
	}},
}

// wantAllClosed checks that every method of a closed selector returns ErrClosed,
// and that it has no keys.
func wantAllClosed(t *T, fileobj any) {
	t.Helper()
	for _, call := range []struct {
		name string
		err  func() error
	}{
		{"Register", func() error { _, err := t.s.Register(fileobj, selectors.EventRead, nil); return err }},
		{"Modify", func() error { _, err := t.s.Modify(fileobj, selectors.EventWrite, nil); return err }},
		{"Unregister", func() error { _, err := t.s.Unregister(fileobj); return err }},
		{"Key", func() error { _, err := t.s.Key(fileobj); return err }},
		{"Select(0)", func() error { _, err := t.s.Select(0); return err }},
		{"Select(-1)", func() error { _, err := t.s.Select(-1); return err }},
		{"Select(1h)", func() error { _, err := t.s.Select(time.Hour); return err }},
		{"SelectInto", func() error { _, err := t.s.SelectInto(nil, -1); return err }},
		{"Wake", func() error { return t.s.Wake() }},
	} {
		t.wantError(call.err(), call.name+" after Close", selectors.ErrClosed, os.ErrClosed)
	}
	t.wantLen(0)
	for key := range t.s.Keys() {
		t.Errorf("Keys yields fd %d after Close, want no key", key.FD)
	}
}
