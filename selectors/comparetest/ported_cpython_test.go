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
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := pair(t)
		key, err := s.Register(rd, read, "data")
		if err != nil {
			t.Fatal(err)
		}
		if want := (selectors.SelectorKey{FileObj: rd, FD: rd, Events: read, Data: "data"}); *key != want {
			t.Errorf("the key is %+v, want %+v", *key, want)
		}
		_, err = s.Register(0, 999999, nil)
		expectError(t, err, selectors.ErrInvalidEvents)
		_, err = s.Register(-10, read, nil)
		expectError(t, err, selectors.ErrInvalidFileObj)
		_, err = s.Register(rd, read, nil)
		expectError(t, err, selectors.ErrRegistered)
		_, err = s.Register(uintptr(rd), read, nil)
		expectError(t, err, selectors.ErrRegistered)

		conn, _ := netPair(t)
		register(t, s, conn, read)
		_, err = s.Register(conn, read, nil)
		expectError(t, err, selectors.ErrRegistered)
		_, err = s.Register(fdOf(t, conn), read, nil)
		expectError(t, err, selectors.ErrRegistered)
	})
}

func TestCPythonUnregister(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := pair(t)
		key := register(t, s, rd, read)
		if got := unregister(t, s, rd); got != key {
			t.Errorf("Unregister returned %v, want the key %v", got, key)
		}
		_, err := s.Unregister(999999)
		expectError(t, err, selectors.ErrNotRegistered)
		_, err = s.Unregister(rd)
		expectError(t, err, selectors.ErrNotRegistered)
	})
}

func TestCPythonUnregisterAfterFDClose(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := pair(t)
		register(t, s, rd, read)
		register(t, s, wr, write)
		shut(t, rd, wr)
		unregister(t, s, rd)
		unregister(t, s, wr)
		expectSilence(t, s)
	})
}

func TestCPythonUnregisterAfterFDCloseAndReuse(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := pair(t)
		register(t, s, rd, read)
		register(t, s, wr, write)
		rd2, wr2 := pair(t)
		shut(t, rd, wr)
		replace(t, rd, rd2)
		replace(t, wr, wr2)
		unregister(t, s, rd)
		unregister(t, s, wr)
		expectSilence(t, s)
		if s.Len() != 0 {
			t.Errorf("Len is %d", s.Len())
		}
	})
}

func TestCPythonUnregisterAfterSocketClose(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := netPair(t)
		register(t, s, a, read)
		register(t, s, b, write)
		a.Close()
		b.Close()
		unregister(t, s, a)
		unregister(t, s, b)
		expectSilence(t, s)
	})
}

func TestCPythonModify(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := pair(t)
		key := register(t, s, rd, read)

		// The events change: a new key, and the one that Key gives.
		key2 := modify(t, s, rd, write)
		if key2.Events != write || *key2 == *key {
			t.Errorf("Modify returned %+v", *key2)
		}
		if got, err := s.Key(rd); got != key2 || err != nil {
			t.Errorf("Key is %v, %v, want %v", got, err, key2)
		}
		expect(t, s, batch{rd: write})

		// Only the data changes: the events stay, and the old keys are as
		// they were.
		key3, err := s.Modify(rd, write, "data")
		if err != nil {
			t.Fatal(err)
		}
		if key3.Events != write || key3.Data != "data" || key2.Data != nil || key.Events != read {
			t.Errorf("the keys are %+v, %+v and %+v", *key, *key2, *key3)
		}
		expect(t, s, batch{rd: write})

		_, err = s.Modify(999999, read, nil)
		expectError(t, err, selectors.ErrNotRegistered)
	})
}

// TestCPythonModifyFails: Python drops a key whose modification the kernel
// refuses. Here it stands.
func TestCPythonModifyFails(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := pair(t)
		other, peer := pair(t)
		key := register(t, s, rd, read)
		register(t, s, other, read)
		shut(t, rd)
		_, err := s.Modify(rd, write, nil)
		expectError(t, err, unix.EBADF)
		if got, err := s.Key(rd); got != key || err != nil {
			t.Errorf("Key is %v, %v, want %v", got, err, key)
		}
		unregister(t, s, rd)
		put(t, peer, "x")
		expect(t, s, batch{other: read})
	})
}

