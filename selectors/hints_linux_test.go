package selectors

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// A hintCase is a descriptor with an interest that never comes true, and with a
// hint that comes and goes.
type hintCase struct {
	fd    int
	hint  Event
	begin func() error // makes the hint come
	end   func() error // makes it go away
}

var hintCases = []struct {
	name string
	make func(t *testing.T) hintCase
}{
	{"error queue of a UDP socket", errorQueueCase},
	{"ICMP unreachable", unreachableCase},
	{"connect refused", refusedCase},
	{"slave of a pty", ptyCase},
	{"readers of a FIFO", func(t *testing.T) hintCase { return fifoCase(t, unix.O_WRONLY, unix.O_RDONLY, EventError) }},
	{"writers of a FIFO", func(t *testing.T) hintCase { return fifoCase(t, unix.O_RDONLY, unix.O_WRONLY, EventHangup) }},
}

// errorQueueCase: each datagram that is sent leaves a time stamp in the error
// queue (SO_TIMESTAMPING).
func errorQueueCase(t *testing.T) hintCase {
	a, _ := fdtest.UDPPair(t)
	const flags = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	if err := unix.SetsockoptInt(a, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags); err != nil {
		t.Skip("needs time stamps: ", err)
	}
	return hintCase{a, EventError,
		func() error {
			_, err := unix.Write(a, []byte("x"))
			return err
		},
		func() error {
			_, _, _, _, err := unix.Recvmsg(a, make([]byte, 64), make([]byte, 512), unix.MSG_ERRQUEUE)
			return err
		},
	}
}

// unreachableCase: a datagram to a closed port is answered by an ICMP message,
// which becomes the pending error.
func unreachableCase(t *testing.T) hintCase {
	a, b := fdtest.UDPPair(t)
	fdtest.Close(t, b)
	return hintCase{a, EventError,
		func() error {
			_, err := unix.Write(a, []byte("x"))
			return err
		},
		func() error { return takeError(a, unix.ECONNREFUSED) },
	}
}

// refusedCase: a socket may connect again after a connect failed.
func refusedCase(t *testing.T) hintCase {
	l, address := fdtest.Listen(t)
	fdtest.Close(t, l)
	fd := fdtest.TCPSocket(t)
	return hintCase{fd, EventError,
		func() error {
			err := unix.Connect(fd, address)
			if err == unix.ECONNABORTED { // the end of the last connect (net/ipv4/af_inet.c, __inet_stream_connect)
				err = unix.Connect(fd, address)
			}
			if err != unix.EINPROGRESS {
				return fmt.Errorf("connect to a closed port: %w", err)
			}
			return nil
		},
		func() error { return takeError(fd, unix.ECONNREFUSED) },
	}
}

// takeError takes the pending error of a socket.
func takeError(fd int, want unix.Errno) error {
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && got != int(want) {
		err = fmt.Errorf("SO_ERROR is %v, want %v", unix.Errno(got), want)
	}
	return err
}

