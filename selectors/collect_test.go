//go:build unix

package selectors_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"
)

// eachStrategy runs a test for every backend and every strategy of waiting.
func eachStrategy(t *testing.T, test func(t *testing.T, open func() selectors.Selector)) {
	for _, b := range selectors.Backends() {
		for _, strategy := range selectors.Strategies {
			if b.Features&selectors.FeatureParked == 0 && strategy.Name != "blocking" {
				continue // it always blocks
			}
			t.Run(b.Name+"/"+strategy.Name, func(t *testing.T) {
				test(t, func() selectors.Selector {
					s, err := b.New(strategy.Option)
					if err != nil {
						t.Fatal(err)
					}
					return s
				})
			})
		}
	}
}

// collectUntil runs the garbage collector until done returns true.
func collectUntil(done func() bool) bool {
	for range 200 {
		runtime.GC()
		if done() {
			return true
		}
		time.Sleep(5 * time.Millisecond) // cleanups run in goroutines of their own
	}
	return false
}

// useAndDrop uses n selectors and forgets them. Their keys refer to f and to the
// selector itself.
func useAndDrop(t *testing.T, n int, f *os.File, open func() selectors.Selector) {
	for range n {
		s := open()
		data := func() selectors.Selector { return s }
		if _, err := s.Register(f, selectors.EventRead, data); err != nil {
			t.Fatal(err)
		}
		for _, timeout := range []time.Duration{0, time.Millisecond} {
			if _, err := s.Select(timeout); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Wake(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDroppedSelectors: a selector that is dropped without Close gives its
// descriptors back when it is collected.
func TestDroppedSelectors(t *testing.T) {
	eachStrategy(t, func(t *testing.T, open func() selectors.Selector) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		useAndDrop(t, 1, r, open) // opens what the process opens once
		for range 5 {
			runtime.GC() // collects what earlier tests have left
			time.Sleep(5 * time.Millisecond)
		}
		const n = 50
		before := fdtest.CountOpen()
		useAndDrop(t, n, r, open)
		if !collectUntil(func() bool { return fdtest.CountOpen() <= before }) {
			t.Errorf("%d descriptors are open after %d selectors were dropped, %d before", fdtest.CountOpen(), n, before)
		}
		if _, err := r.Stat(); err != nil {
			t.Errorf("the registered file: %v", err)
		}
	})
}

// TestWaitingSelectorIsNotCollected: a selector lives as long as a Select waits.
func TestWaitingSelectorIsNotCollected(t *testing.T) {
	eachStrategy(t, func(t *testing.T, open func() selectors.Selector) {
		r, w := fdtest.Pipe(t)
		result := make(chan error, 1)
		func() {
			s := open()
			if _, err := s.Register(r, selectors.EventRead, nil); err != nil {
				t.Fatal(err)
			}
			go func() {
				ready, err := s.Select(fdtest.Timeout)
				if err == nil && len(ready) != 1 {
					err = os.ErrDeadlineExceeded
				}
				result <- err
			}()
		}()
		for range 10 {
			runtime.GC()
			time.Sleep(5 * time.Millisecond)
		}
		fdtest.Write(t, w, "x")
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// TestClosedSelectorClosesOnce: the collection of a selector that was closed does
// not close descriptors again, whose numbers may belong to other files by then.
func TestClosedSelectorClosesOnce(t *testing.T) {
	eachStrategy(t, func(t *testing.T, open func() selectors.Selector) {
		const n = 20
		for range n {
			s := open()
			if _, err := s.Select(time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var reused [8 * n]int
		for i := range reused {
			fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			reused[i] = fd
		}
		for range 5 {
			runtime.GC()
			time.Sleep(5 * time.Millisecond)
		}
		for _, fd := range reused {
			if err := unix.Close(fd); err != nil {
				t.Errorf("closing fd %d: %v", fd, err)
			}
		}
	})
}
