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
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		once, w1 := pair(t)
		always, w2 := pair(t)
		register(t, s, once, read|oneShot)
		register(t, s, always, read)
		put(t, w1, "x")
		put(t, w2, "x")
		expect(t, s, batch{once: read, always: read})
		expect(t, s, batch{always: read})
		expect(t, s, batch{always: read})
		modify(t, s, once, read|write|oneShot) // simpleread_multiple: for both at once
		expect(t, s, batch{once: read | write, always: read})
		expect(t, s, batch{always: read})
		unregister(t, s, always)
		expectSilence(t, s)
		modify(t, s, once, write)
		for range 3 {
			expect(t, s, batch{once: write})
		}
	})
}

// TestLibeventCombined: much data both ways at once, as the selector says.
func TestLibeventCombined(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
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
		a, b := pair(t)
		sides := []*side{{fd: a}, {fd: b}}
		for _, me := range sides {
			if _, err := s.Register(me.fd, read|write, me); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 1<<16)
		for s.Len() > 0 {
			ready, err := s.Select(patience)
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
					unregister(t, s, me.fd)
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
				eachSelector(t, func(t *testing.T, s selectors.Selector) {
					a, b := pair(t)
					if s.Features()&selectors.FeatureReadClosed == 0 {
						_, err := s.Register(a, readClosed, nil)
						expectError(t, err, errors.ErrUnsupported)
						return
					}
					if mode&edge != 0 && s.Features()&selectors.FeatureEdgeTriggered == 0 {
						t.Skip("this backend has no EdgeTriggered")
					}
					put(t, b, "unread")
					register(t, s, a, readClosed|mode)
					expectSilence(t, s)
					if how == "close" {
						shut(t, b)
					} else if err := unix.Shutdown(b, unix.SHUT_WR); err != nil {
						t.Fatal(err)
					}
					expect(t, s, batch{a: readClosed})
					if mode == 0 {
						expect(t, s, batch{a: readClosed})
					} else {
						expectSilence(t, s)
					}
					modify(t, s, a, read|write|readClosed) // simpleclose_rw
					expect(t, s, batch{a: read | write | readClosed})
					if got := take(t, a, 16); got != "unread" {
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
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := pair(t)
		dup := dupHigh(t, r)
		register(t, s, r, read)
		register(t, s, dup, read)
		expectSilence(t, s)
		put(t, w, "x")
		expect(t, s, batch{r: read, dup: read})

		shut(t, dup)
		unregister(t, s, dup)
		replace(t, dup, r)
		register(t, s, dup, read) // the kernel says EEXIST
		expect(t, s, batch{r: read, dup: read})
		drain(t, r)
		expectSilence(t, s)

		shut(t, dup) // not unregistered this time
		replace(t, dup, r)
		put(t, w, "x")
		expect(t, s, batch{r: read, dup: read})
		unregister(t, s, r)
		expect(t, s, batch{dup: read})
	})
}

// TestLibeventManyDups: however many numbers one file has.
func TestLibeventManyDups(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := pipe(t)
		want := batch{}
		for range 300 {
			fd := dupHigh(t, r)
			register(t, s, fd, read)
			want[fd] = read
		}
		expectSilence(t, s)
		put(t, w, "x")
		expect(t, s, want)
		drain(t, r)
		expectSilence(t, s)
	})
}

// TestLibeventManyDupsDuringSelect: the same while another goroutine sleeps in
// the selector: it hears of the last one as of the first.
func TestLibeventManyDupsDuringSelect(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := pipe(t)
		other, peer := pipe(t)
		register(t, s, other, read)
		c := selecting(s, patience)
		want := batch{}
		for range 150 {
			fd := dupHigh(t, r)
			register(t, s, fd, read)
			want[fd] = read
		}
		put(t, peer, "x")
		a := await(t, c)
		if got := asBatch(t, a.ready); a.err != nil || !maps.Equal(got, batch{other: read}) {
			t.Fatalf("Select returned %v, %v", got, a.err)
		}
		drain(t, other)
		c = selecting(s, patience)
		put(t, w, "x")
		a = await(t, c)
		if a.err != nil || len(a.ready) == 0 {
			t.Fatalf("Select returned %v, %v", a.ready, a.err)
		}
		expect(t, s, want)
		drain(t, r)
		c = selecting(s, patience)
		s.Wake()
		if a := await(t, c); a.err != nil || len(a.ready) != 0 {
			t.Fatalf("a woken Select returned %v, %v", a.ready, a.err)
		}
	})
}

