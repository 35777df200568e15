//go:build linux

package eventloop_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// Each benchmark times the loop and an alternative in alternating blocks of one
// run. The extra metrics are medians over the blocks: the time of the alternative,
// and the ratio of the loop's time to it in neighbouring blocks.
//
//	go test -run xxx -bench . -benchmem ./eventloop

// A benchFunc does n operations and returns how long they took, without setup and
// cleanup.
type benchFunc func(n int) time.Duration

// timed returns a benchFunc that measures the whole call of f.
func timed(f func(n int)) benchFunc {
	return func(n int) time.Duration {
		start := time.Now()
		f(n)
		return time.Since(start)
	}
}

// compare runs b.N operations of loop in blocks, and as many of each alternative.
func compare(b *testing.B, block int, loop benchFunc, others map[string]benchFunc) {
	b.Helper()
	names := slices.Sorted(maps.Keys(others))
	loop(block)
	for _, name := range names {
		others[name](block)
	}
	var loopTimes []float64
	otherTimes, ratios := make(map[string][]float64), make(map[string][]float64)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += block {
		x := float64(loop(block)) / float64(block)
		loopTimes = append(loopTimes, x)
		b.StopTimer()
		for _, name := range names {
			y := float64(others[name](block)) / float64(block)
			otherTimes[name] = append(otherTimes[name], y)
			ratios[name] = append(ratios[name], x/y)
		}
		b.StartTimer()
	}
	b.StopTimer()
	b.ReportMetric(median(loopTimes), "ns/op")
	for _, name := range names {
		b.ReportMetric(median(otherTimes[name]), name+"-ns/op")
		b.ReportMetric(median(ratios[name]), "x-"+name)
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// A ring is the benchmark of libevent's authors: n pipes, of which a contain a
// byte. Each byte that is read is written to another pipe.
type ring struct {
	readers, writers []int
	next             []int // from the number of a reading end to the writing end to use
	byte             [1]byte
	events           int
}

func newRing(b *testing.B, n, active int) *ring {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if int(limit.Cur) < 2*n+64 {
		b.Skipf("%d descriptors needed, %d allowed (ulimit -n)", 2*n+64, limit.Cur)
	}
	r := &ring{}
	for range n {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			unix.Close(p[0])
			unix.Close(p[1])
		})
		r.readers, r.writers = append(r.readers, p[0]), append(r.writers, p[1])
	}
	r.next = make([]int, slices.Max(r.readers)+1)
	for i, fd := range r.readers {
		r.next[fd] = r.writers[(i+1)%n]
	}
	for i := range active {
		r.pass(r.writers[i*n/active])
	}
	return r
}

// pass writes the byte to the next pipe. All rings use raw system calls: they never
// block here, and most of the time is left for what is compared.
func (r *ring) pass(fd int) {
	unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&r.byte)), 1)
}

func (r *ring) handle(fd int) {
	unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&r.byte)), 1)
	r.pass(r.next[fd])
	r.events++
}

// BenchmarkRing: one operation is one event, a read and a write.
func BenchmarkRing(b *testing.B) {
	for _, n := range []int{100, 1000, 9000} {
		for _, active := range []int{1, 100, 1000} {
			if active > n {
				continue
			}
			b.Run(fmt.Sprintf("pipes=%d/active=%d", n, active), func(b *testing.B) { benchRing(b, n, active) })
		}
	}
}

