package eventloop_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// switches is how often threads of this process have gone to sleep.
func contextSwitches() int64 {
	var usage unix.Rusage
	check(unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return int64(usage.Nvcsw)
}

// figure reads a number of the process from a file in /proc/self.
func procValue(t testing.TB, file, name string) (n int) {
	t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile("/proc/self/" + file)))) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			must(fmt.Sscan(value, &n))
			return n
		}
	}
	t.Skipf("no %s in /proc/self/%s", name, file)
	return 0
}

// A loop with nothing to do is not woken at all: no turn in a second, and
// hardly a switch of threads in the whole process.
func TestIdle(t *testing.T) {
	forEachLoopKind(t, testCase{"one second", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, _ := socketPair(t)
		must(l.Register(a, read, func(any, selectors.Event) { t.Error("called") }))
		must(l.CallLater(time.Hour, func() { t.Error("called") }))
		h := must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { t.Error("called") }))
		defer h.Stop()
		ended := startLoop(t, l)
		for range 20 { // it has been busy before
			check(l.Post(func() {}))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * quietPeriod)
		turns, before := l.Stats().Turns, contextSwitches()
		time.Sleep(time.Second)
		after, turnsAfter := contextSwitches(), l.Stats().Turns
		if turnsAfter != turns {
			t.Errorf("%d turns in an idle second", turnsAfter-turns)
		}
		if n := after - before; n > 150 {
			t.Errorf("%d switches in an idle second", n)
		} else {
			t.Logf("%d switches in an idle second", n)
		}
		l.Stop()
		receive(t, ended)
	}})
}

// A hundred idle loops need a handful of threads on epoll, and one each where a
// wait blocks.
func TestHundredLoops(t *testing.T) {
	const loops = 100
	for _, k := range loopKinds() {
		t.Run(k.Name, func(t *testing.T) {
			inChild, output, err := runInChild(t)
			if !inChild {
				_, result, _ := strings.Cut(output, "threads: ")
				var before, idle int
				if n, _ := fmt.Sscanf(result, "%d, then %d", &before, &idle); err != nil || n != 2 {
					t.Fatalf("%v\n%s", err, output)
				}
				t.Logf("%d idle loops: %d threads of the operating system, %d before", loops, idle, before)
				if parked := k.Features&selectors.FeatureParked != 0 && !k.withSelector; parked && idle > before+12 {
					t.Errorf("%d idle loops keep %d threads", loops, idle)
				}
				return
			}
			before := procValue(t, "status", "Threads")
			var ends []<-chan error
			var all []*eventloop.Loop
			for range loops {
				l := k.loop(t)
				a, _ := socketPair(t)
				must(l.Register(a, read, func(any, selectors.Event) { t.Error("called") }))
				all = append(all, l)
			}
			for _, l := range all {
				ends = append(ends, startLoop(t, l))
			}
			time.Sleep(10 * quietPeriod)
			fmt.Printf("threads: %d, then %d\n", before, procValue(t, "status", "Threads"))
			for i, l := range all {
				l.Stop()
				receive(t, ends[i])
			}
		})
	}
}

// However many post, the kernel is asked to wake the loop once a sleep: a write
// to an eventfd or a pipe, or none at all.
func TestKernelWakes(t *testing.T) {
	forEachLoopKind(t, testCase{"eight producers", func(t *testing.T, k loopKind) {
		procValue(t, "io", "syscw")
		l := k.loop(t)
		ended := startLoop(t, l)
		const producers, each = 8, 5000
		var wg sync.WaitGroup
		before := procValue(t, "io", "syscw")
		for range producers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range each {
					check(l.Post(func() {}))
				}
			}()
		}
		wg.Wait()
		reached := make(chan struct{})
		check(l.Post(func() { close(reached) }))
		receive(t, reached)
		writes := procValue(t, "io", "syscw") - before
		s := l.Stats()
		// The runtime wakes its own poller by such writes as well.
		if writes > int(s.Wakes)*2+200 {
			t.Errorf("%d writes for %d wakes", writes, s.Wakes)
		}
		t.Logf("%d posts: %d wakes, %d writes, %d turns", producers*each, s.Wakes, writes, s.Turns)
		l.Stop()
		receive(t, ended)
	}})
}
