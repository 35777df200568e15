//go:build linux

package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// runWake runs the workload given by the argument mode with post, which hands a
// function to another goroutine. That goroutine runs the functions one at a time.
func runWake(a args, post func(fn func())) {
	if a.str("mode", "rate") == "latency" {
		postLatency(a, post)
	} else {
		postRate(a, post)
	}
}

// postRate measures throughput: producers post a batch of functions, wait until all
// have run, and repeat.
func postRate(a args, post func(fn func())) {
	producers := a.number("producers", 1)
	const batch = 10_000
	perProducer := batch / producers
	ran, posts, target := 0, 0, 0
	done := make(chan struct{}, 1)
	count := func() {
		if ran++; ran == target {
			done <- struct{}{}
		}
	}
	// The producers are kept for all batches, so that starting goroutines is not
	// measured.
	var posting sync.WaitGroup
	starts := make([]chan struct{}, producers)
	for i := range starts {
		starts[i] = make(chan struct{}, 1)
		go func() {
			for range starts[i] {
				for range perProducer {
					post(count)
				}
				posting.Done()
			}
		}()
	}
	before := currentUsage()
	for before.since().wall < a.seconds() {
		target += perProducer * producers
		posting.Add(producers)
		for i := range starts {
			starts[i] <- struct{}{}
		}
		posting.Wait()
		<-done
		posts += perProducer * producers
	}
	f := before.since().figures()
	f["events"], f["ran"] = float64(posts), float64(ran)
	f.print()
}

// postLatency measures latency: it posts one function at a time to a sleeping loop.
func postLatency(a args, post func(fn func())) {
	var latency []time.Duration
	var posted time.Duration
	done := make(chan struct{}, 1)
	recordLatency := func() {
		latency = append(latency, time.Since(processStart)-posted)
		done <- struct{}{}
	}
	pause := unix.NsecToTimespec(int64(a.number("pause", 100)) * 1000)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		before, posts := currentUsage(), 0
		for before.since().wall < a.seconds() {
			unix.Nanosleep(&pause, nil)
			posted = time.Since(processStart)
			post(recordLatency)
			posts++
			<-done
		}
		f := before.since().figures()
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
	runWake(a, func(fn func()) { check(l.Post(fn)) })
}

func wakeChannel(a args) {
	tasks := make(chan func(), 1024)
	go func() {
		for fn := range tasks {
			fn()
		}
	}()
	runWake(a, func(fn func()) { tasks <- fn })
}
