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

// contextSwitches returns the number of voluntary context switches of all
// threads of this process.
func contextSwitches() int64 {
	var usage unix.Rusage
	check(unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return int64(usage.Nvcsw)
}

// procValue returns the value of a field in a file of /proc/self. It skips the
// test if the field does not exist.
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

// TestIdle checks that an idle loop is not woken: it runs no turn in a second, and
// the whole process makes few context switches.
func TestIdle(t *testing.T) {
	forEachLoopKind(t, testCase{"one second", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, _ := socketPair(t)
		must(l.Register(a, read, func(any, selectors.Event) { t.Error("called") }))
		must(l.CallLater(time.Hour, func() { t.Error("called") }))
		h := must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { t.Error("called") }))
		defer h.Stop()
		ended := startLoop(t, l)
		for range 20 { // make the loop busy first
			check(l.Post(func() {}))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * quietPeriod)
		turnsBefore, switchesBefore := l.Stats().Turns, contextSwitches()
		time.Sleep(time.Second)
		switches, turns := contextSwitches()-switchesBefore, l.Stats().Turns-turnsBefore
		if turns != 0 {
			t.Errorf("%d turns in an idle second, want 0", turns)
		}
		if switches > 150 {
			t.Errorf("%d context switches in an idle second, want at most 150", switches)
		} else {
			t.Logf("%d context switches in an idle second", switches)
		}
		l.Stop()
		receive(t, ended)
	}})
}

// TestHundredLoops checks that 100 idle loops add at most 12 operating system
// threads where the selector parks the goroutine, as on epoll. Where a wait blocks,
// each loop needs a thread.
func TestHundredLoops(t *testing.T) {
	const loops = 100
	for _, k := range loopKinds() {
		t.Run(k.Name, func(t *testing.T) {
			inChild, output, err := runInChild(t)
			if !inChild {
				_, result, _ := strings.Cut(output, "threads: ")
				var threadsBefore, threadsIdle int
				if n, _ := fmt.Sscanf(result, "%d, then %d", &threadsBefore, &threadsIdle); err != nil || n != 2 {
					t.Fatalf("%v\n%s", err, output)
				}
				t.Logf("%d idle loops: %d operating system threads, %d before", loops, threadsIdle, threadsBefore)
				if parked := k.Features&selectors.FeatureParked != 0 && !k.withSelector; parked && threadsIdle > threadsBefore+12 {
					t.Errorf("%d idle loops: %d threads, want at most %d", loops, threadsIdle, threadsBefore+12)
				}
				return
			}
			threadsBefore := procValue(t, "status", "Threads")
			var runResults []<-chan error // by loop: the result of Run
			var all []*eventloop.Loop
			for range loops {
				l := k.loop(t)
				a, _ := socketPair(t)
				must(l.Register(a, read, func(any, selectors.Event) { t.Error("called") }))
				all = append(all, l)
			}
			for _, l := range all {
				runResults = append(runResults, startLoop(t, l))
			}
			time.Sleep(10 * quietPeriod)
			fmt.Printf("threads: %d, then %d\n", threadsBefore, procValue(t, "status", "Threads"))
			for i, l := range all {
				l.Stop()
				receive(t, runResults[i])
			}
		})
	}
}

// TestKernelWakes checks that the loop is woken at most once for each sleep,
// however many goroutines post. A wake is one write to an eventfd or a pipe, or
// no system call at all.
func TestKernelWakes(t *testing.T) {
	forEachLoopKind(t, testCase{"eight producers", func(t *testing.T, k loopKind) {
		procValue(t, "io", "syscw") // skips the test if the kernel does not count system calls
		l := k.loop(t)
		ended := startLoop(t, l)
		const producers, postsEach = 8, 5000
		var wg sync.WaitGroup
		writesBefore := procValue(t, "io", "syscw")
		for range producers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range postsEach {
					check(l.Post(func() {}))
				}
			}()
		}
		wg.Wait()
		postsDone := make(chan struct{})
		check(l.Post(func() { close(postsDone) }))
		receive(t, postsDone)
		writes := procValue(t, "io", "syscw") - writesBefore
		s := l.Stats()
		// The Go runtime also writes to wake its own poller.
		if writes > int(s.Wakes)*2+200 {
			t.Errorf("%d write system calls for %d wakes, want at most %d", writes, s.Wakes, s.Wakes*2+200)
		}
		t.Logf("%d posts: %d wakes, %d writes, %d turns", producers*postsEach, s.Wakes, writes, s.Turns)
		l.Stop()
		receive(t, ended)
	}})
}
