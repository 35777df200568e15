package main

import (
	"fmt"
	"os"

	"goselectors/eventloop"
	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

// sender accepts any amount of data and never waits. It queues what the kernel
// has no room for. It calls pause and resume of the producer to bound the queue.
type sender struct {
	loop          *eventloop.Loop
	file          *os.File
	queue         []byte // accepted, but not yet written
	low, high     int    // water marks in bytes; with only one, the producer would stop and start all the time
	pause, resume func() // of the producer
	paused        bool
	closing       bool

	logged, maxQueue, partialWrites, pauses int
}

// send writes at once if it can. Usually there is room, so there is nothing to
// wait for.
func (s *sender) send(p []byte) {
	if len(s.queue) == 0 {
		n, err := selectors.TryWrite(s.file, p)
		if err != selectors.ErrWouldBlock {
			cli.Check(err)
		}
		if n == len(p) {
			return
		}
		s.partialWrites++
		s.log("%d of %d KB written: queue the rest, write interest on", n>>10, len(p)>>10)
		p = p[n:]
		_, err = s.loop.Register(s.file, selectors.EventWrite, s.onWritable)
		cli.Check(err)
	}
	s.queue = append(s.queue, p...)
	s.maxQueue = max(s.maxQueue, len(s.queue))
	if len(s.queue) > s.high && !s.paused {
		s.log("%d KB queued, above the high-water mark: pause", len(s.queue)>>10)
		s.paused = true
		s.pauses++
		s.pause()
	}
}

// onWritable is called when there is room again.
func (s *sender) onWritable(any, selectors.Event) {
	n, err := selectors.TryWrite(s.file, s.queue)
	if err != selectors.ErrWouldBlock {
		cli.Check(err)
	}
	if s.queue = s.queue[n:]; len(s.queue) > 0 {
		s.partialWrites++
	}
	if s.paused && len(s.queue) <= s.low {
		s.log("%d KB queued, not above the low-water mark: resume", len(s.queue)>>10)
		s.paused = false
		s.resume()
	}
	if len(s.queue) == 0 {
		// Stop watching. Otherwise the loop would call this in every turn,
		// because a pipe or a socket is almost always writable.
		s.log("all written: write interest off")
		_, err := s.loop.Unregister(s.file)
		cli.Check(err)
		if s.closing {
			cli.Check(s.file.Close())
		}
	}
}

// closeWhenSent closes the file after all queued data is written.
func (s *sender) closeWhenSent() {
	s.closing = true
	if len(s.queue) == 0 {
		cli.Check(s.file.Close())
	}
}

// log prints the first steps with their time. Later steps only repeat them.
func (s *sender) log(format string, args ...any) {
	const maxLines = 16
	switch s.logged++; {
	case s.logged < maxLines:
		fmt.Printf("%6d ms  "+format+"\n", append([]any{s.loop.Now().Milliseconds()}, args...)...)
	case s.logged == maxLines:
		fmt.Println("     ... and so on")
	}
}
