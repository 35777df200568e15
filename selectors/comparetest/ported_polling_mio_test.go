//go:build unix

package comparetest_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// The cases of two Rust suites, by their names.
//
// polling (smol-rs/polling, tests/):
//
//	io: basic_io, insert_twice                       TestPollingBasicIO, TestPollingInsertTwice
//	io: delete_unrecognized, append_events           TestPollingDeleteUnrecognized, TestPollingAppendEvents
//	concurrent_modification: concurrent_add,
//	  concurrent_modify                              TestRegressRegisterDuringSelect
//	concurrent_modification: concurrent_interruption TestPollingConcurrentInterruption (Linux)
//	many_connections: many_connections               TestPollingManyConnections
//	multiple_pollers: level_triggered,
//	  edge_triggered, oneshot_triggered              TestPollingMultiplePollers
//	  … and with very many of them                   TestPollingManyPollers
//	notify: simple, concurrent                       TestPollingNotify
//	other_modes: level_triggered, edge_triggered,
//	  edge_oneshot_triggered                         TestPollingModes
//	precision: below_ms, above_ms                    TestPollingPrecision
//	timeout: twice, non_blocking                     TestPollingTimeoutTwice, TestPollingTimeoutNonBlocking
//	windows_post: post_smoke, post_multithread       Windows only
//	windows_waitable: smoke                          Windows only
//
// mio (tokio-rs/mio, tests/):
//
//	poll: run_once_with_nothing                      TestCPythonEmptySelectTimeout
//	poll: add_then_drop                              TestMioAddThenDrop
//	poll: zero_duration_polls_events                 TestMioZeroDurationPollsEvents
//	poll: poll_closes_fd                             TestMioPollClosesFD
//	poll: readiness_is_reregistered_after_would_block TestMioReadyAgainAfterWouldBlock
//	poll: drop_cancels_interest_and_shuts_down       TestMioAddThenDrop: the selector keeps no file open
//	poll: registry_behind_arc,
//	  registry_operations_are_thread_safe            TestMioRegistryIsThreadSafe
//	poll: register_during_poll                       TestRegressRegisterDuringSelect
//	poll: reregister_interest_token_usage            TestMioReregisterReplacesAll
//	poll: poll_ok_after_cancelling_pending_ops       TestMioReregisterBeforePoll
//	poll: reregister_without_register,
//	  deregister_without_register                    TestMioWithoutRegister
//	poll: poll_registration, poll_erroneous_registration
//	                                                 TestMioOwnSource: our sources are types with Fd or SyscallConn
//	poll: is_send_and_sync; events, interest         types of Rust; strings and bits: TestEventString, TestEventValues
//	registering: (5)                                 TestMioRegisterDeregister, TestMioReregisterBeforePoll,
//	                                                 TestMioRegisteringAfterDeregistering; tcp_ and
//	                                                 udp_register_multiple_event_loops are errors in mio and
//	                                                 allowed here: TestPollingMultiplePollers
//	regressions: issue_776                           TestMioAddThenDrop
//	regressions: issue_1205                          TestMioDeregisterBeforePoll
//	regressions: issue_1403                          Windows only
//	waker: waker, waker_multiple_wakeups_same_thread,
//	  waker_wakeup_different_thread,
//	  waker_multiple_wakeups_different_thread        TestMioWaker
//	waker: using_multiple_wakers_panics*             does not apply: a selector is its own waker
//	tcp_stream: shutdown_*, tcp_shutdown_server_write_close_event,
//	  tcp_reset_close_event, hup_event_on_disconnect,
//	  priority_event_on_oob_data                     TestMioClosedEvents
//	tcp_stream, tcp_listener, udp_socket, unix_*: registering, reregistering,
//	  no_events_after_deregister                     TestMioRegisterDeregister, over all these kinds
//	tcp_stream, …: addresses, ttl, peek and so on    socket API, not a selector's
//	tcp: accept, connect, read, write, connect_then_close, listen_then_close,
//	  multiple_writes_immediate_success, connection_reset_by_peer, connect_error,
//	  write_error, write_shutdown, write_then_drop, write_then_deregister,
//	  tcp_no_events_after_deregister                 TestMioTCPAccept, TestMioTCPConnect, TestMioClosedEvents,
//	                                                 TestPeersTailAfterHangup, TestMioRegisterDeregister
//	tcp: bind_twice_bad, local_addr_ready, peek      socket API
//	udp_socket: et_behavior_recv, et_behavior_recv_from
//	                                                 TestMioEdgeBehaviorRecv
//	udp_socket: empty_datagram                       TestTryReadEmptyMessage
//	unix_pipe: smoke                                 TestPollingBasicIO
//	unix_pipe: event_when_sender_is_dropped,
//	  event_when_receiver_is_dropped                 TestMioClosedEvents
//	unix_pipe: from_child_process_io,
//	  nonblocking_child_process_io                   TestMioChildProcess
//	close_on_drop                                    TestMioAddThenDrop
//	aio; win_named_pipe                              FreeBSD's AIO; Windows only
func TestPollingBasicIO(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := pair(t)
		register(t, s, r, read)
		expectSilence(t, s)
		put(t, w, "x")
		expect(t, s, batch{r: read})
		unregister(t, s, r)
		expectSilence(t, s)
	})
}

