//go:build unix

package main

import (
	"strconv"
	"testing"
	"time"

	"goselectors/examples/internal/lessontest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

func TestFetch(t *testing.T) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		lesson := lessontest.Start(t, "-n", "10", "-delay", "100ms", "-backend", backend)
		took := make(map[string]time.Duration)
		bytes := make(map[string]int)
		for _, method := range []string{"one by one", "all at once"} {
			line := lesson.WaitLine(method + ` +10 pages, (\d+) bytes, (\S+)$`)
			bytes[method], _ = strconv.Atoi(line[1])
			took[method], _ = time.ParseDuration(line[2])
		}
		lesson.WaitLine("bye")
		lesson.WaitEnd()
		if slow := took["one by one"]; slow < time.Second {
			t.Errorf("ten pages of 100 ms took only %v one by one", slow)
		}
		if fast := took["all at once"]; fast < 100*time.Millisecond || fast > took["one by one"]/2 {
			t.Errorf("all at once in %v, one by one in %v", fast, took["one by one"])
		}
		if n := bytes["all at once"]; n < 100000 || n != bytes["one by one"] {
			t.Errorf("%d bytes all at once, %d one by one", n, bytes["one by one"])
		}
	})
}

// TestManyPages fetches more pages than fit in one batch.
func TestManyPages(t *testing.T) {
	lessontest.NeedsBackend(t)
	lesson := lessontest.Start(t, "-n", "300", "-delay", "50ms", "-skip")
	lesson.WaitLine("all at once +300 pages")
	lesson.WaitEnd()
}

func TestInterrupt(t *testing.T) {
	for _, skip := range []string{"-skip=false", "-skip"} {
		lesson := lessontest.Start(t, "-delay", "1h", skip)
		lesson.WaitLine("answers after 1h0m0s")
		time.Sleep(50 * time.Millisecond) // usually it waits for an answer by then
		lesson.Interrupt()
	}
}

func TestUsage(t *testing.T) {
	lessontest.CheckUsage(t, "05-fetch", []string{"-n", "0"}, []string{"-backend", "nosuchbackend"}, []string{"-n", "1001"}, []string{"-delay", "-1s"}, []string{"-delay", "long"})
}
