//go:build unix

package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"
)

// packets is a PacketHandler with all optional interfaces. It records its calls as
// events. The functions are optional.
type packets struct {
	plainPackets
	onOpen       func(*stream.PacketConn)
	onClose      func(*stream.PacketConn, error)
	onWriteReady func(*stream.PacketConn)
	onQueue      func(*stream.PacketConn, []byte)
}

// plainPackets is a PacketHandler without optional interfaces.
type plainPackets struct {
	events     chan string
	onDatagram func(c *stream.PacketConn, p []byte, from netip.AddrPort)
	onError    func(*stream.PacketConn, error)
}

func newPackets() *packets           { return &packets{plainPackets: *newPlainPackets()} }
func newPlainPackets() *plainPackets { return &plainPackets{events: make(chan string, 100000)} }

func (h *plainPackets) record(format string, args ...any) {
	select {
	case h.events <- fmt.Sprintf(format, args...):
	default:
		panic("too many events")
	}
}

func (h *plainPackets) DatagramReceived(c *stream.PacketConn, p []byte, from netip.AddrPort) {
	h.record("datagram %.20q", p)
	if h.onDatagram != nil {
		h.onDatagram(c, p, from)
	}
}

func (h *plainPackets) ErrorReceived(c *stream.PacketConn, err error) {
	h.record("error %s", errorName(err))
	if h.onError != nil {
		h.onError(c, err)
	}
}

func (h *packets) SocketOpened(c *stream.PacketConn) {
	h.record("opened")
	if h.onOpen != nil {
		h.onOpen(c)
	}
}

func (h *packets) SocketClosed(c *stream.PacketConn, err error) {
	h.record("closed by %s", errorName(err))
	if h.onClose != nil {
		h.onClose(c, err)
	}
}

func (h *packets) WriteReady(c *stream.PacketConn) {
	h.record("write ready")
	if h.onWriteReady != nil {
		h.onWriteReady(c)
	}
}

func (h *packets) UnixDatagramReceived(c *stream.PacketConn, p []byte, from string) {
	h.record("datagram %.20q from %q", p, from)
	if h.onDatagram != nil {
		h.onDatagram(c, p, netip.AddrPort{})
	}
}

func (h *packets) ErrorQueueReceived(c *stream.PacketConn, p, control []byte) {
	h.record("message %t", len(control) > 0)
	if h.onQueue != nil {
		h.onQueue(c, control)
	}
}

// errorName returns the operation, the address and the number of an error.
func errorName(err error) string {
	var packetErr *stream.PacketError
	var panicked *stream.HandlerPanic
	var errno syscall.Errno
	switch {
	case err == nil:
		return "nil"
	case errors.As(err, &panicked):
		return "panic in " + panicked.Method
	case errors.As(err, &packetErr) && errors.As(err, &errno):
		return fmt.Sprintf("%s %v: %v", packetErr.Op, packetErr.Addr, errno)
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}

// expect checks that want are the next events.
func (h *plainPackets) expect(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		select {
		case got := <-h.events:
			if got != w {
				t.Fatalf("event %d is %s, want %s", i, got, w)
			}
		case <-time.After(testTimeout):
			t.Fatalf("no event, want %s", w)
		}
	}
}

func (h *plainPackets) expectNone(t testing.TB) {
	t.Helper()
	select {
	case got := <-h.events:
		t.Errorf("event %s, want none", got)
	case <-time.After(quietPeriod):
	}
}

// quiet checks that the loop sleeps: it has at most a few turns in a while.
func (l *testLoop) quiet() {
	l.Helper()
	before := l.Stats().Turns
	time.Sleep(2 * quietPeriod)
	if turns := l.Stats().Turns - before; turns > 8 {
		l.Errorf("%d turns in %v without an event", turns, 2*quietPeriod)
	}
}

// listenPacket makes a socket on the loop. The test's cleanup closes it.
func (l *testLoop) listenPacket(network, address string, h stream.PacketHandler, opts ...stream.Option) *stream.PacketConn {
	l.Helper()
	return l.packetConn(func() (*stream.PacketConn, error) { return stream.ListenPacket(l.Loop, network, address, h, opts...) })
}

// dialPacket makes a connected socket on the loop. The test's cleanup closes it.
func (l *testLoop) dialPacket(network, address string, h stream.PacketHandler) *stream.PacketConn {
	l.Helper()
	return l.packetConn(func() (*stream.PacketConn, error) {
		return stream.DialPacket(context.Background(), l.Loop, network, address, h)
	})
}

func (l *testLoop) packetConn(make func() (*stream.PacketConn, error)) *stream.PacketConn {
	l.Helper()
	var c *stream.PacketConn
	var err error
	l.do(func() { c, err = make() })
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { l.do(func() { c.Close() }) })
	return c
}

// eachPanicLoop is eachBackend with a loop that goes on after a panic, and counts
// them.
func eachPanicLoop(t *testing.T, test func(l *testLoop, panics *atomic.Int64)) {
	t.Helper()
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sel, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			var panics atomic.Int64
			loop, err := eventloop.New(eventloop.WithSelector(sel), eventloop.WithPanicHandler(func(eventloop.Panic) { panics.Add(1) }))
			if err != nil {
				t.Fatal(err)
			}
			runErr := make(chan error, 1)
			go func() { runErr <- loop.Run(context.Background()) }()
			t.Cleanup(func() {
				loop.Close()
				if err := <-runErr; !errors.Is(err, eventloop.ErrClosed) {
					t.Errorf("Run returned %v", err)
				}
			})
			test(&testLoop{t, loop}, &panics)
		})
	}
}

// refusedAddr returns an address of UDP that no socket has. On Linux it is not on
// 127.0.0.1, where a later socket of a test could get the port.
func refusedAddr(t testing.TB) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.77:0")
	if err != nil {
		conn, err = net.ListenPacket("udp4", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	return addrPortOf(conn.LocalAddr())
}

func addrPortOf(addr net.Addr) netip.AddrPort { return addr.(*net.UDPAddr).AddrPort() }

// udpPeer returns a socket of package net with a deadline.
func udpPeer(t testing.TB) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(testTimeout))
	return conn
}

// socketDir returns a directory with a path that is short enough for sockets.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// sendPacket writes a datagram on the loop and returns the error.
func (l *testLoop) sendPacket(c *stream.PacketConn, s string, to netip.AddrPort) (err error) {
	l.Helper()
	l.do(func() {
		var n int
		if to.IsValid() {
			n, err = c.WriteTo([]byte(s), to)
		} else {
			n, err = c.Write([]byte(s))
		}
		if err == nil && n != len(s) || err != nil && n != 0 {
			l.Errorf("a write of %d bytes returned %d, %v", len(s), n, err)
		}
	})
	return err
}
