//go:build unix

package stream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A lifeRecorder is a handler that records the start and end of its connection.
type lifeRecorder struct {
	BaseHandler
	connected bool
	ended     bool
	err       error
}

func (r *lifeRecorder) ConnectionMade(*Conn)              { r.connected = true }
func (r *lifeRecorder) ConnectionLost(_ *Conn, err error) { r.ended, r.err = true, err }

func newLoop(t *testing.T) *eventloop.Loop {
	t.Helper()
	loop, err := eventloop.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loop.Close() })
	return loop
}

// runUntil runs the loop until condition returns true.
func runUntil(t *testing.T, loop *eventloop.Loop, condition func() bool) {
	t.Helper()
	for start := time.Now(); !condition(); {
		if _, err := loop.RunOnce(time.Second); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) > 20*time.Second {
			t.Fatal("timeout")
		}
	}
}

// TestDialAddressForms checks addresses that need no resolver.
func TestDialAddressForms(t *testing.T) {
	for _, test := range []struct {
		network, address string
		want             string // empty: none
		isName           bool
	}{
		{network: "tcp", address: "127.0.0.1:80", want: "127.0.0.1:80"},
		{network: "tcp", address: "[::1%7]:80", want: "[::1%7]:80"},
		{network: "tcp", address: "[::ffff:127.0.0.1]:80", want: "127.0.0.1:80"},
		{network: "tcp", address: ":80", want: "127.0.0.1:80"},
		{network: "tcp4", address: ":80", want: "127.0.0.1:80"},
		{network: "tcp6", address: ":80", want: "[::1]:80"},
		{network: "tcp", address: "0.0.0.0:80", want: "127.0.0.1:80"},
		{network: "tcp", address: "[::]:80", want: "[::1]:80"},
		{network: "tcp4", address: "[::1]:80"},
		{network: "tcp4", address: "[::]:80"},
		{network: "tcp6", address: "127.0.0.1:80"},
		{network: "tcp6", address: "[::ffff:127.0.0.1]:80"},
		{network: "tcp", address: "localhost:80", isName: true},
		{network: "tcp", address: "127.0.0.1:http", isName: true},
		{network: "tcp", address: "127.0.0.1:65536", isName: true},
		{network: "tcp", address: "127.1:80", isName: true},
		{network: "unix", address: "/run/s:80", want: "/run/s:80"},
	} {
		addrs, isName, err := parseAddress(test.network, test.address)
		got := ""
		if len(addrs) > 0 {
			got = addrs[0].String()
		}
		if got != test.want || len(addrs) > 1 || isName != test.isName || err != nil {
			t.Errorf("%s %s: %v, %v, %v", test.network, test.address, addrs, isName, err)
		}
	}
}

// TestClosedLoop checks that connections and listeners of a closed loop can still
// be closed, that ConnectionLost is then called at once, and that new ones are
// refused with eventloop.ErrClosed and leak no descriptors.
func TestClosedLoop(t *testing.T) {
	loop := newLoop(t)
	l, err := Listen(loop, "tcp", "127.0.0.1:0", func() Handler { return &lifeRecorder{} })
	if err != nil {
		t.Fatal(err)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[1])
	h := &lifeRecorder{}
	c, err := Wrap(loop, ends[0], h)
	if err != nil {
		t.Fatal(err)
	}
	runUntil(t, loop, func() bool { return h.connected })
	loop.Close()
	if h.ended {
		t.Error("ConnectionLost before Close")
	}
	c.Close()
	if !h.ended || c.FD() != -1 {
		t.Error("no ConnectionLost in Close")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for name, create := range map[string]func() error{
		"listen":    func() error { _, err := Listen(loop, "tcp", "127.0.0.1:0", func() Handler { return h }); return err },
		"dial":      func() error { _, err := Dial(context.Background(), loop, "tcp", "127.0.0.1:1", h); return err },
		"dial name": func() error { _, err := Dial(context.Background(), loop, "tcp", "localhost:1", h); return err },
		"wrap":      func() error { _, err := Wrap(loop, r, h); return err },
		"packets":   func() error { _, err := ListenPacket(loop, "udp", "127.0.0.1:0", discardPackets{}); return err },
	} {
		if err := create(); !errors.Is(err, eventloop.ErrClosed) {
			t.Errorf("%s: %v, want %v", name, err, eventloop.ErrClosed)
		}
	}
	if err := r.Close(); err != nil {
		t.Errorf("Wrap failed and closed the file: %v", err)
	}
}

type discardPackets struct{}

func (discardPackets) DatagramReceived(*PacketConn, []byte, netip.AddrPort) {}
func (discardPackets) ErrorReceived(*PacketConn, error)                     {}

func TestZones(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) == 0 {
		t.Skip("no interfaces: ", err)
	}
	lo := interfaces[0]
	ip := netip.MustParseAddr("fe80::1")
	for _, zone := range []string{"", lo.Name, "12345"} {
		want := netip.AddrPortFrom(ip.WithZone(zone), 80)
		if got := addrPort(sockaddr(want, true)); got != want {
			t.Errorf("%v becomes %v", want, got)
		}
	}
	ipv4 := netip.MustParseAddrPort("192.0.2.1:80")
	for _, v6 := range []bool{false, true} {
		if got := addrPort(sockaddr(ipv4, v6)); got != ipv4 {
			t.Errorf("%v becomes %v", ipv4, got)
		}
	}
}

// TestGroupLoopFails checks that Shutdown returns the error of a failed loop and
// ends the others.
func TestGroupLoopFails(t *testing.T) {
	g, err := NewGroup(2, nil)
	if err != nil {
		t.Fatal(err)
	}
	failing := g.members[1]
	callErr := failing.call(func() { failing.loop.Selector().Close() })
	select {
	case <-failing.done:
	case <-time.After(20 * time.Second):
		t.Fatal("timeout waiting for the loop to fail")
	}
	if callErr != nil && !errors.Is(callErr, eventloop.ErrClosed) {
		t.Error(callErr)
	}
	failing.loop.Close()
	if _, err := g.Listen("tcp", "127.0.0.1:0", func() Handler { return &lifeRecorder{} }); !errors.Is(err, eventloop.ErrClosed) {
		t.Errorf("listen: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Shutdown(ctx); !errors.Is(err, selectors.ErrClosed) {
		t.Errorf("shut down: %v, want the error of the loop", err)
	}
}
