//go:build linux

package selectors_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// The strategies of waiting, side by side: every row below with every strategy.
//
//	go test -run TestWaitTable -wait.table ./selectors
//
// Each figure is measured in a process of its own, with its own GOMAXPROCS, so
// that no strategy inherits the threads and timers of another. The strategies
// alternate, and the table shows the median of the rounds.
var (
	waitTable      = flag.Bool("wait.table", false, "measure every row of the wait table with every strategy")
	waitRows       = flag.String("wait.rows", "", "rows of the wait table to measure, a `regexp`")
	waitStrategies = flag.String("wait.strategies", "", "strategies to measure, a `regexp`")
	waitRounds     = flag.Int("wait.rounds", 3, "rounds of the wait table")
	waitTime       = flag.Duration("wait.time", 400*time.Millisecond, "how long one figure is measured; some rows take a multiple of it")
)

// A waitRow is one situation in which a selector waits.
type waitRow struct {
	name    string
	procs   int // GOMAXPROCS
	factor  int // the multiple of -wait.time that it is measured
	metrics []metric
	run     func(r *waitRun)
}

// A metric is one figure of a row. The table marks a strategy that is worse than
// the best one, if better is not 0 and the difference is more than floor.
type metric struct {
	name   string
	better int // -1: less is better, +1: more is better, 0: not compared
	floor  float64
}

var (
	wallRound = metric{"wall µs/round", -1, 0.3}
	cpuRound  = metric{"CPU µs/round", -1, 0.3}
	csRound   = metric{"switches/round", 0, 0}
	perSecond = metric{"rounds/s", +1, 0}
	wakeP50   = metric{"wake-up p50 µs", -1, 3}
	wakeMean  = metric{"wake-up mean µs", -1, 20}
	wakeP99   = metric{"wake-up p99 µs", 0, 0} // too few events to compare
)

// waitTableRows lists the rows. Busy goroutines never yield; the pairs of goroutines
// exchange over unbuffered channels.
func waitTableRows() (rows []waitRow) {
	add := func(name string, procs int, run func(r *waitRun), metrics ...metric) *waitRow {
		rows = append(rows, waitRow{name: fmt.Sprintf("%s P=%d", name, procs), procs: procs, factor: 1, metrics: metrics, run: run})
		return &rows[len(rows)-1]
	}
	both := []int{1, 2}
	for _, p := range both {
		add("ring of 100 pipes", p, (*waitRun).ring,
			metric{"wall ns/event", -1, 30}, metric{"CPU ns/event", -1, 30}, metric{"switches/event", 0, 0})
	}
	for _, p := range both {
		add("ping-pong", p, func(r *waitRun) { r.pingPong(1, 0) }, wallRound, cpuRound, csRound)
	}
	for _, pause := range []time.Duration{20 * time.Microsecond, 50 * time.Microsecond, 200 * time.Microsecond, time.Millisecond} {
		for _, p := range both {
			row := add(fmt.Sprintf("client pauses %v", pause), p, func(r *waitRun) { r.pingPong(1, pause) }, cpuRound, csRound, wakeP50, wakeMean)
			if pause < 50*time.Microsecond {
				row.factor = 5 // there are two states, slow and fast, which last some 100 ms each
			}
		}
	}
	for _, p := range both {
		row := add("beside 4 channel pairs", p, func(r *waitRun) {
			var work atomic.Int64
			for range 4 {
				startPair(&work, 0, 0)
			}
			begin := time.Now()
			r.pingPong(1, 0)
			r.figures["exchanges/ms"] = float64(work.Load()) / float64(time.Since(begin).Milliseconds())
		}, perSecond, wakeP99, metric{"exchanges/ms", +1, 0})
		row.factor = 6 // its first sleeps last 40 ms each, so a short measurement shows chance
	}
	for _, beside := range []struct{ procs, busy int }{{1, 1}, {1, 2}, {2, 1}, {2, 2}, {2, 4}} {
		run := func(pause time.Duration) func(*waitRun) {
			return func(r *waitRun) {
				for range beside.busy {
					go spin()
				}
				r.pingPong(1, pause)
			}
		}
		add(fmt.Sprintf("beside %d busy goroutines", beside.busy), beside.procs, run(0), perSecond, wakeP99).factor = 3
		add(fmt.Sprintf("beside %d busy goroutines, every 2ms", beside.busy), beside.procs, run(2*time.Millisecond), wakeP50, wakeMean, wakeP99).factor = 3
	}
	for _, conns := range []int{1, 50} {
		for _, p := range both {
			add(fmt.Sprintf("beside bursts, %d conns", conns), p, func(r *waitRun) {
				var work atomic.Int64
				startPair(&work, 1000, 5*time.Millisecond)
				r.pingPong(conns, 0)
			}, perSecond, cpuRound, wakeP99)
		}
	}
	for _, p := range both {
		add("goroutine and selector over pipes", p, (*waitRun).goroutine, wallRound, cpuRound)
	}
	for _, p := range both {
		add("Wake and answer", p, (*waitRun).wake, wallRound, cpuRound)
	}
	for _, timeout := range []time.Duration{10 * time.Millisecond, time.Millisecond, 100 * time.Microsecond} {
		for _, p := range both {
			add(fmt.Sprintf("sleeps %v", timeout), p, func(r *waitRun) { r.timeouts(timeout) },
				metric{"CPU ms/s", -1, 1}, metric{"switches/s", 0, 0}, metric{"late, mean µs", -1, 20})
		}
	}
	add("100 idle selectors", 2, (*waitRun).idle, metric{"OS threads", -1, 8})
	return rows
}

