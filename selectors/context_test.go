//go:build unix

package selectors_test

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// A foreign selector is somebody else's, built around one of ours. It counts
// the calls that it gets.
type foreign struct {
	selectors.Selector
	selects, wakes atomic.Int32
}

func (f *foreign) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	f.selects.Add(1)
	return f.Selector.SelectInto(dst, timeout)
}

func (f *foreign) Wake() error {
	f.wakes.Add(1)
	return f.Selector.Wake()
}

// eachOwnAndForeign runs a test with selectors of ours and of others.
func eachOwnAndForeign(t *testing.T, test func(t *testing.T, s selectors.Selector)) {
	t.Helper()
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		t.Run("own", func(t *testing.T) { test(t, backendtest.New(t, b)) })
		t.Run("foreign", func(t *testing.T) { test(t, &foreign{Selector: backendtest.New(t, b)}) })
	})
}

// selectContext is SelectContext in another goroutine, which has gone to sleep
// by the time it returns.
func selectContext(ctx context.Context, s selectors.Selector) <-chan backendtest.Result {
	c := make(chan backendtest.Result, 1)
	go func() {
		start := time.Now()
		ready, err := selectors.SelectContext(ctx, s, nil)
		c <- backendtest.Result{Ready: ready, Err: err, Took: time.Since(start)}
	}()
	time.Sleep(fdtest.QuietTime)
	return c
}

func TestSelectContextReady(t *testing.T) {
	eachOwnAndForeign(t, func(t *testing.T, s selectors.Selector) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for _, ctx := range []context.Context{ctx, context.Background()} {
			r, w := fdtest.Pipe(t)
			backendtest.Register(t, s, r, read)
			c := selectContext(ctx, s)
			fdtest.Write(t, w, "x")
			a := backendtest.Await(t, c)
			if got := backendtest.NewBatch(t, a.Ready); a.Err != nil || !maps.Equal(got, batch{r: read}) {
				t.Errorf("SelectContext returned %v, %v", got, a.Err)
			}

			// It appends.
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
	eachOwnAndForeign(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		ctx, cancel := context.WithCancel(context.Background())
		c := selectContext(ctx, s)
		cancel()
		if a := backendtest.Await(t, c); a.Err != context.Canceled || len(a.Ready) != 0 {
			t.Fatalf("SelectContext returned %v, %v", a.Ready, a.Err)
		}

		// From now on it does not even look, not at what is ready either.
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
	eachOwnAndForeign(t, func(t *testing.T, s selectors.Selector) {
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
	eachOwnAndForeign(t, func(t *testing.T, s selectors.Selector) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := selectContext(ctx, s)
		s.Wake()
		if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 {
			t.Errorf("SelectContext returned %v, %v", a.Ready, a.Err)
		}
		s.Wake() // before
		if got, err := selectors.SelectContext(ctx, s, nil); err != nil || len(got) != 0 {
			t.Errorf("SelectContext returned %v, %v", got, err)
		}
	})
}

func TestSelectContextErrors(t *testing.T) {
	eachOwnAndForeign(t, func(t *testing.T, s selectors.Selector) {
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

// TestSelectContextLeavesNoWake: the end of a context, however close it comes
// to the end of the call, does not end the next Select early. A foreign
// selector's may: the documentation says so.
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
			start := time.Now()
			if got := backendtest.Select(t, s, time.Millisecond); len(got) != 0 || time.Since(start) < time.Millisecond {
				t.Fatalf("the next Select reported %v after %v", got, time.Since(start))
			}
		}
	})
}

// TestSelectContextAsksForeigners: a foreign selector's own methods are
// called, also if it embeds one of our types and so has all that they have.
func TestSelectContextAsksForeigners(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		inner := backendtest.New(t, b)
		for _, f := range []interface {
			selectors.Selector
			asked() int32
		}{&embedsInterface{foreign{Selector: inner}}, embedding(inner)} {
			r, w := fdtest.Pipe(t)
			fdtest.Write(t, w, "x")
			backendtest.Register(t, f, r, read)
			ctx, cancel := context.WithCancel(context.Background())
			got, err := selectors.SelectContext(ctx, f, nil)
			cancel()
			if err != nil || len(got) != 1 || got[0].Key.FD != r {
				t.Errorf("%T: SelectContext returned %v, %v", f, got, err)
			}
			if f.asked() == 0 {
				t.Errorf("%T: its SelectInto was passed over", f)
			}
			backendtest.Unregister(t, f, r)
		}
	})
}

type embedsInterface struct{ foreign }

func (e *embedsInterface) asked() int32 { return e.selects.Load() }

// A pollEmbedder is foreign, but has every method of *PollSelector, those that
// are not exported too.
type pollEmbedder struct {
	*selectors.PollSelector
	selects int32
}

func (e *pollEmbedder) asked() int32 { return e.selects }

func (e *pollEmbedder) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	e.selects++
	return e.PollSelector.SelectInto(dst, timeout)
}

type selectEmbedder struct {
	*selectors.SelectSelector
	selects int32
}

func (e *selectEmbedder) asked() int32 { return e.selects }

func (e *selectEmbedder) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	e.selects++
	return e.SelectSelector.SelectInto(dst, timeout)
}

// embedding wraps one of our selectors in a type that embeds its type.
func embedding(s selectors.Selector) interface {
	selectors.Selector
	asked() int32
} {
	switch s := s.(type) {
	case *selectors.PollSelector:
		return &pollEmbedder{PollSelector: s}
	case *selectors.SelectSelector:
		return &selectEmbedder{SelectSelector: s}
	}
	return &embedsInterface{foreign{Selector: s}}
}
