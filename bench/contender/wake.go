//go:build linux

package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// wakeWith posts with post, whose functions run elsewhere, one at a time. Rate:
// producers post a batch, wait until all of it has run, and so on. Latency: one
// post at a time, to a loop that sleeps.
func wakeWith(a args, post func(fn func())) {
	if a.text("mode", "rate") == "latency" {
		wakeLatency(a, post)
	} else {
		wakeRate(a, post)
	}
}

func wakeRate(a args, post func(fn func())) {
	producers := a.number("producers", 1)
	const batch = 10000
	each := batch / producers
	ran, posts, target := 0, 0, 0
	done := make(chan struct{}, 1)
	count := func() {
		if ran++; ran == target {
			done <- struct{}{}
		}
	}
	// Producers that stay: making goroutines is no part of a post.
	var posted sync.WaitGroup
	begin := make([]chan struct{}, producers)
	for i := range begin {
		begin[i] = make(chan struct{}, 1)
		go func() {
			for range begin[i] {
				for range each {
					post(count)
				}
				posted.Done()
			}
		}()
	}
	began := used()
	for began.since().wall < a.seconds() {
		target += each * producers
		posted.Add(producers)
		for i := range begin {
			begin[i] <- struct{}{}
		}
		posted.Wait()
		<-done
		posts += each * producers
	}
	f := began.since().figures()
	f["events"], f["ran"] = float64(posts), float64(ran)
	f.print()
}

func wakeLatency(a args, post func(fn func())) {
	var latency []time.Duration
	var posted time.Duration
	done := make(chan struct{}, 1)
	stamp := func() {
		latency = append(latency, time.Since(start)-posted)
		done <- struct{}{}
	}
	pause := unix.NsecToTimespec(int64(a.number("pause", 100)) * 1000)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		began, posts := used(), 0
		for began.since().wall < a.seconds() {
			unix.Nanosleep(&pause, nil)
			posted = time.Since(start)
			post(stamp)
			posts++
			<-done
		}
		f := began.since().figures()
		slices.Sort(latency)
		f["events"], f["ran"] = float64(posts), float64(len(latency))
		f["p50"], f["p99"] = latency[len(latency)/2].Seconds(), latency[len(latency)*99/100].Seconds()
		f.print()
	}()
	<-finished
}

func wakeLoop(a args) {
	l := newLoop(a)
	go func() { check(l.Run(context.Background())) }()
	wakeWith(a, func(fn func()) { check(l.Post(fn)) })
}

func wakeChannel(a args) {
	tasks := make(chan func(), 1024)
	go func() {
		for fn := range tasks {
			fn()
		}
	}()
	wakeWith(a, func(fn func()) { tasks <- fn })
}
