package stream_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"goselectors/eventloop/stream"

	"golang.org/x/sys/unix"
)

// setOptions sets options of a socket to 1, each a level and a name.
func setOptions(t testing.TB, c *stream.PacketConn, options ...[2]int) {
	t.Helper()
	for _, o := range options {
		if err := unix.SetsockoptInt(c.FD(), o[0], o[1], 1); err != nil {
			t.Fatal(err)
		}
	}
}

var recvErr = [2]int{unix.IPPROTO_IP, unix.IP_RECVERR}

// TestPacketErrorQueue: a refused datagram is told once, with its destination, and
// the loop sleeps afterwards. The socket still works.
func TestPacketErrorQueue(t *testing.T) {
	for _, test := range []struct {
		name, network, address string
		options                [][2]int
		map4                   bool // send to IPv4-mapped addresses
	}{
		{"IPv4", "udp4", "127.0.0.1:0", [][2]int{recvErr}, false},
		{"IPv6 socket", "udp", "[::]:0", [][2]int{recvErr, {unix.IPPROTO_IPV6, unix.IPV6_RECVERR}}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachBackend(t, func(l *testLoop) {
				h := newPackets()
				c := l.listenPacket(test.network, test.address, h)
				h.expect(l, "opened")
				l.do(func() { setOptions(l, c, test.options...) })
				refused := refusedAddr(l)
				for range 3 {
					if err := l.sendPacket(c, "refused", refused); err != nil {
						l.Fatal(err)
					}
					h.expect(l, fmt.Sprintf("error write %v: connection refused", refused))
				}
				l.quiet()
				h.expectNone(l)
				peer := udpPeer(l)
				if err := l.sendPacket(c, "works", addrPortOf(peer.LocalAddr())); err != nil {
					l.Error(err)
				}
				if n, err := peer.Read(make([]byte, 10)); n != 5 || err != nil {
					l.Error(n, err)
				}
			})
		})
	}
}

// TestPacketErrorsOfMany: refused datagrams to many destinations, sent in one turn.
// None fails another one's write, and each is told once.
func TestPacketErrorsOfMany(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		h := newPackets()
		c := l.listenPacket("udp4", "127.0.0.1:0", h)
		h.expect(l, "opened")
		peer := udpPeer(l)
		const n = 100
		want := make(map[string]int)
		l.do(func() {
			setOptions(l, c, recvErr)
			for i := range n {
				refused := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), refusedAddr(l).Port())
				want[fmt.Sprintf("error write %v: connection refused", refused)]++
				for _, to := range []netip.AddrPort{refused, addrPortOf(peer.LocalAddr())} {
					if _, err := c.WriteTo([]byte("x"), to); err != nil {
						l.Errorf("write to %v: %v", to, err)
					}
				}
			}
		})
		for range n {
			select {
			case event := <-h.events:
				if want[event]--; want[event] < 0 {
					l.Errorf("event %s too often", event)
				}
			case <-time.After(testTimeout):
				l.Fatal("an error is missing")
			}
		}
		h.expectNone(l)
		l.quiet()
		for range n {
			if n, err := peer.Read(make([]byte, 10)); n != 1 || err != nil {
				l.Fatal(n, err)
			}
		}
	})
}

// TestPacketErrorWithoutOption: an unconnected socket without the option learns
// nothing of refused datagrams (ip(7)), and the loop sleeps.
func TestPacketErrorWithoutOption(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		h := newPackets()
		c := l.listenPacket("udp4", "127.0.0.1:0", h)
		h.expect(l, "opened")
		if err := l.sendPacket(c, "refused", refusedAddr(l)); err != nil {
			l.Error(err)
		}
		l.quiet()
		h.expectNone(l)
	})
}

