//go:build unix

package comparetest_test

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"

	"golang.org/x/sys/unix"
)

// The cases of the C libraries' suites that concern a selector, by their
// names; all others are listed with the reason.
//
// libevent (test/regress.c and the test-* programs):
//
//	methods, base_features, base_environ            TestNewDefaultSelectorByEnvironment, TestBackends;
//	                                                features are asked for per registration: TestRegressModifyBadEvents
//	simpleread, simpleread_multiple, simplewrite,
//	  simplewrite_multiple, multiple, persistent    TestLibeventPersistence
//	combined                                        TestLibeventCombined
//	simpleclose_{close,shutdown}[_persist][_et],
//	  simpleclose_rw, test-closed                   TestLibeventSimpleClose
//	event_closed_fd_poll                            TestRegressClosedFD
//	dup_fd                                          TestLibeventDupFD, TestLibeventManyDups, TestLibeventManyDupsDuringSelect
//	many_events, many_events_slow_add               TestLibeventManyEvents
//	evmap_invalid_slots                             TestLibeventInvalidSlots
//	nonpersist_readd                                TestLibeventNonpersistReadd
//	et_multiple_events                              TestLibeventEdgeMultipleEvents
//	et_mix_error                                    does not apply: a descriptor has one key, so its modes cannot mix
//	del_wait, del_notify, del_timeout_notify        TestRegressRegisterDuringSelect/unregister; the rest: event loop
//	test-changelist                                 TestLibeventChangelist
//	test-fdleak                                     TestLibeventFDLeak
//	test-kq-collision                               kqueue only; its like on Linux: TestPeersFDZero
//	test-dumpevents                                 there is no dump; Event's text: TestEventString
//	fork                                            does not apply: a Go program cannot fork without exec
//	loopexit*, loopbreak, bad_reentrant, free_active_base, active_later, priorities,
//	  priority_active_inversion, persistent_timeout_jump, common_timeout, event_remove_timeout,
//	  event_timeout_lost, watch and callback ordering, heap/randomized      event loop
//
// libuv (test/):
//
//	poll_duplex, poll_unidirectional                TestLibuvPollDuplex
//	poll_close                                      TestLibuvPollClose
//	poll_multiple_handles                           TestPollingInsertTwice
//	poll_bad_fdtype                                 libuv refuses directories, here they are always ready:
//	                                                TestRegressAlwaysReadyInput
//	poll_oob                                        TestLibuvPollOOB
//	poll_nested_epoll                               TestLibuvPollNested
//	poll_nested_kqueue                              kqueue only
//	closed_fd_events                                TestRegressOrphan
//	iouring_pollhup                                 TestIdleUsesNoCPU: hung up, in all modes
//	watcher_cross_stop                              TestLibuvWatcherCrossStop
//	eintr_handling                                  TestCPythonSelectInterruptNoRaise, TestPollingConcurrentInterruption
//	fork_*, embed                                   do not apply: no fork; nothing is embedded, Select can be called anywhere
//	timer*, loop_*, run_*, idle_*, close_order, callback_stack, ref*, active, async, signal_*, metrics_*, emfile
//	                                                event loop
//
// libkqueue (test/threading.c):
//
//	per-filter delete races                         TestLibkqueueDeleteRace
//	single delivery                                 TestLibkqueueSingleDelivery
//	fd-reuse stress                                 TestLibkqueueFDReuse
func TestLibeventPersistence(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		once, w1 := fdtest.UnixPair(t)
		always, w2 := fdtest.UnixPair(t)
		backendtest.Register(t, s, once, read|oneShot)
		backendtest.Register(t, s, always, read)
		fdtest.Write(t, w1, "x")
		fdtest.Write(t, w2, "x")
		backendtest.Expect(t, s, batch{once: read, always: read})
		backendtest.Expect(t, s, batch{always: read})
		backendtest.Expect(t, s, batch{always: read})
		backendtest.Modify(t, s, once, read|write|oneShot) // simpleread_multiple: for both at once
		backendtest.Expect(t, s, batch{once: read | write, always: read})
		backendtest.Expect(t, s, batch{always: read})
		backendtest.Unregister(t, s, always)
		backendtest.ExpectNothing(t, s)
		backendtest.Modify(t, s, once, write)
		for range 3 {
			backendtest.Expect(t, s, batch{once: write})
		}
	})
}