func benchRing(b *testing.B, n, active int) {
	r := newRing(b, n, active)
	l, err := eventloop.New()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(set) })
	stop := 0
	callbacks := make([]eventloop.Callback, len(r.next))
	for _, fd := range r.readers {
		callbacks[fd] = func(any, selectors.Event) {
			if r.handle(fd); r.events >= stop {
				l.Stop()
			}
		}
	}
	events := make([]unix.EpollEvent, 1024)
	// There are not enough descriptors for two rings of 9000 pipes, so one ring
	// is registered with each set in turn.
	compare(b, 10_000, func(n int) time.Duration {
		b.StopTimer()
		for _, fd := range r.readers {
			if _, err := l.Register(fd, selectors.EventRead, callbacks[fd]); err != nil {
				b.Fatal(err)
			}
		}
		stop = r.events + n
		b.StartTimer()
		start := time.Now()
		if err := l.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		b.StopTimer()
		for _, fd := range r.readers {
			if _, err := l.Unregister(fd); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		return took
	}, map[string]benchFunc{
		// The loop that a program would have: it waits if nothing is ready.
		"bare": bare(b, r, set, func() int {
			n, err := unix.EpollWait(set, events, -1)
			if err != nil && err != unix.EINTR {
				b.Fatal(err)
			}
			return n
		}, events),
		// The lower limit: it never waits.
		"raw": bare(b, r, set, func() int {
			n, _, _ := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(set), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
			return int(n)
		}, events),
	})
}

// bare is the ring on system calls alone.
func bare(b *testing.B, r *ring, set int, wait func() int, events []unix.EpollEvent) benchFunc {
	callbacks := make([]func(), len(r.next))
	for _, fd := range r.readers {
		callbacks[fd] = func() { r.handle(fd) }
	}
	return func(n int) time.Duration {
		for _, fd := range r.readers {
			if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
				b.Fatal(err)
			}
		}
		start := time.Now()
		for stop := r.events + n; r.events < stop; {
			for i := range events[:max(wait(), 0)] {
				callbacks[events[i].Fd]()
			}
		}
		took := time.Since(start)
		for _, fd := range r.readers {
			if err := unix.EpollCtl(set, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
				b.Fatal(err)
			}
		}
		return took
	}
}

// BenchmarkPost measures a post in the goroutine that posts, beside a send to a
// buffered channel that another goroutine reads, and counts the wakes.
func BenchmarkPost(b *testing.B) {
	for _, producers := range []int{1, 4, 8} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			l, err := eventloop.New()
			if err != nil {
				b.Fatal(err)
			}
			ran := make(chan error)
			go func() { ran <- l.Run(b.Context()) }()
			sink := make(chan func(), 1024)
			go func() {
				for fn := range sink {
					fn()
				}
			}()
			fn := func() {}
			all := func(n int, one func()) {
				var wg sync.WaitGroup
				wg.Add(producers)
				for range producers {
					go func() {
						defer wg.Done()
						for range n / producers {
							one()
						}
					}()
				}
				wg.Wait()
			}
			var posts uint64
			startWakes := l.Stats().Wakes
			compare(b, 16000, timed(func(n int) {
				posts += uint64(n)
				all(n, func() { l.Post(fn) })
			}), map[string]benchFunc{"channel": timed(func(n int) { all(n, func() { sink <- fn }) })})
			b.ReportMetric(float64(l.Stats().Wakes-startWakes)*1000/float64(posts), "wakes/1000")
			close(sink)
			l.Stop()
			if err := <-ran; err != nil {
				b.Fatal(err)
			}
			l.Close()
		})
	}
}

