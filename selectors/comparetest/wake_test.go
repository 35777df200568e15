//go:build unix

package comparetest_test

import (
	"sync"
	"testing"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

func TestAsyncioWakeFromThread(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		c := backendtest.StartSelect(s, -1)
		if err := s.Wake(); err != nil {
			t.Fatal(err)
		}
		backendtest.AwaitWoken(t, c)
	})
}

// TestAsyncioWriteToSelfTryAgain: Wake-ups that no Select has consumed are not
// an error, and coalesce.
func TestAsyncioWriteToSelfTryAgain(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 100_000 {
			if err := s.Wake(); err != nil {
				t.Fatal(err)
			}
		}
		backendtest.ExpectWoken(t, s)
		backendtest.ExpectTimeout(t, s, fdtest.QuietTime)
	})
}

func TestPollingNotify(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 10 {
			s.Wake()
			backendtest.ExpectWoken(t, s)
		}
		for range 3 {
			c := backendtest.StartSelect(s, -1)
			s.Wake()
			backendtest.AwaitWoken(t, c)
		}
	})
}

func TestMioWaker(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		wakes := func(n int) {
			for range n {
				if err := s.Wake(); err != nil {
					t.Error(err)
				}
			}
		}
		for _, n := range []int{1, 3} { // same goroutine
			wakes(n)
			backendtest.Expect(t, s, batch{})
			backendtest.ExpectNothing(t, s)
		}
		for _, goroutines := range []int{1, 2, 8} { // others
			c := backendtest.StartSelect(s, fdtest.Timeout)
			var all sync.WaitGroup
			for range goroutines {
				all.Add(1)
				go func() { defer all.Done(); wakes(100) }()
			}
			backendtest.AwaitWoken(t, c)
			all.Wait()
			backendtest.Select(t, s, 0) // wake-ups after that Select had returned
			backendtest.ExpectNothing(t, s)
		}
		// A wake-up does not suppress events.
		fdtest.Write(t, w, "x")
		wakes(1)
		backendtest.Expect(t, s, batch{r: read})
	})
}
