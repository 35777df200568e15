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
	made bool
	lost bool
	err  error
}

func (n *lifeRecorder) ConnectionMade(*Conn)            { n.made = true }
func (n *lifeRecorder) ConnectionLost(_ *Conn, e error) { n.lost, n.err = true, e }

func newLoop(t *testing.T) *eventloop.Loop {
	t.Helper()
	loop, err := eventloop.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loop.Close() })
	return loop
}

// runUntil runs the loop until holds returns true.
func runUntil(t *testing.T, loop *eventloop.Loop, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); {
		if _, err := loop.RunOnce(time.Second); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) > 20*time.Second {
			t.Fatal("timeout")
		}
	}
}

func tcp(address string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)) }

// TestDialSeveral: the addresses of a name are tried in turn; one that refuses
// costs nothing, one that does not answer its share of the time; the error, if
// all fail, is the first.
func TestDialSeveral(t *testing.T) {
	loop := newLoop(t)
	good, err := Listen(loop, "tcp", "127.0.0.1:0", func() Handler { return &lifeRecorder{} })
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	refuses := gone.Addr()

	dial := func(limit time.Duration, addrs ...net.Addr) (*Conn, *lifeRecorder) {
		h := &lifeRecorder{}
		c := newConn(loop, -1, h, &defaultOptions)
		c.dial = &dialState{network: "tcp", deadline: time.Now().Add(limit)}
		loop.CallSoon(func() { c.dialAddrs(addrs, nil) })
		return c, h
	}
	c, h := dial(10*time.Second, refuses, refuses, good.Addr())
	runUntil(t, loop, func() bool { return h.made })
	c.Abort()
	runUntil(t, loop, func() bool { return h.lost })

	other := tcp("127.0.0.2:" + portOf(refuses))
	_, h = dial(10*time.Second, refuses, other)
	runUntil(t, loop, func() bool { return h.lost })
	var opErr *net.OpError
	if h.made || !errors.Is(h.err, unix.ECONNREFUSED) || !errors.As(h.err, &opErr) || opErr.Addr.String() != refuses.String() {
		t.Errorf("lost by %v, want that %v refuses", h.err, refuses)
	}

	_, h = dial(10 * time.Second)
	runUntil(t, loop, func() bool { return h.lost })
	if h.err == nil {
		t.Error("connected to nobody")
	}

	if silent := unresponsiveAddr(t); silent != nil {
		start := time.Now()
		c, h = dial(200*time.Millisecond, silent, good.Addr())
		runUntil(t, loop, func() bool { return h.made })
		if elapsed := time.Since(start); elapsed < 100*time.Millisecond {
			t.Errorf("the first address had only %v", elapsed)
		}
		c.Abort()
		runUntil(t, loop, func() bool { return h.lost })
	}
	runUntil(t, loop, func() bool { return good.Len() == 0 })
}

func portOf(addr net.Addr) string {
	_, port, _ := net.SplitHostPort(addr.String())
	return port
}

// unresponsiveAddr returns an address where connecting does not end: the queue is full.
func unresponsiveAddr(t *testing.T) net.Addr {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	addr := localAddr(fd)
	for range 10 {
		conn, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	return nil
}

// TestClosedLoop: nothing is made on it and nothing leaks; what was there is
// told at once when it is closed.
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
	runUntil(t, loop, func() bool { return h.made })
	loop.Close()
	if h.lost {
		t.Error("lost too early")
	}
	c.Close()
	if !h.lost || c.FD() != -1 {
		t.Error("not lost at once")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for name, make := range map[string]func() error{
		"listen":    func() error { _, err := Listen(loop, "tcp", "127.0.0.1:0", func() Handler { return h }); return err },
		"dial":      func() error { _, err := Dial(context.Background(), loop, "tcp", "127.0.0.1:1", h); return err },
		"dial name": func() error { _, err := Dial(context.Background(), loop, "tcp", "localhost:1", h); return err },
		"wrap":      func() error { _, err := Wrap(loop, r, h); return err },
		"packets":   func() error { _, err := ListenPacket(loop, "udp", "127.0.0.1:0", discardPackets{}); return err },
	} {
		if err := make(); !errors.Is(err, eventloop.ErrClosed) {
			t.Errorf("%s: %v, want that the loop is closed", name, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Errorf("what could not be wrapped was taken all the same: %v", err)
	}
}

type discardPackets struct{}

func (discardPackets) DatagramReceived(*PacketConn, []byte, netip.AddrPort) {}
func (discardPackets) ErrorReceived(*PacketConn, error)                     {}

func TestZones(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		t.Skip("no interfaces: ", err)
	}
	lo := all[0]
	ip := netip.MustParseAddr("fe80::1")
	for _, zone := range []string{"", lo.Name, "12345"} {
		want := netip.AddrPortFrom(ip.WithZone(zone), 80)
		if got := addrPort(sockaddr(want, true)); got != want {
			t.Errorf("%v becomes %v", want, got)
		}
	}
	four := netip.MustParseAddrPort("192.0.2.1:80")
	for _, v6 := range []bool{false, true} {
		if got := addrPort(sockaddr(four, v6)); got != four {
			t.Errorf("%v becomes %v", four, got)
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
	lost := g.members[1]
	called := lost.call(func() { lost.loop.Selector().Close() })
	select {
	case <-lost.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the loop goes on without a selector")
	}
	if called != nil && !errors.Is(called, eventloop.ErrClosed) {
		t.Error(called)
	}
	lost.loop.Close()
	if _, err := g.Listen("tcp", "127.0.0.1:0", func() Handler { return &lifeRecorder{} }); !errors.Is(err, eventloop.ErrClosed) {
		t.Errorf("listen: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Shutdown(ctx); !errors.Is(err, selectors.ErrClosed) {
		t.Errorf("shut down: %v, want the error of the loop", err)
	}
}