// ptyCase: the master has hung up as long as no slave is open.
func ptyCase(t *testing.T) hintCase {
	master, slave := fdtest.Pty(t)
	n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return hintCase{master, EventHangup,
		func() error { return unix.Close(slave) },
		func() error {
			again, err := unix.Open("/dev/pts/"+strconv.Itoa(int(n)), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err == nil && again != slave {
				err = fdtest.Dup2(again, slave)
				unix.Close(again)
			}
			return err
		},
	}
}

// fifoCase watches one end of a FIFO and opens and closes the other.
func fifoCase(t *testing.T, watched, other int, hint Event) hintCase {
	name := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r := fdtest.Open(t, name, unix.O_RDONLY|unix.O_NONBLOCK)
	w := fdtest.Open(t, name, unix.O_WRONLY|unix.O_NONBLOCK)
	fd, peer := r, w
	if watched == unix.O_WRONLY {
		fd, peer = w, r
	}
	return hintCase{fd, hint,
		func() error { return unix.Close(peer) },
		func() error {
			again, err := unix.Open(name, other|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err == nil && again != peer {
				err = fdtest.Dup2(again, peer)
				unix.Close(again)
			}
			return err
		},
	}
}

// eachHintSelector runs a test on each backend that reports hints, with each
// strategy.
func eachHintSelector(t *testing.T, test func(t *testing.T, s Selector)) {
	for name, open := range constructors() {
		t.Run(name, func(t *testing.T) {
			s, err := open()
			must(t, err)
			defer s.Close()
			if s.Features()&FeatureHangup == 0 {
				t.Skip("this backend does not report hints")
			}
			test(t, s)
		})
	}
}

// eachHint runs a test for each kind of hint.
func eachHint(t *testing.T, test func(t *testing.T, s Selector, h hintCase)) {
	eachHintSelector(t, func(t *testing.T, s Selector) {
		for _, c := range hintCases {
			t.Run(c.name, func(t *testing.T) {
				h := c.make(t)
				mustRegister(t, s, h.fd, EventPriority)
				reported(t, s, 3) // a socket that is not connected has hung up
				test(t, s, h)
				_, err := s.Unregister(h.fd)
				must(t, err)
			})
		}
	})
}

// expectHint waits until the hint is reported. A connect that fails reports
// further ones on the way.
func expectHint(t *testing.T, s Selector, h hintCase, what string, n int) {
	t.Helper()
	for range 4 {
		ready, err := s.Select(fdtest.Timeout)
		if err != nil || len(ready) != 1 {
			t.Fatalf("%s, number %d: Select returned %v, %v, want %v", what, n, ready, err, h.hint)
		}
		if ready[0].Events&h.hint != 0 {
			return
		}
	}
	t.Fatalf("%s, number %d: Select does not report %v", what, n, h.hint)
}

// expectNoHint checks that n Selects do not report the hint. After an error has
// been taken, a socket whose connect failed may still report that it has hung up.
func expectNoHint(t *testing.T, s Selector, h hintCase, n int) {
	t.Helper()
	got := reported(t, s, n)
	if h.hint == EventError && got[h.fd] == EventHangup {
		delete(got, h.fd)
	}
	if len(got) != 0 {
		t.Errorf("reported %v after %v has gone", got, h.hint)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestHintComesBack: a hint that has gone away is reported again when it comes
// back, also if a Select waits meanwhile.
func TestHintComesBack(t *testing.T) {
	eachHint(t, func(t *testing.T, s Selector, h hintCase) {
		for n := range 10 {
			must(t, h.begin())
			expectHint(t, s, h, "before Select", n)
			must(t, h.end())
			expectNoHint(t, s, h, 1+n%3)
		}
		for n := range 5 {
			began := make(chan error, 1)
			time.AfterFunc(time.Millisecond, func() { began <- h.begin() })
			expectHint(t, s, h, "during Select", n)
			must(t, <-began)
			must(t, h.end())
			expectNoHint(t, s, h, 1)
		}
	})
}

// TestErrorComesBackUnseen: an error that was taken away, and that has come back
// before the next Select, is reported again.
func TestErrorComesBackUnseen(t *testing.T) {
	eachHint(t, func(t *testing.T, s Selector, h hintCase) {
		if h.hint != EventError {
			t.Skip("a hang-up that went and came back between two Selects cannot be told from one that lasts")
		}
		for n := range 4 {
			must(t, h.begin())
			expectHint(t, s, h, "after another", n)
			must(t, h.end())
		}
	})
}

// TestLastingHint: of hints that last, a hang-up is reported once, and an error ends
// a bounded number of Selects. When the hints have gone and come back, all are
// reported again. Poll sees only at intervals that they have gone.
func TestLastingHint(t *testing.T) {
	eachHintSelector(t, func(t *testing.T, s Selector) {
		want := map[int]Event{}
		var hints []hintCase
		for _, c := range hintCases {
			h := c.make(t)
			mustRegister(t, s, h.fd, EventPriority)
			hints = append(hints, h)
			want[h.fd] = h.hint
		}
		reported(t, s, 3)
		for range 2 {
			for _, h := range hints {
				must(t, h.begin())
			}
			got, counts, returns := map[int]Event{}, map[int]int{}, 0
			const length = 300 * time.Millisecond
			for start := time.Now(); time.Since(start) < length; returns++ {
				ready, err := s.Select(max(length-time.Since(start), 0))
				must(t, err)
				for _, r := range ready {
					if hint := r.Events & want[r.Key.FD]; hint != 0 {
						got[r.Key.FD] |= hint
						counts[r.Key.FD]++
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("hints by descriptor (-want +got):\n%s", diff)
			}
			most := 2 + int(length/recheckInterval)
			for _, h := range hints {
				if n := counts[h.fd]; n > most || n > 1 && h.hint == EventHangup {
					t.Errorf("%v was reported %d times in %v", h.hint, n, length)
				}
			}
			// Not all hints begin at once, and each may end two Selects.
			if returns > most+2*len(hints) {
				t.Errorf("%d Selects returned in %v", returns, length)
			}
			for _, h := range hints {
				must(t, h.end())
			}
			for start := time.Now(); time.Since(start) < 2*recheckInterval+20*time.Millisecond; {
				reported(t, s, 1)
				time.Sleep(recheckInterval / 4)
			}
		}
	})
}
