//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// The cases of other suites that concern a loop, by their names.
//
// asyncio (test_events, test_base_events, test_selector_events, test_unix_events):
//
//	test_call_soon, test_call_soon_threadsafe,
//	  test__run_once_schedule_handle                   TestTurn/*/order, /what_callbacks_add_waits, TestPost
//	test_call_soon_threadsafe_same_thread              TestTurn/*/soon_and_post_keep_one_order
//	test_call_later_negative_delays                    TestBadInput/*/times
//	test_call_later, test_time_and_call_at,
//	  test__run_once, *_cancelled_event_cleanup,
//	  test_timeout_rounding                            the tests of timers; TestTurn/*/how_long_it_waits
//	HandleTests, TimerTests                            there are no handles but timers
//	test_write_to_self_*, test_read_from_self_*        the selector's wake: package selectors
//	test_add_reader*, test_remove_reader*, *_writer*,
//	  test_reader_callback, test_writer_callback       TestAsyncioReaderAndWriter
//	test_remove_fds_after_closing,
//	  test_add_fds_after_closing, test_close*          TestClose
//	test_process_events_read_cancelled                 TestSameBatch
//	test_single_selecter_event_callback_after_stopping TestAsyncioNoLeftOver
//	test_run_forever_pre_stopped                       TestRun/*/stopped_before
//	test_run_until_complete_nesting, RunningLoopTests  TestRun/*/is_running_already, /another_loop: ours may nest
//	test_close_running_event_loop                      TestClose/*/in_a_callback: allowed
//	test_add_signal_handler, test_signal_handling_*,
//	  SelectorEventLoopSignalTests                     TestOnSignal, TestSignalDefaultReturns
//	test_default_exc_handler_*, test_set_exc_handler_*,
//	  test_callback_with_exception                     TestPanicPropagates, TestPanicHandler
//	test_check_thread, test_log_slow_callbacks         TestWrongGoroutine, TestSlowCallback
//	test_call_soon_non_callable                        TestBadInput/*/nil_callback
//	test_run_in_executor*                              TestDo
//	test_accept_connection_*, pty, pipe transports,
//	  _ensure_fd_no_transport                          package stream; readiness of ptys and pipes: package selectors
//
// libevent (test/regress.c and the test-* programs):
//
//	loopexit*, loopbreak, bad_reentrant                TestRun
//	free_active_base                                   TestClose, TestSameBatchOfAnything/*/close
//	nonpersist_readd                                   TestSameBatch/*/register_again
//	active_later                                       TestLibeventActiveLater
//	many_events                                        TestLibeventManyEvents
//	event_closed_fd_poll                               TestLibeventClosedFD
//	dup_fd                                             TestLibuvClosedFDEvents
//	del_notify, del_timeout_notify                     TestLibeventDelNotify
//	del_wait                                           does not apply: Unregister is the loop's own, others Post it
//	test-changelist                                    TestLibeventChangelist
//	priorities, priority_active_inversion              there are no priorities
//	persistent_timeout_jump, common_timeout,
//	  event_remove_timeout, heap/randomized            the tests of timers
//	event_timeout_lost                                 TestTurn/*/order: a file and a timer are both called
//	fork, et_mix_error, watch/callback_ordering        do not apply: no fork; one key a file; no prepare and check
//
// libuv (test/):
//
//	watcher_cross_stop                                 TestLibuvWatcherCrossStop
//	poll_duplex, poll_unidirectional                   TestLibuvPollDuplex
//	poll_close, poll_multiple_handles                  TestClose, TestBadInput/*/registered_twice
//	closed_fd_events                                   TestLibuvClosedFDEvents
//	timer*, loop_update_time                           the tests of timers
//	loop_stop, loop_stop_before_run                    TestRun (asyncio's rule: one turn)
//	loop_alive, active, run_once, run_nowait           TestRun/*/while_alive, /once
//	loop_close                                         TestClose: nothing is busy
//	loop_backend_timeout                               TestTurn/*/how_long_it_waits
//	idle_starvation, idle_check                        TestTurn/*/nothing_starves
//	callback_stack                                     TestLibuvCallbackStack
//	close_order, loop_handles, ref*, embed, fork_*     do not apply: no close callbacks, no handles, no references
//	async, threadpool*                                 TestPost, TestNoPostIsLost, TestDo
//	signal_*                                           TestOnSignal
//	metrics_*                                          TestStats
//	eintr_handling                                     TestLibuvEINTR
//	emfile                                             TestLibuvEMFILE
//	poll_oob, poll_bad_fdtype, poll_nested_*           package selectors

