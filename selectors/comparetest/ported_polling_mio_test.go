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
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"

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
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.UnixPair(t)
		backendtest.Register(t, s, r, read)
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, batch{r: read})
		backendtest.Unregister(t, s, r)
		backendtest.ExpectNothing(t, s)
	})
}

func TestPollingInsertTwice(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.UnixPair(t)
		key := backendtest.Register(t, s, r, read)
		_, err := s.Register(r, write, "second")
		backendtest.ExpectError(t, err, selectors.ErrRegistered)
		if got, err := s.Key(r); got != key || err != nil {
			t.Errorf("Key is %v, %v, want the first one", got, err)
		}
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, batch{r: read})
	})
}

func TestPollingDeleteUnrecognized(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, _ := fdtest.UnixPair(t)
		_, err := s.Unregister(r)
		backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
	})
}

func TestPollingAppendEvents(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		var all []selectors.Ready
		for n := 1; n <= 4; n++ {
			_, w := fdtest.UnixPair(t)
			key := backendtest.Register(t, s, w, write|oneShot)
			var err error
			all, err = s.SelectInto(all, fdtest.Timeout)
			if err != nil || len(all) != n || all[n-1].Key != key {
				t.Fatalf("after %d the batch is %v, %v", n, all, err)
			}
		}
	})
}

func TestPollingManyConnections(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		type connection struct{ a, b int }
		var all []connection
		for range 100 {
			a, b := fdtest.TCPPair(t)
			backendtest.Register(t, s, a, read)
			all = append(all, connection{a, b})
		}
		random := rand.New(rand.NewPCG(1, 2))
		for len(all) > 0 {
			i := random.IntN(len(all))
			fdtest.Write(t, all[i].b, "Hello, world!")
			backendtest.Expect(t, s, batch{all[i].a: read})
			backendtest.Unregister(t, s, all[i].a)
			all[i] = all[len(all)-1]
			all = all[:len(all)-1]
		}
		backendtest.ExpectNothing(t, s)
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
			backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
				if b.Features&test.needs != test.needs {
					t.Skipf("this backend has no %v", test.needs)
				}
				one, two := backendtest.New(t, b), backendtest.New(t, b)
				r, w := fdtest.UnixPair(t)
				backendtest.Register(t, one, r, read|test.mode)
				backendtest.Register(t, two, r, read|test.mode)
				fdtest.Write(t, w, "x")
				backendtest.Expect(t, one, batch{r: read})
				backendtest.Expect(t, two, batch{r: read})
				if test.again {
					backendtest.Expect(t, one, batch{r: read})
					backendtest.Expect(t, two, batch{r: read})
				} else {
					backendtest.ExpectNothing(t, one)
					backendtest.ExpectNothing(t, two)
				}
				// To leave one changes nothing for the other.
				backendtest.Unregister(t, one, r)
				backendtest.ExpectNothing(t, one)
				backendtest.Modify(t, two, r, read|test.mode)
				if test.mode == oneShot || test.mode == edge || test.again {
					backendtest.Expect(t, two, batch{r: read})
				}
				fdtest.Drain(t, r)
				backendtest.ExpectNothing(t, two)
			})
		})
	}
}

// TestPollingManyPollers: one file in very many selectors, as a listener that
// a loop for every processor shares.
func TestPollingManyPollers(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		mode := selectors.Event(0)
		if b.Features&selectors.FeatureExclusive != 0 {
			mode = exclusive
		}
		r, w := fdtest.Pipe(t)
		var all []selectors.Selector
		for range 130 {
			s := backendtest.New(t, b)
			backendtest.Select(t, s, time.Millisecond) // whatever a selector does when it first waits
			if _, err := s.Register(r, read|mode, nil); err != nil {
				t.Fatalf("selector %d: %v", len(all), err)
			}
			all = append(all, s)
		}
		for _, s := range all {
			start := time.Now()
			if got := backendtest.Select(t, s, time.Millisecond); len(got) != 0 || time.Since(start) < time.Millisecond {
				t.Fatalf("reported %v after %v", got, time.Since(start))
			}
		}
		c := backendtest.StartSelect(all[129], fdtest.Timeout)
		fdtest.Write(t, w, "x")
		if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 1 {
			t.Errorf("Select returned %v, %v", a.Ready, a.Err)
		}
		for _, s := range all {
			backendtest.Expect(t, s, batch{r: read})
		}
	})
}