func TestCPythonClose(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := pair(t)
		register(t, s, rd, read)
		register(t, s, wr, write)
		keys := s.Keys()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := s.Key(rd)
		expectError(t, err, selectors.ErrClosed, os.ErrClosed)
		if n := len(slices.Collect(keys)); n != 2 {
			t.Errorf("a snapshot taken before has %d keys, want 2", n)
		}
		if n := len(slices.Collect(s.Keys())); n != 0 {
			t.Errorf("Keys has %d keys after Close", n)
		}
	})
}

func TestCPythonGetKey(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := pair(t)
		key := register(t, s, rd, read)
		if got, err := s.Key(rd); got != key || err != nil {
			t.Errorf("Key is %v, %v, want %v", got, err, key)
		}
		_, err := s.Key(999999)
		expectError(t, err, selectors.ErrNotRegistered)

		// Any name of the descriptor will do.
		conn, _ := netPair(t)
		key = register(t, s, conn, read)
		for _, name := range []any{conn, key.FD, uintptr(key.FD), numbered{key.FD}} {
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
		_, err = s.Key(numbered{key.FD})
		expectError(t, err, selectors.ErrNotRegistered)
	})
}

func TestCPythonGetMap(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		if n := len(slices.Collect(s.Keys())); n != 0 || s.Len() != 0 {
			t.Errorf("a new selector has %d keys and Len %d", n, s.Len())
		}
		rd, wr := pair(t)
		one, two := register(t, s, wr, read), register(t, s, rd, read)
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
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := pair(t)
		register(t, s, rd, read)
		key := register(t, s, wr, write)
		ready, err := s.Select(patience)
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
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := pair(t)
		register(t, s, a, read|write)
		put(t, b, "foo")
		expect(t, s, batch{a: read | write})
	})
}

func TestCPythonContextManager(t *testing.T) {
	eachBackend(t, func(t *testing.T, b selectors.Backend) {
		rd, wr := pair(t)
		s := newSelector(t, b)
		func() {
			defer s.Close()
			register(t, s, rd, read)
			register(t, s, wr, write)
		}()
		_, err := s.Key(rd)
		expectError(t, err, selectors.ErrClosed)
		_, err = s.Select(0)
		expectError(t, err, selectors.ErrClosed)
	})
}

// TestCPythonSelector: of twelve pairs only the one that is written to becomes
// readable, and they leave one after the other.
func TestCPythonSelector(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		const message = "This is a test."
		peers := map[int]int{} // by the end that writes
		writers := batch{}
		for range 12 {
			rd, wr := pair(t)
			register(t, s, rd, read)
			register(t, s, wr, write)
			peers[wr] = rd
			writers[wr] = write
		}
		for len(peers) > 0 {
			expect(t, s, writers)
			for wr, rd := range peers {
				put(t, wr, message)
				writers[rd] = read
				expect(t, s, writers)
				if got := take(t, rd, len(message)); got != message {
					t.Fatalf("read %q", got)
				}
				delete(writers, rd)
				delete(writers, wr)
				delete(peers, wr)
				unregister(t, s, rd)
				unregister(t, s, wr)
				break
			}
		}
		expectSilence(t, s)
	})
}

func TestCPythonEmptySelect(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		if got := collect(t, s, 0); len(got) != 0 {
			t.Errorf("Select reported %v of nothing", got)
		}
	})
}