func TestPollingInsertTwice(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := pair(t)
		key := register(t, s, r, read)
		_, err := s.Register(r, write, "second")
		expectError(t, err, selectors.ErrRegistered)
		if got, err := s.Key(r); got != key || err != nil {
			t.Errorf("Key is %v, %v, want the first one", got, err)
		}
		expectSilence(t, s)
		put(t, w, "x")
		expect(t, s, batch{r: read})
	})
}

func TestPollingDeleteUnrecognized(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, _ := pair(t)
		_, err := s.Unregister(r)
		expectError(t, err, selectors.ErrNotRegistered)
	})
}

func TestPollingAppendEvents(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		var all []selectors.Ready
		for n := 1; n <= 4; n++ {
			_, w := pair(t)
			key := register(t, s, w, write|oneShot)
			var err error
			all, err = s.SelectInto(all, patience)
			if err != nil || len(all) != n || all[n-1].Key != key {
				t.Fatalf("after %d the batch is %v, %v", n, all, err)
			}
		}
	})
}

func TestPollingManyConnections(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		type connection struct{ a, b int }
		var all []connection
		for range 100 {
			a, b := tcpPair(t)
			register(t, s, a, read)
			all = append(all, connection{a, b})
		}
		random := rand.New(rand.NewPCG(1, 2))
		for len(all) > 0 {
			i := random.IntN(len(all))
			put(t, all[i].b, "Hello, world!")
			expect(t, s, batch{all[i].a: read})
			unregister(t, s, all[i].a)
			all[i] = all[len(all)-1]
			all = all[:len(all)-1]
		}
		expectSilence(t, s)
	})
}

// TestPollingMultiplePollers: one file in two selectors.
func TestPollingMultiplePollers(t *testing.T) {
	for _, test := range []struct {
		name  string
		needs selectors.Feature
		mode  selectors.Event
		again bool // is reported by both again and again
	}{
		{"level", 0, 0, true},
		{"edge", selectors.FeatureEdgeTriggered, edge, false},
		{"one-shot", 0, oneShot, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b selectors.Backend) {
				if b.Features&test.needs != test.needs {
					t.Skipf("this backend has no %v", test.needs)
				}
				one, two := newSelector(t, b), newSelector(t, b)
				r, w := pair(t)
				register(t, one, r, read|test.mode)
				register(t, two, r, read|test.mode)
				put(t, w, "x")
				expect(t, one, batch{r: read})
				expect(t, two, batch{r: read})
				if test.again {
					expect(t, one, batch{r: read})
					expect(t, two, batch{r: read})
				} else {
					expectSilence(t, one)
					expectSilence(t, two)
				}
				// To leave one changes nothing for the other.
				unregister(t, one, r)
				expectSilence(t, one)
				modify(t, two, r, read|test.mode)
				if test.mode == oneShot || test.mode == edge || test.again {
					expect(t, two, batch{r: read})
				}
				drain(t, r)
				expectSilence(t, two)
			})
		})
	}
}

