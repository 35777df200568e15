//go:build unix

package eventloop_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

func TestAsyncioReaderAndWriter(t *testing.T) {
	forEachLoopKind(t, testCase{"add and remove", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		var r recorder
		both := func(_ any, events selectors.Event) {
			if events&read != 0 {
				r.add("read:" + readFrom(t, a))
			}
			if events&write != 0 {
				r.add("write")
			}
		}
		must(l.Replace(a, read, both)) // add_reader
		runTurn(t, l)
		r.want(t, "")
		writeTo(t, b, "1")
		runTurn(t, l)
		r.want(t, "read:1")
		must(l.Replace(a, read|write, both)) // add_writer
		writeTo(t, b, "2")
		runTurn(t, l)
		r.want(t, "read:2 write")
		must(l.Replace(a, write, both)) // remove_reader
		writeTo(t, b, "3")
		runTurn(t, l)
		r.want(t, "write")
		must(l.Unregister(a)) // remove_writer
		runTurn(t, l)
		r.want(t, "")
		if _, err := l.Unregister(a); !errors.Is(err, selectors.ErrNotRegistered) {
			t.Error(err)
		}
	}})
}

// bpo-25593: a callback that ran before the loop was stopped does not run again
// for the same event when the loop is restarted.
func TestAsyncioNoLeftOver(t *testing.T) {
	forEachLoopKind(t, testCase{"after stop", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		calls := 0
		must(l.Register(a, read, func(any, selectors.Event) {
			readFrom(t, a)
			calls++
			l.Stop()
		}))
		for i := range 5 {
			writeTo(t, b, "x")
			if runLoop(t, l); calls != i+1 {
				t.Fatalf("%d calls after %d bytes", calls, i+1)
			}
		}
		l.Stop()
		if runLoop(t, l); calls != 5 {
			t.Errorf("%d calls for 5 bytes", calls)
		}
	}})
}

// Two callbacks that schedule each other forever do not starve I/O.
func TestLibeventActiveLater(t *testing.T) {
	forEachLoopKind(t, testCase{"mutual CallSoon", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		var ping, pong func()
		var counts [4]int
		ping = func() { counts[0]++; check(l.CallSoon(pong)) }
		pong = func() { counts[1]++; check(l.CallSoon(ping)) }
		a, b := socketPair(t)
		x, y := socketPair(t)
		forward := func(src, dst, i int) eventloop.Callback {
			return func(any, selectors.Event) {
				readFrom(t, src)
				writeTo(t, dst, "x")
				if counts[i]++; counts[i] == 200 {
					l.Stop()
				}
			}
		}
		// One byte circulates through the two socket pairs.
		must(l.Register(a, read, forward(a, x, 2)))
		must(l.Register(y, read, forward(y, b, 3)))
		check(l.CallSoon(ping))
		check(l.CallSoon(pong))
		writeTo(t, b, "x")
		runLoop(t, l)
		for _, n := range counts {
			if n < 100 || n > 500 {
				t.Fatalf("callback counts %v, want 100 to 500 each", counts)
			}
		}
	}})
}

func udpSocket(t testing.TB) (fd int, addr unix.Sockaddr) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd = prepareFD(t, fd)
	check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	return fd, must(unix.Getsockname(fd))
}

// readyUDP returns n sockets that each have one datagram to read.
func readyUDP(t testing.TB, n int) (fds []int) {
	t.Helper()
	sender, _ := udpSocket(t)
	for range n {
		fd, addr := udpSocket(t)
		check(unix.Sendto(sender, []byte("x"), 0, addr))
		fds = append(fds, fd)
	}
	for _, fd := range fds {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		eventually(t, "the datagram arrives", func() bool { n, _ := unix.Poll(p, 0); return n == 1 })
	}
	return fds
}

// More descriptors are ready at once than an event buffer is likely to hold. The
// callback of each runs once.
func TestLibeventManyEvents(t *testing.T) {
	forEachLoopKind(t, testCase{"70 sockets", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		calls := map[any]int{}
		fds := readyUDP(t, 70)
		for _, fd := range fds {
			must(l.Register(fd, read, func(fileobj any, _ selectors.Event) {
				readFrom(t, fd)
				calls[fileobj]++
			}))
		}
		for range 5 {
			runTurn(t, l)
		}
		for _, fd := range fds {
			if calls[fd] != 1 {
				t.Errorf("socket %d: %d calls, want 1", fd, calls[fd])
			}
		}
	}})
}