// TestLibeventCombined: much data both ways at once, as the selector says.
func TestLibeventCombined(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		const size = 2 << 20
		source := make([]byte, size)
		for i := range source {
			source[i] = byte(rand.Uint32())
		}
		type side struct {
			fd       int
			sent     int
			received []byte
		}
		a, b := fdtest.UnixPair(t)
		sides := []*side{{fd: a}, {fd: b}}
		for _, me := range sides {
			if _, err := s.Register(me.fd, read|write, me); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 1<<16)
		for s.Len() > 0 {
			ready, err := s.Select(fdtest.Timeout)
			if err != nil || len(ready) == 0 {
				t.Fatalf("nothing to do before the end: %v", err)
			}
			for _, r := range ready {
				me := r.Key.Data.(*side)
				if r.Events&write != 0 && me.sent < size {
					n, err := selectors.TryWrite(me.fd, source[me.sent:])
					if err != nil && err != selectors.ErrWouldBlock {
						t.Fatal(err)
					}
					if me.sent += n; me.sent == size {
						if _, err := s.Modify(me.fd, read, me); err != nil {
							t.Fatal(err)
						}
					}
				}
				if r.Events&read != 0 {
					n, err := selectors.TryRead(me.fd, buf)
					if err != nil && err != selectors.ErrWouldBlock {
						t.Fatal(err)
					}
					me.received = append(me.received, buf[:n]...)
				}
				if me.sent == size && len(me.received) == size {
					backendtest.Unregister(t, s, me.fd)
				}
			}
		}
		for _, me := range sides {
			if !bytes.Equal(me.received, source) {
				t.Errorf("fd %d received something else than was sent", me.fd)
			}
		}
	})
}

// TestLibeventSimpleClose: EventReadClosed says that the peer has closed, and
// nothing else, whether data is left or not.
func TestLibeventSimpleClose(t *testing.T) {
	for _, how := range []string{"close", "shutdown"} {
		for _, mode := range []selectors.Event{0, oneShot, edge, edge | oneShot} {
			t.Run(how+" "+mode.String(), func(t *testing.T) {
				backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
					a, b := fdtest.UnixPair(t)
					if s.Features()&selectors.FeatureReadClosed == 0 {
						_, err := s.Register(a, readClosed, nil)
						backendtest.ExpectError(t, err, errors.ErrUnsupported)
						return
					}
					if mode&edge != 0 && s.Features()&selectors.FeatureEdgeTriggered == 0 {
						t.Skip("this backend has no EdgeTriggered")
					}
					fdtest.Write(t, b, "unread")
					backendtest.Register(t, s, a, readClosed|mode)
					backendtest.ExpectNothing(t, s)
					if how == "close" {
						fdtest.Close(t, b)
					} else if err := unix.Shutdown(b, unix.SHUT_WR); err != nil {
						t.Fatal(err)
					}
					backendtest.Expect(t, s, batch{a: readClosed})
					if mode == 0 {
						backendtest.Expect(t, s, batch{a: readClosed})
					} else {
						backendtest.ExpectNothing(t, s)
					}
					backendtest.Modify(t, s, a, read|write|readClosed) // simpleclose_rw
					backendtest.Expect(t, s, batch{a: read | write | readClosed})
					if got := fdtest.Read(t, a, 16); got != "unread" {
						t.Errorf("read %q", got)
					}
				})
			})
		}
	}
}