// TestPollingManyPollers: one file in very many selectors, as a listener that
// a loop for every processor shares.
func TestPollingManyPollers(t *testing.T) {
	eachBackend(t, func(t *testing.T, b selectors.Backend) {
		mode := selectors.Event(0)
		if b.Features&selectors.FeatureExclusive != 0 {
			mode = exclusive
		}
		r, w := pipe(t)
		var all []selectors.Selector
		for range 130 {
			s := newSelector(t, b)
			collect(t, s, time.Millisecond) // whatever a selector does when it first waits
			if _, err := s.Register(r, read|mode, nil); err != nil {
				t.Fatalf("selector %d: %v", len(all), err)
			}
			all = append(all, s)
		}
		for _, s := range all {
			begun := time.Now()
			if got := collect(t, s, time.Millisecond); len(got) != 0 || time.Since(begun) < time.Millisecond {
				t.Fatalf("reported %v after %v", got, time.Since(begun))
			}
		}
		c := selecting(all[129], patience)
		put(t, w, "x")
		if a := await(t, c); a.err != nil || len(a.ready) != 1 {
			t.Errorf("Select returned %v, %v", a.ready, a.err)
		}
		for _, s := range all {
			expect(t, s, batch{r: read})
		}
	})
}

func TestPollingNotify(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 10 {
			s.Wake()
			begun := time.Now()
			if got := collect(t, s, patience); len(got) != 0 || time.Since(begun) >= patience {
				t.Fatalf("reported %v", got)
			}
		}
		for range 3 {
			c := selecting(s, -1)
			s.Wake()
			if a := await(t, c); a.err != nil || len(a.ready) != 0 {
				t.Fatalf("a woken Select returned %v, %v", a.ready, a.err)
			}
		}
	})
}

// TestPollingModes: what is reported after only a part was read, in each mode,
// and that Modify switches between them. What a backend does not have is an
// error.
func TestPollingModes(t *testing.T) {
	const level = selectors.Event(0)
	for _, mode := range []selectors.Event{level, oneShot, edge, edge | oneShot} {
		t.Run("read with "+mode.String(), func(t *testing.T) {
			eachSelector(t, func(t *testing.T, s selectors.Selector) {
				r, w := pair(t)
				if mode&edge != 0 && s.Features()&selectors.FeatureEdgeTriggered == 0 {
					_, err := s.Register(r, read|mode, nil)
					expectError(t, err)
					if s.Len() != 0 {
						t.Error("the key was left behind")
					}
					return
				}
				register(t, s, r, read|mode)
				put(t, w, "four")
				expect(t, s, batch{r: read})
				take(t, r, 1)
				switch mode {
				case level:
					expect(t, s, batch{r: read})
					expect(t, s, batch{r: read})
				case edge:
					expectSilence(t, s)
					put(t, w, "more")
					expect(t, s, batch{r: read})
					expectSilence(t, s)
				default:
					expectSilence(t, s)
					put(t, w, "more")
					expectSilence(t, s)
				}
				modify(t, s, r, read|mode) // arms it again
				expect(t, s, batch{r: read})

				for _, next := range []selectors.Event{oneShot, level, edge, oneShot, edge | oneShot, level} {
					if next&edge != 0 && s.Features()&selectors.FeatureEdgeTriggered == 0 {
						continue
					}
					modify(t, s, r, read|next)
					expect(t, s, batch{r: read})
					if next == level {
						expect(t, s, batch{r: read})
					} else {
						expectSilence(t, s)
					}
				}
			})
		})
	}
}