func TestPollingNotify(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 10 {
			s.Wake()
			start := time.Now()
			if got := backendtest.Select(t, s, fdtest.Timeout); len(got) != 0 || time.Since(start) >= fdtest.Timeout {
				t.Fatalf("reported %v", got)
			}
		}
		for range 3 {
			c := backendtest.StartSelect(s, -1)
			s.Wake()
			if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 {
				t.Fatalf("a woken Select returned %v, %v", a.Ready, a.Err)
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
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				r, w := fdtest.UnixPair(t)
				if mode&edge != 0 && s.Features()&selectors.FeatureEdgeTriggered == 0 {
					_, err := s.Register(r, read|mode, nil)
					backendtest.ExpectError(t, err)
					if s.Len() != 0 {
						t.Error("the key was left behind")
					}
					return
				}
				backendtest.Register(t, s, r, read|mode)
				fdtest.Write(t, w, "four")
				backendtest.Expect(t, s, batch{r: read})
				fdtest.Read(t, r, 1)
				switch mode {
				case level:
					backendtest.Expect(t, s, batch{r: read})
					backendtest.Expect(t, s, batch{r: read})
				case edge:
					backendtest.ExpectNothing(t, s)
					fdtest.Write(t, w, "more")
					backendtest.Expect(t, s, batch{r: read})
					backendtest.ExpectNothing(t, s)
				default:
					backendtest.ExpectNothing(t, s)
					fdtest.Write(t, w, "more")
					backendtest.ExpectNothing(t, s)
				}
				backendtest.Modify(t, s, r, read|mode) // arms it again
				backendtest.Expect(t, s, batch{r: read})

				for _, next := range []selectors.Event{oneShot, level, edge, oneShot, edge | oneShot, level} {
					if next&edge != 0 && s.Features()&selectors.FeatureEdgeTriggered == 0 {
						continue
					}
					backendtest.Modify(t, s, r, read|next)
					backendtest.Expect(t, s, batch{r: read})
					if next == level {
						backendtest.Expect(t, s, batch{r: read})
					} else {
						backendtest.ExpectNothing(t, s)
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
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				best := time.Hour
				for range 50 {
					start := time.Now()
					backendtest.Select(t, s, timeout)
					took := time.Since(start)
					if took < timeout {
						t.Fatalf("Select(%v) returned after %v", timeout, took)
					}
					best = min(best, took)
				}
				if coarse(s) {
					return // milliseconds
				}
				for i := 0; i < 500 && best > timeout+500*time.Microsecond; i++ {
					start := time.Now() // the machine is busy
					backendtest.Select(t, s, timeout)
					best = min(best, time.Since(start))
				}
				if best > timeout+500*time.Microsecond {
					t.Errorf("the best Select(%v) took %v", timeout, best)
				}
			})
		})
	}
}

func TestPollingTimeoutTwice(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 2 {
			start := time.Now()
			backendtest.Select(t, s, 50*time.Millisecond)
			if took := time.Since(start); took < 50*time.Millisecond || took > fdtest.Timeout {
				t.Errorf("Select(50ms) took %v", took)
			}
		}
	})
}

func TestPollingTimeoutNonBlocking(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		start := time.Now()
		for range 100 {
			backendtest.Select(t, s, 0)
		}
		if took := time.Since(start); took > fdtest.Timeout {
			t.Errorf("100 times Select(0) took %v", took)
		}
	})
}

