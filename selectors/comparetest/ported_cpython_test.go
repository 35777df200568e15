//go:build unix

package comparetest_test

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"

	"golang.org/x/sys/unix"
)

// The cases of CPython's Lib/test/test_selectors.py, every one of them, and
// those of test_asyncio that bear on a selector. What is Python's own is said
// where Go differs.
//
//	test_register                             TestCPythonRegister
//	test_unregister                           TestCPythonUnregister
//	test_unregister_after_fd_close            TestCPythonUnregisterAfterFDClose
//	test_unregister_after_fd_close_and_reuse  TestCPythonUnregisterAfterFDCloseAndReuse
//	test_unregister_after_socket_close        TestCPythonUnregisterAfterSocketClose
//	test_modify                               TestCPythonModify
//	test_modify_unregister                    TestCPythonModifyFails: here the key stays
//	test_close                                TestCPythonClose
//	test_get_key                              TestCPythonGetKey
//	test_get_map                              TestCPythonGetMap; Keys is a snapshot, so there is nothing live
//	                                          to index or to delete from (TypeError of del: does not compile)
//	test_select                               TestCPythonSelect
//	test_select_read_write                    TestCPythonSelectReadWrite
//	test_context_manager                      TestCPythonContextManager: defer s.Close()
//	test_fileno                               does not apply: no selector shows a descriptor of its own
//	test_selector                             TestCPythonSelector
//	test_empty_select                         TestCPythonEmptySelect
//	test_timeout                              TestCPythonTimeout; a negative one blocks here, where Python's does not
//	test_select_interrupt_exc                 does not apply: Go's signal handlers cannot raise into a call;
//	                                          what ends a Select from outside is Wake (conformance suite)
//	test_select_interrupt_noraise             TestCPythonSelectInterruptNoRaise
//	test_above_fd_setsize (Scalable)          TestCPythonAboveFDSetsize, on select too
//	test_register_file (Epoll)                TestCPythonRegisterFile: here it is always ready instead of an error
//	test_register_bad_fd (Kqueue)             TestCPythonRegisterBadFD
//	test_empty_select_timeout (Kqueue)        TestCPythonEmptySelectTimeout
//
// test_asyncio:
//
//	test_events: test_timeout_rounding               TestAsyncioTimeoutRounding
//	test_events: test_call_soon_threadsafe           TestAsyncioWakeFromThread
//	test_selector_events: test_write_to_self_*       TestAsyncioWriteToSelfTryAgain; white-box: TestWakerFull
//	test_events: test_read_pty_output, test_*_pty    TestAsyncioPtyHangup (Linux)
//	test_unix_events: test_write_pipe_disconnect_*   TestAsyncioWritePipeDisconnect
//	all others                                       belong to the event loop
func TestCPythonRegister(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		key, err := s.Register(rd, read, "data")
		if err != nil {
			t.Fatal(err)
		}
		if want := (selectors.SelectorKey{FileObj: rd, FD: rd, Events: read, Data: "data"}); *key != want {
			t.Errorf("the key is %+v, want %+v", *key, want)
		}
		_, err = s.Register(0, 999999, nil)
		backendtest.ExpectError(t, err, selectors.ErrInvalidEvents)
		_, err = s.Register(-10, read, nil)
		backendtest.ExpectError(t, err, selectors.ErrInvalidFileObj)
		_, err = s.Register(rd, read, nil)
		backendtest.ExpectError(t, err, selectors.ErrRegistered)
		_, err = s.Register(uintptr(rd), read, nil)
		backendtest.ExpectError(t, err, selectors.ErrRegistered)

		conn, _ := fdtest.NetPair(t)
		backendtest.Register(t, s, conn, read)
		_, err = s.Register(conn, read, nil)
		backendtest.ExpectError(t, err, selectors.ErrRegistered)
		_, err = s.Register(fdtest.Number(t, conn), read, nil)
		backendtest.ExpectError(t, err, selectors.ErrRegistered)
	})
}

func TestCPythonUnregister(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		key := backendtest.Register(t, s, rd, read)
		if got := backendtest.Unregister(t, s, rd); got != key {
			t.Errorf("Unregister returned %v, want the key %v", got, key)
		}
		_, err := s.Unregister(999999)
		backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
		_, err = s.Unregister(rd)
		backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
	})
}

func TestCPythonUnregisterAfterFDClose(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.UnixPair(t)
		backendtest.Register(t, s, rd, read)
		backendtest.Register(t, s, wr, write)
		fdtest.Close(t, rd, wr)
		backendtest.Unregister(t, s, rd)
		backendtest.Unregister(t, s, wr)
		backendtest.ExpectNothing(t, s)
	})
}

