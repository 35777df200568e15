//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A ring is n pipes, with a byte in some of them. Each byte that is read is
// written on into the next pipe. One event is a read and a write.
type ring struct {
	readers, writers []int
	byte             []byte
	events, counted  int
	warm, over       bool
	until            time.Duration
	seconds          time.Duration
	began, took      span
}

func newRing(a args) *ring {
	n, active := a.number("n", 100), a.number("active", 1)
	r := &ring{byte: []byte{'x'}, seconds: a.seconds()}
	for range n {
		var p [2]int
		check(unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
		r.readers, r.writers = append(r.readers, p[0]), append(r.writers, p[1])
	}
	for i := range active {
		r.put(i * n / active)
	}
	r.until = time.Since(start) + r.seconds/5
	return r
}

func (r *ring) put(i int) {
	if n, errno := rawWrite(r.writers[i], r.byte); n != 1 {
		panic(errno)
	}
}

func (r *ring) next(i int) int {
	if i++; i == len(r.writers) {
		return 0
	}
	return i
}

// event is a byte that has come, handled with raw calls, which leave the most
// of the time to what is compared; try with what the package offers for it, and
// unix with calls that tell the scheduler.
func (r *ring) event(i int) {
	if n, errno := rawRead(r.readers[i], r.byte); n != 1 {
		panic(errno)
	}
	r.put(r.next(i))
	r.count()
}

func (r *ring) try(i int) {
	if _, err := selectors.TryRead(r.readers[i], r.byte); err != nil {
		panic(err)
	}
	if _, err := selectors.TryWrite(r.writers[r.next(i)], r.byte); err != nil {
		panic(err)
	}
	r.count()
}

func (r *ring) unix(i int) {
	if _, err := unix.Read(r.readers[i], r.byte); err != nil {
		panic(err)
	}
	if _, err := unix.Write(r.writers[r.next(i)], r.byte); err != nil {
		panic(err)
	}
	r.count()
}

func (r *ring) count() {
	if r.events++; r.events&31 == 0 {
		r.clock()
	}
}

func (r *ring) clock() {
	now := time.Since(start)
	switch {
	case now < r.until || r.over:
	case !r.warm:
		r.warm, r.events = true, 0
		r.began, r.until = used(), now+r.seconds
	default:
		r.over, r.counted, r.took = true, r.events, r.began.since()
	}
}

// close prints the figures. No byte may have been lost or found on the way.
func (r *ring) close() {
	tokens := 0
	p := make([]byte, 16)
	for _, fd := range r.readers {
		if n, _ := rawRead(fd, p); n > 0 {
			tokens += n
		}
	}
	f := r.took.figures()
	f["events"], f["tokens"] = float64(r.counted), float64(tokens)
	f.print()
}

// newSelector is what the arguments backend and wait ask for.
func newSelector(a args) selectors.Selector {
	var opts []selectors.Option
	if a.text("wait", "") == "blocking" {
		opts = append(opts, selectors.WithBlockingWait())
	}
	for _, b := range selectors.Backends() {
		if b.Name == a.text("backend", "epoll") {
			sel, err := b.New(opts...)
			check(err)
			return sel
		}
	}
	panic("no such backend here")
}

// newLoop is a loop as New makes it, unless the arguments ask for a selector.
func newLoop(a args) *eventloop.Loop {
	var opts []eventloop.Option
	if a.text("backend", "")+a.text("wait", "") != "" {
		opts = append(opts, eventloop.WithSelector(newSelector(a)))
	}
	l, err := eventloop.New(opts...)
	check(err)
	return l
}

func ringLoop(a args) {
	r, l := newRing(a), newLoop(a)
	event := r.event
	if a.text("calls", "raw") == "try" {
		event = r.try
	}
	for i, fd := range r.readers {
		_, err := l.Register(fd, selectors.EventRead, func(any, selectors.Event) {
			if event(i); r.over {
				l.Stop()
			}
		})
		check(err)
	}
	check(l.Run(context.Background()))
	r.close()
}

func ringSelector(a args) {
	r, sel := newRing(a), newSelector(a)
	for i, fd := range r.readers {
		_, err := sel.Register(fd, selectors.EventRead, func() { r.event(i) })
		check(err)
	}
	var batch []selectors.Ready
	for !r.over {
		var err error
		batch, err = sel.SelectInto(batch[:0], -1)
		check(err)
		for _, ready := range batch {
			ready.Key.Data.(func())()
		}
	}
	r.close()
}

// ringEpoll is what one writes by hand.
func ringEpoll(r *ring, event func(int), wait func(int, []unix.EpollEvent) int) {
	set := epollSet()
	for i, fd := range r.readers {
		epollAdd(set, fd, i)
	}
	events := make([]unix.EpollEvent, 1024)
	for !r.over {
		for _, e := range events[:wait(set, events)] {
			event(int(e.Fd))
		}
	}
	r.close()
}

func ringUnix(a args) {
	r := newRing(a)
	ringEpoll(r, r.unix, epollWait)
}

func ringRaw(a args) {
	r := newRing(a)
	ringEpoll(r, r.event, epollWait)
}

// ringGoroutines is what Go offers: a goroutine for each pipe.
func ringGoroutines(a args) {
	n, active := a.number("n", 100), a.number("active", 1)
	type counter struct {
		atomic.Int64
		_ [56]byte // each in a cache line of its own
	}
	events := make([]counter, n)
	var readers, writers []*os.File
	for range n {
		r, w, err := os.Pipe()
		check(err)
		readers, writers = append(readers, r), append(writers, w)
	}
	var over atomic.Bool
	arrived := make(chan int, active)
	for i := range n {
		to := writers[(i+1)%n]
		go func() {
			p := make([]byte, 1)
			for {
				if _, err := readers[i].Read(p); errors.Is(err, os.ErrClosed) {
					return
				} else if err != nil {
					panic(err)
				}
				if over.Load() {
					arrived <- 1
					continue
				}
				if _, err := to.Write(p); err != nil {
					panic(err)
				}
				events[i].Add(1)
			}
		}()
	}
	for i := range active {
		_, err := writers[i*n/active].Write([]byte{'x'})
		check(err)
	}
	sum := func() (all int64) {
		for i := range events {
			all += events[i].Load()
		}
		return all
	}
	time.Sleep(a.seconds() / 5)
	began, before := used(), sum()
	time.Sleep(a.seconds())
	f, counted := began.since().figures(), sum()-before
	over.Store(true)
	tokens := 0
	for patience := time.After(time.Second); tokens < active; {
		select {
		case one := <-arrived:
			tokens += one
			continue
		case <-patience:
		}
		break
	}
	time.Sleep(time.Millisecond) // more than there should be
	f["events"], f["tokens"] = float64(counted), float64(tokens+len(arrived))
	f.print()
}