// waitRun is one measurement, in a process of its own.
type waitRun struct {
	option  selectors.Option
	time    time.Duration
	start   time.Time
	usage   unix.Rusage
	figures map[string]float64
}

func (r *waitRun) selector() selectors.Selector {
	s, err := selectors.NewEpollSelector(r.option)
	check(err)
	return s
}

// startClocks is called after the warm-up.
func (r *waitRun) startClocks() {
	check(unix.Getrusage(unix.RUSAGE_SELF, &r.usage))
	r.start = time.Now()
}

// cost returns what has been used since startClocks.
func (r *waitRun) cost() (wall, cpu time.Duration, switches float64) {
	wall = time.Since(r.start)
	var u unix.Rusage
	check(unix.Getrusage(unix.RUSAGE_SELF, &u))
	cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano() - r.usage.Utime.Nano() - r.usage.Stime.Nano())
	return wall, cpu, float64(u.Nvcsw - r.usage.Nvcsw)
}

// rounds stores the figures for each of n rounds.
func (r *waitRun) rounds(n int) {
	wall, cpu, switches := r.cost()
	each := float64(max(n, 1))
	r.figures[wallRound.name] = float64(wall) / 1e3 / each
	r.figures[cpuRound.name] = float64(cpu) / 1e3 / each
	r.figures[csRound.name] = switches / each
	r.figures[perSecond.name] = float64(n) / wall.Seconds()
}