// TestLibeventDupFD: both numbers of one file, and one of them closed and made
// again.
func TestLibeventDupFD(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.UnixPair(t)
		dup := fdtest.Dup(t, r)
		backendtest.Register(t, s, r, read)
		backendtest.Register(t, s, dup, read)
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, batch{r: read, dup: read})

		fdtest.Close(t, dup)
		backendtest.Unregister(t, s, dup)
		fdtest.Replace(t, dup, r)
		backendtest.Register(t, s, dup, read) // the kernel says EEXIST
		backendtest.Expect(t, s, batch{r: read, dup: read})
		fdtest.Drain(t, r)
		backendtest.ExpectNothing(t, s)

		fdtest.Close(t, dup) // not unregistered this time
		fdtest.Replace(t, dup, r)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, batch{r: read, dup: read})
		backendtest.Unregister(t, s, r)
		backendtest.Expect(t, s, batch{dup: read})
	})
}

// TestLibeventManyDups: however many numbers one file has.
func TestLibeventManyDups(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		want := batch{}
		for range 300 {
			fd := fdtest.Dup(t, r)
			backendtest.Register(t, s, fd, read)
			want[fd] = read
		}
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, want)
		fdtest.Drain(t, r)
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibeventManyDupsDuringSelect: the same while another goroutine sleeps in
// the selector: it hears of the last one as of the first.
func TestLibeventManyDupsDuringSelect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		other, peer := fdtest.Pipe(t)
		backendtest.Register(t, s, other, read)
		c := backendtest.StartSelect(s, fdtest.Timeout)
		want := batch{}
		for range 150 {
			fd := fdtest.Dup(t, r)
			backendtest.Register(t, s, fd, read)
			want[fd] = read
		}
		fdtest.Write(t, peer, "x")
		a := backendtest.Await(t, c)
		if got := backendtest.NewBatch(t, a.Ready); a.Err != nil || !maps.Equal(got, batch{other: read}) {
			t.Fatalf("Select returned %v, %v", got, a.Err)
		}
		fdtest.Drain(t, other)
		c = backendtest.StartSelect(s, fdtest.Timeout)
		fdtest.Write(t, w, "x")
		a = backendtest.Await(t, c)
		if a.Err != nil || len(a.Ready) == 0 {
			t.Fatalf("Select returned %v, %v", a.Ready, a.Err)
		}
		backendtest.Expect(t, s, want)
		fdtest.Drain(t, r)
		c = backendtest.StartSelect(s, fdtest.Timeout)
		s.Wake()
		if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 {
			t.Fatalf("a woken Select returned %v, %v", a.Ready, a.Err)
		}
	})
}

// TestLibeventManyEvents: each of many ready sockets once, added all at once or
// one by one between Selects.
func TestLibeventManyEvents(t *testing.T) {
	for _, slow := range []bool{false, true} {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			want := batch{}
			for range 70 {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
				if err != nil {
					t.Fatal(err)
				}
				fd = fdtest.Own(t, fd)
				backendtest.Register(t, s, fd, write)
				want[fd] = write
				if slow {
					backendtest.Expect(t, s, want)
				}
			}
			backendtest.Expect(t, s, want)
		})
	}
}