// BenchmarkTimers measures a million timers, beside time.AfterFunc, and their heap.
// One operation is one timer.
func BenchmarkTimers(b *testing.B) {
	const numTimers = 1_000_000
	fn := func() {}
	// In random order, over two seconds, an hour from now.
	delay := func() time.Duration { return time.Hour + rand.N(2*time.Second) }
	// With a virtual clock all of them can be due at once.
	var at time.Duration
	newLoop := func(b *testing.B) *eventloop.Loop {
		l, err := eventloop.New(eventloop.WithClock(func() time.Duration { return at }))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { l.Close() })
		return l
	}
	real := func(b *testing.B) *eventloop.Loop {
		l, err := eventloop.New()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { l.Close() })
		return l
	}
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	loopTimers, goTimers := make([]*eventloop.Timer, numTimers), make([]*time.Timer, numTimers)
	b.Run("schedule", func(b *testing.B) {
		l := real(b)
		var size, otherSize float64
		compare(b, numTimers, func(n int) time.Duration {
			startHeap := heap()
			took := timed(func(n int) {
				for i := range n {
					loopTimers[i], _ = l.CallLater(delay(), fn)
				}
			})(n)
			size = (heap() - startHeap) / float64(n)
			for i := range n {
				loopTimers[i].Stop()
				loopTimers[i] = nil
			}
			return took
		}, map[string]benchFunc{"AfterFunc": func(n int) time.Duration {
			startHeap := heap()
			took := timed(func(n int) {
				for i := range n {
					goTimers[i] = time.AfterFunc(delay(), fn)
				}
			})(n)
			otherSize = (heap() - startHeap) / float64(n)
			for i := range n {
				goTimers[i].Stop()
				goTimers[i] = nil
			}
			return took
		}})
		b.ReportMetric(size, "B/timer")
		b.ReportMetric(otherSize, "AfterFunc-B/timer")
	})
	b.Run("fire", func(b *testing.B) {
		l := newLoop(b)
		compare(b, numTimers, func(n int) time.Duration {
			for range n {
				l.CallLater(delay(), fn)
			}
			at += 2 * time.Hour
			return timed(func(int) { l.RunOnce(0) })(n)
		}, map[string]benchFunc{"AfterFunc": func(n int) time.Duration {
			var wg sync.WaitGroup
			wg.Add(n)
			due := time.Now().Add(time.Second + time.Duration(n)*time.Microsecond) // after the last one is scheduled
			for range n {
				time.AfterFunc(time.Until(due)+rand.N(time.Microsecond), wg.Done)
			}
			time.Sleep(time.Until(due))
			return timed(func(int) { wg.Wait() })(n)
		}})
	})
	b.Run("cancel", func(b *testing.B) {
		l := real(b)
		compare(b, numTimers, func(n int) time.Duration {
			for i := range n {
				loopTimers[i], _ = l.CallLater(delay(), fn)
			}
			return timed(func(n int) {
				for _, t := range loopTimers {
					t.Stop()
				}
			})(n)
		}, map[string]benchFunc{"AfterFunc": func(n int) time.Duration {
			for i := range n {
				goTimers[i] = time.AfterFunc(delay(), fn)
			}
			return timed(func(n int) {
				for _, t := range goTimers {
					t.Stop()
				}
			})(n)
		}})
	})
	// As in a server: a timeout for each request, which is hardly ever reached.
	const standing = 10_000
	stand := func(b *testing.B) *eventloop.Loop {
		l := real(b)
		for range standing {
			l.CallLater(delay(), fn)
		}
		others := make([]*time.Timer, standing)
		for i := range others {
			others[i] = time.AfterFunc(delay(), fn)
		}
		b.Cleanup(func() {
			for _, t := range others {
				t.Stop()
			}
		})
		return l
	}
	b.Run("schedule+cancel,standing=10000", func(b *testing.B) {
		l := stand(b)
		compare(b, 10_000, timed(func(n int) {
			for range n {
				t, _ := l.CallLater(time.Hour+time.Second, fn)
				t.Stop()
			}
		}), map[string]benchFunc{"AfterFunc": timed(func(n int) {
			for range n {
				time.AfterFunc(time.Hour+time.Second, fn).Stop()
			}
		})})
	})
	b.Run("reset,standing=10000", func(b *testing.B) {
		l := stand(b)
		t, _ := l.CallLater(time.Hour, fn)
		other := time.AfterFunc(time.Hour, fn)
		defer other.Stop()
		compare(b, 10_000, timed(func(n int) {
			for range n {
				t.Reset(time.Hour + time.Second)
			}
		}), map[string]benchFunc{"AfterFunc": timed(func(n int) {
			for range n {
				other.Reset(time.Hour + time.Second)
			}
		})})
	})
}
