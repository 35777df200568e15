package selectortest

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"time"

	"goselectors/selectors"
)

// errPanic is what a method of guarded returns after a panic.
var errPanic = errors.New("panicked")

// guarded is a selector whose panics are failures of the rule, with their stack.
// Rules see only guarded selectors, so that it does not matter in which goroutine
// a method is called.
type guarded struct {
	selectors.Selector
	t *T
}

// caught is deferred by each method.
func (t *T) caught(method string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s %w: %v", method, errPanic, r)
		t.tryError(fmt.Sprintf("%v\n\n%s", *err, debug.Stack()))
	}
}

func (g guarded) Register(fileobj any, events selectors.Event, data any) (key *selectors.SelectorKey, err error) {
	defer g.t.caught("Register", &err)
	return g.Selector.Register(fileobj, events, data)
}

func (g guarded) Modify(fileobj any, events selectors.Event, data any) (key *selectors.SelectorKey, err error) {
	defer g.t.caught("Modify", &err)
	return g.Selector.Modify(fileobj, events, data)
}

func (g guarded) Unregister(fileobj any) (key *selectors.SelectorKey, err error) {
	defer g.t.caught("Unregister", &err)
	return g.Selector.Unregister(fileobj)
}

func (g guarded) Select(timeout time.Duration) (batch []selectors.Ready, err error) {
	defer g.t.caught("Select", &err)
	return g.Selector.Select(timeout)
}

func (g guarded) SelectInto(dst []selectors.Ready, timeout time.Duration) (batch []selectors.Ready, err error) {
	defer g.t.caught("SelectInto", &err)
	return g.Selector.SelectInto(dst, timeout)
}

func (g guarded) Wake() (err error) {
	defer g.t.caught("Wake", &err)
	return g.Selector.Wake()
}

func (g guarded) Key(fileobj any) (key *selectors.SelectorKey, err error) {
	defer g.t.caught("Key", &err)
	return g.Selector.Key(fileobj)
}

func (g guarded) Keys() iter.Seq[*selectors.SelectorKey] {
	var err error
	defer g.t.caught("Keys", &err)
	keys := g.Selector.Keys()
	return func(yield func(*selectors.SelectorKey) bool) {
		defer g.t.caught("the iterator of Keys", &err)
		if keys != nil {
			keys(yield)
		}
	}
}

func (g guarded) Len() int {
	var err error
	defer g.t.caught("Len", &err)
	return g.Selector.Len()
}

func (g guarded) Features() selectors.Feature {
	var err error
	defer g.t.caught("Features", &err)
	return g.Selector.Features()
}

func (g guarded) Close() (err error) {
	defer g.t.caught("Close", &err)
	return g.Selector.Close()
}

// tryError fails the rule from any goroutine. It does nothing after the end of
// the rule.
func (t *T) tryError(message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.done {
		t.T.Error(message)
	}
}

// The methods of testing.T that rules use. A rule that was given up because it did
// not return has ended for package testing: if it goes on later, it ends at its
// next call of one of these.

func (t *T) Error(args ...any) {
	t.T.Helper()
	t.unlessDone(func() { t.T.Helper(); t.T.Error(args...) })
}

func (t *T) Errorf(format string, args ...any) {
	t.T.Helper()
	t.unlessDone(func() { t.T.Helper(); t.T.Errorf(format, args...) })
}

func (t *T) Fatal(args ...any) {
	t.T.Helper()
	t.unlessDone(func() { t.T.Helper(); t.T.Fatal(args...) })
}

func (t *T) Fatalf(format string, args ...any) {
	t.T.Helper()
	t.unlessDone(func() { t.T.Helper(); t.T.Fatalf(format, args...) })
}

func (t *T) Skip(args ...any) {
	t.T.Helper()
	t.unlessDone(func() { t.T.Helper(); t.T.Skip(args...) })
}

func (t *T) Skipf(format string, args ...any) {
	t.T.Helper()
	t.unlessDone(func() { t.T.Helper(); t.T.Skipf(format, args...) })
}

func (t *T) Logf(format string, args ...any) {
	t.T.Helper()
	t.unlessDone(func() { t.T.Helper(); t.T.Logf(format, args...) })
}

func (t *T) unlessDone(f func()) {
	t.T.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		runtime.Goexit()
	}
	f()
}