// TestMioAddThenDrop: the selector owns nothing. A file that its owner closes
// is closed, and its peer learns it.
func TestMioAddThenDrop(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.TCPPair(t)
		l, _ := fdtest.Listen(t)
		backendtest.Register(t, s, a, read|write)
		backendtest.Register(t, s, l, read)
		fdtest.Close(t, a, l)
		fdtest.AwaitReadable(t, b)
		if n, err := unix.Read(b, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("the peer reads %d, %v, want the end", n, err)
		}
		for range 3 {
			backendtest.Select(t, s, 0)
		}
		backendtest.ExpectNothing(t, s)
		if s.Len() != 2 {
			t.Errorf("Len is %d", s.Len())
		}
	})
}

// TestMioZeroDurationPollsEvents: a timeout of zero still asks the kernel.
func TestMioZeroDurationPollsEvents(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for range 3 {
			a, _ := fdtest.TCPPair(t)
			backendtest.Register(t, s, a, write)
			want[a] = write
		}
		if got := backendtest.Select(t, s, 0).Interests(t, s); !maps.Equal(got, want) {
			t.Errorf("Select(0) reported %v, want %v", got, want)
		}
	})
}

func TestMioPollClosesFD(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		before := fdtest.CountOpen()
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		for i := range 500 {
			s, err := b.New()
			if err != nil {
				t.Fatalf("selector %d: %v", i, err)
			}
			if i%50 == 0 { // with the descriptors that come late
				c := backendtest.StartSelect(s, time.Millisecond)
				backendtest.Await(t, c)
			}
			backendtest.Register(t, s, r, read)
			s.Select(0)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if after := fdtest.CountOpen(); after > before+10 {
			t.Errorf("%d descriptors are open, %d were before", after, before)
		}
	})
}

func TestMioReadyAgainAfterWouldBlock(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.TCPPair(t)
		backendtest.Register(t, s, a, read)
		for range 3 {
			fdtest.Write(t, b, "hello")
			backendtest.Expect(t, s, batch{a: read})
			fdtest.Drain(t, a)
			backendtest.ExpectNothing(t, s)
		}
	})
}

func TestMioRegistryIsThreadSafe(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		var all sync.WaitGroup
		failed := make(chan error, 8)
		want := batch{}
		for range cap(failed) {
			_, w := fdtest.UnixPair(t)
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
			backendtest.Select(t, s, time.Millisecond)
		}
		all.Wait()
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
		backendtest.Expect(t, s, want)
	})
}

// TestMioReregisterReplacesAll: Modify replaces interest and data, it adds
// nothing to them.
func TestMioReregisterReplacesAll(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.UnixPair(t)
		fdtest.Write(t, b, "x")
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
			ready, err := s.Select(fdtest.Timeout)
			if err != nil || len(ready) != 1 || ready[0].Events != interest || ready[0].Key.Data != i || ready[0].Key.Events != interest {
				t.Errorf("interest %v: reported %v, %v", interest, ready, err)
			}
		}
	})
}

func TestMioReregisterBeforePoll(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.UnixPair(t)
		backendtest.Register(t, s, a, read)
		fdtest.Write(t, b, "x") // pending, but
		backendtest.Modify(t, s, a, write)
		backendtest.Expect(t, s, batch{a: write})
		fdtest.Fill(t, a)
		backendtest.ExpectNothing(t, s)
		backendtest.Register(t, s, b, write)
		backendtest.Modify(t, s, b, read)
		backendtest.Expect(t, s, batch{b: read})
	})
}