func TestAsyncioReaderAndWriter(t *testing.T) {
	forEachLoopKind(t, testCase{"come and go", func(t *testing.T, k loopKind) {
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

// bpo-25593: what was ready when the loop was stopped is not called again when
// it goes on.
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

// Two callbacks that activate each other for ever do not keep I/O from running.
func TestLibeventActiveLater(t *testing.T) {
	forEachLoopKind(t, testCase{"each other", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		var ping, pong func()
		var n [4]int
		ping = func() { n[0]++; check(l.CallSoon(pong)) }
		pong = func() { n[1]++; check(l.CallSoon(ping)) }
		a, b := socketPair(t)
		x, y := socketPair(t)
		echo := func(from, to int, i int) eventloop.Callback {
			return func(any, selectors.Event) {
				readFrom(t, from)
				writeTo(t, to, "x")
				if n[i]++; n[i] == 200 {
					l.Stop()
				}
			}
		}
		// A byte goes round between two pairs.
		must(l.Register(a, read, echo(a, x, 2)))
		must(l.Register(y, read, echo(y, b, 3)))
		check(l.CallSoon(ping))
		check(l.CallSoon(pong))
		writeTo(t, b, "x")
		runLoop(t, l)
		for i := range n {
			if n[i] < 100 || n[i] > 500 {
				t.Fatalf("counts: %v", n)
			}
		}
	}})
}

func udp(t testing.TB) (fd int, addr unix.Sockaddr) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd = prepareFD(t, fd)
	check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	return fd, must(unix.Getsockname(fd))
}

// readyUDP returns sockets with a datagram each.
func readyUDP(t testing.TB, n int) (fds []int) {
	t.Helper()
	from, _ := udp(t)
	for range n {
		fd, addr := udp(t)
		check(unix.Sendto(from, []byte("x"), 0, addr))
		fds = append(fds, fd)
	}
	for _, fd := range fds {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		eventually(t, "the datagram is there", func() bool { n, _ := unix.Poll(p, 0); return n == 1 })
	}
	return fds
}

// More files are ready at once than a buffer for events is likely to hold: each
// is called once.
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
				t.Errorf("socket %d was called %d times", fd, calls[fd])
			}
		}
	}})
}

