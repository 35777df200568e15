package comparetest_test

import (
	"errors"
	"math"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestRegressModifyBadEvents: Python's epoll and poll selectors accept any
// events, and its select selector loses the registration. Here invalid events
// are an error that changes nothing.
func TestRegressModifyBadEvents(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		fd, peer := fdtest.UnixPair(t)
		key, err := s.Register(fd, read, "data")
		if err != nil {
			t.Fatal(err)
		}
		bad := map[selectors.Event]error{
			0:                                 selectors.ErrInvalidEvents,
			999999:                            selectors.ErrInvalidEvents,
			1 << 31:                           selectors.ErrInvalidEvents,
			oneShot:                           selectors.ErrInvalidEvents,
			edge:                              selectors.ErrInvalidEvents,
			selectors.EventHangup:             selectors.ErrInvalidEvents,
			read | selectors.EventError:       selectors.ErrInvalidEvents,
			read | selectors.EventInvalid:     selectors.ErrInvalidEvents,
			read | priority | exclusive:       selectors.ErrInvalidEvents,
			read | exclusive | oneShot:        selectors.ErrInvalidEvents,
			read | readClosed | exclusive:     selectors.ErrInvalidEvents,
			read | write | 1<<8:               selectors.ErrInvalidEvents,
			read | selectors.EventHangup | 64: selectors.ErrInvalidEvents,
		}
		for _, f := range []struct {
			feature selectors.Feature
			events  selectors.Event
		}{
			{selectors.FeatureEdgeTriggered, read | edge},
			{selectors.FeatureExclusive, read | exclusive},
			{selectors.FeaturePriority, priority},
			{selectors.FeatureReadClosed, readClosed},
		} {
			if s.Features()&f.feature == 0 {
				bad[f.events] = errors.ErrUnsupported
			}
		}
		for events, want := range bad {
			_, err := s.Modify(fd, events, nil)
			backendtest.ExpectError(t, err, want)
			other, _ := fdtest.UnixPair(t)
			_, err = s.Register(other, events, nil)
			backendtest.ExpectError(t, err, want)
			fdtest.Close(t, other)
		}
		if got, err := s.Key(fd); got != key || err != nil || s.Len() != 1 {
			t.Errorf("Key is %v, %v, want %v; Len is %d", got, err, key, s.Len())
		}
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, peer, "x")
		backendtest.Expect(t, s, batch{fd: read})
	})
}

// TestRegressModifyData: Python's modify erases the data if it is given none,
// and compares data with !=, which fails for some values. Modify sets what it
// is given and compares nothing.
func TestRegressModifyData(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		fd, _ := fdtest.UnixPair(t)
		type incomparable []func()
		first, second := incomparable{nil}, incomparable{nil, nil}
		if _, err := s.Register(fd, write, first); err != nil {
			t.Fatal(err)
		}
		for _, events := range []selectors.Event{write, read | write} {
			for _, data := range []any{second, first, map[string]int{}, math.NaN(), nil} {
				key, err := s.Modify(fd, events, data)
				if err != nil {
					t.Fatal(err)
				}
				got, err := s.Key(fd)
				if err != nil || got != key || (key.Data == nil) != (data == nil) {
					t.Errorf("Key is %v, %v, want %v with data %v", got, err, key, data)
				}
				backendtest.Expect(t, s, batch{fd: write})
			}
		}
	})
}

// TestRegressClosedObject: Python's unregister raises ValueError for a closed
// object that was never registered. Here the error is ErrNotRegistered.
func TestRegressClosedObject(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	conn, _ := fdtest.NetPair(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface{ Close() error }{r, w, conn, l} {
		c.Close()
	}
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, object := range []any{r, w, conn, l} {
			_, err := s.Unregister(object)
			backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
			_, err = s.Key(object)
			backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
			_, err = s.Modify(object, read, nil)
			backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
			_, err = s.Register(object, read, nil)
			backendtest.ExpectError(t, err, os.ErrClosed, unix.EBADF)
		}
	})
}

