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

const standing = 10_000

// memory is what the process has in memory after a collection.
func memory() float64 {
	runtime.GC()
	debug.FreeOSMemory()
	return resident()
}

// second is a random part of one.
func second() time.Duration { return rand.N(time.Second) }

func timersLoop(a args) {
	n, fired := a.number("n", 1_000_000), 0
	l := newLoop(a)
	fn := func() { fired++ }
	schedule := func(d time.Duration) interface{ Stop() bool } {
		t, err := l.CallLater(d, fn)
		check(err)
		return t
	}
	timersWith(n, timers{
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
	timersWith(n, timers{
		schedule: func(d time.Duration) interface{ Stop() bool } { return time.AfterFunc(d, fn) },
		rearm:    func() { t.Reset(time.Hour + time.Second) },
		fired:    func() int { return int(fired.Load()) },
	})
}

type timers struct {
	schedule func(time.Duration) interface{ Stop() bool }
	rearm    func()
	fire     func() // nil: they fire by themselves
	fired    func() int
}

func timersWith(n int, t timers) {
	f := figures{"events": float64(n)}
	took := func(name string, s span) {
		f[name], f[name+"_cpu"] = s.wall.Seconds(), s.cpu()
	}
	// Who fires by himself must not begin before all are scheduled.
	ahead := time.Duration(0)
	if t.fire == nil {
		ahead = 2*time.Second + 2*time.Microsecond*time.Duration(n)
	}
	before := memory()
	s := used()
	due := s.wall + ahead
	if t.fire == nil {
		for range n {
			t.schedule(due - time.Since(start) + rand.N(time.Millisecond))
		}
	} else {
		for range n {
			t.schedule(second())
		}
	}
	took("schedule", s.since())
	f["bytes"] = memory() - before
	if t.fire != nil {
		time.Sleep(1010 * time.Millisecond)
		s = used()
		t.fire()
	} else {
		time.Sleep(due - time.Since(start))
		s = used()
		for t.fired() < n {
			unix.Nanosleep(&unix.Timespec{Nsec: 100_000}, nil)
		}
	}
	took("fire", s.since())
	f["fired"] = float64(t.fired())
	for range standing {
		t.schedule(time.Hour + second())
	}
	s = used()
	for range n {
		t.schedule(time.Hour + time.Second).Stop()
	}
	took("pair", s.since())
	s = used()
	for range n {
		t.rearm()
	}
	took("rearm", s.since())
	f.print()
}