// ring sends a byte around a hundred pipes. The selector's own thread makes every
// event, so one is always ready.
func (r *waitRun) ring() {
	const pipes = 100
	s := r.selector()
	var next [1024]int // read end → write end of the next pipe
	var readers, writers [pipes]int
	for i := range pipes {
		var p [2]int
		check(unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
		readers[i], writers[i] = p[0], p[1]
		_, err := s.Register(p[0], selectors.EventRead, nil)
		check(err)
	}
	for i := range pipes {
		next[readers[i]] = writers[(i+1)%pipes]
	}
	b := []byte{0}
	rawWrite(writers[0], b)
	var batch []selectors.Ready
	events := 0
	turn := func() {
		var err error
		batch, err = s.SelectInto(batch[:0], -1)
		check(err)
		for _, ready := range batch {
			rawRead(ready.Key.FD, b)
			rawWrite(next[ready.Key.FD], b)
			events++
		}
	}
	for range 2000 {
		turn()
	}
	events = 0
	r.startClocks()
	for time.Since(r.start) < r.time {
		for range 64 {
			turn()
		}
	}
	wall, cpu, switches := r.cost()
	each := float64(events)
	r.figures["wall ns/event"] = float64(wall) / each
	r.figures["CPU ns/event"] = float64(cpu) / each
	r.figures["switches/event"] = switches / each
}

// pingPong answers a client in another process, which pauses between the answer
// and the next request. Each request carries the time when it was sent.
func (r *waitRun) pingPong(conns int, pause time.Duration) {
	s := r.selector()
	for _, fd := range startPeer(conns, pause) {
		_, err := s.Register(fd, selectors.EventRead, nil)
		check(err)
	}
	const maxSamples = 1 << 20
	var total int64
	late := make([]int32, 0, maxSamples)
	var batch []selectors.Ready
	request := make([]byte, 8)
	served := 0
	warmUp := time.Time{}
	for {
		var err error
		batch, err = s.SelectInto(batch[:0], -1)
		check(err)
		for _, ready := range batch {
			if n := rawRead(ready.Key.FD, request); n != len(request) {
				panic(fmt.Sprintf("a request of %d bytes", n))
			}
			if served++; len(late) < maxSamples {
				late = append(late, int32(min(monotonic()-int64(binary.NativeEndian.Uint64(request)), 1<<31-1)))
			}
			rawWrite(ready.Key.FD, request)
		}
		at := time.Now()
		switch {
		case warmUp.IsZero():
			warmUp = at
		case r.start.IsZero() && at.Sub(warmUp) > r.time/8:
			served, late = 0, late[:0]
			r.startClocks()
		case !r.start.IsZero() && at.Sub(r.start) > r.time:
			r.rounds(served)
			slices.Sort(late)
			for _, v := range late {
				total += int64(v)
			}
			r.figures[wakeMean.name] = float64(total) / 1e3 / float64(len(late))
			r.figures[wakeP50.name] = float64(late[len(late)/2]) / 1e3
			r.figures[wakeP99.name] = float64(late[len(late)*99/100]) / 1e3
			return
		}
	}
}

// goroutine answers a goroutine of the same process, which uses os.File.
func (r *waitRun) goroutine() {
	s := r.selector()
	var p [2]int
	check(unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	answers, w, err := os.Pipe()
	check(err)
	_, err = s.Register(p[0], selectors.EventRead, nil)
	check(err)
	requests := os.NewFile(uintptr(p[1]), "requests")
	go func() {
		b := []byte{1}
		for {
			_, err := requests.Write(b)
			check(err)
			_, err = answers.Read(b)
			check(err)
		}
	}()
	reply, err := w.SyscallConn()
	check(err)
	to := -1
	check(reply.Control(func(fd uintptr) { to = int(fd) }))
	b := []byte{1}
	r.count(func(batch []selectors.Ready) {
		for _, ready := range batch {
			rawRead(ready.Key.FD, b)
			rawWrite(to, b)
		}
	}, s)
	runtime.KeepAlive(w)
}

// wake answers Wake with a message over a channel.
func (r *waitRun) wake() {
	s := r.selector()
	answers := make(chan struct{})
	go func() {
		for {
			check(s.Wake())
			<-answers
		}
	}()
	r.count(func([]selectors.Ready) { answers <- struct{}{} }, s)
}

// count measures rounds of Select and an answer.
func (r *waitRun) count(answer func(batch []selectors.Ready), s selectors.Selector) {
	var batch []selectors.Ready
	turn := func() {
		var err error
		batch, err = s.SelectInto(batch[:0], -1)
		check(err)
		answer(batch)
	}
	for range 200 {
		turn()
	}
	n := 0
	for r.startClocks(); time.Since(r.start) < r.time; {
		for range 16 {
			turn()
			n++
		}
	}
	r.rounds(n)
}

// timeouts only sleeps.
func (r *waitRun) timeouts(timeout time.Duration) {
	s := r.selector()
	var late time.Duration
	n := 0
	s.Select(timeout)
	for r.startClocks(); time.Since(r.start) < r.time; n++ {
		before := time.Now()
		_, err := s.SelectInto(nil, timeout)
		check(err)
		late += time.Since(before) - timeout
	}
	wall, cpu, switches := r.cost()
	r.figures["CPU ms/s"] = float64(cpu) / 1e6 / wall.Seconds()
	r.figures["switches/s"] = switches / wall.Seconds()
	r.figures["late, mean µs"] = float64(late) / 1e3 / float64(n)
}

// idle counts the threads of idle selectors that have had a few events each.
func (r *waitRun) idle() {
	const selectorCount = 100
	before := threads()
	var received atomic.Int32
	var pipes [selectorCount][2]int
	for i := range pipes {
		check(unix.Pipe2(pipes[i][:], unix.O_NONBLOCK|unix.O_CLOEXEC))
		s := r.selector()
		_, err := s.Register(pipes[i][0], selectors.EventRead, nil)
		check(err)
		go func() {
			b := make([]byte, 1)
			for {
				batch, err := s.Select(-1)
				check(err)
				for _, ready := range batch {
					rawRead(ready.Key.FD, b)
					received.Add(1)
				}
			}
		}()
	}
	time.Sleep(20 * time.Millisecond)
	for range 3 {
		for i := range pipes {
			rawWrite(pipes[i][1], []byte{1})
		}
		time.Sleep(20 * time.Millisecond)
	}
	for received.Load() < 3*selectorCount {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(r.time / 2)
	r.figures["OS threads"] = float64(threads() - before)
}

func threads() int {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	_, after, _ := strings.Cut(string(status), "\nThreads:")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	check(err)
	return n
}

// startPair starts two goroutines that exchange messages over unbuffered channels:
// all the time, or in bursts with pauses between them.
func startPair(work *atomic.Int64, burst int, pause time.Duration) {
	there, back := make(chan int), make(chan int)
	go func() {
		for v := range there {
			back <- v
		}
	}()
	go func() {
		for n := 1; ; n++ {
			there <- n
			<-back
			work.Add(1)
			if burst > 0 && n%burst == 0 {
				time.Sleep(pause)
			}
		}
	}()
}

var spinCount atomic.Int64 // keeps the compiler from removing the loop below

func spin() {
	for x := int64(1); ; x = x*3 + 1 {
		if x == 0 {
			spinCount.Add(1)
		}
	}
}

func TestWaitTable(t *testing.T) {
	rows, rounds, d := waitTableRows(), *waitRounds, *waitTime
	if *waitTable {
		rows = slices.DeleteFunc(rows, func(row waitRow) bool { return !regexp.MustCompile(*waitRows).MatchString(row.name) })
	} else {
		// Enough to see that the measurement works.
		rows = slices.DeleteFunc(rows, func(row waitRow) bool { return row.name != "ping-pong P=1" })
		rounds, d = 1, 10*time.Millisecond
	}
	var names []string
	for _, strategy := range selectors.Strategies {
		if regexp.MustCompile(*waitStrategies).MatchString(strategy.Name) {
			names = append(names, strategy.Name)
		}
	}
	if len(rows) == 0 || len(names) == 0 {
		t.Fatal("nothing to measure")
	}

	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\t\t%s\t\n", pad("row"), strings.Join(names, "\t"))
	var worse []string
	for _, row := range rows {
		samples := make(map[string]map[string][]float64) // strategy → metric → rounds
		for i := range rounds {
			for j := range names {
				strategy := names[(i+j)%len(names)]
				if samples[strategy] == nil {
					samples[strategy] = make(map[string][]float64)
				}
				for name, v := range row.measure(t, strategy, d*time.Duration(row.factor)) {
					samples[strategy][name] = append(samples[strategy][name], v)
				}
			}
		}
		label := row.name
		for _, m := range row.metrics {
			best := math.NaN()
			for _, strategy := range names {
				v := median(samples[strategy][m.name])
				if strategy != "adaptive" && (math.IsNaN(best) || m.worseThan(best, v, 1)) {
					best = v
				}
			}
			fmt.Fprintf(w, "%s\t%s\t", pad(label), m.name)
			for _, strategy := range names {
				v := median(samples[strategy][m.name])
				mark := " "
				if m.worseThan(v, best, 1.25) {
					mark = "!"
					if strategy == "adaptive" {
						worse = append(worse, fmt.Sprintf("%s, %s: %s against %s", row.name, m.name, figure(v), figure(best)))
					}
				}
				fmt.Fprintf(w, "%s%s\t", figure(v), mark)
			}
			fmt.Fprintln(w)
			label = ""
		}
		if *waitTable {
			fmt.Fprintf(os.Stderr, "\r%-60s\r", row.name)
		}
	}
	w.Flush()
	t.Logf("medians of %d rounds of %v; ! is worse than 1.25 times the best of the simple strategies\n%s", rounds, d, table.String())
	if *waitTable && len(worse) > 0 {
		t.Logf("adaptive is worse in\n  %s", strings.Join(worse, "\n  "))
	}
}

// pad aligns the first column to the left in a table that is aligned to the right.
func pad(s string) string { return fmt.Sprintf("%-40s", s) }

// worseThan reports whether v is worse than best by more than a factor.
func (m metric) worseThan(v, best, factor float64) bool {
	switch {
	case m.better < 0:
		return v > best*factor && (factor == 1 || v-best > m.floor)
	case m.better > 0:
		return v*factor < best
	}
	return false
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// figure formats a number with three digits, or with all digits before the point.
func figure(v float64) string {
	switch {
	case math.IsNaN(v):
		return "failed"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
