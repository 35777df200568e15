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

// A ring is n pipes, some of which hold one byte. A byte that is read is written to
// the next pipe. One event is a read and a write.
type ring struct {
	readers, writers []int
	buf              []byte // one byte
	events           int    // since the start or since the end of the warm-up
	warmedUp, done   bool
	phaseEnd         time.Duration // end of the warm-up or of the measurement, since processStart
	seconds          time.Duration // duration of the measurement
	startUsage       usage         // at the end of the warm-up
	elapsed          usage         // of the measurement
	measured         int           // events of the measurement
}

func newRing(a args) *ring {
	n, active := a.number("n", 100), a.number("active", 1)
	r := &ring{buf: []byte{'x'}, seconds: a.seconds()}
	for range n {
		var p [2]int
		check(unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
		r.readers, r.writers = append(r.readers, p[0]), append(r.writers, p[1])
	}
	for i := range active {
		r.write(i * n / active)
	}
	r.phaseEnd = time.Since(processStart) + r.seconds/5
	return r
}

// write writes a byte to pipe i.
func (r *ring) write(i int) {
	if n, errno := rawWrite(r.writers[i], r.buf); n != 1 {
		panic(errno)
	}
}

// next returns the index of the pipe after i.
func (r *ring) next(i int) int {
	if i++; i == len(r.writers) {
		return 0
	}
	return i
}

// passRaw passes the byte in pipe i to the next pipe. It uses raw calls, which take
// the least time beside the readiness calls that are compared.
func (r *ring) passRaw(i int) {
	if n, errno := rawRead(r.readers[i], r.buf); n != 1 {
		panic(errno)
	}
	r.write(r.next(i))
	r.count()
}

// passTry is like passRaw with selectors.TryRead and TryWrite.
func (r *ring) passTry(i int) {
	if _, err := selectors.TryRead(r.readers[i], r.buf); err != nil {
		panic(err)
	}
	if _, err := selectors.TryWrite(r.writers[r.next(i)], r.buf); err != nil {
		panic(err)
	}
	r.count()
}

// passUnix is like passRaw with package unix, whose calls enter Go's scheduler.
func (r *ring) passUnix(i int) {
	if _, err := unix.Read(r.readers[i], r.buf); err != nil {
		panic(err)
	}
	if _, err := unix.Write(r.writers[r.next(i)], r.buf); err != nil {
		panic(err)
	}
	r.count()
}

func (r *ring) count() {
	if r.events++; r.events&31 == 0 {
		r.checkTime()
	}
}

// checkTime starts the measurement at the end of the warm-up, and ends it.
func (r *ring) checkTime() {
	now := time.Since(processStart)
	switch {
	case now < r.phaseEnd || r.done:
	case !r.warmedUp:
		r.warmedUp, r.events = true, 0
		r.startUsage, r.phaseEnd = currentUsage(), now+r.seconds
	default:
		r.done, r.measured, r.elapsed = true, r.events, r.startUsage.since()
	}
}

// report prints the figures, including the number of bytes that are still in the
// ring. It must be equal to the number at the start.
func (r *ring) report() {
	tokens := 0
	p := make([]byte, 16)
	for _, fd := range r.readers {
		if n, _ := rawRead(fd, p); n > 0 {
			tokens += n
		}
	}
	f := r.elapsed.figures()
	f["events"], f["tokens"] = float64(r.measured), float64(tokens)
	f.print()
}

// newSelector returns a selector as given by the arguments backend and wait.
func newSelector(a args) selectors.Selector {
	var opts []selectors.Option
	if a.str("wait", "") == "blocking" {
		opts = append(opts, selectors.WithBlockingWait())
	}
	for _, b := range selectors.Backends() {
		if b.Name == a.str("backend", "epoll") {
			sel, err := b.New(opts...)
			check(err)
			return sel
		}
	}
	panic("backend is not available")
}

// newLoop returns a loop with the selector given by the arguments backend and wait,
// or with the default one if both are missing.
func newLoop(a args) *eventloop.Loop {
	var opts []eventloop.Option
	if a.str("backend", "")+a.str("wait", "") != "" {
		opts = append(opts, eventloop.WithSelector(newSelector(a)))
	}
	l, err := eventloop.New(opts...)
	check(err)
	return l
}

func ringLoop(a args) {
	r, l := newRing(a), newLoop(a)
	pass := r.passRaw
	if a.str("calls", "raw") == "try" {
		pass = r.passTry
	}
	for i, fd := range r.readers {
		_, err := l.Register(fd, selectors.EventRead, func(any, selectors.Event) {
			if pass(i); r.done {
				l.Stop()
			}
		})
		check(err)
	}
	check(l.Run(context.Background()))
	r.report()
}

func ringSelector(a args) {
	r, sel := newRing(a), newSelector(a)
	for i, fd := range r.readers {
		_, err := sel.Register(fd, selectors.EventRead, func() { r.passRaw(i) })
		check(err)
	}
	var batch []selectors.Ready
	for !r.done {
		var err error
		batch, err = sel.SelectInto(batch[:0], -1)
		check(err)
		for _, ready := range batch {
			ready.Key.Data.(func())()
		}
	}
	r.report()
}

// ringEpoll is a handwritten epoll loop.
func ringEpoll(r *ring, pass func(int)) {
	epfd := epollCreate()
	for i, fd := range r.readers {
		epollAdd(epfd, fd, i)
	}
	events := make([]unix.EpollEvent, 1024)
	for !r.done {
		for _, e := range events[:epollWait(epfd, events)] {
			pass(int(e.Fd))
		}
	}
	r.report()
}

func ringUnix(a args) {
	r := newRing(a)
	ringEpoll(r, r.passUnix)
}

func ringRaw(a args) {
	r := newRing(a)
	ringEpoll(r, r.passRaw)
}

// ringGoroutines uses os.Pipe and a goroutine for each pipe.
func ringGoroutines(a args) {
	n, active := a.number("n", 100), a.number("active", 1)
	type counter struct {
		atomic.Int64
		_ [56]byte // a cache line for each counter
	}
	events := make([]counter, n)
	var readers, writers []*os.File
	for range n {
		r, w, err := os.Pipe()
		check(err)
		readers, writers = append(readers, r), append(writers, w)
	}
	var done atomic.Bool
	collected := make(chan int, active) // a value for each byte read after done is set
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
				if done.Load() {
					collected <- 1
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
	sum := func() (total int64) {
		for i := range events {
			total += events[i].Load()
		}
		return total
	}
	time.Sleep(a.seconds() / 5)
	before, eventsBefore := currentUsage(), sum()
	time.Sleep(a.seconds())
	f, measured := before.since().figures(), sum()-eventsBefore
	done.Store(true)
	tokens := 0
	for timeout := time.After(time.Second); tokens < active; {
		select {
		case n := <-collected:
			tokens += n
			continue
		case <-timeout:
		}
		break
	}
	time.Sleep(time.Millisecond) // let surplus bytes arrive, if there are any
	f["events"], f["tokens"] = float64(measured), float64(tokens+len(collected))
	f.print()
}