func TestCPythonTimeout(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := pair(t)
		register(t, s, wr, write)
		begun := time.Now()
		expect(t, s, batch{wr: write})
		if got := masked(t, s, collect(t, s, 0)); got[wr] != write {
			t.Errorf("Select(0) reported %v", got)
		}
		if got := masked(t, s, collect(t, s, -1)); got[wr] != write {
			t.Errorf("Select(-1) reported %v", got)
		}
		if took := time.Since(begun); took > patience/2 {
			t.Errorf("waited %v with something ready", took)
		}
		unregister(t, s, wr)

		register(t, s, rd, read)
		begun = time.Now()
		collect(t, s, 0)
		if took := time.Since(begun); took > patience/2 {
			t.Errorf("Select(0) took %v", took)
		}
		begun = time.Now()
		if got := collect(t, s, 300*time.Millisecond); len(got) != 0 {
			t.Errorf("reported %v", got)
		}
		if took := time.Since(begun); took < 300*time.Millisecond || took > patience {
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
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := pair(t)
		register(t, s, rd, read)
		sending := time.AfterFunc(30*time.Millisecond, func() { unix.Kill(os.Getpid(), unix.SIGALRM) })
		defer sending.Stop()
		begun := time.Now()
		if got := collect(t, s, 150*time.Millisecond); len(got) != 0 {
			t.Errorf("reported %v", got)
		}
		if took := time.Since(begun); took < 150*time.Millisecond {
			t.Errorf("Select(150ms) returned after %v", took)
		}
		select {
		case <-seen:
		case <-time.After(patience):
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
	n := int(min(uint64(limit.Cur), 4096)) - highFD - 64
	if n < 400 {
		t.Skipf("RLIMIT_NOFILE is %d: too low for descriptors above FD_SETSIZE", limit.Cur)
	}
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for len(want) < n {
			a, b := pair(t)
			want[a], want[b] = write, write
		}
		for fd := range want {
			if _, err := s.Register(fd, write, nil); errors.Is(err, selectors.ErrFDTooLarge) {
				delete(want, fd) // this platform's select
			} else if err != nil {
				t.Fatal(err)
			}
		}
		expect(t, s, want)
		for fd := range want {
			unregister(t, s, fd)
		}
		expectSilence(t, s)
	})
}

// TestCPythonRegisterFile: Python's epoll refuses regular files. Here they are
// always ready, as poll and select have them.
func TestCPythonRegisterFile(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		key := register(t, s, f, read)
		expect(t, s, batch{key.FD: read})
		unregister(t, s, f)
		expectSilence(t, s)
	})
}

func TestCPythonRegisterBadFD(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := pair(t)
		shut(t, rd)
		_, err := s.Register(rd, read, nil)
		expectError(t, err, unix.EBADF)
		_, err = s.Key(rd)
		expectError(t, err, selectors.ErrNotRegistered)
	})
}

func TestCPythonEmptySelectTimeout(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		begun := time.Now()
		if got := collect(t, s, 100*time.Millisecond); len(got) != 0 {
			t.Errorf("Select reported %v of nothing", got)
		}
		if took := time.Since(begun); took < 100*time.Millisecond || took > patience {
			t.Errorf("Select(100ms) took %v", took)
		}
	})
}

// TestAsyncioTimeoutRounding: timeouts are rounded up. One that is rounded
// down to zero makes a loop turn and turn until the deadline has passed.
func TestAsyncioTimeoutRounding(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, timeout := range []time.Duration{10 * time.Millisecond, 100 * time.Microsecond, time.Microsecond, 10, 1} {
			begun := time.Now()
			if got := collect(t, s, timeout); len(got) != 0 {
				t.Errorf("reported %v", got)
			}
			if took := time.Since(begun); took < timeout {
				t.Errorf("Select(%v) returned after %v", timeout, took)
			}
		}
	})
}

func TestAsyncioWakeFromThread(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		c := selecting(s, -1)
		if err := s.Wake(); err != nil {
			t.Fatal(err)
		}
		if a := await(t, c); a.err != nil || len(a.ready) != 0 {
			t.Errorf("a woken Select returned %v, %v", a.ready, a.err)
		}
	})
}

// TestAsyncioWriteToSelfTryAgain: wakes that nobody takes are no error, and
// are one.
func TestAsyncioWriteToSelfTryAgain(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 100_000 {
			if err := s.Wake(); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if got := collect(t, s, patience); len(got) != 0 || time.Since(begun) >= patience {
			t.Errorf("reported %v, after %v", got, time.Since(begun))
		}
		begun = time.Now()
		if got := collect(t, s, moment); len(got) != 0 || time.Since(begun) < moment {
			t.Errorf("reported %v, after %v, when all wakes were taken", got, time.Since(begun))
		}
	})
}

// TestAsyncioWritePipeDisconnect: who watches only whether the reader of his
// pipe is still there registers the writing end for reading.
func TestAsyncioWritePipeDisconnect(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := pipe(t)
		register(t, s, wr, read)
		expectSilence(t, s)
		shut(t, rd)
		expect(t, s, batch{wr: read})
	})
}