func TestLibeventInvalidSlots(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, fd := range []any{math.MaxInt32, uintptr(math.MaxInt32), uintptr(math.MaxInt32 + 1), 1 << 30, ^uintptr(0) - 1} {
			_, err := s.Register(fd, read, nil)
			if !errors.Is(err, unix.EBADF) && !errors.Is(err, selectors.ErrFDTooLarge) {
				t.Errorf("Register(%v): %v, want EBADF", fd, err)
			}
			backendtest.ExpectError(t, err)
			_, err = s.Unregister(fd)
			backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
			_, err = s.Modify(fd, read, nil)
			backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
		}
		if s.Len() != 0 {
			t.Errorf("Len is %d", s.Len())
		}
		fd, _ := fdtest.Pipe(t)
		backendtest.Register(t, s, fd, read)
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibeventNonpersistReadd: the callback of one one-shot key arms the other
// one again, of which the same batch tells.
func TestLibeventNonpersistReadd(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.UnixPair(t)
		fdtest.Write(t, a, "x")
		fdtest.Write(t, b, "x")
		backendtest.Register(t, s, a, read|oneShot)
		backendtest.Register(t, s, b, read|oneShot)
		for range 3 {
			backendtest.Expect(t, s, batch{a: read, b: read})
			backendtest.Modify(t, s, a, read|oneShot)
			backendtest.Expect(t, s, batch{a: read})
			backendtest.Modify(t, s, b, read|oneShot)
			backendtest.Modify(t, s, a, read|oneShot)
		}
		backendtest.Unregister(t, s, a)
		backendtest.Register(t, s, a, read|oneShot)
		backendtest.Expect(t, s, batch{a: read, b: read})
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibeventEdgeMultipleEvents: to give up one of two events does not lose
// the edge of the other.
func TestLibeventEdgeMultipleEvents(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		if s.Features()&selectors.FeatureEdgeTriggered == 0 {
			t.Skip("this backend has no EdgeTriggered")
		}
		a, b := fdtest.UnixPair(t)
		backendtest.Register(t, s, a, read|write|edge)
		backendtest.Expect(t, s, batch{a: write})
		fdtest.Write(t, b, "x")
		backendtest.Modify(t, s, a, read|edge)
		backendtest.Expect(t, s, batch{a: read})
		backendtest.ExpectNothing(t, s)
		backendtest.Modify(t, s, a, read|write|edge)
		backendtest.Expect(t, s, batch{a: read | write})
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibeventChangelist: to remove, add and change a key again and again
// leaves a selector that rests.
func TestLibeventChangelist(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, _ := fdtest.UnixPair(t)
		for range 10 {
			backendtest.Register(t, s, a, write)
			backendtest.Expect(t, s, batch{a: write})
			backendtest.Unregister(t, s, a)
			backendtest.Register(t, s, a, write)
			backendtest.Unregister(t, s, a)
			backendtest.Register(t, s, a, write)
			backendtest.Modify(t, s, a, read)
			backendtest.Expect(t, s, batch{})
			backendtest.Unregister(t, s, a)
		}
		backendtest.Register(t, s, a, read)
		backendtest.ExpectIdle(t, s, 100*time.Millisecond)
	})
}

func TestLibeventFDLeak(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		l, addr := fdtest.Listen(t)
		backendtest.Register(t, s, l, read)
		backendtest.Select(t, s, time.Millisecond)
		before := fdtest.CountOpen()
		for range 300 {
			client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Connect(client, addr); err != nil {
				t.Fatal(err)
			}
			backendtest.Expect(t, s, batch{l: read})
			server, err := selectors.TryAcceptFD(l)
			if err != nil {
				t.Fatal(err)
			}
			backendtest.Register(t, s, server, read)
			fdtest.Close(t, client)
			backendtest.Expect(t, s, batch{server: read})
			backendtest.Unregister(t, s, server)
			fdtest.Close(t, server)
		}
		if after := fdtest.CountOpen(); after > before {
			t.Errorf("%d descriptors are open, %d were before", after, before)
		}
		if s.Len() != 1 {
			t.Errorf("Len is %d", s.Len())
		}
	})
}

