//go:build linux

package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// idlers counts the threads that n waits cost: each is on one pipe, has had
// three events, and waits for the next.
func idlers(a args, wait func(reader int, seen *atomic.Int64)) {
	n := a.number("n", 100)
	before := threads()
	var seen atomic.Int64
	var writers []int
	for range n {
		var p [2]int
		check(unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
		writers = append(writers, p[1])
		go wait(p[0], &seen)
	}
	time.Sleep(50 * time.Millisecond)
	began := used()
	for round := int64(1); round <= 3; round++ {
		for _, fd := range writers {
			rawWrite(fd, []byte{1})
		}
		for seen.Load() < round*int64(n) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond)
	}
	f := began.since().figures()
	f["events"] = float64(seen.Load())
	began = used()
	time.Sleep(a.seconds())
	idle := began.since()
	f["threads"], f["idle"] = float64(threads()-before), idle.cpu()/idle.wall.Seconds()
	f.print()
}

func idleSelectors(a args) {
	idlers(a, func(fd int, seen *atomic.Int64) {
		sel := newSelector(a)
		_, err := sel.Register(fd, selectors.EventRead, nil)
		check(err)
		p := make([]byte, 1)
		for {
			batch, err := sel.Select(-1)
			check(err)
			for range batch {
				rawRead(fd, p)
				seen.Add(1)
			}
		}
	})
}

func idleUnix(a args) {
	idlers(a, func(fd int, seen *atomic.Int64) {
		set := epollSet()
		epollAdd(set, fd, fd)
		p, events := make([]byte, 1), make([]unix.EpollEvent, 1)
		for {
			for range events[:epollWait(set, events)] {
				rawRead(fd, p)
				seen.Add(1)
			}
		}
	})
}

func idleGoroutines(a args) {
	idlers(a, func(fd int, seen *atomic.Int64) {
		f, p := os.NewFile(uintptr(fd), "pipe"), make([]byte, 1)
		for {
			_, err := f.Read(p)
			check(err)
			seen.Add(1)
		}
	})
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

// resident is what the process has in memory, in bytes.
func resident() float64 {
	statm, err := os.ReadFile("/proc/self/statm")
	check(err)
	pages, err := strconv.Atoi(string(bytes.Fields(statm)[1]))
	check(err)
	return float64(pages * os.Getpagesize())
}
