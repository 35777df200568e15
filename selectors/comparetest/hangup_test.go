//go:build unix

package comparetest_test

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestAsyncioWritePipeDisconnect: A program that only wants to know whether a
// pipe still has a reader registers the write end for EventRead.
func TestAsyncioWritePipeDisconnect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.Pipe(t)
		backendtest.Register(t, s, wr, read)
		backendtest.ExpectNothing(t, s)
		fdtest.Close(t, rd)
		backendtest.Expect(t, s, batch{wr: read})
	})
}

// TestLibeventSimpleClose: EventReadClosed reports that the peer has closed
// its side, with unread data or without, and is not reported for any other
// reason.
func TestLibeventSimpleClose(t *testing.T) {
	for _, how := range []string{"close", "shutdown"} {
		for _, mode := range []selectors.Event{0, oneShot, edge, edge | oneShot} {
			t.Run(how+" "+mode.String(), func(t *testing.T) {
				backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
					a, b := fdtest.UnixPair(t)
					if s.Features()&selectors.FeatureReadClosed == 0 {
						_, err := s.Register(a, readClosed, nil)
						backendtest.ExpectError(t, err, errors.ErrUnsupported)
						return
					}
					if mode&edge != 0 && s.Features()&selectors.FeatureEdgeTriggered == 0 {
						t.Skip("this backend has no EdgeTriggered")
					}
					fdtest.Write(t, b, "unread")
					backendtest.Register(t, s, a, readClosed|mode)
					backendtest.ExpectNothing(t, s)
					if how == "close" {
						fdtest.Close(t, b)
					} else {
						fdtest.Shutdown(t, b, unix.SHUT_WR)
					}
					backendtest.Expect(t, s, batch{a: readClosed})
					if mode == 0 {
						backendtest.Expect(t, s, batch{a: readClosed})
					} else {
						backendtest.ExpectNothing(t, s)
					}
					backendtest.Modify(t, s, a, read|write|readClosed) // simpleclose_rw
					backendtest.Expect(t, s, batch{a: read | write | readClosed})
					if got := fdtest.Read(t, a, 16); got != "unread" {
						t.Errorf("read %q", got)
					}
				})
			})
		}
	}
}

// TestMioClosedEvents: The events of files with closed directions, for the
// interest Read|Write, and the hints of those backends that support them.
func TestMioClosedEvents(t *testing.T) {
	const (
		hangup = selectors.EventHangup
		fault  = selectors.EventError
	)
	for _, test := range []struct {
		name  string
		make  func(testing.TB) (watched, peer int)
		act   func(t *testing.T, watched, peer int)
		want  selectors.Event // without hints
		hints selectors.Event // on Linux
	}{
		{"tcp, shutdown_read", fdtest.TCPPair, func(t *testing.T, a, b int) { fdtest.Shutdown(t, a, unix.SHUT_RD) }, read | write, readClosed},
		{"tcp, shutdown_write", fdtest.TCPPair, func(t *testing.T, a, b int) { fdtest.Shutdown(t, a, unix.SHUT_WR) }, write, 0},
		{"tcp, shutdown_both", fdtest.TCPPair, func(t *testing.T, a, b int) { fdtest.Shutdown(t, a, unix.SHUT_RDWR) }, read | write, readClosed | hangup},
		{"tcp_shutdown_server_write_close_event", fdtest.TCPPair, func(t *testing.T, a, b int) { fdtest.Shutdown(t, b, unix.SHUT_WR); fdtest.AwaitReadable(t, a) }, read | write, readClosed},
		{"tcp, peer closes", fdtest.TCPPair, func(t *testing.T, a, b int) { fdtest.Close(t, b); fdtest.AwaitReadable(t, a) }, read | write, readClosed},
		{"tcp_reset_close_event, hup_event_on_disconnect", fdtest.TCPPair, func(t *testing.T, a, b int) { fdtest.Reset(t, b); fdtest.AwaitReadable(t, a) }, read | write, readClosed | hangup | fault},
		{"unix stream, shutdown_read", fdtest.UnixPair, func(t *testing.T, a, b int) { fdtest.Shutdown(t, a, unix.SHUT_RD) }, read | write, readClosed},
		{"unix stream, shutdown_write", fdtest.UnixPair, func(t *testing.T, a, b int) { fdtest.Shutdown(t, a, unix.SHUT_WR) }, write, 0},
		{"unix stream, peer shuts down writing", fdtest.UnixPair, func(t *testing.T, a, b int) { fdtest.Shutdown(t, b, unix.SHUT_WR) }, read | write, readClosed},
		{"unix stream, peer closes", fdtest.UnixPair, func(t *testing.T, a, b int) { fdtest.Close(t, b) }, read | write, readClosed | hangup},
		{"event_when_sender_is_dropped", fdtest.Pipe, func(t *testing.T, r, w int) { fdtest.Close(t, w) }, read, hangup},
		{"event_when_receiver_is_dropped", func(t testing.TB) (int, int) { r, w := fdtest.Pipe(t); return w, r }, func(t *testing.T, w, r int) { fdtest.Close(t, r) }, read | write, fault},
	} {
		t.Run(test.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				a, b := test.make(t)
				backendtest.Register(t, s, a, read|write)
				test.act(t, a, b)
				if runtime.GOOS == "linux" {
					backendtest.ExpectWithHints(t, s, batch{a: test.want | backendtest.SupportedHints(s, test.hints)})
				}
				backendtest.Expect(t, s, batch{a: test.want})
				for _, interest := range []selectors.Event{read, write} {
					backendtest.Modify(t, s, a, interest)
					got := backendtest.Select(t, s, 0).Interests(t, s)
					if got[a] != test.want&interest {
						t.Errorf("for the interest %v, %v is reported", interest, got)
					}
				}
				backendtest.Unregister(t, s, a)
				backendtest.ExpectNothing(t, s)
			})
		})
	}

	t.Run("priority_event_on_oob_data", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			backendtest.Need(t, s, selectors.FeaturePriority)
			a, b := fdtest.TCPPair(t)
			backendtest.Register(t, s, a, read|priority)
			backendtest.ExpectNothing(t, s)
			fdtest.SendUrgent(t, b)
			backendtest.Expect(t, s, batch{a: priority})
			buf := make([]byte, 1)
			if n, _, err := unix.Recvfrom(a, buf, unix.MSG_OOB); n != 1 || err != nil || buf[0] != '!' {
				t.Errorf("urgent byte: %d %q, %v", n, buf, err)
			}
			backendtest.ExpectNothing(t, s)
		})
	})
}
