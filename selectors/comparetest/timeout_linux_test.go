package comparetest_test

import (
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestPollingConcurrentInterruption: Signals to the thread that waits. They
// are not an error, and do not shorten the timeout.
func TestPollingConcurrentInterruption(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, _ := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		const timeout = 150 * time.Millisecond
		thread := make(chan int, 1)
		c := make(chan backendtest.Result, 1)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			thread <- unix.Gettid()
			start := time.Now()
			ready, err := s.Select(timeout)
			c <- backendtest.Result{Ready: ready, Err: err, Took: time.Since(start)}
		}()
		id := <-thread
		stop := time.After(timeout / 2)
		for signaling := true; signaling; {
			select {
			case <-stop:
				signaling = false
			default:
				// The Go runtime itself uses SIGURG to interrupt threads.
				if err := unix.Tgkill(os.Getpid(), id, unix.SIGURG); err != nil {
					t.Fatal(err)
				}
				time.Sleep(200 * time.Microsecond)
			}
		}
		if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 || a.Took < timeout {
			t.Errorf("Select(%v) returned %v, %v after %v", timeout, a.Ready, a.Err, a.Took)
		}
	})
}

// TestRegressExactTimeouts: Python's epoll selector rounded a timeout twice,
// so that 9, 13, 18 and 26 ms took a millisecond too long, and huge timeouts
// raised OverflowError (https://bugs.python.org/issue20452 is the reason for
// rounding). Here no timeout is too short, and the best is late only by the
// overhead of kernel and scheduler, which is well below a millisecond.
func TestRegressExactTimeouts(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, ms := range []time.Duration{9, 13, 18, 26} {
			timeout := ms * time.Millisecond
			best := time.Hour
			for i := 0; i < 50 && best > 900*time.Microsecond; i++ {
				start := time.Now()
				backendtest.Select(t, s, timeout)
				late := time.Since(start) - timeout
				if late < 0 {
					t.Fatalf("Select(%v) returned %v early", timeout, -late)
				}
				best = min(best, late)
			}
			if best > 900*time.Microsecond {
				t.Errorf("Select(%v) was never less than %v late", timeout, best)
			}
		}
	})
}

func TestRegressHugeTimeouts(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, timeout := range []time.Duration{math.MaxInt64, math.MaxInt64 - 1, 1 << 62, math.MaxInt32 * time.Second, math.MinInt64} {
			c := backendtest.StartSelect(s, timeout)
			select {
			case a := <-c:
				t.Fatalf("Select(%d) returned %v, %v", timeout, a.Ready, a.Err)
			default:
			}
			s.Wake()
			if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 {
				t.Errorf("Select(%d) returned %v, %v", timeout, a.Ready, a.Err)
			}
		}
	})
}

// hasMillisecondTimeouts reports whether a selector rounds timeouts to
// milliseconds. epoll does where it blocks in the kernel and the kernel, or its
// emulation, does not have epoll_pwait2.
func hasMillisecondTimeouts(s selectors.Selector) bool {
	if s.Features()&(selectors.FeatureExclusive|selectors.FeatureParked) != selectors.FeatureExclusive {
		return false
	}
	_, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, ^uintptr(0), 0, 0, 0, 0, 0)
	return errno == unix.ENOSYS || errno == unix.EPERM
}
