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

// measureIdle measures the threads that n waits need. Each wait is on a pipe of its
// own and has had three events. The function wait adds each event to events.
func measureIdle(a args, wait func(reader int, events *atomic.Int64)) {
	n := a.number("n", 100)
	threadsBefore := threads()
	var events atomic.Int64
	var writers []int
	for range n {
		var p [2]int
		check(unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
		writers = append(writers, p[1])
		go wait(p[0], &events)
	}
	time.Sleep(50 * time.Millisecond)
	start := currentUsage()
	for round := int64(1); round <= 3; round++ {
		for _, fd := range writers {
			rawWrite(fd, []byte{1})
		}
		for events.Load() < round*int64(n) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond)
	}
	f := start.since().figures()
	f["events"] = float64(events.Load())
	start = currentUsage()
	time.Sleep(a.seconds())
	idle := start.since()
	f["threads"], f["idle"] = float64(threads()-threadsBefore), idle.cpu()/idle.wall.Seconds()
	f.print()
}

func idleSelectors(a args) {
	measureIdle(a, func(fd int, events *atomic.Int64) {
		sel := newSelector(a)
		_, err := sel.Register(fd, selectors.EventRead, nil)
		check(err)
		p := make([]byte, 1)
		for {
			batch, err := sel.Select(-1)
			check(err)
			for range batch {
				rawRead(fd, p)
				events.Add(1)
			}
		}
	})
}

func idleEpoll(a args) {
	measureIdle(a, func(fd int, events *atomic.Int64) {
		epfd := epollCreate()
		epollAdd(epfd, fd, fd)
		p, ready := make([]byte, 1), make([]unix.EpollEvent, 1)
		for {
			for range ready[:epollWait(epfd, ready)] {
				rawRead(fd, p)
				events.Add(1)
			}
		}
	})
}

func idleGoroutines(a args) {
	measureIdle(a, func(fd int, events *atomic.Int64) {
		f, p := os.NewFile(uintptr(fd), "pipe"), make([]byte, 1)
		for {
			_, err := f.Read(p)
			check(err)
			events.Add(1)
		}
	})
}

// threads returns the number of threads of this process.
func threads() int {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	_, after, _ := strings.Cut(string(status), "\nThreads:")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	check(err)
	return n
}

// resident returns the resident memory of this process in bytes.
func resident() float64 {
	statm, err := os.ReadFile("/proc/self/statm")
	check(err)
	pages, err := strconv.Atoi(string(bytes.Fields(statm)[1]))
	check(err)
	return float64(pages * os.Getpagesize())
}
