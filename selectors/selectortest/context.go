package selectortest

import (
	"context"
	"errors"
	"reflect"
	"time"

	"goselectors/selectors"
)

// contextRules check SelectContext with no file registered.
var contextRules = []rule{
	{"AlreadyCancelled", 0, func(t *T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		dst := make([]selectors.Ready, 1)
		batch, err := t.selectContext(ctx, dst)
		t.wantError(err, "SelectContext", context.Canceled)
		if len(batch) != len(dst) {
			t.Errorf("SelectContext returned %d entries with the error, want the %d of dst", len(batch), len(dst))
		}
		wantNoPendingWake(t)
	}},

	{"Cancel", 0, func(t *T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		pending := t.startSelectFunc(t.s, func() ([]selectors.Ready, error) { return t.selectContext(ctx, nil) })
		t.wantBlocked(pending)
		cancel()
		result := pending.result()
		t.wantError(result.err, "SelectContext", context.Canceled)
		wantNoPendingWake(t)
	}},

	{"Deadline", 0, func(t *T) {
		const timeout = 10 * time.Millisecond
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		_, err := t.selectContext(ctx, nil)
		t.wantError(err, "SelectContext", context.DeadlineExceeded)
		if elapsed := time.Since(start); elapsed < timeout {
			t.Errorf("SelectContext returned after %v, want at least the timeout of %v", elapsed, timeout)
		}
		wantNoPendingWake(t)
	}},

	{"Wake", 0, func(t *T) {
		for _, ctx := range []context.Context{context.Background(), cancellableContext(t)} {
			pending := t.startSelectFunc(t.s, func() ([]selectors.Ready, error) { return t.selectContext(ctx, nil) })
			t.noError(t.s.Wake(), "Wake")
			t.wantResult(pending)
		}
	}},

	{"Close", 0, func(t *T) {
		pending := t.startSelectFunc(t.s, func() ([]selectors.Ready, error) { return t.selectContext(cancellableContext(t), nil) })
		t.noError(t.s.Close(), "Close")
		t.wantError(pending.result().err, "SelectContext", selectors.ErrClosed)
	}},

	{"CancelConcurrentWithWake", 0, func(t *T) {
		// The context ends while the Select returns for another reason. No call
		// may hang, and later calls must work.
		for range 200 {
			ctx, cancel := context.WithCancel(context.Background())
			t.noError(runConcurrently(3, func(i int) error {
				switch i {
				case 0:
					cancel()
				case 1:
					return t.s.Wake()
				case 2:
					if _, err := t.selectContext(ctx, nil); err != nil && !errors.Is(err, context.Canceled) {
						return err
					}
				}
				return nil
			}), "SelectContext")
		}
	}},
}

// cancellableContext returns a context that is cancelled at the end of the test.
func cancellableContext(t *T) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return ctx
}

// selectContext calls SelectContext with the selector under test, which it passes
// unguarded if it is one of package selectors: SelectContext treats those in
// another way than all others.
func (t *T) selectContext(ctx context.Context, dst []selectors.Ready) (batch []selectors.Ready, err error) {
	defer t.caught("SelectContext", &err)
	s := t.s
	if isOwn(s) {
		s = s.(guarded).Selector
	}
	return selectors.SelectContext(ctx, s, dst)
}

// isOwn reports whether a guarded selector is a type of package selectors.
func isOwn(s selectors.Selector) bool {
	of := reflect.Indirect(reflect.ValueOf(s.(guarded).Selector))
	return of.IsValid() && of.Type().PkgPath() == reflect.TypeFor[selectors.Error]().PkgPath()
}

// wantNoPendingWake checks that the end of a context leaves no pending Wake that
// would end the next Select. Only selectors of package selectors guarantee that.
func wantNoPendingWake(t *T) {
	t.Helper()
	if isOwn(t.s) {
		t.wantTimeout(t.s, 2*time.Millisecond)
	}
}
