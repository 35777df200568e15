//go:build unix

package main

import (
	"strconv"
	"testing"
	"time"

	"goselectors/examples/internal/lessontest"
	"goselectors/selectors"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

func TestFetch(t *testing.T) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		lesson := lessontest.Start(t, "-n", "10", "-delay", "100ms", "-backend", backend)
		took := make(map[string]time.Duration)
		bytes := make(map[string]int)
		for _, way := range []string{"one by one", "all at once"} {
			line := lesson.Until(way + ` +10 pages, (\d+) bytes, (\S+)$`)
			bytes[way], _ = strconv.Atoi(line[1])
			took[way], _ = time.ParseDuration(line[2])
		}
		lesson.Until("bye")
		lesson.End()
		if slow := took["one by one"]; slow < time.Second {
			t.Errorf("ten pages of 100 ms one by one in %v", slow)
		}
		if fast := took["all at once"]; fast < 100*time.Millisecond || fast > took["one by one"]/2 {
			t.Errorf("all at once in %v, one by one in %v", fast, took["one by one"])
		}
		if n := bytes["all at once"]; n < 100000 || n != bytes["one by one"] {
			t.Errorf("%d bytes all at once, %d one by one", n, bytes["one by one"])
		}
	})
}

// TestMany: more pages than one batch or one buffer of the kernel's holds.
func TestMany(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	lesson := lessontest.Start(t, "-n", "300", "-delay", "50ms", "-skip")
	lesson.Until("all at once +300 pages")
	lesson.End()
}

func TestInterrupt(t *testing.T) {
	for _, skip := range []string{"-skip=false", "-skip"} {
		lesson := lessontest.Start(t, "-delay", "1h", skip)
		lesson.Until("takes 1h0m0s for a page")
		time.Sleep(50 * time.Millisecond) // mostly it waits by then
		lesson.Interrupt()
	}
}

func TestBadUse(t *testing.T) {
	lessontest.BadUse(t, "05-fetch", []string{"-n", "0"}, []string{"-backend", "telepathy"}, []string{"-n", "1001"}, []string{"-delay", "-1s"}, []string{"-delay", "long"})
}
