package main

import (
	"context"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop/stream"
	"goselectors/examples/internal/lessontest"
	"goselectors/selectors"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

// runFor runs soak for a short time and returns what it prints.
func runFor(t *testing.T, echo handlerFunc) (ok bool, output string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("package stream is for Unix")
	}
	var out strings.Builder
	c := config{duration: 2 * time.Second, clients: 16, seed: 1, out: &out}
	ok, err := run(context.Background(), c, echo)
	if err != nil {
		t.Fatal(err)
	}
	return ok, out.String()
}

func TestSoak(t *testing.T) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		t.Setenv(selectors.BackendEnv, backend)
		if ok, output := runFor(t, newEcho); !ok {
			t.Error(output)
		}
	})
}

// A faulty handler sends other bytes than it receives, and forgets a file and a
// goroutine for each connection.
type faulty struct {
	echo
	leak func()
}

func (h faulty) ConnectionMade(*stream.Conn) { h.leak() }

func (h faulty) DataReceived(c *stream.Conn, p []byte) {
	if len(p) > 1000 {
		p[1000] ^= 1
	}
	c.Write(p)
}

// TestFaulty requires that soak sees the faults of a server.
func TestFaulty(t *testing.T) {
	lessontest.NeedsBackend(t)
	done := make(chan struct{})
	files := make(chan *os.File, 1<<16)
	defer func() {
		close(done)
		for len(files) > 0 {
			(<-files).Close()
		}
	}()
	leak := func() {
		if f, err := os.Open(os.DevNull); err == nil {
			files <- f
		}
		go func() { <-done }()
	}
	ok, output := runFor(t, func() stream.Handler { return faulty{leak: leak} })
	for _, want := range []string{"came back changed", "descriptors", "goroutines"} {
		found := false
		for line := range strings.Lines(output) {
			found = found || strings.Contains(line, want) && (strings.Contains(line, "GROWN") || strings.Contains(line, "FAILED"))
		}
		if ok || !found {
			t.Errorf("soak reports %v, and no failure with %q:\n%s", ok, want, output)
		}
	}
}

func TestJudge(t *testing.T) {
	flat := func(int64) int64 { return 1000 }
	for _, c := range []struct {
		name  string
		value func(i int64) int64 // of the sample with this number
		grown string              // names of the quantities that have grown
	}{
		{"flat", flat, "idle turns/s"}, // more than any idle loop makes
		{"warm-up", func(i int64) int64 { return min(i, 4) }, ""},
		{"one high sample", func(i int64) int64 { return i / 29 * 1000 }, ""},
		{"one more in three samples", func(i int64) int64 { return i / 3 }, "descriptors goroutines"},
		{"30 KB more in each sample", func(i int64) int64 { return i * 30 << 10 }, "descriptors goroutines heap, KB idle turns/s"},
		{"1 MB more in each sample", func(i int64) int64 { return i << 20 }, "descriptors goroutines heap, KB resident, KB idle turns/s"},
	} {
		var samples []sample
		for i := range int64(30) {
			v := c.value(i)
			samples = append(samples, sample{descriptors: v, goroutines: v, heap: v, resident: v, idleTurns: v})
		}
		var grown []string
		for _, v := range judge(samples) {
			if v.grown() {
				grown = append(grown, v.name)
			}
		}
		if got := strings.Join(grown, " "); got != c.grown {
			t.Errorf("%s: grown: %q, want %q", c.name, got, c.grown)
		}
	}
}

func TestUsage(t *testing.T) {
	lessontest.CheckUsage(t, "soak", []string{"-time", "1s"}, []string{"-clients", "0"}, []string{"-clients", "1001"})
}
