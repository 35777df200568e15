//go:build unix

package comparetest_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

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

// TestLibuvPollClose: Close with many registered keys.
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
			if i%50 == 0 { // opens the descriptors that are opened on first use
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
