//go:build unix

package comparetest_test

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

func TestCPythonEmptySelect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		if got := backendtest.Select(t, s, 0); len(got) != 0 {
			t.Errorf("Select reported %v of nothing", got)
		}
	})
}

func TestCPythonTimeout(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.UnixPair(t)
		backendtest.Register(t, s, wr, write)
		start := time.Now()
		backendtest.Expect(t, s, batch{wr: write})
		if got := backendtest.Select(t, s, 0).Interests(t, s); got[wr] != write {
			t.Errorf("Select(0) reported %v", got)
		}
		if got := backendtest.Select(t, s, -1).Interests(t, s); got[wr] != write {
			t.Errorf("Select(-1) reported %v", got)
		}
		if took := time.Since(start); took > fdtest.Timeout/2 {
			t.Errorf("waited %v with a ready key", took)
		}
		backendtest.Unregister(t, s, wr)

		backendtest.Register(t, s, rd, read)
		start = time.Now()
		backendtest.Select(t, s, 0)
		if took := time.Since(start); took > fdtest.Timeout/2 {
			t.Errorf("Select(0) took %v", took)
		}
		start = time.Now()
		if got := backendtest.Select(t, s, 300*time.Millisecond); len(got) != 0 {
			t.Errorf("reported %v", got)
		}
		if took := time.Since(start); took < 300*time.Millisecond || took > fdtest.Timeout {
			t.Errorf("Select(300ms) took %v", took)
		}
	})
}

// TestCPythonSelectInterruptNoRaise: A signal interrupts the system call. The
// Select still waits for its timeout.
func TestCPythonSelectInterruptNoRaise(t *testing.T) {
	seen := make(chan os.Signal, 1)
	signal.Notify(seen, syscall.SIGALRM)
	defer signal.Stop(seen)
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		backendtest.Register(t, s, rd, read)
		timer := time.AfterFunc(30*time.Millisecond, func() { unix.Kill(os.Getpid(), unix.SIGALRM) })
		defer timer.Stop()
		backendtest.ExpectTimeout(t, s, 150*time.Millisecond)
		select {
		case <-seen:
		case <-time.After(fdtest.Timeout):
			t.Error("the signal did not come")
		}
	})
}

func TestCPythonEmptySelectTimeout(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		start := time.Now()
		backendtest.ExpectTimeout(t, s, 100*time.Millisecond)
		if took := time.Since(start); took > fdtest.Timeout {
			t.Errorf("Select(100ms) took %v", took)
		}
	})
}

// TestAsyncioTimeoutRounding: Timeouts are rounded up. A timeout rounded down
// to zero makes a loop spin until its deadline.
func TestAsyncioTimeoutRounding(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, timeout := range []time.Duration{10 * time.Millisecond, 100 * time.Microsecond, time.Microsecond, 10, 1} {
			backendtest.ExpectTimeout(t, s, timeout)
		}
	})
}

// TestPollingPrecision: A Select never returns early. Where the kernel has the
// system calls for it, the best attempt is less than half a millisecond late.
func TestPollingPrecision(t *testing.T) {
	for _, timeout := range []time.Duration{100 * time.Microsecond, 3100 * time.Microsecond} {
		t.Run(timeout.String(), func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				best := time.Hour
				for range 50 {
					start := time.Now()
					backendtest.Select(t, s, timeout)
					took := time.Since(start)
					if took < timeout {
						t.Fatalf("Select(%v) returned after %v", timeout, took)
					}
					best = min(best, took)
				}
				if hasMillisecondTimeouts(s) {
					return // milliseconds
				}
				for i := 0; i < 500 && best > timeout+500*time.Microsecond; i++ {
					start := time.Now() // the machine is busy
					backendtest.Select(t, s, timeout)
					best = min(best, time.Since(start))
				}
				if best > timeout+500*time.Microsecond {
					t.Errorf("the best Select(%v) took %v", timeout, best)
				}
			})
		})
	}
}

func TestPollingTimeoutTwice(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 2 {
			start := time.Now()
			backendtest.Select(t, s, 50*time.Millisecond)
			if took := time.Since(start); took < 50*time.Millisecond || took > fdtest.Timeout {
				t.Errorf("Select(50ms) took %v", took)
			}
		}
	})
}

func TestPollingTimeoutNonBlocking(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		start := time.Now()
		for range 100 {
			backendtest.Select(t, s, 0)
		}
		if took := time.Since(start); took > fdtest.Timeout {
			t.Errorf("100 times Select(0) took %v", took)
		}
	})
}