// Many sockets are ready, and the first that is called closes them all: nobody
// else is called.
func TestLibuvWatcherCrossStop(t *testing.T) {
	const many = 180
	forEachLoopKind(t, testCase{"close all", func(t *testing.T, k loopKind) {
		for _, registrar := range registrars {
			l := k.loop(t)
			fds := readyUDP(t, many)
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
				t.Errorf("by the %s: %d calls, %d keys left", registrar.name, calls, l.Selector().Len())
			}
		}
	}}, testCase{"close all, then unregister", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		fds := readyUDP(t, many)
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

// A file that is closed while it is registered is told once at most, keeps
// nobody from being called, and does not make the loop spin.
func TestLibeventClosedFD(t *testing.T) {
	forEachLoopKind(t, testCase{"no spin", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		closed, other := readableSocket(t), readableSocket(t)
		calls, others := 0, 0
		check(unix.Close(closed))
		// Registered as it still was open, and then closed.
		reopened := readableSocket(t)
		check(dup2(reopened, closed))
		check(unix.Close(reopened))
		must(l.Register(closed, read, func(_ any, events selectors.Event) {
			if calls++; events != selectors.EventError|selectors.EventInvalid {
				t.Errorf("called for %v", events)
			}
		}))
		must(l.Register(other, read|oneShot, func(any, selectors.Event) { others++ }))
		check(unix.Close(closed))
		for range 5 {
			runTurn(t, l)
		}
		want := 0
		if k.Features&selectors.FeatureInvalid != 0 {
			want = 1
		}
		if calls != want || others != 1 {
			t.Errorf("%d calls for the closed file, want %d; %d for the other", calls, want, others)
		}
		before := l.Stats().Turns
		ctx, cancel := context.WithTimeout(context.Background(), 5*quietPeriod)
		defer cancel()
		l.Run(ctx)
		if turns := l.Stats().Turns - before; turns > 3 {
			t.Errorf("%d turns with nothing to do", turns)
		}
		must(l.Unregister(closed))
	}})
}

// What happens to a closed file that lives on in a duplicate never surfaces.
func TestLibuvClosedFDEvents(t *testing.T) {
	forEachLoopKind(t, testCase{"duplicate", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		prepareFD(t, must(unix.Dup(a)))
		must(l.Register(a, read, func(any, selectors.Event) { t.Error("called for a closed file") }))
		check(unix.Close(a))
		must(l.Unregister(a))
		writeTo(t, b, "x")
		for range 3 {
			runTurn(t, l)
		}
		// Its number with a new file is that file's.
		newFile, peer := socketPair(t)
		check(dup2(newFile, a))
		var r recorder
		must(l.Register(a, read, func(any, selectors.Event) { r.add(readFrom(t, a)) }))
		runTurn(t, l)
		r.want(t, "")
		writeTo(t, peer, "new")
		runTurn(t, l)
		r.want(t, "new")
		before := l.Stats().Turns
		ctx, cancel := context.WithTimeout(context.Background(), 5*quietPeriod)
		defer cancel()
		l.Run(ctx)
		if turns := l.Stats().Turns - before; turns > 3 {
			t.Errorf("%d turns with nothing to do", turns)
		}
	}})
}

// Taking the last thing away lets a loop that runs while it is alive end.
func TestLibeventDelNotify(t *testing.T) {
	forEachLoopKind(t, testCase{"the last one", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, _ := socketPair(t)
		must(l.Register(a, read, func(any, selectors.Event) { t.Error("called") }))
		timer := must(l.CallLater(time.Hour, func() { t.Error("called") }))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for l.Alive() {
				must(l.RunOnce(-1))
			}
		}()
		time.Sleep(quietPeriod)
		check(l.Post(func() { must(l.Unregister(a)) }))
		check(l.Post(func() { timer.Stop() }))
		receive(t, ended)
	}})
}

// Registering and unregistering over and over in a callback leaves nothing
// behind that keeps the loop busy.
func TestLibeventChangelist(t *testing.T) {
	forEachLoopKind(t, testCase{"in a callback", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := readableSocket(t), readableSocket(t)
		nobody := func(any, selectors.Event) { t.Error("called") }
		must(l.Register(a, read, func(any, selectors.Event) {
			for range 3 {
				must(l.Register(b, read, nobody))
				must(l.Modify(b, write, nobody))
				must(l.Unregister(b))
			}
			must(l.Unregister(a))
		}))
		before := l.Stats().Turns
		ctx, cancel := context.WithTimeout(context.Background(), 5*quietPeriod)
		defer cancel()
		l.Run(ctx)
		if turns := l.Stats().Turns - before; turns > 4 {
			t.Errorf("%d turns with nothing to do", turns)
		}
	}})
}