// TestLibuvPollDuplex: connections that write, read, shut down and change
// their interest at random. Every byte arrives, and what Select reports is
// true: nobody else reads, so a report of Read finds something.
func TestLibuvPollDuplex(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func(testing.TB) (int, int)
	}{{"unix", fdtest.UnixPair}, {"tcp", fdtest.TCPPair}} {
		t.Run(kind.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				const size = 20_000
				random := rand.New(rand.NewPCG(3, 4))
				type side struct {
					fd, sent, received int
					shut, ended        bool
				}
				var sides []*side
				for range 10 {
					a, b := kind.make(t)
					for _, fd := range []int{a, b} {
						me := &side{fd: fd}
						if _, err := s.Register(fd, read|write, me); err != nil {
							t.Fatal(err)
						}
						sides = append(sides, me)
					}
				}
				spurious, valid := 0, 0
				buf := make([]byte, 4096)
				for s.Len() > 0 {
					ready, err := s.Select(fdtest.Timeout)
					if err != nil || len(ready) == 0 {
						t.Fatalf("nothing to do before the end: %v", err)
					}
					for _, r := range ready {
						me := r.Key.Data.(*side)
						if r.Events&read != 0 && !me.ended {
							n, err := selectors.TryRead(me.fd, buf[:1+random.IntN(len(buf))])
							me.received += n
							switch err {
							case nil:
								valid++
							case selectors.ErrWouldBlock:
								spurious++
							default:
								me.ended = true
							}
						}
						if r.Events&write != 0 && !me.shut {
							n, err := selectors.TryWrite(me.fd, buf[:min(1+random.IntN(len(buf)), size-me.sent)])
							me.sent += n
							switch err {
							case nil:
								valid++
							case selectors.ErrWouldBlock:
								spurious++
							default:
								t.Fatal(err)
							}
							if me.sent == size {
								me.shut = true
								if err := unix.Shutdown(me.fd, unix.SHUT_WR); err != nil {
									t.Fatal(err)
								}
							}
						}
						var next selectors.Event
						if !me.ended {
							next |= read
						}
						if !me.shut {
							next |= write
						}
						if next == read|write { // sometimes only one of them
							next = []selectors.Event{read, write, read | write}[random.IntN(3)]
							if next == read && me.received == size {
								next = write
							}
						}
						if next == 0 {
							backendtest.Unregister(t, s, me.fd)
						} else if _, err := s.Modify(me.fd, next, me); err != nil {
							t.Fatal(err)
						}
					}
					// A side that only reads may wait for one that only reads.
					for _, me := range sides {
						if key, err := s.Key(me.fd); err == nil && !me.shut && key.Events == read && random.IntN(4) == 0 {
							if _, err := s.Modify(me.fd, read|write, me); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				for _, me := range sides {
					if me.received != size || me.sent != size {
						t.Errorf("fd %d sent %d and received %d bytes", me.fd, me.sent, me.received)
					}
				}
				if spurious > valid/2 {
					t.Errorf("%d reports were spurious, %d were true", spurious, valid)
				}
			})
		})
	}
}

// TestLibuvPollClose: many at once.
func TestLibuvPollClose(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 128 {
			_, w := fdtest.Pipe(t)
			backendtest.Register(t, s, w, read|write)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s.Len() != 0 {
			t.Errorf("Len is %d", s.Len())
		}
	})
}

