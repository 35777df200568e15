//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// Signals that interrupt system calls cause no error, no early timer and no
// extra callback.
func TestLibuvEINTR(t *testing.T) {
	forEachLoopKind(t, testCase{"repeated signals", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		calls := 0
		must(l.Register(a, read, func(any, selectors.Event) {
			readFrom(t, a)
			calls++
		}))
		var stop atomic.Bool
		signalCount := make(chan int)
		go func() {
			n := 0
			for ; !stop.Load(); n++ {
				sendSignal(unix.SIGURG) // the Go runtime uses it for preemption
				time.Sleep(50 * time.Microsecond)
			}
			signalCount <- n
		}()
		started := time.Now()
		early := false
		must(l.CallLater(5*quietPeriod, func() {
			early = time.Since(started) < 5*quietPeriod
			l.Stop()
		}))
		time.AfterFunc(quietPeriod, func() { unix.Write(b, []byte("x")) })
		runLoop(t, l)
		stop.Store(true)
		if n := <-signalCount; calls != 1 || early || n == 0 {
			t.Errorf("%d calls, want 1; timer early: %v; %d signals sent", calls, early, n)
		}
	}})
}

// At the limit of open files, New may fail with EMFILE. Existing loops continue
// to work.
func TestLibuvEMFILE(t *testing.T) {
	inChild, output, err := runInChild(t)
	if !inChild {
		if err != nil || !strings.Contains(output, "child passed") {
			t.Errorf("%v\n%s", err, output)
		}
		return
	}
	for _, k := range loopKinds() {
		l := k.loop(t)
		a, b := socketPair(t)
		spare := must(unix.Dup(a))
		var limit unix.Rlimit
		check(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
		lowered := limit
		lowered.Cur = 40
		check(unix.Setrlimit(unix.RLIMIT_NOFILE, &lowered))
		var fillers []int
		for {
			fd, err := unix.Dup(a)
			if err != nil {
				break
			}
			fillers = append(fillers, fd)
		}
		for range 3 {
			if k.withSelector {
				break
			}
			// A backend that needs a single descriptor, for its waker, may find one
			// that was closed meanwhile, so New may succeed.
			if other, err := eventloop.New(); err == nil {
				other.Close()
			} else if !errors.Is(err, unix.EMFILE) {
				t.Errorf("%s: New: %v", k.Name, err)
			}
		}
		var r recorder
		must(l.Register(a, read, func(any, selectors.Event) { r.add(readFrom(t, a)) }))
		must(l.CallLater(time.Millisecond, r.fn("timer")))
		done := make(chan struct{})
		check(l.Do(r.fn("work"), func() { close(done) }))
		ended := make(chan error)
		go func() { ended <- l.Run(context.Background()) }()
		receive(t, done)
		writeTo(t, b, "x")
		eventually(t, "all callbacks run", func() bool { return r.count("x") == 1 && r.count("timer") == 1 && r.count("work") == 1 })
		l.Stop()
		check(receive(t, ended))
		for _, fd := range fillers {
			check(unix.Close(fd))
		}
		check(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		check(unix.Close(spare))
	}
	if !t.Failed() {
		fmt.Println("child passed")
	}
}