// Nothing is called from within a call of the loop's methods.
func TestLibuvCallbackStack(t *testing.T) {
	forEachLoopKind(t, testCase{"nothing nested", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		depth, calls := 0, 0
		fn := func() {
			calls++
			if depth++; depth > 1 {
				t.Error("a callback in a callback")
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

// Both sides write and read at random, change what they watch for, shut down
// their half at the end, and have everything in the end.
func TestLibuvPollDuplex(t *testing.T) {
	const size = 1 << 17
	forEachLoopKind(t, testCase{"both ways", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		ended, spurious, calls := 0, 0, 0
		for _, fd := range []int{a, b} {
			sent, got, eof, shut := 0, 0, false, false
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
			again := func() {
				if eof && shut {
					must(l.Unregister(fd))
					if ended++; ended == 2 {
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
						check(l.CallSoon(func() { // somebody has to ask for it again
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
						got += n
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
				if eof && got != size {
					t.Errorf("the end came after %d bytes", got)
					l.Stop()
				}
				again()
			}
			must(l.Register(fd, read|write, callback))
		}
		if runLoop(t, l); ended != 2 || spurious > calls/10 {
			t.Errorf("%d ended; %d of %d calls were spurious", ended, spurious, calls)
		}
	}})
}

// Signals interrupt system calls all the time: nothing fails, nothing is early,
// nothing is called but what should be.
func TestLibuvEINTR(t *testing.T) {
	forEachLoopKind(t, testCase{"storm", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a, b := socketPair(t)
		calls := 0
		must(l.Register(a, read, func(any, selectors.Event) {
			readFrom(t, a)
			calls++
		}))
		var over atomic.Bool
		stormed := make(chan int)
		go func() {
			n := 0
			for ; !over.Load(); n++ {
				sendSignal(unix.SIGURG) // the runtime's own, for preemption
				time.Sleep(50 * time.Microsecond)
			}
			stormed <- n
		}()
		started := time.Now()
		early := false
		must(l.CallLater(5*quietPeriod, func() {
			early = time.Since(started) < 5*quietPeriod
			l.Stop()
		}))
		time.AfterFunc(quietPeriod, func() { unix.Write(b, []byte("x")) })
		runLoop(t, l)
		over.Store(true)
		if n := <-stormed; calls != 1 || early || n == 0 {
			t.Errorf("%d calls, early: %v, %d signals", calls, early, n)
		}
	}})
}

// At the limit of open files a new loop may be an error, which says why,
// and one that is there goes on.
func TestLibuvEMFILE(t *testing.T) {
	inChild, output, err := runInChild(t)
	if !inChild {
		if err != nil || !strings.Contains(output, "all is well") {
			t.Errorf("%v\n%s", err, output)
		}
		return
	}
	for _, k := range loopKinds() {
		l := k.loop(t)
		a, b := socketPair(t)
		spare := must(unix.Dup(a))
		var limit unix.Rlimit
		check(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
		tight := limit
		tight.Cur = 40
		check(unix.Setrlimit(unix.RLIMIT_NOFILE, &tight))
		var hogs []int
		for {
			fd, err := unix.Dup(a)
			if err != nil {
				break
			}
			hogs = append(hogs, fd)
		}
		for range 3 {
			if k.withSelector {
				break
			}
			// Poll and select need a pipe only when they are woken, if at all.
			if other, err := eventloop.New(); err == nil {
				other.Close()
			} else if !errors.Is(err, unix.EMFILE) {
				t.Errorf("%s: New: %v", k.Name, err)
			}
		}
		var r recorder
		must(l.Register(a, read, func(any, selectors.Event) { r.add(readFrom(t, a)) }))
		must(l.CallLater(time.Millisecond, r.fn("timer")))
		done := make(chan struct{})
		check(l.Do(r.fn("work"), func() { close(done) }))
		ended := make(chan error)
		go func() { ended <- l.Run(context.Background()) }()
		receive(t, done)
		writeTo(t, b, "x")
		eventually(t, "all are called", func() bool { return r.count("x") == 1 && r.count("timer") == 1 && r.count("work") == 1 })
		l.Stop()
		check(receive(t, ended))
		for _, fd := range hogs {
			check(unix.Close(fd))
		}
		check(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		check(unix.Close(spare))
	}
	if !t.Failed() {
		fmt.Println("all is well")
	}
}