// TestPeersInterestIsReplaced: On gnet's kqueue, Delete did nothing, ModRead
// left a key that waited for writing without any interest, and the constant
// for both was EVFILT_READ|EVFILT_WRITE, which is -1 (pkg/netpoll). After each
// change from one interest to another, exactly the new one is in effect.
func TestPeersInterestIsReplaced(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.UnixPair(t)
		fdtest.Write(t, b, "x") // so a is ready for both
		interests := []selectors.Event{read, write, read | write}
		for _, from := range interests {
			for _, to := range interests {
				backendtest.Register(t, s, a, from)
				backendtest.Expect(t, s, batch{a: from})
				backendtest.Modify(t, s, a, to)
				backendtest.Expect(t, s, batch{a: to})
				backendtest.Unregister(t, s, a)
				backendtest.ExpectNothing(t, s)
			}
		}
	})
}

// TestPeersRegisterKeepsNonBlocking: gnet's documentation recommended to get a
// connection's descriptor by File and Fd, which puts the connection itself
// into blocking mode, so that its deadlines never fire again
// (mailru/easygo#11, mosn/mosn#210, m-lab/ndt-server#371).
func TestPeersRegisterKeepsNonBlocking(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		conn, _ := fdtest.NetPair(t)
		file, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close(); w.Close() })
		for _, object := range []interface {
			SetReadDeadline(time.Time) error
			Read([]byte) (int, error)
		}{conn, file} {
			key := backendtest.Register(t, s, object, read)
			backendtest.ExpectNothing(t, s)
			backendtest.Modify(t, s, object, read|oneShot)
			if _, err := selectors.TryRead(object, make([]byte, 1)); err != selectors.ErrWouldBlock {
				t.Errorf("TryRead of %T: %v", object, err)
			}
			backendtest.Unregister(t, s, object)

			flags, err := unix.FcntlInt(uintptr(key.FD), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Errorf("%T is in blocking mode: flags %#x, %v", object, flags, err)
			}
			failed := make(chan error, 1)
			object.SetReadDeadline(time.Now().Add(fdtest.QuietTime))
			go func() {
				_, err := object.Read(make([]byte, 1))
				failed <- err
			}()
			select {
			case err := <-failed:
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Read of %T: %v", object, err)
				}
			case <-time.After(fdtest.Timeout):
				t.Fatalf("the deadline of a %T does not fire", object)
			}
		}
	})
}

// TestPeersNoPanics: evio panics when the kernel refuses a descriptor
// (tidwall/evio#51), and with a nil error when it cannot open its eventfd.
// Here a refusal is an error, and the selector keeps working.
// (TestConstructorsWithoutDescriptors covers constructors.)
func TestPeersNoPanics(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		good, peer := fdtest.UnixPair(t)
		backendtest.Register(t, s, good, read)

		gone, _ := fdtest.UnixPair(t)
		other, _ := fdtest.UnixPair(t)
		backendtest.Register(t, s, gone, read)
		fdtest.Close(t, gone)
		_, err := s.Modify(gone, write, nil)
		backendtest.ExpectError(t, err, unix.EBADF)
		_, err = s.Register(gone, write, nil)
		backendtest.ExpectError(t, err, unix.EBADF)
		fdtest.Replace(t, gone, other) // epoll_ctl(MOD) is ENOENT now
		backendtest.Modify(t, s, gone, write)
		backendtest.Expect(t, s, batch{gone: write})
		fdtest.Close(t, gone)
		backendtest.Unregister(t, s, gone) // EPOLL_CTL_DEL is EBADF

		fdtest.Write(t, peer, "x")
		backendtest.Expect(t, s, batch{good: read})
	})
}

// TestPeersNoDuplicatedDescriptors: gaio duplicates every descriptor because
// the standard library owns the original (xtaci/gaio#11 asks for it back).
// Here a key holds the descriptor itself, and Register opens none.
func TestPeersNoDuplicatedDescriptors(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		conn, peer := fdtest.NetPair(t)
		s.Select(0) // whatever the first Select opens
		before := fdtest.OpenFiles(t)
		key := backendtest.Register(t, s, conn, read)
		if want := fdtest.Number(t, conn); key.FD != want {
			t.Errorf("the key is of fd %d, the connection's is %d", key.FD, want)
		}
		if after := fdtest.OpenFiles(t); !slices.Equal(before, after) {
			t.Errorf("registering changed the open descriptors from %v to %v", before, after)
		}
		s.Close()
		// The connection still works, with its deadlines.
		conn.SetDeadline(time.Now().Add(fdtest.Timeout))
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("Read: %d, %v", n, err)
		}
	})
}
