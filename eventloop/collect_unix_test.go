//go:build unix

package eventloop_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// countOpen returns the number of open descriptors.
func countOpen() (n int) {
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

// TestDroppedLoops: loops that are dropped without Close give back the descriptors
// of their selectors and the goroutines of their signal handlers.
func TestDroppedLoops(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			a, _ := socketPair(t)
			drop := func(n int) {
				for range n {
					l := must(eventloop.New(eventloop.WithSelector(must(b.New()))))
					must(l.Register(a, read, func(any, selectors.Event) { l.Stop() }))
					must(l.CallLater(time.Hour, l.Stop))
					must(l.OnSignal(unix.SIGUSR2, func(os.Signal) { l.Stop() }))
					check(l.Post(func() {}))
					must(l.RunOnce(0))
				}
			}
			drop(1)
			for range 5 {
				runtime.GC()
				time.Sleep(5 * time.Millisecond)
			}
			descriptors, goroutines := countOpen(), runtime.NumGoroutine()
			drop(20)
			for try := 0; countOpen() > descriptors || runtime.NumGoroutine() > goroutines; try++ {
				if try == 200 {
					t.Fatalf("%d descriptors and %d goroutines after 20 loops were dropped, %d and %d before",
						countOpen(), runtime.NumGoroutine(), descriptors, goroutines)
				}
				runtime.GC()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
}