func TestMioWithoutRegister(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		conn, _ := fdtest.NetPair(t)
		l, _ := fdtest.Listen(t)
		for _, object := range []any{conn, l} {
			_, err := s.Modify(object, read, nil)
			backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
			_, err = s.Unregister(object)
			backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
			backendtest.Register(t, s, object, read)
			backendtest.Unregister(t, s, object)
			_, err = s.Modify(object, read, nil)
			backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
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
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.UnixPair(t)
		source := &countedSource{fd: r}
		if key := backendtest.Register(t, s, source, read); key.FileObj != any(source) || key.FD != r || source.asked == 0 {
			t.Errorf("the key is %+v; the source was asked %d times", key, source.asked)
		}
		_, err := s.Register(source, read, nil)
		backendtest.ExpectError(t, err, selectors.ErrRegistered)
		backendtest.Modify(t, s, source, write)
		backendtest.Expect(t, s, batch{r: write})
		backendtest.Modify(t, s, source, read)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, batch{r: read})
		if got := backendtest.Unregister(t, s, source); got.FileObj != any(source) {
			t.Errorf("unregistered %+v", got)
		}

		_, err = s.Register(brokenSource{}, read, nil)
		backendtest.ExpectError(t, err, unix.EBADF)
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
			a, b := fdtest.TCPPair(t)
			return a, func() { fdtest.Write(t, b, "x"); fdtest.AwaitReadable(t, a) }
		}},
		{"tcp listener", func(t *testing.T) (int, func()) {
			l, addr := fdtest.Listen(t)
			return l, func() { unix.Connect(fdtest.TCPSocket(t), addr); fdtest.AwaitReadable(t, l) }
		}},
		{"unix stream", func(t *testing.T) (int, func()) {
			a, b := fdtest.UnixPair(t)
			return a, func() { fdtest.Write(t, b, "x") }
		}},
		{"unix datagram", func(t *testing.T) (int, func()) {
			a, b := fdtest.SocketPair(t, unix.SOCK_DGRAM)
			return a, func() { fdtest.Write(t, b, "x") }
		}},
		{"udp", func(t *testing.T) (int, func()) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
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
				fdtest.AwaitReadable(t, fd)
			}
		}},
		{"pipe", func(t *testing.T) (int, func()) {
			r, w := fdtest.Pipe(t)
			return r, func() { fdtest.Write(t, w, "x") }
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				fd, stir := kind.make(t)
				backendtest.Register(t, s, fd, read)
				backendtest.ExpectNothing(t, s)
				stir()
				backendtest.Expect(t, s, batch{fd: read})
				backendtest.Modify(t, s, fd, priority)
				backendtest.ExpectNothing(t, s)
				backendtest.Modify(t, s, fd, read)
				backendtest.Expect(t, s, batch{fd: read})
				backendtest.Unregister(t, s, fd)
				backendtest.ExpectNothing(t, s)
				stir()
				backendtest.ExpectNothing(t, s)
				backendtest.Register(t, s, fd, read)
				backendtest.Expect(t, s, batch{fd: read})
			})
		})
	}
}

// TestMioDeregisterBeforePoll: what was ready when it was unregistered is not
// reported (https://github.com/tokio-rs/mio/issues/1205), and wakes come
// through all the same.
func TestMioDeregisterBeforePoll(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		fdtest.Write(t, w, "x")
		backendtest.Unregister(t, s, r)
		backendtest.ExpectNothing(t, s)
		s.Wake()
		start := time.Now()
		if got := backendtest.Select(t, s, fdtest.Timeout); len(got) != 0 || time.Since(start) >= fdtest.Timeout {
			t.Errorf("reported %v", got)
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestMioRegisteringAfterDeregistering: also in the middle of a batch, as a
// loop's callbacks do it.
func TestMioRegisteringAfterDeregistering(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.UnixPair(t)
		fdtest.Write(t, b, "x")
		backendtest.Register(t, s, a, read|write)
		for range 3 {
			backendtest.Expect(t, s, batch{a: read | write})
			backendtest.Modify(t, s, a, write)
			backendtest.Unregister(t, s, a)
			backendtest.ExpectNothing(t, s)
			backendtest.Register(t, s, a, write)
			backendtest.Expect(t, s, batch{a: write})
			backendtest.Modify(t, s, a, read|write)
		}
	})
}

