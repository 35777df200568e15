// Lesson 7: a fast producer and a slow consumer, as in "yes | less". The pipe
// between them gets full, a write takes only a part of the data, and the rest
// must wait in a queue in the program. Back-pressure keeps that queue short: the
// producer pauses when the queue is above the high-water mark, and resumes when
// it has fallen to the low-water mark.
//
//	go run ./examples/07-backpressure
//	go run ./examples/07-backpressure -nolimit
//
// The lesson is in sender.go. The producer and the consumer are in this file.
// Both run on one loop.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"goselectors/eventloop"
	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

const (
	chunkSize = 24 << 10 // the producer sends this much at a time
	readSize  = 16 << 10 // the consumer reads this much at a time
)

// producer sends total bytes, one chunk per turn of the loop.
type producer struct {
	*sender
	total, sent int
	paused      bool
}

func (p *producer) produce() {
	if p.paused {
		return
	}
	if p.sent == p.total {
		p.log("producer finished; %d KB queued", len(p.queue)>>10)
		p.closeWhenSent()
		return
	}
	n := min(chunkSize, p.total-p.sent)
	p.sent += n
	p.send(make([]byte, n))
	p.loop.CallSoon(p.produce)
}

func (p *producer) pause() { p.paused = true }

func (p *producer) resume() {
	p.paused = false
	p.loop.CallSoon(p.produce)
}

// consumer reads once and then needs some time before it reads again. Meanwhile
// it does not watch the pipe. That is its part of back-pressure: the pipe gets
// full, then the queue of the sender grows, then the producer pauses.
type consumer struct {
	loop  *eventloop.Loop
	file  *os.File
	delay time.Duration
	total int
}

func (c *consumer) watch() {
	_, err := c.loop.Register(c.file, selectors.EventRead, c.read)
	cli.Check(err)
}

func (c *consumer) read(any, selectors.Event) {
	n, err := selectors.TryRead(c.file, make([]byte, readSize))
	c.total += n
	if err == io.EOF {
		c.loop.Stop()
	} else if err != selectors.ErrWouldBlock {
		cli.Check(err)
		c.loop.Unregister(c.file)
		c.loop.CallLater(c.delay, c.watch)
	}
}

func main() {
	kb := flag.Int("kb", 1024, "send this many `KB`")
	high := flag.Int("high", 64, "high-water mark of the queue in `KB`")
	low := flag.Int("low", 16, "low-water mark of the queue in `KB`")
	slow := flag.Duration("slow", 5*time.Millisecond, "the consumer waits for this `duration` after each read of up to 16 KB")
	noLimit := flag.Bool("nolimit", false, "never pause the producer")
	cli.Parse("07-backpressure")
	if *kb < 1 || *kb > 1<<20 || *low < 0 || *high <= *low || *slow < 0 {
		cli.UsageError("need 1 <= kb <= %d, 0 <= low < high, slow >= 0", 1<<20)
	}
	loop, err := eventloop.New()
	cli.Check(err)
	defer loop.Close()
	cli.StopOnInterrupt(loop)
	r, w, err := os.Pipe() // a socket works too, but its buffer size varies
	cli.Check(err)
	s := &sender{loop: loop, file: w, high: *high << 10, low: *low << 10}
	hint := "compare with -nolimit"
	if *noLimit {
		s.high = math.MaxInt
		hint = fmt.Sprintf("without -nolimit the queue has at most %d KB", *high+chunkSize>>10)
	}
	p := &producer{sender: s, total: *kb << 10}
	s.pause, s.resume = p.pause, p.resume
	c := &consumer{loop: loop, file: r, delay: *slow}
	c.watch()
	loop.CallSoon(p.produce)
	cli.Check(loop.Run(context.Background()))

	cli.Printf("%d KB in %v; longest queue %d KB, %d partial writes, %d pauses; %s",
		c.total>>10, loop.Now().Round(time.Millisecond), s.maxQueue>>10, s.partialWrites, s.pauses, hint)
	cli.Printf("bye")
}