// TestPollingPrecision: never early, and, where the kernel has the calls for
// it, at best within half a millisecond.
func TestPollingPrecision(t *testing.T) {
	for _, timeout := range []time.Duration{100 * time.Microsecond, 3100 * time.Microsecond} {
		t.Run(timeout.String(), func(t *testing.T) {
			eachSelector(t, func(t *testing.T, s selectors.Selector) {
				best := time.Hour
				for range 50 {
					begun := time.Now()
					collect(t, s, timeout)
					took := time.Since(begun)
					if took < timeout {
						t.Fatalf("Select(%v) returned after %v", timeout, took)
					}
					best = min(best, took)
				}
				if coarse(s) {
					return // milliseconds
				}
				for i := 0; i < 500 && best > timeout+500*time.Microsecond; i++ {
					begun := time.Now() // the machine is busy
					collect(t, s, timeout)
					best = min(best, time.Since(begun))
				}
				if best > timeout+500*time.Microsecond {
					t.Errorf("the best Select(%v) took %v", timeout, best)
				}
			})
		})
	}
}

func TestPollingTimeoutTwice(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 2 {
			begun := time.Now()
			collect(t, s, 50*time.Millisecond)
			if took := time.Since(begun); took < 50*time.Millisecond || took > patience {
				t.Errorf("Select(50ms) took %v", took)
			}
		}
	})
}

func TestPollingTimeoutNonBlocking(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		begun := time.Now()
		for range 100 {
			collect(t, s, 0)
		}
		if took := time.Since(begun); took > patience {
			t.Errorf("100 times Select(0) took %v", took)
		}
	})
}

// TestMioAddThenDrop: the selector owns nothing. A file that its owner closes
// is closed, and its peer learns it.
func TestMioAddThenDrop(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := tcpPair(t)
		l, _ := listen(t)
		register(t, s, a, read|write)
		register(t, s, l, read)
		shut(t, a, l)
		awaitReadable(t, b)
		if n, err := unix.Read(b, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("the peer reads %d, %v, want the end", n, err)
		}
		for range 3 {
			collect(t, s, 0)
		}
		expectSilence(t, s)
		if s.Len() != 2 {
			t.Errorf("Len is %d", s.Len())
		}
	})
}

// TestMioZeroDurationPollsEvents: a timeout of zero still asks the kernel.
func TestMioZeroDurationPollsEvents(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for range 3 {
			a, _ := tcpPair(t)
			register(t, s, a, write)
			want[a] = write
		}
		if got := masked(t, s, collect(t, s, 0)); !maps.Equal(got, want) {
			t.Errorf("Select(0) reported %v, want %v", got, want)
		}
	})
}

func TestMioPollClosesFD(t *testing.T) {
	eachBackend(t, func(t *testing.T, b selectors.Backend) {
		before := countFDs(t)
		r, w := pipe(t)
		put(t, w, "x")
		for i := range 500 {
			s, err := b.New()
			if err != nil {
				t.Fatalf("selector %d: %v", i, err)
			}
			if i%50 == 0 { // with the descriptors that come late
				c := selecting(s, time.Millisecond)
				await(t, c)
			}
			register(t, s, r, read)
			s.Select(0)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if after := countFDs(t); after > before+10 {
			t.Errorf("%d descriptors are open, %d were before", after, before)
		}
	})
}

// countFDs counts the descriptors below the fixtures'.
func countFDs(t testing.TB) (n int) {
	t.Helper()
	for fd := range highFD {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

func TestMioReadyAgainAfterWouldBlock(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := tcpPair(t)
		register(t, s, a, read)
		for range 3 {
			put(t, b, "hello")
			expect(t, s, batch{a: read})
			drain(t, a)
			expectSilence(t, s)
		}
	})
}

func TestMioRegistryIsThreadSafe(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		var all sync.WaitGroup
		failed := make(chan error, 8)
		want := batch{}
		for range cap(failed) {
			_, w := pair(t)
			want[w] = write
			all.Add(1)
			go func() {
				defer all.Done()
				for range 100 {
					if _, err := s.Register(w, read, nil); err != nil {
						failed <- err
						return
					}
					if _, err := s.Unregister(w); err != nil {
						failed <- err
						return
					}
				}
				if _, err := s.Register(w, read, nil); err != nil {
					failed <- err
					return
				}
				if _, err := s.Modify(w, write, nil); err != nil {
					failed <- err
				}
			}()
		}
		for range 20 {
			collect(t, s, time.Millisecond)
		}
		all.Wait()
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
		expect(t, s, want)
	})
}