func TestMioWaker(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		wakes := func(n int) {
			for range n {
				if err := s.Wake(); err != nil {
					t.Error(err)
				}
			}
		}
		for _, n := range []int{1, 3} { // same goroutine
			wakes(n)
			backendtest.Expect(t, s, batch{})
			backendtest.ExpectNothing(t, s)
		}
		for _, goroutines := range []int{1, 2, 8} { // others
			c := backendtest.StartSelect(s, fdtest.Timeout)
			var all sync.WaitGroup
			for range goroutines {
				all.Add(1)
				go func() { defer all.Done(); wakes(100) }()
			}
			if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 || a.Took >= fdtest.Timeout {
				t.Fatalf("a woken Select returned %v, %v", a.Ready, a.Err)
			}
			all.Wait()
			backendtest.Select(t, s, 0) // those that came after it had left
			backendtest.ExpectNothing(t, s)
		}
		// A wake does not keep anything from being reported.
		fdtest.Write(t, w, "x")
		wakes(1)
		backendtest.Expect(t, s, batch{r: read})
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
		{"tcp, shutdown_read", fdtest.TCPPair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_RD) }, read | write, readClosed},
		{"tcp, shutdown_write", fdtest.TCPPair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_WR) }, write, 0},
		{"tcp, shutdown_both", fdtest.TCPPair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_RDWR) }, read | write, readClosed | hangup},
		{"tcp_shutdown_server_write_close_event", fdtest.TCPPair, func(t *testing.T, a, b int) { shutdown(t, b, unix.SHUT_WR); fdtest.AwaitReadable(t, a) }, read | write, readClosed},
		{"tcp, peer closes", fdtest.TCPPair, func(t *testing.T, a, b int) { fdtest.Close(t, b); fdtest.AwaitReadable(t, a) }, read | write, readClosed},
		{"tcp_reset_close_event, hup_event_on_disconnect", fdtest.TCPPair, func(t *testing.T, a, b int) { linger(t, b); fdtest.Close(t, b); fdtest.AwaitReadable(t, a) }, read | write, readClosed | hangup | fault},
		{"unix stream, shutdown_read", fdtest.UnixPair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_RD) }, read | write, readClosed},
		{"unix stream, shutdown_write", fdtest.UnixPair, func(t *testing.T, a, b int) { shutdown(t, a, unix.SHUT_WR) }, write, 0},
		{"unix stream, peer shuts down writing", fdtest.UnixPair, func(t *testing.T, a, b int) { shutdown(t, b, unix.SHUT_WR) }, read | write, readClosed},
		{"unix stream, peer closes", fdtest.UnixPair, func(t *testing.T, a, b int) { fdtest.Close(t, b) }, read | write, readClosed | hangup},
		{"event_when_sender_is_dropped", fdtest.Pipe, func(t *testing.T, r, w int) { fdtest.Close(t, w) }, read, hangup},
		{"event_when_receiver_is_dropped", func(t testing.TB) (int, int) { r, w := fdtest.Pipe(t); return w, r }, func(t *testing.T, w, r int) { fdtest.Close(t, r) }, read | write, fault},
	} {
		t.Run(test.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				a, b := test.make(t)
				backendtest.Register(t, s, a, read|write)
				test.stir(t, a, b)
				if runtime.GOOS == "linux" {
					backendtest.ExpectWithHints(t, s, batch{a: test.want | backendtest.SupportedHints(s, test.hints)})
				}
				backendtest.Expect(t, s, batch{a: test.want})
				for _, interest := range []selectors.Event{read, write} {
					backendtest.Modify(t, s, a, interest)
					got := backendtest.Select(t, s, 0).Interests(t, s)
					if got[a] != test.want&interest {
						t.Errorf("for %v alone %v is reported", interest, got)
					}
				}
				backendtest.Unregister(t, s, a)
				backendtest.ExpectNothing(t, s)
			})
		})
	}

	t.Run("priority_event_on_oob_data", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			if s.Features()&selectors.FeaturePriority == 0 {
				t.Skip("this backend has no Priority")
			}
			a, b := fdtest.TCPPair(t)
			backendtest.Register(t, s, a, read|priority)
			backendtest.ExpectNothing(t, s)
			if err := unix.Sendto(b, []byte("!"), unix.MSG_OOB, nil); err != nil {
				t.Fatal(err)
			}
			backendtest.Expect(t, s, batch{a: priority})
			buf := make([]byte, 1)
			if n, _, err := unix.Recvfrom(a, buf, unix.MSG_OOB); n != 1 || err != nil || buf[0] != '!' {
				t.Errorf("urgent byte: %d %q, %v", n, buf, err)
			}
			backendtest.ExpectNothing(t, s)
		})
	})
}

