package comparetest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestRegressAfterClose: After close, Python's select and poll selectors keep
// working without an error, its epoll selector raises, and close does not wake
// a waiter. Here every method returns ErrClosed, and so does a Select that
// waits during Close.
func TestRegressAfterClose(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		fd, peer := fdtest.UnixPair(t)
		backendtest.Register(t, s, fd, read)
		c := backendtest.StartSelect(s, -1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		a := backendtest.Await(t, c)
		backendtest.ExpectError(t, a.Err, selectors.ErrClosed, os.ErrClosed)
		if len(a.Ready) != 0 {
			t.Errorf("the Select that Close woke reported %v", a.Ready)
		}

		_, err := s.Register(peer, read, nil)
		backendtest.ExpectError(t, err, selectors.ErrClosed, os.ErrClosed)
		_, err = s.Modify(fd, write, nil)
		backendtest.ExpectError(t, err, selectors.ErrClosed, os.ErrClosed)
		_, err = s.Unregister(fd)
		backendtest.ExpectError(t, err, selectors.ErrClosed, os.ErrClosed)
		_, err = s.Key(fd)
		backendtest.ExpectError(t, err, selectors.ErrClosed, os.ErrClosed)
		for _, timeout := range []time.Duration{0, 1, time.Hour, -1} {
			_, err = s.Select(timeout)
			backendtest.ExpectError(t, err, selectors.ErrClosed, os.ErrClosed)
		}
		given := []selectors.Ready{{Events: read}}
		got, err := s.SelectInto(given, -1)
		backendtest.ExpectError(t, err, selectors.ErrClosed)
		if len(got) != 1 || got[0] != given[0] {
			t.Errorf("the batch given is now %v", got)
		}
		backendtest.ExpectError(t, s.Wake(), selectors.ErrClosed, os.ErrClosed)
		for range s.Keys() {
			t.Error("there are keys after Close")
		}
		if s.Len() != 0 {
			t.Errorf("Len is %d after Close", s.Len())
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
		fdtest.Write(t, peer, "x") // the files stay open
		if got := fdtest.Read(t, fd, 1); got != "x" {
			t.Errorf("read %q", got)
		}
	})
}

// TestPeerHearsOfClose: a connection is closed while another goroutine is in
// Select. If it was not unregistered, the peer hears of the end at once on epoll; on
// poll and select when the wait ends, because the kernel's wait holds a reference to
// the file (fs/select.c). After Unregister, or after CloseWrite, the peer hears of it
// while the Select goes on.
func TestPeerHearsOfClose(t *testing.T) {
	for _, test := range []struct {
		name  string
		end   func(s selectors.Selector, conn *net.TCPConn) error
		waits bool // on poll and select, and the custom backend, which is on poll
	}{
		{"closed", func(_ selectors.Selector, conn *net.TCPConn) error { return conn.Close() }, true},
		{"unregistered and closed", func(s selectors.Selector, conn *net.TCPConn) error {
			if _, err := s.Unregister(conn); err != nil {
				return err
			}
			return conn.Close()
		}, false},
		{"shut down and closed", func(_ selectors.Selector, conn *net.TCPConn) error {
			if err := conn.CloseWrite(); err != nil {
				return err
			}
			return conn.Close()
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
				s := backendtest.New(t, b)
				conn, peer := fdtest.NetPair(t)
				backendtest.Register(t, s, conn, read)
				c := backendtest.StartSelect(s, fdtest.Timeout)
				if err := test.end(s, conn); err != nil {
					t.Fatal(err)
				}
				if test.waits && slices.Contains([]string{"poll", "select", "custom"}, b.Name) {
					peer.SetReadDeadline(time.Now().Add(fdtest.QuietTime))
					if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the peer reads %v while the Select goes on: the documentation says otherwise", err)
					}
					if err := s.Wake(); err != nil {
						t.Fatal(err)
					}
					backendtest.Await(t, c)
				}
				peer.SetReadDeadline(time.Now().Add(fdtest.Timeout / 2))
				if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("the peer reads %v, want the end", err)
				}
			})
		})
	}
}