// TestMioReregisterReplacesAll: Modify replaces interest and data, it adds
// nothing to them.
func TestMioReregisterReplacesAll(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := pair(t)
		put(t, b, "x")
		for i, interest := range []selectors.Event{read, write, read | write, write, read} {
			var err error
			if i == 0 {
				_, err = s.Register(a, interest, i)
			} else {
				_, err = s.Modify(a, interest, i)
			}
			if err != nil {
				t.Fatal(err)
			}
			ready, err := s.Select(patience)
			if err != nil || len(ready) != 1 || ready[0].Events != interest || ready[0].Key.Data != i || ready[0].Key.Events != interest {
				t.Errorf("interest %v: reported %v, %v", interest, ready, err)
			}
		}
	})
}

func TestMioReregisterBeforePoll(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := pair(t)
		register(t, s, a, read)
		put(t, b, "x") // pending, but
		modify(t, s, a, write)
		expect(t, s, batch{a: write})
		fill(t, a)
		expectSilence(t, s)
		register(t, s, b, write)
		modify(t, s, b, read)
		expect(t, s, batch{b: read})
	})
}

func TestMioWithoutRegister(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		conn, _ := netPair(t)
		l, _ := listen(t)
		for _, object := range []any{conn, l} {
			_, err := s.Modify(object, read, nil)
			expectError(t, err, selectors.ErrNotRegistered)
			_, err = s.Unregister(object)
			expectError(t, err, selectors.ErrNotRegistered)
			register(t, s, object, read)
			unregister(t, s, object)
			_, err = s.Modify(object, read, nil)
			expectError(t, err, selectors.ErrNotRegistered)
		}
	})
}

// A countedSource counts how often it is asked for its descriptor.
type countedSource struct {
	fd    int
	asked int
}

func (c *countedSource) Fd() uintptr { c.asked++; return uintptr(c.fd) }

// A brokenSource has a descriptor that cannot be.
type brokenSource struct{}

func (brokenSource) Fd() uintptr { return math.MaxInt32 + 1 }

// TestMioOwnSource: types of the user's are as good as any.
func TestMioOwnSource(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := pair(t)
		source := &countedSource{fd: r}
		if key := register(t, s, source, read); key.FileObj != any(source) || key.FD != r || source.asked == 0 {
			t.Errorf("the key is %+v; the source was asked %d times", key, source.asked)
		}
		_, err := s.Register(source, read, nil)
		expectError(t, err, selectors.ErrRegistered)
		modify(t, s, source, write)
		expect(t, s, batch{r: write})
		modify(t, s, source, read)
		put(t, w, "x")
		expect(t, s, batch{r: read})
		if got := unregister(t, s, source); got.FileObj != any(source) {
			t.Errorf("unregistered %+v", got)
		}

		_, err = s.Register(brokenSource{}, read, nil)
		expectError(t, err, unix.EBADF)
		if s.Len() != 0 {
			t.Errorf("Len is %d", s.Len())
		}
	})
}

