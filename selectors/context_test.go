//go:build unix

package selectors_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// A wrapper is a Selector of another package that wraps one of ours. It counts
// calls.
type wrapper struct {
	selectors.Selector
	selects, wakes atomic.Int32
}

func (f *wrapper) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	f.selects.Add(1)
	return f.Selector.SelectInto(dst, timeout)
}

func (f *wrapper) Wake() error {
	f.wakes.Add(1)
	return f.Selector.Wake()
}

// eachWithWrapper runs a test with a selector of each backend, and with a wrapper
// of it.
func eachWithWrapper(t *testing.T, test func(t *testing.T, s selectors.Selector)) {
	t.Helper()
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		t.Run("direct", func(t *testing.T) { test(t, backendtest.New(t, b)) })
		t.Run("wrapped", func(t *testing.T) { test(t, &wrapper{Selector: backendtest.New(t, b)}) })
	})
}

// selectContext calls SelectContext in another goroutine and gives it time to
// block.
func selectContext(ctx context.Context, s selectors.Selector) <-chan backendtest.Result {
	return backendtest.Start(func() ([]selectors.Ready, error) { return selectors.SelectContext(ctx, s, nil) })
}

func TestSelectContextReady(t *testing.T) {
	eachWithWrapper(t, func(t *testing.T, s selectors.Selector) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for _, ctx := range []context.Context{ctx, context.Background()} {
			r, w := fdtest.Pipe(t)
			backendtest.Register(t, s, r, read)
			c := selectContext(ctx, s)
			fdtest.Write(t, w, "x")
			backendtest.AwaitBatch(t, c, batch{r: read})

			// The batch is appended to dst.
			given := []selectors.Ready{{Events: write}}
			got, err := selectors.SelectContext(ctx, s, given)
			if err != nil || len(got) != 2 || got[0] != given[0] || got[1].Key.FD != r {
				t.Errorf("SelectContext returned %v, %v", got, err)
			}
			backendtest.Unregister(t, s, r)
		}
	})
}

func TestSelectContextCancelled(t *testing.T) {
	eachWithWrapper(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		ctx, cancel := context.WithCancel(context.Background())
		c := selectContext(ctx, s)
		cancel()
		if a := backendtest.Await(t, c); a.Err != context.Canceled || len(a.Ready) != 0 {
			t.Fatalf("SelectContext returned %v, %v", a.Ready, a.Err)
		}

		// With the context cancelled it reports nothing, even if a key is ready.
		fdtest.Write(t, w, "x")
		given := []selectors.Ready{{Events: write}}
		got, err := selectors.SelectContext(ctx, s, given)
		if err != context.Canceled || len(got) != 1 || got[0] != given[0] {
			t.Errorf("SelectContext returned %v, %v", got, err)
		}
		backendtest.Expect(t, s, batch{r: read})
	})
}

func TestSelectContextDeadline(t *testing.T) {
	eachWithWrapper(t, func(t *testing.T, s selectors.Selector) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 3*fdtest.QuietTime)
		defer cancel()
		got, err := selectors.SelectContext(ctx, s, nil)
		if !errors.Is(err, context.DeadlineExceeded) || len(got) != 0 {
			t.Errorf("SelectContext returned %v, %v", got, err)
		}
		if took := time.Since(start); took < 3*fdtest.QuietTime {
			t.Errorf("SelectContext ended after %v, before its deadline", took)
		}
	})
}

func TestSelectContextWoken(t *testing.T) {
	eachWithWrapper(t, func(t *testing.T, s selectors.Selector) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := selectContext(ctx, s)
		s.Wake()
		backendtest.AwaitWoken(t, c)
		s.Wake() // before SelectContext
		if got, err := selectors.SelectContext(ctx, s, nil); err != nil || len(got) != 0 {
			t.Errorf("SelectContext returned %v, %v", got, err)
		}
	})
}