// TestLibeventManyEvents: each of many ready sockets once, added all at once or
// one by one between Selects.
func TestLibeventManyEvents(t *testing.T) {
	for _, slow := range []bool{false, true} {
		eachSelector(t, func(t *testing.T, s selectors.Selector) {
			want := batch{}
			for range 70 {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
				if err != nil {
					t.Fatal(err)
				}
				fd = own(t, fd)
				register(t, s, fd, write)
				want[fd] = write
				if slow {
					expect(t, s, want)
				}
			}
			expect(t, s, want)
		})
	}
}

func TestLibeventInvalidSlots(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, fd := range []any{math.MaxInt32, uintptr(math.MaxInt32), uintptr(math.MaxInt32 + 1), 1 << 30, ^uintptr(0) - 1} {
			_, err := s.Register(fd, read, nil)
			if !errors.Is(err, unix.EBADF) && !errors.Is(err, selectors.ErrFDTooLarge) {
				t.Errorf("Register(%v): %v, want EBADF", fd, err)
			}
			expectError(t, err)
			_, err = s.Unregister(fd)
			expectError(t, err, selectors.ErrNotRegistered)
			_, err = s.Modify(fd, read, nil)
			expectError(t, err, selectors.ErrNotRegistered)
		}
		if s.Len() != 0 {
			t.Errorf("Len is %d", s.Len())
		}
		fd, _ := pipe(t)
		register(t, s, fd, read)
		expectSilence(t, s)
	})
}

// TestLibeventNonpersistReadd: the callback of one one-shot key arms the other
// one again, of which the same batch tells.
func TestLibeventNonpersistReadd(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := pair(t)
		put(t, a, "x")
		put(t, b, "x")
		register(t, s, a, read|oneShot)
		register(t, s, b, read|oneShot)
		for range 3 {
			expect(t, s, batch{a: read, b: read})
			modify(t, s, a, read|oneShot)
			expect(t, s, batch{a: read})
			modify(t, s, b, read|oneShot)
			modify(t, s, a, read|oneShot)
		}
		unregister(t, s, a)
		register(t, s, a, read|oneShot)
		expect(t, s, batch{a: read, b: read})
		expectSilence(t, s)
	})
}

// TestLibeventEdgeMultipleEvents: to give up one of two events does not lose
// the edge of the other.
func TestLibeventEdgeMultipleEvents(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		if s.Features()&selectors.FeatureEdgeTriggered == 0 {
			t.Skip("this backend has no EdgeTriggered")
		}
		a, b := pair(t)
		register(t, s, a, read|write|edge)
		expect(t, s, batch{a: write})
		put(t, b, "x")
		modify(t, s, a, read|edge)
		expect(t, s, batch{a: read})
		expectSilence(t, s)
		modify(t, s, a, read|write|edge)
		expect(t, s, batch{a: read | write})
		expectSilence(t, s)
	})
}

// TestLibeventChangelist: to remove, add and change a key again and again
// leaves a selector that rests.
func TestLibeventChangelist(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, _ := pair(t)
		for range 10 {
			register(t, s, a, write)
			expect(t, s, batch{a: write})
			unregister(t, s, a)
			register(t, s, a, write)
			unregister(t, s, a)
			register(t, s, a, write)
			modify(t, s, a, read)
			expect(t, s, batch{})
			unregister(t, s, a)
		}
		register(t, s, a, read)
		expectRest(t, s, 100*time.Millisecond)
	})
}