// Many sockets are ready. The first callback closes them all, and no other
// callback runs.
func TestLibuvWatcherCrossStop(t *testing.T) {
	const numSockets = 180
	forEachLoopKind(t, testCase{"close all", func(t *testing.T, k loopKind) {
		for _, registrar := range registrars {
			l := k.loop(t)
			fds := readyUDP(t, numSockets)
			calls := 0
			for _, fd := range fds {
				must(l.Register(fd, read, func(any, selectors.Event) {
					calls++
					for _, fd := range fds {
						check(registrar.unregister(l, fd))
						check(unix.Close(fd))
					}
				}))
			}
			runTurn(t, l)
			runTurn(t, l)
			if calls != 1 || l.Selector().Len() != 0 {
				t.Errorf("unregister with the %s: %d calls, want 1; %d keys left", registrar.name, calls, l.Selector().Len())
			}
		}
	}}, testCase{"close all, then unregister", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		fds := readyUDP(t, numSockets)
		calls := 0
		for _, fd := range fds {
			must(l.Register(fd, read, func(any, selectors.Event) {
				calls++
				for _, fd := range fds {
					check(unix.Close(fd))
				}
				for _, fd := range fds {
					must(l.Unregister(fd))
				}
			}))
		}
		runTurn(t, l)
		runTurn(t, l)
		if calls != 1 || l.Selector().Len() != 0 {
			t.Errorf("%d calls, %d keys left", calls, l.Selector().Len())
		}
	}})
}

// The methods of the loop do not call callbacks themselves; only a turn does.
func TestLibuvCallbackStack(t *testing.T) {
	forEachLoopKind(t, testCase{"no nested calls", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		depth, calls := 0, 0
		fn := func() {
			calls++
			if depth++; depth > 1 {
				t.Error("callback called inside another callback or a loop method")
			}
			depth--
		}
		call := func() {
			depth++
			check(l.CallSoon(fn))
			check(l.Post(fn))
			must(l.CallLater(-1, fn))
			must(l.CallAt(0, fn))
			must(l.Every(1, fn)).Stop()
			must(l.Register(readableSocket(t), read|oneShot, func(any, selectors.Event) { fn() }))
			l.Stop()
			depth--
		}
		call()
		check(l.CallSoon(call))
		runTurn(t, l)
		runTurn(t, l)
		if calls != 10 {
			t.Errorf("%d calls, want 10", calls)
		}
	}})
}

// Both sides read and write chunks of random size and change their interest at
// random. Each shuts down its writing side at the end and receives all data.
func TestLibuvPollDuplex(t *testing.T) {
	const size = 1 << 17
	forEachLoopKind(t, testCase{"random interest", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		finished, spurious, calls := 0, 0, 0
		for _, fd := range []int{a, b} {
			sent, received, eof, shut := 0, 0, false, false
			interest := func() (events selectors.Event) {
				if !eof {
					events |= read
				}
				if !shut && rand.IntN(4) > 0 {
					events |= write
				}
				return events
			}
			buf := make([]byte, 4096)
			var callback eventloop.Callback
			update := func() {
				if eof && shut {
					must(l.Unregister(fd))
					if finished++; finished == 2 {
						l.Stop()
					}
					return
				}
				events := interest()
				if events == 0 {
					events = write
				}
				if rand.IntN(8) > 0 {
					must(l.Modify(fd, events, callback))
					if events&write == 0 && !shut {
						check(l.CallSoon(func() { // restore the interest in writing, or no event may come
							if _, err := l.Selector().Key(fd); err == nil && !shut {
								must(l.Modify(fd, write|events, callback))
							}
						}))
					}
					return
				}
				must(l.Unregister(fd))
				must(l.CallLater(time.Duration(rand.IntN(100))*time.Microsecond, func() {
					must(l.Register(fd, events|write, callback))
				}))
			}
			callback = func(_ any, events selectors.Event) {
				calls++
				if events&read != 0 {
					n, err := selectors.TryRead(fd, buf[:1+rand.IntN(len(buf))])
					switch {
					case errors.Is(err, selectors.ErrWouldBlock):
						spurious++
					case errors.Is(err, io.EOF) || err == nil && n == 0:
						eof = true
					default:
						check(err)
						received += n
					}
				}
				if events&write != 0 && !shut {
					if n := min(1+rand.IntN(len(buf)), size-sent); n > 0 {
						n, err := selectors.TryWrite(fd, buf[:n])
						if errors.Is(err, selectors.ErrWouldBlock) {
							spurious++
						} else {
							check(err)
							sent += n
						}
					} else {
						check(unix.Shutdown(fd, unix.SHUT_WR))
						shut = true
					}
				}
				if eof && received != size {
					t.Errorf("end of file after %d bytes, want %d", received, size)
					l.Stop()
				}
				update()
			}
			must(l.Register(fd, read|write, callback))
		}
		if runLoop(t, l); finished != 2 || spurious > calls/10 {
			t.Errorf("%d sides finished, want 2; %d of %d calls were spurious", finished, spurious, calls)
		}
	}})
}
