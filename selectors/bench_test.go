//go:build linux

package selectors_test

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"

	"golang.org/x/sys/unix"
)

// Every benchmark here compares the package with code that calls the same system
// call directly. Blocks of both alternate. ns/op and allocs/op are those of the
// package, bare-ns/op that of the direct calls, and x-bare is the ratio of
// neighbouring blocks. All three are medians, to which noise matters little.
//
//	go test -run xxx -bench . -benchmem ./selectors

// compare times b.N runs of ours and as many of bare. Each function does n runs.
func compare(b *testing.B, ours, bare func(n int)) {
	const span = 200 * time.Microsecond // of a block
	clock := func(f func(n int), n int) time.Duration {
		began := time.Now()
		f(n)
		return time.Since(began)
	}
	clock(ours, 1)
	block := 1
	for block < 1<<20 && clock(bare, block) < span {
		block *= 2
	}
	blocks := b.N/block + 1
	mine, theirs, ratios := make([]float64, 0, blocks), make([]float64, 0, blocks), make([]float64, 0, blocks)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += block {
		n := min(block, b.N-i)
		var x, y time.Duration
		if i/block%2 == 0 {
			x = clock(ours, n)
			y = clock(bare, n)
		} else {
			y = clock(bare, n)
			x = clock(ours, n)
		}
		mine = append(mine, float64(x)/float64(n))
		theirs = append(theirs, float64(y)/float64(n))
		ratios = append(ratios, float64(x)/float64(y))
	}
	b.StopTimer()
	b.ReportMetric(median(mine), "ns/op")
	b.ReportMetric(median(theirs), "bare-ns/op")
	b.ReportMetric(median(ratios), "x-bare")
}

// A client is the state that a program keeps for a descriptor. The loops below
// look it up and change it, because SelectorKey.Data saves that look-up.
type client struct {
	fd, seen int
	_        [6]uintptr // like buffers
}

// A bench is a set of descriptors, with the state for the loops of ours and bare.
type bench struct {
	fds     []int
	clients []*client // by descriptor
}

// newBench opens n eventfds, of which active are readable, evenly spread. They are
// the cheapest files for the kernel to poll, so the overhead of the package is
// largest.
func newBench(b testing.TB, n, active int) *bench {
	b.Helper()
	return newBenchOf(b, n, active, func(ready bool) int {
		var count uint
		if ready {
			count = 1
		}
		fd, err := unix.Eventfd(count, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			b.Fatal(err)
		}
		return fd
	})
}

// newTCPBench opens n TCP connections, like a server.
func newTCPBench(b testing.TB, n, active int) *bench {
	b.Helper()
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(ln)
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		b.Fatal(err)
	}
	if err := unix.Listen(ln, 16); err != nil {
		b.Fatal(err)
	}
	addr, err := unix.Getsockname(ln)
	if err != nil {
		b.Fatal(err)
	}
	return newBenchOf(b, n, active, func(ready bool) int {
		peer, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { unix.Close(peer) })
		if err := unix.Connect(peer, addr); err != nil {
			b.Fatal(err)
		}
		fd, _, err := unix.Accept4(ln, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			b.Fatal(err)
		}
		if ready {
			if _, err := unix.Write(peer, []byte("x")); err != nil {
				b.Fatal(err)
			}
		}
		return fd
	})
}

func newBenchOf(b testing.TB, n, active int, open func(ready bool) int) *bench {
	b.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if int(limit.Cur) < 2*n+64 {
		b.Skipf("%d descriptors needed, %d allowed (ulimit -n)", 2*n+64, limit.Cur)
	}
	s := &bench{}
	for i := range n {
		fd := open((i+1)*active/n > i*active/n)
		b.Cleanup(func() { unix.Close(fd) })
		s.fds = append(s.fds, fd)
		for fd >= len(s.clients) {
			s.clients = append(s.clients, nil)
		}
		s.clients[fd] = &client{fd: fd}
	}
	return s
}

// ours calls SelectInto and iterates over the batch.
func (s *bench) ours(b testing.TB, backend string, timeout time.Duration, active int) func(n int) {
	sel := newBenchSelector(b, backend)
	for _, fd := range s.fds {
		if _, err := sel.Register(fd, selectors.EventRead, s.clients[fd]); err != nil {
			b.Fatal(err)
		}
	}
	var batch []selectors.Ready
	return func(n int) {
		for range n {
			var err error
			batch, err = sel.SelectInto(batch[:0], timeout)
			if err != nil || len(batch) != active {
				b.Fatalf("%d ready, %v", len(batch), err)
			}
			for _, ready := range batch {
				if ready.Events&selectors.EventRead != 0 {
					ready.Key.Data.(*client).seen++
				}
			}
		}
	}
}

