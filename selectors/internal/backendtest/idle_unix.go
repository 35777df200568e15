//go:build unix

package backendtest

import (
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"
)

// ExpectIdle checks that a Select with nothing to report waits for its timeout
// and uses no processor time. Other goroutines of the process may use some, so
// one of three attempts has to be idle.
func ExpectIdle(t testing.TB, s selectors.Selector, timeout time.Duration) {
	t.Helper()
	var used []time.Duration
	for range 3 {
		cpu := fdtest.CPUTime()
		ExpectTimeout(t, s, timeout)
		cpu = fdtest.CPUTime() - cpu
		if cpu <= timeout/8 {
			return
		}
		used = append(used, cpu)
	}
	t.Errorf("Select(%v) used %v of CPU, want next to nothing", timeout, used)
}
