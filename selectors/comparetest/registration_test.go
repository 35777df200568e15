//go:build unix

package comparetest_test

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

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

func TestCPythonModify(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		key := backendtest.Register(t, s, rd, read)

		// The events change: Modify returns a new key, and Key returns it.
		key2 := backendtest.Modify(t, s, rd, write)
		if key2.Events != write || *key2 == *key {
			t.Errorf("Modify returned %+v", *key2)
		}
		if got, err := s.Key(rd); got != key2 || err != nil {
			t.Errorf("Key is %v, %v, want %v", got, err, key2)
		}
		backendtest.Expect(t, s, batch{rd: write})

		// Only the data changes: the events stay, and the old keys do not
		// change.
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
// refuses. Here the key stays as it was.
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

func TestCPythonGetKey(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, _ := fdtest.UnixPair(t)
		key := backendtest.Register(t, s, rd, read)
		if got, err := s.Key(rd); got != key || err != nil {
			t.Errorf("Key is %v, %v, want %v", got, err, key)
		}
		_, err := s.Key(999999)
		backendtest.ExpectError(t, err, selectors.ErrNotRegistered)

		// Each kind of file object finds the key.
		conn, _ := fdtest.NetPair(t)
		key = backendtest.Register(t, s, conn, read)
		for _, name := range []any{conn, key.FD, uintptr(key.FD), fdtest.FdOnly(key.FD)} {
			if got, err := s.Key(name); got != key || err != nil {
				t.Errorf("Key of a %T is %v, %v, want %v", name, got, err, key)
			}
		}
		// Once its own object is closed, another object does not find it.
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
			break // an early end of the iteration is allowed
		}
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

// TestLibeventChangelist: After many registrations, changes and removals of
// one key, the selector is idle.
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

// TestMioReregisterReplacesAll: Modify replaces interest and data. It does not
// add to them.
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

// A countedSource counts the calls of Fd.
type countedSource struct {
	fd    int
	asked int
}

func (c *countedSource) Fd() uintptr { c.asked++; return uintptr(c.fd) }

// A brokenSource has a descriptor out of range.
type brokenSource struct{}

func (brokenSource) Fd() uintptr { return math.MaxInt32 + 1 }

// TestMioOwnSource: Types of the user's own with an Fd method.
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

// TestMioRegisterDeregister: Each kind of file is registered, modified and
// unregistered, and is not reported afterwards.
func TestMioRegisterDeregister(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func(t *testing.T) (fd int, makeReady func())
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
				fd, makeReady := kind.make(t)
				backendtest.Register(t, s, fd, read)
				backendtest.ExpectNothing(t, s)
				makeReady()
				backendtest.Expect(t, s, batch{fd: read})
				backendtest.Modify(t, s, fd, priority)
				backendtest.ExpectNothing(t, s)
				backendtest.Modify(t, s, fd, read)
				backendtest.Expect(t, s, batch{fd: read})
				backendtest.Unregister(t, s, fd)
				backendtest.ExpectNothing(t, s)
				makeReady()
				backendtest.ExpectNothing(t, s)
				backendtest.Register(t, s, fd, read)
				backendtest.Expect(t, s, batch{fd: read})
			})
		})
	}
}

// TestMioDeregisterBeforePoll: A key that was ready when it was unregistered
// is not reported (https://github.com/tokio-rs/mio/issues/1205). It does not
// hide a wake-up.
func TestMioDeregisterBeforePoll(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		fdtest.Write(t, w, "x")
		backendtest.Unregister(t, s, r)
		backendtest.ExpectNothing(t, s)
		s.Wake()
		backendtest.ExpectWoken(t, s)
		backendtest.ExpectNothing(t, s)
	})
}

// TestMioRegisteringAfterDeregistering: A key is unregistered and registered
// again between two Selects, as the callbacks of a loop do.
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