// TestMioRegisterDeregister: every kind of file joins, changes and leaves, and
// is not heard of any more.
func TestMioRegisterDeregister(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func(t *testing.T) (fd int, stir func())
	}{
		{"tcp stream", func(t *testing.T) (int, func()) {
			a, b := tcpPair(t)
			return a, func() { put(t, b, "x"); awaitReadable(t, a) }
		}},
		{"tcp listener", func(t *testing.T) (int, func()) {
			l, addr := listen(t)
			return l, func() { unix.Connect(socket(t), addr); awaitReadable(t, l) }
		}},
		{"unix stream", func(t *testing.T) (int, func()) {
			a, b := pair(t)
			return a, func() { put(t, b, "x") }
		}},
		{"unix datagram", func(t *testing.T) (int, func()) {
			a, b := socketPair(t, unix.SOCK_DGRAM)
			return a, func() { put(t, b, "x") }
		}},
		{"udp", func(t *testing.T) (int, func()) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			fd = own(t, fd)
			if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				t.Fatal(err)
			}
			addr, err := unix.Getsockname(fd)
			if err != nil {
				t.Fatal(err)
			}
			return fd, func() {
				if err := unix.Sendto(fd, []byte("x"), 0, addr); err != nil {
					t.Fatal(err)
				}
				awaitReadable(t, fd)
			}
		}},
		{"pipe", func(t *testing.T) (int, func()) {
			r, w := pipe(t)
			return r, func() { put(t, w, "x") }
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			eachSelector(t, func(t *testing.T, s selectors.Selector) {
				fd, stir := kind.make(t)
				register(t, s, fd, read)
				expectSilence(t, s)
				stir()
				expect(t, s, batch{fd: read})
				modify(t, s, fd, priority)
				expectSilence(t, s)
				modify(t, s, fd, read)
				expect(t, s, batch{fd: read})
				unregister(t, s, fd)
				expectSilence(t, s)
				stir()
				expectSilence(t, s)
				register(t, s, fd, read)
				expect(t, s, batch{fd: read})
			})
		})
	}
}

// TestMioDeregisterBeforePoll: what was ready when it was unregistered is not
// reported (https://github.com/tokio-rs/mio/issues/1205), and wakes come
// through all the same.
func TestMioDeregisterBeforePoll(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := pipe(t)
		register(t, s, r, read)
		put(t, w, "x")
		unregister(t, s, r)
		expectSilence(t, s)
		s.Wake()
		begun := time.Now()
		if got := collect(t, s, patience); len(got) != 0 || time.Since(begun) >= patience {
			t.Errorf("reported %v", got)
		}
		expectSilence(t, s)
	})
}

// TestMioRegisteringAfterDeregistering: also in the middle of a batch, as a
// loop's callbacks do it.
func TestMioRegisteringAfterDeregistering(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := pair(t)
		put(t, b, "x")
		register(t, s, a, read|write)
		for range 3 {
			expect(t, s, batch{a: read | write})
			modify(t, s, a, write)
			unregister(t, s, a)
			expectSilence(t, s)
			register(t, s, a, write)
			expect(t, s, batch{a: write})
			modify(t, s, a, read|write)
		}
	})
}

func TestMioWaker(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := pipe(t)
		register(t, s, r, read)
		wakes := func(n int) {
			for range n {
				if err := s.Wake(); err != nil {
					t.Error(err)
				}
			}
		}
		for _, n := range []int{1, 3} { // same goroutine
			wakes(n)
			expect(t, s, batch{})
			expectSilence(t, s)
		}
		for _, goroutines := range []int{1, 2, 8} { // others
			c := selecting(s, patience)
			var all sync.WaitGroup
			for range goroutines {
				all.Add(1)
				go func() { defer all.Done(); wakes(100) }()
			}
			if a := await(t, c); a.err != nil || len(a.ready) != 0 || a.took >= patience {
				t.Fatalf("a woken Select returned %v, %v", a.ready, a.err)
			}
			all.Wait()
			collect(t, s, 0) // those that came after it had left
			expectSilence(t, s)
		}
		// A wake does not keep anything from being reported.
		put(t, w, "x")
		wakes(1)
		expect(t, s, batch{r: read})
	})
}