func TestCPythonUnregisterAfterFDCloseAndReuse(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.UnixPair(t)
		backendtest.Register(t, s, rd, read)
		backendtest.Register(t, s, wr, write)
		rd2, wr2 := fdtest.UnixPair(t)
		fdtest.Close(t, rd, wr)
		fdtest.Replace(t, rd, rd2)
		fdtest.Replace(t, wr, wr2)
		backendtest.Unregister(t, s, rd)
		backendtest.Unregister(t, s, wr)
		backendtest.ExpectNothing(t, s)
		if s.Len() != 0 {
			t.Errorf("Len is %d", s.Len())
		}
	})
}

func TestCPythonUnregisterAfterSocketClose(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.NetPair(t)
		backendtest.Register(t, s, a, read)
		backendtest.Register(t, s, b, write)
		a.Close()
		b.Close()
		backendtest.Unregister(t, s, a)
		backendtest.Unregister(t, s, b)
		backendtest.ExpectNothing(t, s)
	})
}

func TestCPythonModify(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		key := backendtest.Register(t, s, rd, read)

		// The events change: a new key, and the one that Key gives.
		key2 := backendtest.Modify(t, s, rd, write)
		if key2.Events != write || *key2 == *key {
			t.Errorf("Modify returned %+v", *key2)
		}
		if got, err := s.Key(rd); got != key2 || err != nil {
			t.Errorf("Key is %v, %v, want %v", got, err, key2)
		}
		backendtest.Expect(t, s, batch{rd: write})

		// Only the data changes: the events stay, and the old keys are as
		// they were.
		key3, err := s.Modify(rd, write, "data")
		if err != nil {
			t.Fatal(err)
		}
		if key3.Events != write || key3.Data != "data" || key2.Data != nil || key.Events != read {
			t.Errorf("the keys are %+v, %+v and %+v", *key, *key2, *key3)
		}
		backendtest.Expect(t, s, batch{rd: write})

		_, err = s.Modify(999999, read, nil)
		backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
	})
}

// TestCPythonModifyFails: Python drops a key whose modification the kernel
// refuses. Here it stands.
func TestCPythonModifyFails(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		other, peer := fdtest.UnixPair(t)
		key := backendtest.Register(t, s, rd, read)
		backendtest.Register(t, s, other, read)
		fdtest.Close(t, rd)
		_, err := s.Modify(rd, write, nil)
		backendtest.ExpectError(t, err, unix.EBADF)
		if got, err := s.Key(rd); got != key || err != nil {
			t.Errorf("Key is %v, %v, want %v", got, err, key)
		}
		backendtest.Unregister(t, s, rd)
		fdtest.Write(t, peer, "x")
		backendtest.Expect(t, s, batch{other: read})
	})
}

func TestCPythonClose(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.UnixPair(t)
		backendtest.Register(t, s, rd, read)
		backendtest.Register(t, s, wr, write)
		keys := s.Keys()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := s.Key(rd)
		backendtest.ExpectError(t, err, selectors.ErrClosed, os.ErrClosed)
		if n := len(slices.Collect(keys)); n != 2 {
			t.Errorf("a snapshot taken before has %d keys, want 2", n)
		}
		if n := len(slices.Collect(s.Keys())); n != 0 {
			t.Errorf("Keys has %d keys after Close", n)
		}
	})
}

func TestCPythonGetKey(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		key := backendtest.Register(t, s, rd, read)
		if got, err := s.Key(rd); got != key || err != nil {
			t.Errorf("Key is %v, %v, want %v", got, err, key)
		}
		_, err := s.Key(999999)
		backendtest.ExpectError(t, err, selectors.ErrNotRegistered)

		// Any name of the descriptor will do.
		conn, _ := fdtest.NetPair(t)
		key = backendtest.Register(t, s, conn, read)
		for _, name := range []any{conn, key.FD, uintptr(key.FD), fdtest.FdOnly(key.FD)} {
			if got, err := s.Key(name); got != key || err != nil {
				t.Errorf("Key of a %T is %v, %v, want %v", name, got, err, key)
			}
		}
		// Unless the key's own object has left the number.
		conn.Close()
		for _, name := range []any{conn, key.FD} {
			if got, err := s.Key(name); got != key || err != nil {
				t.Errorf("closed, Key of a %T is %v, %v, want %v", name, got, err, key)
			}
		}
		_, err = s.Key(fdtest.FdOnly(key.FD))
		backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
	})
}

