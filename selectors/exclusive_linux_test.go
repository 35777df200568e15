package selectors

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// A connWaiter waits for connections of a listener, with other ones.
type connWaiter interface {
	wait() (ready bool, err error) // ends with an error after stop
	stop()
}

// bareWaiter is epoll without a selector. An eventfd stops it.
type bareWaiter struct{ set, stopFD int }

func newBareWaiter(t *testing.T, listener int) connWaiter {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(set); unix.Close(stop) })
	for _, ev := range []unix.EpollEvent{
		{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: int32(listener)},
		{Events: unix.EPOLLIN, Fd: int32(stop)},
	} {
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, int(ev.Fd), &ev); err != nil {
			t.Fatal(err)
		}
	}
	return bareWaiter{set, stop}
}

func (w bareWaiter) wait() (bool, error) {
	var events [2]unix.EpollEvent
	for {
		n, err := unix.EpollWait(w.set, events[:], -1)
		for _, ev := range events[:max(n, 0)] {
			if int(ev.Fd) == w.stopFD {
				return false, ErrClosed
			}
		}
		if err != unix.EINTR {
			return n > 0, err
		}
	}
}

func (w bareWaiter) stop() { unix.Write(w.stopFD, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

type selectorWaiter struct{ Selector }

func (w selectorWaiter) wait() (bool, error) {
	ready, err := w.Select(-1)
	return len(ready) > 0, err
}

func (w selectorWaiter) stop() { w.Close() }

// wakeUps makes connections one after another while waiters wait for them, and
// returns how often a wait ended.
func wakeUps(t *testing.T, connections, waiters int, newWaiter func(listener int) connWaiter) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	raw.Control(func(n uintptr) { fd = int(n) })

	var count atomic.Int32
	accepted := make(chan struct{}, connections)
	var done sync.WaitGroup
	var all []connWaiter
	for range waiters {
		w := newWaiter(fd)
		all = append(all, w)
		done.Add(1)
		go func() {
			defer done.Done()
			for {
				ready, err := w.wait()
				if err != nil {
					return
				}
				if !ready {
					continue
				}
				count.Add(1)
				// While the connection waits, another selector that has been woken finds it.
				pause := unix.NsecToTimespec(int64(500 * time.Microsecond))
				for unix.Nanosleep(&pause, &pause) == unix.EINTR {
				}
				for {
					conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
					if err != nil {
						break
					}
					unix.Close(conn)
					accepted <- struct{}{}
				}
			}
		}()
	}
	defer done.Wait()
	defer func() {
		for _, w := range all {
			w.stop()
		}
	}()
	time.Sleep(50 * time.Millisecond) // until all of them wait
	for range connections {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-accepted:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody accepts")
		}
		conn.Close()
	}
	return int(count.Load())
}

// TestExclusiveWakesOne: of eight selectors that watch a listener exclusively, a
// connection wakes as many as of eight bare epoll sets, which is one or little
// more (epoll_ctl(2) promises one or more). It wakes all of them if they do not watch
// exclusively.
func TestExclusiveWakesOne(t *testing.T) {
	const connections, waiters = 1000, 8
	bare := wakeUps(t, connections, waiters, func(fd int) connWaiter { return newBareWaiter(t, fd) })
	t.Logf("bare epoll: %d wake-ups for %d connections", bare, connections)
	for _, strategy := range Strategies {
		t.Run(strategy.Name, func(t *testing.T) {
			got := wakeUps(t, connections, waiters, func(fd int) connWaiter {
				s, err := NewEpollSelector(strategy.Option)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				// Another file, so that the selector has something to park for.
				r, _ := fdtest.Pipe(t)
				mustRegister(t, s, r, EventRead)
				mustRegister(t, s, fd, EventRead|Exclusive)
				return selectorWaiter{s}
			})
			t.Logf("%d wake-ups", got)
			if float64(got) > 1.2*float64(max(bare, connections)) {
				t.Errorf("%d wake-ups for %d connections; bare epoll has %d", got, connections, bare)
			}
		})
	}
}