// TestMioClosedEvents: what is told of files whose directions close, by the
// interest Read|Write; and hints, by those backends that have them.
func TestMioClosedEvents(t *testing.T) {
	const (
		hangup = selectors.EventHangup
		fault  = selectors.EventError
	)
	linger := func(t *testing.T, fd int) {
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			t.Fatal(err)
		}
	}
	shutdown := func(t *testing.T, fd, how int) {
		if err := unix.Shutdown(fd, how); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		make  func(testing.TB) (watched, peer int)
		stir  func(t *testing.T, watched, peer int)
		want  selectors.Event // of Read and Write
		hints selectors.Event // as Linux tells them
	}{
		{"tcp, shutdown_read", tcpPair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_RD) }, read | write, readClosed},
		{"tcp, shutdown_write", tcpPair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_WR) }, write, 0},
		{"tcp, shutdown_both", tcpPair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_RDWR) }, read | write, readClosed | hangup},
		{"tcp_shutdown_server_write_close_event", tcpPair, func(t *testing.T, a, b int) { shutdown(t, b, unix.SHUT_WR); awaitReadable(t, a) }, read | write, readClosed},
		{"tcp, peer closes", tcpPair, func(t *testing.T, a, b int) { shut(t, b); awaitReadable(t, a) }, read | write, readClosed},
		{"tcp_reset_close_event, hup_event_on_disconnect", tcpPair, func(t *testing.T, a, b int) { linger(t, b); shut(t, b); awaitReadable(t, a) }, read | write, readClosed | hangup | fault},
		{"unix stream, shutdown_read", pair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_RD) }, read | write, readClosed},
		{"unix stream, shutdown_write", pair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_WR) }, write, 0},
		{"unix stream, peer shuts down writing", pair, func(t *testing.T, a, b int) { shutdown(t, b, unix.SHUT_WR) }, read | write, readClosed},
		{"unix stream, peer closes", pair, func(t *testing.T, a, b int) { shut(t, b) }, read | write, readClosed | hangup},
		{"event_when_sender_is_dropped", pipe, func(t *testing.T, r, w int) { shut(t, w) }, read, hangup},
		{"event_when_receiver_is_dropped", func(t testing.TB) (int, int) { r, w := pipe(t); return w, r }, func(t *testing.T, w, r int) { shut(t, r) }, read | write, fault},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachSelector(t, func(t *testing.T, s selectors.Selector) {
				a, b := test.make(t)
				register(t, s, a, read|write)
				test.stir(t, a, b)
				if runtime.GOOS == "linux" {
					expectExactly(t, s, batch{a: test.want | hints(s, test.hints)})
				}
				expect(t, s, batch{a: test.want})
				for _, interest := range []selectors.Event{read, write} {
					modify(t, s, a, interest)
					got := masked(t, s, collect(t, s, 0))
					if got[a] != test.want&interest {
						t.Errorf("for %v alone %v is reported", interest, got)
					}
				}
				unregister(t, s, a)
				expectSilence(t, s)
			})
		})
	}

	t.Run("priority_event_on_oob_data", func(t *testing.T) {
		eachSelector(t, func(t *testing.T, s selectors.Selector) {
			if s.Features()&selectors.FeaturePriority == 0 {
				t.Skip("this backend has no Priority")
			}
			a, b := tcpPair(t)
			register(t, s, a, read|priority)
			expectSilence(t, s)
			if err := unix.Sendto(b, []byte("!"), unix.MSG_OOB, nil); err != nil {
				t.Fatal(err)
			}
			expect(t, s, batch{a: priority})
			buf := make([]byte, 1)
			if n, _, err := unix.Recvfrom(a, buf, unix.MSG_OOB); n != 1 || err != nil || buf[0] != '!' {
				t.Errorf("urgent byte: %d %q, %v", n, buf, err)
			}
			expectSilence(t, s)
		})
	})
}