func newBenchSelector(b testing.TB, backend string) selectors.Selector {
	b.Helper()
	for _, have := range selectors.Backends() {
		if have.Name == backend {
			sel, err := have.New()
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { sel.Close() })
			return sel
		}
	}
	b.Fatalf("no %s here", backend)
	return nil
}

// bare does the same with direct system calls. timeout is 0 or -1.
func (s *bench) bare(b testing.TB, backend string, timeout, active int) func(n int) {
	switch backend {
	case "epoll":
		return s.bareEpoll(b, timeout, active, unix.EpollWait)
	case "poll":
		return s.barePoll(b, timeout, active)
	}
	return s.bareSelect(b, timeout, active)
}

func (s *bench) bareEpoll(b testing.TB, timeout, active int, wait func(set int, events []unix.EpollEvent, msec int) (int, error)) func(n int) {
	set := s.epollSet(b)
	for _, fd := range s.fds {
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
	}
	events := make([]unix.EpollEvent, len(s.fds)+1)
	return func(n int) {
		for range n {
			got, err := wait(set, events, timeout)
			if err == unix.EINTR {
				continue
			}
			if err != nil || got != active {
				b.Fatalf("%d ready, %v", got, err)
			}
			for i := range events[:got] {
				if events[i].Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
					s.clients[events[i].Fd].seen++
				}
			}
		}
	}
}

func (s *bench) epollSet(b testing.TB) int {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(set) })
	return set
}

// rawEpollWait does not notify the scheduler. This is correct only if it cannot
// block.
func rawEpollWait(set int, events []unix.EpollEvent, msec int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(set), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(msec), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (s *bench) barePoll(b testing.TB, timeout, active int) func(n int) {
	var fds []unix.PollFd
	for _, fd := range s.fds {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return func(n int) {
		for range n {
			got, err := unix.Poll(fds, timeout)
			if err == unix.EINTR {
				continue
			}
			if err != nil || got != active {
				b.Fatalf("%d ready, %v", got, err)
			}
			for i := range fds {
				if got == 0 {
					break
				}
				if fds[i].Revents == 0 {
					continue
				}
				got--
				if fds[i].Revents&(unix.POLLIN|unix.POLLHUP|unix.POLLERR) != 0 {
					s.clients[fds[i].Fd].seen++
				}
			}
		}
	}
}

func (s *bench) bareSelect(b testing.TB, timeout, active int) func(n int) {
	words := len(s.clients)/64 + 1
	want, got := make([]uint64, words), make([]uint64, words)
	for _, fd := range s.fds {
		want[fd/64] |= 1 << (fd % 64)
	}
	limit := &unix.Timespec{}
	if timeout < 0 {
		limit = nil
	}
	return func(n int) {
		for range n {
			copy(got, want)
			found, _, errno := unix.Syscall6(unix.SYS_PSELECT6, uintptr(len(s.clients)), uintptr(unsafe.Pointer(&got[0])), 0, 0, uintptr(unsafe.Pointer(limit)), 0)
			if errno == unix.EINTR {
				continue
			}
			if errno != 0 || int(found) != active {
				b.Fatalf("%d ready, %v", found, errno)
			}
			for word, set := range got {
				for ; set != 0; set &= set - 1 {
					s.clients[word*64+bits.TrailingZeros64(set)].seen++
				}
			}
		}
	}
}

var benchBackends = []string{"epoll", "poll", "select"}

// BenchmarkSelectInto: all registered descriptors are ready.
func BenchmarkSelectInto(b *testing.B) {
	for _, backend := range benchBackends {
		for _, n := range []int{1, 100, 1000} {
			for _, timeout := range []int{0, -1} {
				b.Run(fmt.Sprintf("%s/ready=%d/timeout=%d", backend, n, timeout), func(b *testing.B) {
					s := newBench(b, n, n)
					compare(b, s.ours(b, backend, time.Duration(timeout), n), s.bare(b, backend, timeout, n))
				})
			}
		}
	}
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("epoll/tcp/ready=%d/timeout=-1", n), func(b *testing.B) {
			s := newTCPBench(b, n, n)
			compare(b, s.ours(b, "epoll", -1, n), s.bare(b, "epoll", -1, n))
		})
	}
	// Compared with a loop that does not notify the scheduler.
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("epoll/ready=%d/timeout=0/bare=raw", n), func(b *testing.B) {
			s := newBench(b, n, n)
			compare(b, s.ours(b, "epoll", 0, n), s.bareEpoll(b, 0, n, rawEpollWait))
		})
	}
}