func TestLibeventFDLeak(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		l, addr := listen(t)
		register(t, s, l, read)
		collect(t, s, time.Millisecond)
		before := countFDs(t)
		for range 300 {
			client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Connect(client, addr); err != nil {
				t.Fatal(err)
			}
			expect(t, s, batch{l: read})
			server, err := selectors.TryAcceptFD(l)
			if err != nil {
				t.Fatal(err)
			}
			register(t, s, server, read)
			shut(t, client)
			expect(t, s, batch{server: read})
			unregister(t, s, server)
			shut(t, server)
		}
		if after := countFDs(t); after > before {
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
	}{{"unix", pair}, {"tcp", tcpPair}} {
		t.Run(kind.name, func(t *testing.T) {
			eachSelector(t, func(t *testing.T, s selectors.Selector) {
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
					ready, err := s.Select(patience)
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
							unregister(t, s, me.fd)
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
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 128 {
			_, w := pipe(t)
			register(t, s, w, read|write)
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
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		if s.Features()&selectors.FeaturePriority == 0 {
			t.Skip("this backend has no Priority")
		}
		a, b := tcpPair(t)
		register(t, s, a, read|priority)
		put(t, b, "hello")
		awaitReadable(t, a)
		expect(t, s, batch{a: read})
		if err := unix.Sendto(b, []byte("!"), unix.MSG_OOB, nil); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for {
			got := masked(t, s, collect(t, s, patience))
			if got[a]&priority != 0 {
				break
			}
			if time.Since(begun) > patience {
				t.Fatalf("the urgent byte is not reported, only %v", got)
			}
		}
		buf := make([]byte, 16)
		if n, _, err := unix.Recvfrom(a, buf, unix.MSG_OOB); err != nil || string(buf[:n]) != "!" {
			t.Errorf("urgent: %q, %v", buf[:max(n, 0)], err)
		}
		expect(t, s, batch{a: read})
		if got := take(t, a, 16); got != "hello" {
			t.Errorf("read %q", got)
		}
		expectSilence(t, s)
	})
}

// TestLibuvWatcherCrossStop: all of many ready keys are unregistered at the
// first report. Nobody is heard of afterwards.
func TestLibuvWatcherCrossStop(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for range 500 {
			r, w := pipe(t)
			put(t, w, "x")
			register(t, s, r, read)
			want[r] = read
		}
		expect(t, s, want)
		for fd := range want {
			if fd%2 == 0 {
				shut(t, fd) // before, for good measure
			}
			unregister(t, s, fd)
		}
		expectSilence(t, s)
	})
}

// TestLibkqueueDeleteRace: keys leave from one goroutine while another one
// selects and a third makes them ready. After Unregister has returned, a
// Select that begins does not report the key.
func TestLibkqueueDeleteRace(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := pipe(t)
		put(t, w, "x") // always ready
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
				begun := epoch.Load()
				ready, err := s.Select(time.Millisecond)
				if err != nil {
					failed <- err
					return
				}
				for _, r := range ready {
					// Registered in epoch n, unregistered before n+1 began.
					if n := r.Key.Data.(int64); n < begun {
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
			unregister(t, s, r)
		}
		close(stop)
		select {
		case err := <-failed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(patience):
			t.Fatal("the selecting goroutine does not end")
		}
		expectSilence(t, s)
	})
}

// TestLibkqueueSingleDelivery: of two selectors that wait for the same file,
// at least one hears of an event; a one-shot key of it once and no more.
func TestLibkqueueSingleDelivery(t *testing.T) {
	eachBackend(t, func(t *testing.T, b selectors.Backend) {
		modes := []selectors.Event{oneShot}
		if b.Features&selectors.FeatureExclusive != 0 {
			modes = append(modes, exclusive)
		}
		for _, mode := range modes {
			one, two := newSelector(t, b), newSelector(t, b)
			r, w := pipe(t)
			register(t, one, r, read|mode)
			register(t, two, r, read|mode)
			c1, c2 := selecting(one, 10*moment), selecting(two, 10*moment)
			put(t, w, "x")
			a1, a2 := await(t, c1), await(t, c2)
			if a1.err != nil || a2.err != nil || len(a1.ready)+len(a2.ready) == 0 {
				t.Errorf("%v: %v, %v and %v, %v: nobody was told", mode, a1.ready, a1.err, a2.ready, a2.err)
			}
			if mode == oneShot {
				expectSilence(t, one)
				expectSilence(t, two)
			}
		}
	})
}

// TestLibkqueueFDReuse: numbers that are closed and opened again under the
// selector, in every way, never show the readiness of their former files.
func TestLibkqueueFDReuse(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		random := rand.New(rand.NewPCG(5, 6))
		numbers := make([]int, 8)
		peers := make([]int, len(numbers))
		for i := range numbers {
			numbers[i], _ = pair(t)
		}
		renew := func(i int) (ready bool) {
			a, b := pair(t)
			if random.IntN(2) == 0 {
				dupHigh(t, numbers[i]) // its old file lives on
			}
			if random.IntN(2) == 0 {
				shut(t, numbers[i])
			}
			replace(t, numbers[i], a)
			shut(t, a)
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
					unregister(t, s, fd)
				}
				ready := renew(i)
				register(t, s, fd, read)
				if ready {
					put(t, peers[i], "x")
					want[fd] = read
				}
			}
			got := masked(t, s, collect(t, s, 0))
			for range 2 { // as often as it may take to find ghosts
				maps.Copy(got, masked(t, s, collect(t, s, 0)))
			}
			if !maps.Equal(got, want) {
				t.Fatalf("reported %v, want %v", got, want)
			}
		}
	})
}