func TestMioTCPAccept(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		l, addr := listen(t)
		register(t, s, l, read)
		expectSilence(t, s)
		for range 3 {
			unix.Connect(socket(t), addr)
		}
		for n := 0; n < 3; {
			expect(t, s, batch{l: read})
			fd, err := selectors.TryAcceptFD(l)
			if err != nil {
				t.Fatal(err)
			}
			own(t, fd)
			n++
		}
		expectSilence(t, s)
	})
}

// TestMioTCPConnect: a connect that has ended makes a socket writable, however
// it ended.
func TestMioTCPConnect(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		l, addr := listen(t)
		for _, test := range []struct {
			name string
			want error
		}{{"accepted", nil}, {"refused", unix.ECONNREFUSED}} {
			fd := socket(t)
			if err := unix.Connect(fd, addr); err == unix.ECONNREFUSED {
				t.Skip("this system refuses at once")
			} else if err != nil && err != unix.EINPROGRESS {
				t.Fatal(err)
			}
			register(t, s, fd, write)
			expect(t, s, batch{fd: write})
			errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err != nil {
				t.Fatal(err)
			}
			if got := unix.Errno(errno); (test.want == nil) != (got == 0) || test.want != nil && got != test.want {
				t.Errorf("%s: the connect ended with %v, want %v", test.name, got, test.want)
			}
			unregister(t, s, fd)
			if test.want == nil {
				shut(t, l)
			}
		}
	})
}

// TestMioEdgeBehaviorRecv: a socket read until ErrWouldBlock reports the next
// packet.
func TestMioEdgeBehaviorRecv(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		if s.Features()&selectors.FeatureEdgeTriggered == 0 {
			t.Skip("this backend has no EdgeTriggered")
		}
		a, b := socketPair(t, unix.SOCK_DGRAM)
		register(t, s, a, read|edge)
		for range 3 {
			put(t, b, "packet")
			expect(t, s, batch{a: read})
			buf := make([]byte, 16)
			if n, err := selectors.TryRead(a, buf); n != 6 || err != nil {
				t.Fatalf("read %d, %v", n, err)
			}
			if _, err := selectors.TryRead(a, buf); err != selectors.ErrWouldBlock {
				t.Fatalf("read from empty: %v", err)
			}
			expectSilence(t, s)
		}
	})
}

// TestMioChildProcess: a child's standard input and output through a selector.
func TestMioChildProcess(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat: ", err)
	}
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		child := exec.Command(cat)
		inR, inW, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { inR.Close(); inW.Close() })
		outR, outW, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { outR.Close(); outW.Close() })
		child.Stdin, child.Stdout = inR, outW
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { child.Process.Kill(); child.Wait() })
		inR.Close()
		outW.Close()

		in := register(t, s, inW, write).FD
		out := register(t, s, outR, read).FD
		expect(t, s, batch{in: write})
		if _, err := selectors.TryWrite(inW, []byte("Hello, world!")); err != nil {
			t.Fatal(err)
		}
		unregister(t, s, inW)
		expect(t, s, batch{out: read})
		buf := make([]byte, 32)
		if n, err := selectors.TryRead(outR, buf); err != nil || string(buf[:n]) != "Hello, world!" {
			t.Errorf("read %q, %v", buf[:max(n, 0)], err)
		}
		inW.Close() // cat ends
		expect(t, s, batch{out: read})
		if n, err := selectors.TryRead(outR, buf); n != 0 || err == nil {
			t.Errorf("read at the end: %d, %v", n, err)
		}
	})
}
