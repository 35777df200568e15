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

// Signals interrupt system calls all the time: nothing fails, nothing is early,
// nothing is called but what should be.
func TestLibuvEINTR(t *testing.T) {
	forEachLoopKind(t, testCase{"storm", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		calls := 0
		must(l.Register(a, read, func(any, selectors.Event) {
			readFrom(t, a)
			calls++
		}))
		var over atomic.Bool
		stormed := make(chan int)
		go func() {
			n := 0
			for ; !over.Load(); n++ {
				sendSignal(unix.SIGURG) // the runtime's own, for preemption
				time.Sleep(50 * time.Microsecond)
			}
			stormed <- n
		}()
		started := time.Now()
		early := false
		must(l.CallLater(5*quietPeriod, func() {
			early = time.Since(started) < 5*quietPeriod
			l.Stop()
		}))
		time.AfterFunc(quietPeriod, func() { unix.Write(b, []byte("x")) })
		runLoop(t, l)
		over.Store(true)
		if n := <-stormed; calls != 1 || early || n == 0 {
			t.Errorf("%d calls, early: %v, %d signals", calls, early, n)
		}
	}})
}

// At the limit of open files a new loop may be an error, which says why,
// and one that is there goes on.
func TestLibuvEMFILE(t *testing.T) {
	inChild, output, err := runInChild(t)
	if !inChild {
		if err != nil || !strings.Contains(output, "all is well") {
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
		tight := limit
		tight.Cur = 40
		check(unix.Setrlimit(unix.RLIMIT_NOFILE, &tight))
		var hogs []int
		for {
			fd, err := unix.Dup(a)
			if err != nil {
				break
			}
			hogs = append(hogs, fd)
		}
		for range 3 {
			if k.withSelector {
				break
			}
			// Poll and select need a pipe only when they are woken, if at all.
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
		eventually(t, "all are called", func() bool { return r.count("x") == 1 && r.count("timer") == 1 && r.count("work") == 1 })
		l.Stop()
		check(receive(t, ended))
		for _, fd := range hogs {
			check(unix.Close(fd))
		}
		check(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		check(unix.Close(spare))
	}
	if !t.Failed() {
		fmt.Println("all is well")
	}
}