func TestMioTCPAccept(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		l, addr := fdtest.Listen(t)
		backendtest.Register(t, s, l, read)
		backendtest.ExpectNothing(t, s)
		for range 3 {
			unix.Connect(fdtest.TCPSocket(t), addr)
		}
		for n := 0; n < 3; {
			backendtest.Expect(t, s, batch{l: read})
			fd, err := selectors.TryAcceptFD(l)
			if err != nil {
				t.Fatal(err)
			}
			fdtest.Own(t, fd)
			n++
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestMioTCPConnect: a connect that has ended makes a socket writable, however
// it ended.
func TestMioTCPConnect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		l, addr := fdtest.Listen(t)
		for _, test := range []struct {
			name string
			want error
		}{{"accepted", nil}, {"refused", unix.ECONNREFUSED}} {
			fd := fdtest.TCPSocket(t)
			if err := unix.Connect(fd, addr); err == unix.ECONNREFUSED {
				t.Skip("this system refuses at once")
			} else if err != nil && err != unix.EINPROGRESS {
				t.Fatal(err)
			}
			backendtest.Register(t, s, fd, write)
			backendtest.Expect(t, s, batch{fd: write})
			errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err != nil {
				t.Fatal(err)
			}
			if got := unix.Errno(errno); (test.want == nil) != (got == 0) || test.want != nil && got != test.want {
				t.Errorf("%s: the connect ended with %v, want %v", test.name, got, test.want)
			}
			backendtest.Unregister(t, s, fd)
			if test.want == nil {
				fdtest.Close(t, l)
			}
		}
	})
}

// TestMioEdgeBehaviorRecv: a socket read until ErrWouldBlock reports the next
// packet.
func TestMioEdgeBehaviorRecv(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		if s.Features()&selectors.FeatureEdgeTriggered == 0 {
			t.Skip("this backend has no EdgeTriggered")
		}
		a, b := fdtest.SocketPair(t, unix.SOCK_DGRAM)
		backendtest.Register(t, s, a, read|edge)
		for range 3 {
			fdtest.Write(t, b, "packet")
			backendtest.Expect(t, s, batch{a: read})
			buf := make([]byte, 16)
			if n, err := selectors.TryRead(a, buf); n != 6 || err != nil {
				t.Fatalf("read %d, %v", n, err)
			}
			if _, err := selectors.TryRead(a, buf); err != selectors.ErrWouldBlock {
				t.Fatalf("read from empty: %v", err)
			}
			backendtest.ExpectNothing(t, s)
		}
	})
}

// TestMioChildProcess: a child's standard input and output through a selector.
func TestMioChildProcess(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat: ", err)
	}
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
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

		in := backendtest.Register(t, s, inW, write).FD
		out := backendtest.Register(t, s, outR, read).FD
		backendtest.Expect(t, s, batch{in: write})
		if _, err := selectors.TryWrite(inW, []byte("Hello, world!")); err != nil {
			t.Fatal(err)
		}
		backendtest.Unregister(t, s, inW)
		backendtest.Expect(t, s, batch{out: read})
		buf := make([]byte, 32)
		if n, err := selectors.TryRead(outR, buf); err != nil || string(buf[:n]) != "Hello, world!" {
			t.Errorf("read %q, %v", buf[:max(n, 0)], err)
		}
		inW.Close() // cat ends
		backendtest.Expect(t, s, batch{out: read})
		if n, err := selectors.TryRead(outR, buf); n != 0 || err == nil {
			t.Errorf("read at the end: %d, %v", n, err)
		}
	})
}
