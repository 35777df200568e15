package main

import (
	"fmt"
	"os"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A sender takes whatever it is given and never waits: what the kernel has no
// room for, it queues. So somebody has to see that this does not become much.
type sender struct {
	loop          *eventloop.Loop
	file          *os.File
	queue         []byte // taken, and not yet written
	low, high     int    // water marks: two, or the producer would stop and go with every byte
	pause, resume func() // the producer's
	paused        bool
	ending        bool

	lines, peak, partial, pauses int
}

// send writes at once if it can: mostly there is room, and then there is
// nothing to wait for.
func (s *sender) send(p []byte) {
	if len(s.queue) == 0 {
		n, err := selectors.TryWrite(s.file, p)
		if err != selectors.ErrWouldBlock {
			check(err)
		}
		if n == len(p) {
			return
		}
		s.partial++
		s.say("%d of %d KB written: queue the rest, write interest on", n>>10, len(p)>>10)
		p = p[n:]
		_, err = s.loop.Register(s.file, selectors.EventWrite, s.writable)
		check(err)
	}
	s.queue = append(s.queue, p...)
	s.peak = max(s.peak, len(s.queue))
	if len(s.queue) > s.high && !s.paused {
		s.say("%d KB queued, above the high-water mark: pause", len(s.queue)>>10)
		s.paused = true
		s.pauses++
		s.pause()
	}
}

// writable is called when there is room again.
func (s *sender) writable(any, selectors.Event) {
	n, err := selectors.TryWrite(s.file, s.queue)
	if err != selectors.ErrWouldBlock {
		check(err)
	}
	if s.queue = s.queue[n:]; len(s.queue) > 0 {
		s.partial++
	}
	if s.paused && len(s.queue) <= s.low {
		s.say("%d KB queued, not above the low-water mark: resume", len(s.queue)>>10)
		s.paused = false
		s.resume()
	}
	if len(s.queue) == 0 {
		// Off, or it would be called in every turn: a socket is writable
		// nearly always.
		s.say("all written: write interest off")
		_, err := s.loop.Unregister(s.file)
		check(err)
		if s.ending {
			check(s.file.Close())
		}
	}
}

// end closes the connection when what is queued has been written.
func (s *sender) end() {
	s.ending = true
	if len(s.queue) == 0 {
		check(s.file.Close())
	}
}

// say prints what happens, as long as that is news.
func (s *sender) say(format string, args ...any) {
	const enough = 16
	switch s.lines++; {
	case s.lines < enough:
		fmt.Printf("%6d ms  "+format+"\n", append([]any{s.loop.Now().Milliseconds()}, args...)...)
	case s.lines == enough:
		fmt.Println("     ... and so on")
	}
}