func TestCPythonGetMap(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		if n := len(slices.Collect(s.Keys())); n != 0 || s.Len() != 0 {
			t.Errorf("a new selector has %d keys and Len %d", n, s.Len())
		}
		rd, wr := fdtest.UnixPair(t)
		one, two := backendtest.Register(t, s, wr, read), backendtest.Register(t, s, rd, read)
		want := []*selectors.SelectorKey{two, one} // by descriptor
		if got := slices.Collect(s.Keys()); !slices.Equal(got, want) || s.Len() != 2 {
			t.Errorf("Keys is %v, want %v; Len is %d", got, want, s.Len())
		}
		for range s.Keys() {
			break // must be possible
		}
	})
}

func TestCPythonSelect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.UnixPair(t)
		backendtest.Register(t, s, rd, read)
		key := backendtest.Register(t, s, wr, write)
		ready, err := s.Select(fdtest.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		if len(ready) != 1 || ready[0] != (selectors.Ready{Key: key, Events: write}) {
			t.Errorf("Select reported %v, want %v with Write alone", ready, key)
		}
	})
}

// TestCPythonSelectReadWrite: both events come in one entry
// (https://github.com/python/cpython/issues/110038).
func TestCPythonSelectReadWrite(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.UnixPair(t)
		backendtest.Register(t, s, a, read|write)
		fdtest.Write(t, b, "foo")
		backendtest.Expect(t, s, batch{a: read | write})
	})
}

func TestCPythonContextManager(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		rd, wr := fdtest.UnixPair(t)
		s := backendtest.New(t, b)
		func() {
			defer s.Close()
			backendtest.Register(t, s, rd, read)
			backendtest.Register(t, s, wr, write)
		}()
		_, err := s.Key(rd)
		backendtest.ExpectError(t, err, selectors.ErrClosed)
		_, err = s.Select(0)
		backendtest.ExpectError(t, err, selectors.ErrClosed)
	})
}

// TestCPythonSelector: of twelve pairs only the one that is written to becomes
// readable, and they leave one after the other.
func TestCPythonSelector(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		const message = "This is a test."
		peers := map[int]int{} // by the end that writes
		writers := batch{}
		for range 12 {
			rd, wr := fdtest.UnixPair(t)
			backendtest.Register(t, s, rd, read)
			backendtest.Register(t, s, wr, write)
			peers[wr] = rd
			writers[wr] = write
		}
		for len(peers) > 0 {
			backendtest.Expect(t, s, writers)
			for wr, rd := range peers {
				fdtest.Write(t, wr, message)
				writers[rd] = read
				backendtest.Expect(t, s, writers)
				if got := fdtest.Read(t, rd, len(message)); got != message {
					t.Fatalf("read %q", got)
				}
				delete(writers, rd)
				delete(writers, wr)
				delete(peers, wr)
				backendtest.Unregister(t, s, rd)
				backendtest.Unregister(t, s, wr)
				break
			}
		}
		backendtest.ExpectNothing(t, s)
	})
}

func TestCPythonEmptySelect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		if got := backendtest.Select(t, s, 0); len(got) != 0 {
			t.Errorf("Select reported %v of nothing", got)
		}
	})
}

func TestCPythonTimeout(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.UnixPair(t)
		backendtest.Register(t, s, wr, write)
		start := time.Now()
		backendtest.Expect(t, s, batch{wr: write})
		if got := backendtest.Select(t, s, 0).Interests(t, s); got[wr] != write {
			t.Errorf("Select(0) reported %v", got)
		}
		if got := backendtest.Select(t, s, -1).Interests(t, s); got[wr] != write {
			t.Errorf("Select(-1) reported %v", got)
		}
		if took := time.Since(start); took > fdtest.Timeout/2 {
			t.Errorf("waited %v with something ready", took)
		}
		backendtest.Unregister(t, s, wr)

		backendtest.Register(t, s, rd, read)
		start = time.Now()
		backendtest.Select(t, s, 0)
		if took := time.Since(start); took > fdtest.Timeout/2 {
			t.Errorf("Select(0) took %v", took)
		}
		start = time.Now()
		if got := backendtest.Select(t, s, 300*time.Millisecond); len(got) != 0 {
			t.Errorf("reported %v", got)
		}
		if took := time.Since(start); took < 300*time.Millisecond || took > fdtest.Timeout {
			t.Errorf("Select(300ms) took %v", took)
		}
	})
}

