package sys

import (
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/faulttest"
	"goselectors/selectors/internal/fdtest"
)

// TestPwait2Missing: kernels before 5.11 have no epoll_pwait2, and containers'
// seccomp filters may not know it.
func TestPwait2Missing(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOSYS, unix.EPERM} {
		t.Run(errno.Error(), func(t *testing.T) {
			before := noPwait2.Swap(false)
			defer noPwait2.Store(before)
			set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(set)
			r, w := fdtest.Pipe(t)
			if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, r, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
				t.Fatal(err)
			}
			events := make([]unix.EpollEvent, 2)
			// wait waits again after a signal, as a caller does.
			wait := func(timeout time.Duration) (n int, err error) {
				deadline := time.Now().Add(timeout)
				for {
					n, err = EpollWait(set, events, timeout)
					left := time.Until(deadline)
					if n != 0 || err != nil || timeout < 0 || left <= 0 {
						return n, err
					}
					timeout = left
				}
			}
			faulttest.WithFailingCall(t, unix.SYS_EPOLL_PWAIT2, errno, func() {
				for _, timeout := range []time.Duration{1, 100 * time.Microsecond, 1500 * time.Microsecond, 9 * time.Millisecond} {
					begin := time.Now()
					n, err := wait(timeout)
					if took := time.Since(begin); err != nil || n != 0 || took < timeout {
						t.Errorf("a wait of %v returned %d, %v after %v", timeout, n, err, took)
					}
				}
				if !noPwait2.Load() {
					t.Error("the call was not found to be missing")
				}
				unix.Write(w, []byte("x"))
				for _, timeout := range []time.Duration{time.Second, math.MaxInt64 / 2, -1, 0} {
					if n, err := EpollWait(set, events, timeout); err != nil || n != 1 {
						t.Errorf("a wait of %v returned %d, %v", timeout, n, err)
					}
				}
			})
		})
	}
}
