//go:build unix && !race

package selectors_test

import (
	"math"
	"runtime"
	"strings"
	"testing"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestSelectAllocations: Select allocates once, whatever the number of keys that
// are ready, and SelectInto not at all if there is room for exactly those. With the
// race detector slices.Grow allocates twice.
func TestSelectAllocations(t *testing.T) {
	if runtime.GOOS == "solaris" || runtime.GOOS == "illumos" {
		t.Skip("every wait on an event port allocates: unix.EventPort does")
	}
	const keys, ready = 250, 200
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		if strings.HasPrefix(b.Name, "kqueue-") {
			t.Skip("the simulated kqueue allocates")
		}
		s := backendtest.New(t, b)
		for i := range keys {
			a, b := fdtest.UnixPair(t)
			interest := read
			if i < ready {
				interest |= write // which counts twice in the result of select(2)
				fdtest.Write(t, b, "x")
			}
			backendtest.Register(t, s, a, interest)
		}
		// The least of three, because other goroutines of the process allocate too.
		allocations := func(sel func() ([]selectors.Ready, error)) float64 {
			least := math.Inf(1)
			for range 3 {
				least = min(least, testing.AllocsPerRun(20, func() {
					if got, err := sel(); err != nil || len(got) != ready {
						t.Fatalf("Select returned %d keys, %v, want %d", len(got), err, ready)
					}
				}))
			}
			return least
		}
		if n := allocations(func() ([]selectors.Ready, error) { return s.Select(-1) }); n != 1 {
			t.Errorf("Select allocates %v times, want once", n)
		}
		room := make([]selectors.Ready, 0, ready)
		if n := allocations(func() ([]selectors.Ready, error) { return s.SelectInto(room, -1) }); n != 0 {
			t.Errorf("SelectInto allocates %v times, want not at all", n)
		}
	})
}