// TestCPythonSelectInterruptNoRaise: a signal interrupts the system call, not
// the Select, which waits its time.
func TestCPythonSelectInterruptNoRaise(t *testing.T) {
	seen := make(chan os.Signal, 1)
	signal.Notify(seen, syscall.SIGALRM)
	defer signal.Stop(seen)
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		backendtest.Register(t, s, rd, read)
		sending := time.AfterFunc(30*time.Millisecond, func() { unix.Kill(os.Getpid(), unix.SIGALRM) })
		defer sending.Stop()
		start := time.Now()
		if got := backendtest.Select(t, s, 150*time.Millisecond); len(got) != 0 {
			t.Errorf("reported %v", got)
		}
		if took := time.Since(start); took < 150*time.Millisecond {
			t.Errorf("Select(150ms) returned after %v", took)
		}
		select {
		case <-seen:
		case <-time.After(fdtest.Timeout):
			t.Error("the signal did not come")
		}
	})
}

// TestCPythonAboveFDSetsize: one Select tells of every descriptor that is
// ready, however many they are and however high their numbers.
func TestCPythonAboveFDSetsize(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := int(min(uint64(limit.Cur), 4096)) - fdtest.FirstFD - 64
	if n < 400 {
		t.Skipf("RLIMIT_NOFILE is %d: too low for descriptors above FD_SETSIZE", limit.Cur)
	}
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for len(want) < n {
			a, b := fdtest.UnixPair(t)
			want[a], want[b] = write, write
		}
		for fd := range want {
			if _, err := s.Register(fd, write, nil); errors.Is(err, selectors.ErrFDTooLarge) {
				delete(want, fd) // this platform's select
			} else if err != nil {
				t.Fatal(err)
			}
		}
		backendtest.Expect(t, s, want)
		for fd := range want {
			backendtest.Unregister(t, s, fd)
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestCPythonRegisterFile: Python's epoll refuses regular files. Here they are
// always ready, as poll and select have them.
func TestCPythonRegisterFile(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		key := backendtest.Register(t, s, f, read)
		backendtest.Expect(t, s, batch{key.FD: read})
		backendtest.Unregister(t, s, f)
		backendtest.ExpectNothing(t, s)
	})
}

func TestCPythonRegisterBadFD(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		fdtest.Close(t, rd)
		_, err := s.Register(rd, read, nil)
		backendtest.ExpectError(t, err, unix.EBADF)
		_, err = s.Key(rd)
		backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
	})
}

func TestCPythonEmptySelectTimeout(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		start := time.Now()
		if got := backendtest.Select(t, s, 100*time.Millisecond); len(got) != 0 {
			t.Errorf("Select reported %v of nothing", got)
		}
		if took := time.Since(start); took < 100*time.Millisecond || took > fdtest.Timeout {
			t.Errorf("Select(100ms) took %v", took)
		}
	})
}

// TestAsyncioTimeoutRounding: timeouts are rounded up. One that is rounded
// down to zero makes a loop turn and turn until the deadline has passed.
func TestAsyncioTimeoutRounding(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, timeout := range []time.Duration{10 * time.Millisecond, 100 * time.Microsecond, time.Microsecond, 10, 1} {
			start := time.Now()
			if got := backendtest.Select(t, s, timeout); len(got) != 0 {
				t.Errorf("reported %v", got)
			}
			if took := time.Since(start); took < timeout {
				t.Errorf("Select(%v) returned after %v", timeout, took)
			}
		}
	})
}

func TestAsyncioWakeFromThread(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		c := backendtest.StartSelect(s, -1)
		if err := s.Wake(); err != nil {
			t.Fatal(err)
		}
		if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 {
			t.Errorf("a woken Select returned %v, %v", a.Ready, a.Err)
		}
	})
}

// TestAsyncioWriteToSelfTryAgain: wakes that nobody takes are no error, and
// are one.
func TestAsyncioWriteToSelfTryAgain(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 100_000 {
			if err := s.Wake(); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		if got := backendtest.Select(t, s, fdtest.Timeout); len(got) != 0 || time.Since(start) >= fdtest.Timeout {
			t.Errorf("reported %v, after %v", got, time.Since(start))
		}
		start = time.Now()
		if got := backendtest.Select(t, s, fdtest.QuietTime); len(got) != 0 || time.Since(start) < fdtest.QuietTime {
			t.Errorf("reported %v, after %v, when all wakes were taken", got, time.Since(start))
		}
	})
}

// TestAsyncioWritePipeDisconnect: who watches only whether the reader of his
// pipe is still there registers the writing end for reading.
func TestAsyncioWritePipeDisconnect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.Pipe(t)
		backendtest.Register(t, s, wr, read)
		backendtest.ExpectNothing(t, s)
		fdtest.Close(t, rd)
		backendtest.Expect(t, s, batch{wr: read})
	})
}