// BenchmarkScan: one of the registered descriptors is ready.
func BenchmarkScan(b *testing.B) {
	for _, backend := range benchBackends {
		for _, n := range []int{100, 1000, 9000} {
			b.Run(fmt.Sprintf("%s/fds=%d", backend, n), func(b *testing.B) {
				s := newBench(b, n, 1)
				compare(b, s.ours(b, backend, -1, 1), s.bare(b, backend, -1, 1))
			})
		}
	}
}

func BenchmarkRegisterUnregister(b *testing.B) {
	register := func(b *testing.B, sel selectors.Selector, fd int, fileobj any) func(n int) {
		c := &client{}
		number := fileobj == nil
		return func(n int) {
			for range n {
				object := fileobj
				if number {
					object = fd
				}
				if _, err := sel.Register(object, selectors.EventRead, c); err != nil {
					b.Fatal(err)
				}
				if _, err := sel.Unregister(object); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	bare := func(b *testing.B, s *bench, fd int) func(n int) {
		set, c := s.epollSet(b), &client{}
		return func(n int) {
			for range n {
				ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
				if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
					b.Fatal(err)
				}
				s.clients[fd] = c
				if err := unix.EpollCtl(set, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
					b.Fatal(err)
				}
				s.clients[fd] = nil
			}
		}
	}
	b.Run("epoll/int", func(b *testing.B) {
		s := newBench(b, 500, 0)
		fd := s.fds[len(s.fds)-1]
		compare(b, register(b, newBenchSelector(b, "epoll"), fd, nil), bare(b, s, fd))
	})
	b.Run("epoll/os.File", func(b *testing.B) {
		s := newBench(b, 500, 0)
		r, w, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { r.Close(); w.Close() })
		compare(b, register(b, newBenchSelector(b, "epoll"), 0, r), bare(b, s, s.fds[len(s.fds)-1]))
	})

	// While the gate may ask the set, the kind of a number has to be found out at
	// once: docs/parking.md.
	parked := func(b *testing.B) selectors.Selector {
		sel, err := selectors.NewEpollSelector(selectors.Strategies[2].Option)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { sel.Close() })
		time.AfterFunc(time.Millisecond, func() { sel.Wake() })
		if _, err := sel.Select(-1); err != nil {
			b.Fatal(err)
		}
		return sel
	}
	b.Run("epoll, gate armed/eventfd", func(b *testing.B) {
		s := newBench(b, 500, 0)
		fd := s.fds[len(s.fds)-1]
		compare(b, register(b, parked(b), fd, nil), bare(b, s, fd))
	})
	b.Run("epoll, gate armed/socket", func(b *testing.B) {
		s := newBench(b, 500, 0)
		fd, _ := fdtest.UnixPair(b)
		compare(b, register(b, parked(b), fd, nil), bare(b, s, s.fds[len(s.fds)-1]))
	})
	b.Run("epoll/socket", func(b *testing.B) {
		s := newBench(b, 500, 0)
		fd, _ := fdtest.UnixPair(b)
		compare(b, register(b, newBenchSelector(b, "epoll"), fd, nil), bare(b, s, s.fds[len(s.fds)-1]))
	})
	b.Run("epoll, gate armed/net.Conn", func(b *testing.B) {
		s := newBench(b, 500, 0)
		conn, _ := fdtest.NetPair(b)
		compare(b, register(b, parked(b), 0, conn), bare(b, s, s.fds[len(s.fds)-1]))
	})
	b.Run("epoll/net.Conn", func(b *testing.B) {
		s := newBench(b, 500, 0)
		conn, _ := fdtest.NetPair(b)
		compare(b, register(b, newBenchSelector(b, "epoll"), 0, conn), bare(b, s, s.fds[len(s.fds)-1]))
	})
}

func BenchmarkModify(b *testing.B) {
	run := func(b *testing.B, s *bench, other selectors.Event, mask uint32) {
		fd, c := s.fds[len(s.fds)-1], &client{}
		sel := newBenchSelector(b, "epoll")
		if _, err := sel.Register(fd, selectors.EventRead, c); err != nil {
			b.Fatal(err)
		}
		set := s.epollSet(b)
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
		events := [2]selectors.Event{selectors.EventRead, other}
		masks := [2]uint32{unix.EPOLLIN | unix.EPOLLRDHUP, mask}
		compare(b, func(n int) {
			for i := range n {
				if _, err := sel.Modify(fd, events[i&1], c); err != nil {
					b.Fatal(err)
				}
			}
		}, func(n int) {
			for i := range n {
				if err := unix.EpollCtl(set, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: masks[i&1], Fd: int32(fd)}); err != nil {
					b.Fatal(err)
				}
				s.clients[fd] = c
			}
		})
	}
	b.Run("epoll/events", func(b *testing.B) {
		run(b, newBench(b, 500, 0), selectors.EventRead|selectors.EventPriority, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLPRI)
	})
	b.Run("epoll/tcp/events", func(b *testing.B) {
		run(b, newTCPBench(b, 500, 0), selectors.EventRead|selectors.EventWrite, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLOUT)
	})
	b.Run("epoll/data", func(b *testing.B) { run(b, newBench(b, 500, 0), selectors.EventRead, unix.EPOLLIN|unix.EPOLLRDHUP) })
}

