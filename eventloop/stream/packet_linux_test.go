package stream_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"goselectors/eventloop/stream"

	"golang.org/x/sys/unix"
)

// TestPacketRefused checks that ErrorReceived reports a refused datagram, and
// that the socket still works afterwards. With IP_RECVERR the kernel reports such
// errors on unconnected sockets too.
func TestPacketRefused(t *testing.T) {
	closed, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	closedAddr := closed.LocalAddr().(*net.UDPAddr).AddrPort()
	eachBackend(t, func(l *testLoop) {
		a := replyHandler{make(chan error, 100)}
		var c *stream.PacketConn
		var err error
		l.do(func() {
			if c, err = stream.ListenPacket(l.Loop, "udp4", "127.0.0.1:0", a); err == nil {
				err = unix.SetsockoptInt(c.FD(), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
			}
			if err == nil {
				_, err = c.WriteTo([]byte("refused"), closedAddr)
			}
		})
		if err != nil {
			l.Fatal(err)
		}
		select {
		case err := <-a.errs:
			if !errors.Is(err, unix.ECONNREFUSED) {
				l.Error(err)
			}
		case <-time.After(testTimeout):
			l.Fatal("timeout waiting for ErrorReceived")
		}
		conn, err := net.Dial("udp4", c.LocalAddr().String())
		if err != nil {
			l.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(testTimeout))
		write(l, conn, "request")
		if n, err := conn.Read(make([]byte, 100)); n != len("re: request") || err != nil {
			l.Error(n, err)
		}
		l.do(func() {
			if c.Loop() != l.Loop {
				l.Error("Loop returns another loop")
			}
			if _, err := c.WriteTo([]byte("x"), netip.MustParseAddrPort("[::1]:1")); !errors.Is(err, unix.EAFNOSUPPORT) {
				l.Errorf("WriteTo an IPv6 address: %v", err)
			}
			c.Close()
		})
	})
}