// TestPacketErrorQueueMessages: time stamps and completions on the error queue are
// passed on, or dropped, and the loop sleeps. They are not errors.
func TestPacketErrorQueueMessages(t *testing.T) {
	stamps := func(t testing.TB, c *stream.PacketConn) {
		t.Helper()
		const flags = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
		if err := unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("with handler", func(t *testing.T) {
		eachBackend(t, func(l *testLoop) {
			h := newPackets()
			c := l.listenPacket("udp4", "127.0.0.1:0", h)
			h.expect(l, "opened")
			peer := udpPeer(l)
			l.do(func() { stamps(l, c) })
			for range 3 {
				if err := l.sendPacket(c, "x", addrPortOf(peer.LocalAddr())); err != nil {
					l.Fatal(err)
				}
				h.expect(l, "message true")
			}
			l.quiet()
			h.expectNone(l)
			refused := refusedAddr(l)
			l.do(func() { setOptions(l, c, recvErr) })
			if err := l.sendPacket(c, "x", refused); err != nil {
				l.Fatal(err)
			}
			got := map[string]bool{<-h.events: true, <-h.events: true}
			if !got["message true"] || !got[fmt.Sprintf("error write %v: connection refused", refused)] {
				l.Errorf("events %v", got)
			}
			l.quiet()
		})
	})
	t.Run("without handler", func(t *testing.T) {
		eachBackend(t, func(l *testLoop) {
			h := newPlainPackets()
			c := l.listenPacket("udp4", "127.0.0.1:0", h)
			peer := udpPeer(l)
			l.do(func() { stamps(l, c) })
			if err := l.sendPacket(c, "x", addrPortOf(peer.LocalAddr())); err != nil {
				l.Fatal(err)
			}
			l.quiet()
			h.expectNone(l)
		})
	})
	t.Run("zerocopy", func(t *testing.T) {
		eachBackend(t, func(l *testLoop) {
			h := newPackets()
			c := l.listenPacket("udp4", "127.0.0.1:0", h)
			h.expect(l, "opened")
			peer := addrPortOf(udpPeer(l).LocalAddr())
			var err error
			l.do(func() {
				if err = unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err == nil {
					err = unix.Sendto(c.FD(), make([]byte, 1000), unix.MSG_ZEROCOPY, &unix.SockaddrInet4{Port: int(peer.Port()), Addr: peer.Addr().As4()})
				}
			})
			if err != nil {
				l.Skip("no MSG_ZEROCOPY for UDP, which Linux 5.0 has: ", err)
			}
			h.expect(l, "message true")
			l.quiet()
		})
	})
}

// TestPacketReadShutDown: a socket that is shut down for reading stays readable for
// ever. The loop sleeps, and writing works.
func TestPacketReadShutDown(t *testing.T) {
	for _, how := range []int{unix.SHUT_RD, unix.SHUT_RDWR} {
		eachBackend(t, func(l *testLoop) {
			h := newPackets()
			peer := udpPeer(l)
			c := l.dialPacket("udp4", peer.LocalAddr().String(), h)
			h.expect(l, "opened")
			l.do(func() {
				if err := unix.Shutdown(c.FD(), how); err != nil {
					l.Error(err)
				}
			})
			l.quiet()
			h.expectNone(l)
			err := l.sendPacket(c, "x", netip.AddrPort{})
			if how == unix.SHUT_RD && err != nil || how == unix.SHUT_RDWR && !errors.Is(err, unix.EPIPE) {
				l.Errorf("write after shutdown %d: %v", how, err)
			}
			l.do(func() { c.Close() })
			h.expect(l, "closed by nil")
		})
	}
}

// TestPacketPendingError: without the option, the kernel keeps the error of a
// refused datagram for the next call. It is told by ErrorReceived also if that call
// is a write, which sends all the same.
func TestPacketPendingError(t *testing.T) {
	for _, options := range [][][2]int{nil, {recvErr}} {
		eachBackend(t, func(l *testLoop) {
			h := newPackets()
			refused := refusedAddr(l)
			c := l.dialPacket("udp4", refused.String(), h)
			h.expect(l, "opened")
			l.do(func() {
				setOptions(l, c, options...)
				for range 3 {
					if _, err := c.Write([]byte("refused")); err != nil {
						l.Error(err)
					}
				}
			})
			count := 0
			for quiet := false; !quiet; {
				select {
				case event := <-h.events:
					count++
					if event != fmt.Sprintf("error write %v: connection refused", refused) && event != fmt.Sprintf("error read %v: connection refused", refused) {
						l.Errorf("event %s", event)
					}
				case <-time.After(quietPeriod):
					quiet = true
				}
			}
			// The error queue has all; without it the kernel keeps one at a time.
			if count < 1 || count > 3 || options != nil && count != 3 {
				l.Errorf("%d errors", count)
			}
			l.quiet()
		})
	}
}