// BenchmarkWake compares with an eventfd in an epoll set. post is a wake-up while
// no goroutine waits; answer is the time from a wake-up to the answer of a waiting
// goroutine.
func BenchmarkWake(b *testing.B) {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	bareWaker := func(b *testing.B) (set, fd int) {
		s := newBench(b, 1, 0)
		set, fd = s.epollSet(b), s.fds[0]
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
		return set, fd
	}
	for _, backend := range benchBackends {
		b.Run(backend+"/post", func(b *testing.B) {
			sel := newBenchSelector(b, backend)
			_, fd := bareWaker(b)
			compare(b, func(n int) {
				for range n {
					if err := sel.Wake(); err != nil {
						b.Fatal(err)
					}
				}
			}, func(n int) {
				for range n {
					if _, err := unix.Write(fd, one); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
		b.Run(backend+"/answer", func(b *testing.B) {
			sel := newBenchSelector(b, backend)
			ours, bare := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ours)
				for {
					batch, err := sel.Select(-1)
					if err != nil || len(batch) > 0 {
						return
					}
					ours <- struct{}{}
				}
			}()
			set, fd := bareWaker(b)
			done := false
			go func() {
				defer close(bare)
				events := make([]unix.EpollEvent, 1)
				for {
					if _, err := unix.EpollWait(set, events, -1); err == unix.EINTR {
						continue
					} else if err != nil || done {
						return
					}
					bare <- struct{}{}
				}
			}()
			compare(b, func(n int) {
				for range n {
					if err := sel.Wake(); err != nil {
						b.Fatal(err)
					}
					<-ours
				}
			}, func(n int) {
				for range n {
					if _, err := unix.Write(fd, one); err != nil {
						b.Fatal(err)
					}
					<-bare
				}
			})
			sel.Close()
			<-ours
			done = true
			unix.Write(fd, one)
			<-bare
		})
	}
}

// maxHeap is the limit of heap bytes for a registered descriptor.
const maxHeap = 120

// heapPerKey registers descriptors and returns the heap bytes for each.
func heapPerKey(b testing.TB, backend string) float64 {
	const n = 10000
	// Separate files, not duplicates: epoll allows one file a hundred times at
	// most in a set that is watched by another set that is watched itself
	// (fs/eventpoll.c, path_limits).
	fds := newBench(b, n, 0).fds
	sel := newBenchSelector(b, backend)
	c := &client{}
	before := heap()
	for _, fd := range fds {
		if _, err := sel.Register(fd, selectors.EventRead, c); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := sel.Select(0); err != nil { // allocates its buffers
		b.Fatal(err)
	}
	each := float64(heap()-before) / n
	runtime.KeepAlive(sel)
	if err := sel.Close(); err != nil {
		b.Fatal(err)
	}
	return each
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func BenchmarkHeap(b *testing.B) {
	for _, backend := range benchBackends {
		b.Run(backend, func(b *testing.B) {
			each := heapPerKey(b, backend)
			for b.Loop() { // the heap was measured once above
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(each, "B/fd")
		})
	}
}

func TestHeapPerKey(t *testing.T) {
	for _, backend := range benchBackends {
		t.Run(backend, func(t *testing.T) {
			if each := heapPerKey(t, backend); each > maxHeap {
				t.Errorf("a registered descriptor costs %.0f bytes of heap, more than %d", each, maxHeap)
			} else {
				t.Logf("%.0f bytes of heap a registered descriptor", each)
			}
		})
	}
}

func TestSelectIntoDoesNotAllocate(t *testing.T) {
	for _, backend := range benchBackends {
		for _, timeout := range []time.Duration{0, -1, time.Hour} {
			for _, n := range []int{1, 100} {
				t.Run(fmt.Sprintf("%s/ready=%d/timeout=%v", backend, n, timeout), func(t *testing.T) {
					run := newBench(t, n, n).ours(t, backend, timeout, n)
					if allocs := testing.AllocsPerRun(100, func() { run(1) }); allocs != 0 {
						t.Errorf("%v allocations a Select", allocs)
					}
				})
			}
		}
		t.Run(backend+"/ready=0/timeout=1ms", func(t *testing.T) {
			run := newBench(t, 1, 0).ours(t, backend, time.Millisecond, 0)
			if allocs := testing.AllocsPerRun(50, func() { run(1) }); allocs != 0 {
				t.Errorf("%v allocations a Select", allocs)
			}
		})
	}
}
