package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A sample is what one pause has measured. A figure that the platform does not tell is 0.
type sample struct {
	at                      time.Duration
	descriptors, goroutines int64
	heap, resident          int64 // bytes, after garbage collection
	idleTurns               int64 // of all loops in a second, with silent connections
	connections, received   int64 // since the start; bytes
}

// A quantity is a figure that must not grow. Its growth is the difference of two
// medians: that of the last third of the samples and that of the first third, after
// the first sixth has been left out as warm-up.
type quantity struct {
	name  string
	unit  int64 // divisor for printing
	of    func(s *sample) int64
	slack int64   // growth that is allowed
	part  float64 // growth that is allowed too, as a part of the first median
}

var quantities = []quantity{
	{"descriptors", 1, func(s *sample) int64 { return s.descriptors }, 2, 0},
	{"goroutines", 1, func(s *sample) int64 { return s.goroutines }, 2, 0},
	{"heap, KB", 1024, func(s *sample) int64 { return s.heap }, 256 << 10, 0.05},
	{"resident, KB", 1024, func(s *sample) int64 { return s.resident }, 8 << 20, 0.1},
	{"idle turns/s", 1, func(s *sample) int64 { return s.idleTurns }, 50, 0},
}

// maxIdleTurns limits the turns of idle loops in a second, from the first sample on. A
// loop that spins makes many thousands.
const maxIdleTurns = 100

// A verdict is a quantity's medians.
type verdict struct {
	quantity
	first, last, highest, allowed int64 // allowed is the highest last median
}

func (v *verdict) grown() bool { return v.last > v.allowed }

// minSamples is how many judge needs.
const minSamples = 4

// judge compares the samples.
func judge(samples []sample) []verdict {
	samples = samples[max(1, len(samples)/6):]
	third := max(1, len(samples)/3)
	var verdicts []verdict
	for _, q := range quantities {
		var values []int64
		for i := range samples {
			values = append(values, q.of(&samples[i]))
		}
		v := verdict{
			quantity: q,
			first:    median(values[:third]),
			last:     median(values[len(values)-third:]),
			highest:  slices.Max(values),
		}
		v.allowed = v.first + max(q.slack, int64(q.part*float64(v.first)))
		if strings.HasPrefix(q.name, "idle turns") {
			v.allowed = min(v.allowed, maxIdleTurns)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

func median(values []int64) int64 {
	values = slices.Sorted(slices.Values(values))
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// report prints the final table and reports whether something has grown.
func (s *soak) report(samples []sample) (grown bool) {
	s.printf("\n%-14s %10s %10s %10s %10s", "", "at first", "at last", "highest", "allowed")
	if len(samples) < minSamples {
		s.printf("interrupted after %d samples: no verdict", len(samples))
		return false
	}
	for _, v := range judge(samples) {
		mark := ""
		if v.grown() {
			mark, grown = "  GROWN", true
		}
		s.printf("%-14s %10d %10d %10d %10d%s", v.name, v.first/v.unit, v.last/v.unit, v.highest/v.unit, v.allowed/v.unit, mark)
	}
	last := samples[len(samples)-1]
	s.printf("\n%d connections, %d MB received and compared, %d failures", last.connections, last.received>>20, s.failures)
	for i, k := range kinds {
		s.printf("%-14s %10d sessions", k.name, s.sessions[i].Load())
	}
	return grown
}

func header() string {
	return fmt.Sprintf("%8s %12s %11s %8s %12s %12s %12s %9s",
		"time", "descriptors", "goroutines", "heap KB", "resident KB", "idle turns/s", "connections", "MB")
}

func (s sample) String() string {
	return fmt.Sprintf("%8v %12d %11d %8d %12d %12d %12d %9d", s.at.Round(100*time.Millisecond), s.descriptors, s.goroutines,
		s.heap>>10, s.resident>>10, s.idleTurns, s.connections, s.received>>20)
}

// measure takes a sample while no connection is open.
func (s *soak) measure(idleTurns int64) sample {
	runtime.GC() // the first collection keeps what is in a sync.Pool
	debug.FreeOSMemory()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return sample{
		at:          time.Since(s.start),
		descriptors: descriptors(),
		goroutines:  int64(runtime.NumGoroutine()),
		heap:        int64(memory.HeapAlloc),
		resident:    resident(),
		idleTurns:   idleTurns,
		connections: s.server.made.Load(),
		received:    s.bytes.Load(),
	}
}

const (
	settleTime  = 100 * time.Millisecond
	countedTime = 250 * time.Millisecond
)

// idleTurns opens connections in several states, leaves them alone, and returns the
// number of turns that the loops then make in a second.
func (s *soak) idleTurns() int64 {
	var open []conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	hold := func(e *endpoint, service service, prepare func(c conn) error) {
		c, err := e.connect(service)
		if err == nil {
			open = append(open, c)
			err = prepare(c)
		}
		if err != nil {
			s.fail("silent connection over %s: %v", e.name, err)
		}
	}
	filler := newSession(s, -2)
	for i := range s.ends {
		e := &s.ends[i]
		hold(e, echoService, func(conn) error { return nil })
		hold(e, echoService, func(c conn) error { // the server waits until it can write
			_, _, err := filler.fill(c)
			return err
		})
		hold(e, echoService, func(c conn) error { // the same, and nothing more will come
			if _, _, err := filler.fill(c); err != nil {
				return err
			}
			return c.CloseWrite()
		})
	}
	for i := range s.ends {
		hold(&s.ends[i], chatService, conn.CloseWrite) // the server keeps it open
	}
	time.Sleep(settleTime)
	before, start := s.server.turns(), time.Now()
	time.Sleep(countedTime)
	return int64(float64(s.server.turns()-before) / time.Since(start).Seconds())
}

// descriptors returns the number of open descriptors of the process.
func descriptors() int64 {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		if entries, err := os.ReadDir(dir); err == nil {
			return int64(len(entries)) - 1 // without that of the directory
		}
	}
	return 0
}

// resident returns the resident memory of the process, in bytes.
func resident() int64 {
	text, _ := os.ReadFile("/proc/self/statm")
	var size, pages int64
	fmt.Sscan(string(text), &size, &pages)
	return pages * int64(os.Getpagesize())
}

// A count is what a run must give back in the end.
type count struct{ descriptors, goroutines int64 }

func countAtStart() count {
	// Go's runtime opens its own descriptors for the first socket and keeps them.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	return count{descriptors(), int64(runtime.NumGoroutine())}
}

// countAtEnd waits until as much is left as before the start, and returns what is left
// beyond that.
func countAtEnd(before count) (left count) {
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left = count{descriptors() - before.descriptors, int64(runtime.NumGoroutine()) - before.goroutines}
		if left.descriptors <= 0 && left.goroutines <= 0 || time.Now().After(deadline) {
			return left
		}
	}
}