func TestSelectContextErrors(t *testing.T) {
	eachWithWrapper(t, func(t *testing.T, s selectors.Selector) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := selectContext(ctx, s)
		_, err := selectors.SelectContext(ctx, s, nil)
		backendtest.ExpectError(t, err, selectors.ErrConcurrentSelect)
		s.Close()
		backendtest.ExpectError(t, backendtest.Await(t, c).Err, selectors.ErrClosed)
		_, err = selectors.SelectContext(ctx, s, nil)
		backendtest.ExpectError(t, err, selectors.ErrClosed)
	})
}

// TestSelectContextLeavesNoWake: a cancellation at the end of the call does not
// end the next Select early. With a Selector of another package it may, as the
// documentation says.
func TestSelectContextLeavesNoWake(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		for range 50 {
			ctx, cancel := context.WithCancel(context.Background())
			c := make(chan backendtest.Result, 1)
			go func() {
				ready, err := selectors.SelectContext(ctx, s, nil)
				c <- backendtest.Result{Ready: ready, Err: err}
			}()
			go cancel()
			fdtest.Write(t, w, "x")
			if a := backendtest.Await(t, c); (len(a.Ready) == 0) != (a.Err == context.Canceled) {
				t.Fatalf("SelectContext returned %v, %v", a.Ready, a.Err)
			}
			cancel()
			fdtest.Drain(t, r)
			backendtest.ExpectTimeout(t, s, time.Millisecond)
		}
	})
}

// TestSelectContextCallsWrapper: SelectContext calls the methods of a wrapper,
// even if it embeds one of our types and therefore has all of its methods.
func TestSelectContextCallsWrapper(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		inner := backendtest.New(t, b)
		for _, f := range []interface {
			selectors.Selector
			selectCount() int32
		}{&interfaceEmbedder{wrapper{Selector: inner}}, newEmbedder(inner)} {
			r, w := fdtest.Pipe(t)
			fdtest.Write(t, w, "x")
			backendtest.Register(t, f, r, read)
			ctx, cancel := context.WithCancel(context.Background())
			got, err := selectors.SelectContext(ctx, f, nil)
			cancel()
			if err != nil || len(got) != 1 || got[0].Key.FD != r {
				t.Errorf("%T: SelectContext returned %v, %v", f, got, err)
			}
			if f.selectCount() == 0 {
				t.Errorf("%T: its SelectInto was not called", f)
			}
			backendtest.Unregister(t, f, r)
		}
	})
}

type interfaceEmbedder struct{ wrapper }

func (e *interfaceEmbedder) selectCount() int32 { return e.selects.Load() }

// A pollEmbedder is a wrapper that has every method of *PollSelector, those that
// are not exported too.
type pollEmbedder struct {
	*selectors.PollSelector
	selects int32
}

func (e *pollEmbedder) selectCount() int32 { return e.selects }

func (e *pollEmbedder) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	e.selects++
	return e.PollSelector.SelectInto(dst, timeout)
}

type selectEmbedder struct {
	*selectors.SelectSelector
	selects int32
}

func (e *selectEmbedder) selectCount() int32 { return e.selects }

func (e *selectEmbedder) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	e.selects++
	return e.SelectSelector.SelectInto(dst, timeout)
}

// newEmbedder wraps a selector in a type that embeds the selector's type.
func newEmbedder(s selectors.Selector) interface {
	selectors.Selector
	selectCount() int32
} {
	switch s := s.(type) {
	case *selectors.PollSelector:
		return &pollEmbedder{PollSelector: s}
	case *selectors.SelectSelector:
		return &selectEmbedder{SelectSelector: s}
	}
	return &interfaceEmbedder{wrapper{Selector: s}}
}

// A panickingContext panics when it is asked for its error for the second time,
// which is inside Select.
type panickingContext struct {
	context.Context
	calls int
}

func (c *panickingContext) Err() error {
	if c.calls++; c.calls > 1 {
		panic("Err")
	}
	return nil
}

// TestSelectContextPanics: after a panic of the context the selector still works.
func TestSelectContextPanics(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the context's Err was not called in Select")
				}
			}()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			selectors.SelectContext(&panickingContext{Context: ctx}, s, nil)
		}()
		if ready, err := s.Select(0); len(ready) != 0 || err != nil {
			t.Errorf("Select returned %v, %v after the panic", ready, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
