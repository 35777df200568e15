package comparetest_test

import (
	"maps"
	"testing"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestAsyncioPtyHangup: The hangup of a terminal is reported as readable. The
// read returns EIO.
func TestAsyncioPtyHangup(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		master, slave := fdtest.Pty(t)
		backendtest.Register(t, s, master, read)
		backendtest.Register(t, s, slave, read)
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, slave, "output")
		fdtest.AwaitReadable(t, master)
		backendtest.Expect(t, s, batch{master: read})
		if got := fdtest.Read(t, master, 16); got != "output" {
			t.Errorf("read %q", got)
		}
		fdtest.Write(t, master, "input\n")
		fdtest.AwaitReadable(t, slave)
		fdtest.AwaitReadable(t, master)
		backendtest.Expect(t, s, batch{slave: read, master: read}) // with the echo
		fdtest.Drain(t, master)
		fdtest.Drain(t, slave)
		backendtest.ExpectNothing(t, s)

		backendtest.Unregister(t, s, slave)
		fdtest.Close(t, slave)
		fdtest.AwaitReadable(t, master)
		backendtest.ExpectWithHints(t, s, batch{master: read | backendtest.SupportedHints(s, selectors.EventHangup)})
		if _, err := unix.Read(master, make([]byte, 1)); err != unix.EIO {
			t.Errorf("read at the end: %v", err)
		}
	})
}

// TestPeersDataAfterHangup: nbio closes a connection after a hangup and at
// most three reads, so that more unread data is lost. Readiness only means
// that a read does not block. The end of the data is what the read returns.
func TestPeersDataAfterHangup(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, kind := range []struct {
			name string
			make func(testing.TB) (int, int)
		}{{"unix", fdtest.UnixPair}, {"tcp", fdtest.TCPPair}, {"pipe", fdtest.Pipe}} {
			r, w := kind.make(t)
			sent := fdtest.Fill(t, w)
			fdtest.Close(t, w)
			backendtest.Register(t, s, r, read)
			received, batches := 0, 0
			for buf := make([]byte, 4096); ; batches++ {
				if got := backendtest.Select(t, s, fdtest.Timeout).Interests(t, s); !maps.Equal(got, batch{r: read}) {
					t.Fatalf("%s: reported %v after %d of %d bytes", kind.name, got, received, sent)
				}
				n, err := selectors.TryRead(r, buf)
				received += n
				if err != nil {
					break
				}
			}
			if received != sent || batches < 4 {
				t.Errorf("%s: received %d of %d bytes in %d batches", kind.name, received, sent, batches)
			}
			backendtest.Unregister(t, s, r)
		}
	})
}
