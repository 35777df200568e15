//go:build linux

package main

import (
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// pendingTimers is the number of timers that are pending while others are cancelled
// and re-armed.
const pendingTimers = 10_000

// residentAfterGC returns the resident memory after a garbage collection in bytes.
func residentAfterGC() float64 {
	runtime.GC()
	debug.FreeOSMemory()
	return resident()
}

// randomDelay returns a random duration of less than a second.
func randomDelay() time.Duration { return rand.N(time.Second) }

func timersLoop(a args) {
	n, fired := a.number("n", 1_000_000), 0
	l := newLoop(a)
	fn := func() { fired++ }
	schedule := func(d time.Duration) interface{ Stop() bool } {
		t, err := l.CallLater(d, fn)
		check(err)
		return t
	}
	runTimers(n, timerOps{
		schedule: schedule,
		rearm: func() func() {
			t, err := l.CallLater(time.Hour, fn)
			check(err)
			return func() { t.Reset(time.Hour + time.Second) }
		}(),
		fire: func() {
			for fired < n {
				_, err := l.RunOnce(0)
				check(err)
			}
		},
		fired: func() int { return fired },
	})
}

func timersAfterFunc(a args) {
	n := a.number("n", 1_000_000)
	var fired atomic.Int64
	fn := func() { fired.Add(1) }
	t := time.AfterFunc(time.Hour, fn)
	runTimers(n, timerOps{
		schedule: func(d time.Duration) interface{ Stop() bool } { return time.AfterFunc(d, fn) },
		rearm:    func() { t.Reset(time.Hour + time.Second) },
		fired:    func() int { return int(fired.Load()) },
	})
}

// timerOps are the operations of a timer implementation.
type timerOps struct {
	schedule func(time.Duration) interface{ Stop() bool }
	rearm    func()
	fire     func() // fires all due timers; nil if they fire without a call
	fired    func() int
}

// runTimers runs the workload with n timers and prints the figures.
func runTimers(n int, t timerOps) {
	f := figures{"events": float64(n)}
	record := func(name string, s usage) {
		f[name], f[name+"_cpu"] = s.wall.Seconds(), s.cpu()
	}
	// Timers that fire without a call must not fire before all are scheduled.
	untilDue := time.Duration(0)
	if t.fire == nil {
		untilDue = 2*time.Second + 2*time.Microsecond*time.Duration(n)
	}
	before := residentAfterGC()
	s := currentUsage()
	due := s.wall + untilDue
	if t.fire == nil {
		for range n {
			t.schedule(due - time.Since(processStart) + rand.N(time.Millisecond))
		}
	} else {
		for range n {
			t.schedule(randomDelay())
		}
	}
	record("schedule", s.since())
	f["bytes"] = residentAfterGC() - before
	if t.fire != nil {
		time.Sleep(1010 * time.Millisecond)
		s = currentUsage()
		t.fire()
	} else {
		time.Sleep(due - time.Since(processStart))
		s = currentUsage()
		for t.fired() < n {
			unix.Nanosleep(&unix.Timespec{Nsec: 100_000}, nil)
		}
	}
	record("fire", s.since())
	f["fired"] = float64(t.fired())
	for range pendingTimers {
		t.schedule(time.Hour + randomDelay())
	}
	s = currentUsage()
	for range n {
		t.schedule(time.Hour + time.Second).Stop()
	}
	record("cancel", s.since())
	s = currentUsage()
	for range n {
		t.rearm()
	}
	record("rearm", s.since())
	f.print()
}
