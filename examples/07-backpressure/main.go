// Lesson 7: a fast producer and a slow consumer, as in "yes | less". The pipe
// between them fills, a write takes only part of what it is given, and the rest
// queues in the program. Back-pressure keeps that queue short: above the high-water mark
// the producer pauses, below the low one it resumes.
//
//	go run ./examples/07-backpressure
//	go run ./examples/07-backpressure -nolimit
//
// The lesson is in sender.go. Producer and consumer are here, on one loop.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

const (
	piece = 24 << 10 // what the producer makes at a time
	bite  = 16 << 10 // and the consumer takes
)

// producer has total bytes to send, and sends a piece in every turn.
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
		p.say("all is produced; %d KB queued", len(p.queue)>>10)
		p.end()
		return
	}
	n := min(piece, p.total-p.sent)
	p.sent += n
	p.send(make([]byte, n))
	p.loop.CallSoon(p.produce)
}

func (p *producer) pause() { p.paused = true }

func (p *producer) resume() {
	p.paused = false
	p.loop.CallSoon(p.produce)
}

// A consumer takes a bite and then has to think about it for a while. It asks
// for nothing meanwhile: that is its side of back-pressure. The kernel passes it
// on by having no room, and the sender by its pause.
type consumer struct {
	loop  *eventloop.Loop
	file  *os.File
	slow  time.Duration
	total int
}

func (c *consumer) listen() {
	_, err := c.loop.Register(c.file, selectors.EventRead, c.read)
	check(err)
}

func (c *consumer) read(any, selectors.Event) {
	n, err := selectors.TryRead(c.file, make([]byte, bite))
	c.total += n
	if err == io.EOF {
		c.loop.Stop()
	} else if err != selectors.ErrWouldBlock {
		check(err)
		c.loop.Unregister(c.file)
		c.loop.CallLater(c.slow, c.listen)
	}
}

func main() {
	kb := flag.Int("kb", 1024, "how `much` to send, in KB")
	high := flag.Int("high", 64, "high-water mark of the queue, in `KB`")
	low := flag.Int("low", 16, "low-water mark, in `KB`")
	slow := flag.Duration("slow", 5*time.Millisecond, "the consumer takes so `long` for 16 KB")
	nolimit := flag.Bool("nolimit", false, "without water marks")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: 07-backpressure [-kb much] [-high KB] [-low KB] [-slow time] [-nolimit]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || *kb < 1 || *kb > 1<<20 || *low < 0 || *high <= *low || *slow < 0 {
		flag.Usage()
		os.Exit(2)
	}
	loop, err := eventloop.New()
	check(err)
	defer loop.Close()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		_, err := loop.OnSignal(sig, func(os.Signal) { loop.Stop() })
		check(err)
	}
	from, to, err := os.Pipe() // sockets behave the same, only less regularly
	check(err)
	s := &sender{loop: loop, file: to, high: *high << 10, low: *low << 10}
	if *nolimit {
		s.high = math.MaxInt
	}
	p := &producer{sender: s, total: *kb << 10}
	s.pause, s.resume = p.pause, p.resume
	c := &consumer{loop: loop, file: from, slow: *slow}
	c.listen()
	loop.CallSoon(p.produce)
	check(loop.Run(context.Background()))

	fmt.Printf("07-backpressure: %d KB in %v; queue up to %d KB, %d writes only in part, %d pauses; try: -nolimit\n",
		c.total>>10, loop.Now().Round(time.Millisecond), s.peak>>10, s.partial, s.pauses)
	fmt.Println("07-backpressure: bye")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "07-backpressure:", err)
		os.Exit(1)
	}
}