// TestLibuvPollOOB: the urgent byte first, then what it overtook.
func TestLibuvPollOOB(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		if s.Features()&selectors.FeaturePriority == 0 {
			t.Skip("this backend has no Priority")
		}
		a, b := fdtest.TCPPair(t)
		backendtest.Register(t, s, a, read|priority)
		fdtest.Write(t, b, "hello")
		fdtest.AwaitReadable(t, a)
		backendtest.Expect(t, s, batch{a: read})
		if err := unix.Sendto(b, []byte("!"), unix.MSG_OOB, nil); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for {
			got := backendtest.Select(t, s, fdtest.Timeout).Interests(t, s)
			if got[a]&priority != 0 {
				break
			}
			if time.Since(start) > fdtest.Timeout {
				t.Fatalf("the urgent byte is not reported, only %v", got)
			}
		}
		buf := make([]byte, 16)
		if n, _, err := unix.Recvfrom(a, buf, unix.MSG_OOB); err != nil || string(buf[:n]) != "!" {
			t.Errorf("urgent: %q, %v", buf[:max(n, 0)], err)
		}
		backendtest.Expect(t, s, batch{a: read})
		if got := fdtest.Read(t, a, 16); got != "hello" {
			t.Errorf("read %q", got)
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibuvWatcherCrossStop: all of many ready keys are unregistered at the
// first report. Nobody is heard of afterwards.
func TestLibuvWatcherCrossStop(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for range 500 {
			r, w := fdtest.Pipe(t)
			fdtest.Write(t, w, "x")
			backendtest.Register(t, s, r, read)
			want[r] = read
		}
		backendtest.Expect(t, s, want)
		for fd := range want {
			if fd%2 == 0 {
				fdtest.Close(t, fd) // before, for good measure
			}
			backendtest.Unregister(t, s, fd)
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibkqueueDeleteRace: keys leave from one goroutine while another one
// selects and a third makes them ready. After Unregister has returned, a
// Select that begins does not report the key.
func TestLibkqueueDeleteRace(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x") // always ready
		var epoch atomic.Int64
		stop := make(chan struct{})
		failed := make(chan error, 1)
		go func() {
			defer close(failed)
			for {
				select {
				case <-stop:
					return
				default:
				}
				start := epoch.Load()
				ready, err := s.Select(time.Millisecond)
				if err != nil {
					failed <- err
					return
				}
				for _, r := range ready {
					// Registered in epoch n, unregistered before n+1 began.
					if n := r.Key.Data.(int64); n < start {
						failed <- errors.New("a key was reported that had left before the Select")
						return
					}
				}
			}
		}()
		for n := range int64(3000) {
			epoch.Store(n)
			if _, err := s.Register(r, read, n); err != nil {
				t.Fatal(err)
			}
			if n%2 == 0 {
				if _, err := s.Modify(r, read|write, n); err != nil {
					t.Fatal(err)
				}
			}
			backendtest.Unregister(t, s, r)
		}
		close(stop)
		select {
		case err := <-failed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(fdtest.Timeout):
			t.Fatal("the selecting goroutine does not end")
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibkqueueSingleDelivery: of two selectors that wait for the same file,
// at least one hears of an event; a one-shot key of it once and no more.
func TestLibkqueueSingleDelivery(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		modes := []selectors.Event{oneShot}
		if b.Features&selectors.FeatureExclusive != 0 {
			modes = append(modes, exclusive)
		}
		for _, mode := range modes {
			one, two := backendtest.New(t, b), backendtest.New(t, b)
			r, w := fdtest.Pipe(t)
			backendtest.Register(t, one, r, read|mode)
			backendtest.Register(t, two, r, read|mode)
			c1, c2 := backendtest.StartSelect(one, 10*fdtest.QuietTime), backendtest.StartSelect(two, 10*fdtest.QuietTime)
			fdtest.Write(t, w, "x")
			a1, a2 := backendtest.Await(t, c1), backendtest.Await(t, c2)
			if a1.Err != nil || a2.Err != nil || len(a1.Ready)+len(a2.Ready) == 0 {
				t.Errorf("%v: %v, %v and %v, %v: nobody was told", mode, a1.Ready, a1.Err, a2.Ready, a2.Err)
			}
			if mode == oneShot {
				backendtest.ExpectNothing(t, one)
				backendtest.ExpectNothing(t, two)
			}
		}
	})
}

// TestLibkqueueFDReuse: numbers that are closed and opened again under the
// selector, in every way, never show the readiness of their former files.
func TestLibkqueueFDReuse(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		random := rand.New(rand.NewPCG(5, 6))
		numbers := make([]int, 8)
		peers := make([]int, len(numbers))
		for i := range numbers {
			numbers[i], _ = fdtest.UnixPair(t)
		}
		renew := func(i int) (ready bool) {
			a, b := fdtest.UnixPair(t)
			if random.IntN(2) == 0 {
				fdtest.Dup(t, numbers[i]) // its old file lives on
			}
			if random.IntN(2) == 0 {
				fdtest.Close(t, numbers[i])
			}
			fdtest.Replace(t, numbers[i], a)
			fdtest.Close(t, a)
			if peers[i] != 0 {
				unix.Write(peers[i], []byte("old news"))
			}
			peers[i] = b
			return random.IntN(2) == 0
		}
		for range 100 {
			want := batch{}
			for i, fd := range numbers {
				if _, err := s.Key(fd); err == nil && random.IntN(2) == 0 {
					backendtest.Unregister(t, s, fd)
				}
				ready := renew(i)
				backendtest.Register(t, s, fd, read)
				if ready {
					fdtest.Write(t, peers[i], "x")
					want[fd] = read
				}
			}
			got := backendtest.Select(t, s, 0).Interests(t, s)
			for range 2 { // as often as it may take to find ghosts
				maps.Copy(got, backendtest.Select(t, s, 0).Interests(t, s))
			}
			if !maps.Equal(got, want) {
				t.Fatalf("reported %v, want %v", got, want)
			}
		}
	})
}
