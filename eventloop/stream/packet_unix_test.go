//go:build unix

package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// TestPacketUnix: datagrams between Unix sockets, with and without the optional
// interface that tells the sender.
func TestPacketUnix(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		dir := socketDir(l)
		ha, hb, hd := newPackets(), newPackets(), newPlainPackets()
		a := l.listenPacket("unixgram", dir+"/a", ha)
		b := l.listenPacket("unixgram", dir+"/b", hb)
		d := l.dialPacket("unixgram", dir+"/a", hd)
		ha.expect(l, "opened")
		hb.expect(l, "opened")
		l.do(func() {
			for _, message := range []string{"one", "", "two"} {
				if _, err := b.WriteToUnix([]byte(message), dir+"/a"); err != nil {
					l.Error(err)
				}
				if _, err := d.Write([]byte(message)); err != nil {
					l.Error(err)
				}
			}
			if a.LocalAddr().String() != dir+"/a" || d.RemoteAddr().String() != dir+"/a" || a.RemoteAddr() != nil {
				l.Errorf("addresses %v, %v, %v", a.LocalAddr(), d.RemoteAddr(), a.RemoteAddr())
			}
			_, err := b.WriteTo([]byte("x"), netip.MustParseAddrPort("127.0.0.1:9"))
			checkErrorIs(l, err, unix.EAFNOSUPPORT)
			_, err = b.WriteToUnix([]byte("x"), dir+"/missing")
			checkErrorIs(l, err, unix.ENOENT)
			if err == nil || !strings.HasPrefix(err.Error(), "stream: write "+dir+"/missing: ") {
				l.Error(err)
			}
			_, err = b.Write([]byte("x"))
			checkErrorIs(l, err, unix.EDESTADDRREQ)
			_, err = d.WriteToUnix([]byte("x"), dir+"/b")
			checkErrorIs(l, err, net.ErrWriteToConnected)
		})
		from := fmt.Sprintf(" from %q", dir+"/b")
		ha.expect(l, `datagram "one"`+from, `datagram "one" from ""`, `datagram ""`+from, `datagram "" from ""`, `datagram "two"`+from, `datagram "two" from ""`)
		ha.expectNone(l)

		plain := newPlainPackets()
		plain.onDatagram = func(_ *stream.PacketConn, _ []byte, from netip.AddrPort) {
			if from.IsValid() {
				l.Errorf("sender %v", from)
			}
		}
		l.do(func() { // the plain handler gets them as DatagramReceived
			b.Close()
			c, err := stream.ListenPacket(l.Loop, "unixgram", dir+"/b", plain)
			if err != nil {
				l.Error(err)
				return
			}
			a.WriteToUnix([]byte("plain"), dir+"/b")
			b = c
		})
		plain.expect(l, `datagram "plain"`)
		l.do(func() { // the receiver is gone
			b.Close()
			a.Close()
			_, err := d.Write([]byte("x"))
			checkErrorIs(l, err, unix.ECONNREFUSED)
		})
		l.quiet()
	})
}

// TestPacketUnixFile: the file of a socket is removed at its end, unless it is
// another file by then.
func TestPacketUnixFile(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		path := socketDir(l) + "/s"
		missing := func() bool {
			_, err := os.Lstat(path)
			return errors.Is(err, os.ErrNotExist)
		}
		first := l.listenPacket("unixgram", path, newPackets())
		l.do(func() { first.Close() })
		if !missing() {
			l.Error("the file is still there after Close")
		}
		first = l.listenPacket("unixgram", path, newPackets())
		if err := os.Remove(path); err != nil {
			l.Fatal(err)
		}
		second := l.listenPacket("unixgram", path, newPackets())
		l.do(func() { first.Close() })
		if missing() {
			l.Error("the file of another socket was removed")
		}
		_, err := stream.ListenPacket(l.Loop, "unixgram", path, newPackets())
		checkErrorIs(l, err, unix.EADDRINUSE)
		if missing() {
			l.Error("an error of ListenPacket has removed the file")
		}
		l.do(func() { second.Close() })
		if !missing() {
			l.Error("the file of the second socket is still there")
		}
	})
}

// TestPacketUnixRelative: the file of a relative path is removed, also if the working
// directory has changed.
func TestPacketUnixRelative(t *testing.T) {
	dir := socketDir(t)
	t.Chdir(dir)
	eachBackend(t, func(l *testLoop) {
		l.Chdir(dir)
		c := l.listenPacket("unixgram", "s", newPackets())
		l.Chdir("/")
		l.do(func() { c.Close() })
		if _, err := os.Lstat(dir + "/s"); !errors.Is(err, os.ErrNotExist) {
			l.Errorf("the file after Close: %v", err)
		}
	})
}

// TestPacketTooLarge: a datagram larger than the buffer is not delivered in part.
func TestPacketTooLarge(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		dir := socketDir(l)
		h := newPackets()
		l.listenPacket("unixgram", dir+"/a", h)
		d := l.dialPacket("unixgram", dir+"/a", newPackets())
		h.expect(l, "opened")
		for _, size := range []int{64<<10 + 1, 64 << 10, 3} {
			var err error
			l.do(func() { _, err = d.Write(make([]byte, size)) })
			if errors.Is(err, unix.EMSGSIZE) && size > 64<<10 {
				l.Skip("the system does not send such large datagrams: ", err)
			} else if err != nil {
				l.Fatal(err)
			}
		}
		zeros := `"\x00\x00\x00`
		h.expect(l, "error read invalid AddrPort: message too long")
		if got := <-h.events; !strings.HasPrefix(got, "datagram "+zeros) {
			l.Error(got)
		}
		h.expect(l, "datagram "+zeros+`" from ""`)
	})
}

// TestPacketWriteReady: after ErrWouldBlock, WriteReady is called once when there is
// room, and the loop sleeps until then.
func TestPacketWriteReady(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		path := socketDir(l) + "/s"
		reader, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
		if err != nil {
			l.Fatal(err)
		}
		defer reader.Close()
		reader.SetDeadline(time.Now().Add(testTimeout))
		fill := func(c *stream.PacketConn) (n int) {
			for {
				_, err := c.Write([]byte("x"))
				if err == selectors.ErrWouldBlock {
					return n
				}
				if err != nil {
					l.Error(err)
					return n
				}
				n++
			}
		}
		drain := func(n int) {
			for range n {
				if _, err := reader.Read(make([]byte, 10)); err != nil {
					l.Fatal(err)
				}
			}
		}
		h := newPackets()
		c := l.dialPacket("unixgram", path, h)
		h.expect(l, "opened")
		for range 3 {
			n := 0
			l.do(func() { n = fill(c) })
			l.quiet()
			h.expectNone(l)
			drain(n)
			h.expect(l, "write ready")
			l.quiet()
			h.expectNone(l)
		}
		// A handler that fills the socket in WriteReady is called again.
		written := 0
		l.do(func() {
			h.onWriteReady = func(c *stream.PacketConn) { written = fill(c) }
			drain(fill(c))
		})
		h.expect(l, "write ready")
		l.do(func() {
			h.onWriteReady = nil
			drain(written)
		})
		h.expect(l, "write ready")
		h.expectNone(l)

		// Without the interface nothing changes.
		plain := l.dialPacket("unixgram", path, newPlainPackets())
		n := 0
		l.do(func() { n = fill(plain) })
		l.quiet()
		drain(n)
		l.quiet()

		// Close while waiting.
		l.do(func() { n = fill(c); c.Close() })
		h.expect(l, "closed by nil")
		drain(n)
		h.expectNone(l)
	})
}

// TestPacketWriteReadyUnconnected: the kernel does not tell an unconnected Unix
// socket when the receiver has room, so WriteReady comes after a delay, and the loop
// does not spin.
func TestPacketWriteReadyUnconnected(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		path := socketDir(l) + "/s"
		reader, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
		if err != nil {
			l.Fatal(err)
		}
		defer reader.Close()
		h := newPackets()
		c := l.listenPacket("unixgram", path+"2", h)
		h.expect(l, "opened")
		calls, full := 0, 0
		try := func(c *stream.PacketConn) {
			for {
				if _, err := c.WriteToUnix([]byte("x"), path); err == selectors.ErrWouldBlock {
					full++
					return
				} else if err != nil {
					l.Error(err)
					return
				}
			}
		}
		h.onWriteReady = func(c *stream.PacketConn) { calls++; try(c) }
		l.do(func() { try(c) })
		before := l.Stats().Turns
		time.Sleep(2 * quietPeriod)
		turns := l.Stats().Turns - before
		l.do(func() {
			if calls == 0 || full != calls+1 || turns > uint64(4*2*quietPeriod/(10*time.Millisecond)) {
				l.Errorf("%d calls, %d full buffers, %d turns", calls, full, turns)
			}
			c.Close()
			calls = 0
		})
		time.Sleep(quietPeriod)
		l.do(func() {
			if calls != 0 {
				l.Error("WriteReady after Close")
			}
		})
	})
}

// TestDialPacket: a connected socket sends to its peer and receives from it alone.
func TestDialPacket(t *testing.T) {
	for _, network := range []string{"udp", "udp4", "localhost"} {
		t.Run(network, func(t *testing.T) {
			eachBackend(t, func(l *testLoop) {
				peer := udpPeer(l)
				address := peer.LocalAddr().String()
				h := newPackets()
				isName := network == "localhost"
				var c *stream.PacketConn
				if isName {
					address = fmt.Sprint("localhost:", addrPortOf(peer.LocalAddr()).Port())
					c = l.dialPacket("udp4", address, h)
				} else {
					c = l.dialPacket(network, address, h)
				}
				h.expect(l, "opened")
				l.do(func() {
					if c.RemoteAddr().String() != peer.LocalAddr().String() || c.Closed() || c.Loop() != l.Loop {
						l.Errorf("RemoteAddr %v, want %v", c.RemoteAddr(), peer.LocalAddr())
					}
				})
				if err := l.sendPacket(c, "ping", netip.AddrPort{}); err != nil {
					l.Fatal(err)
				}
				buf := make([]byte, 10)
				n, from, err := peer.ReadFromUDPAddrPort(buf)
				if string(buf[:n]) != "ping" || err != nil || from != addrPortOf(c.LocalAddr()) {
					l.Fatal(n, from, err)
				}
				write(l, udpClient(l, c), "from a stranger")
				if _, err := peer.WriteToUDPAddrPort([]byte("pong"), from); err != nil {
					l.Fatal(err)
				}
				h.expect(l, `datagram "pong"`)
				h.expectNone(l)
				l.do(func() { c.Close() })
				h.expect(l, "closed by nil")
				if err := l.sendPacket(c, "x", netip.AddrPort{}); !errors.Is(err, net.ErrClosed) || c.RemoteAddr() == nil {
					l.Error(err)
				}
			})
		})
	}
}

// TestDialPacketResolving: a socket whose name is being resolved. A write waits,
// Close ends the attempt, and failures are told.
func TestDialPacketResolving(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		peer := udpPeer(l)
		address := fmt.Sprint("localhost:", addrPortOf(peer.LocalAddr()).Port())
		h := newPackets()
		before := descriptors(l)
		l.do(func() {
			c, err := stream.DialPacket(context.Background(), l.Loop, "udp4", address, h)
			if err != nil {
				l.Error(err)
				return
			}
			if _, err := c.Write([]byte("x")); err != selectors.ErrWouldBlock || c.FD() != -1 || c.LocalAddr() != nil || c.RemoteAddr() != nil || c.Closed() {
				l.Errorf("while resolving: %v", err)
			}
			if _, err := c.WriteTo([]byte("x"), addrPortOf(peer.LocalAddr())); !errors.Is(err, net.ErrWriteToConnected) {
				l.Error(err)
			}
			h.onWriteReady = func(c *stream.PacketConn) {
				if _, err := c.Write([]byte("later")); err != nil {
					l.Error(err)
				}
				c.Close()
			}
		})
		h.expect(l, "opened", "write ready", "closed by nil")
		if n, err := peer.Read(make([]byte, 10)); n != 5 || err != nil {
			l.Error(n, err)
		}

		h = newPackets()
		l.do(func() {
			c, err := stream.DialPacket(context.Background(), l.Loop, "udp4", address, h)
			if err != nil {
				l.Error(err)
				return
			}
			c.Close()
		})
		h.expect(l, "closed by nil")

		h = newPackets()
		ctx, cancel := context.WithCancel(context.Background())
		l.do(func() {
			if _, err := stream.DialPacket(ctx, l.Loop, "udp4", address, h); err != nil {
				l.Error(err)
			}
			cancel()
		})
		for _, want := range []string{"error ", "closed by "} {
			if got := <-h.events; !strings.HasPrefix(got, want+"stream: dial udp4 "+address+": ") || !strings.Contains(got, "cancel") {
				l.Errorf("event %s", got)
			}
		}
		l.do(func() {
			if _, err := stream.DialPacket(ctx, l.Loop, "udp4", "127.0.0.1:9", h); !errors.Is(err, context.Canceled) {
				l.Errorf("with an ended context: %v", err)
			}
		})

		h = newPackets()
		l.do(func() {
			if _, err := stream.DialPacket(context.Background(), l.Loop, "udp4", "127.0.0.1:no-such-service", h); err != nil {
				l.Error(err)
			}
		})
		for _, want := range []string{"error ", "closed by "} {
			if got := <-h.events; !strings.HasPrefix(got, want+"stream: dial udp4 127.0.0.1:no-such-service: ") {
				l.Errorf("event %s", got)
			}
		}
		h.expectNone(l)
		waitAtMost(l, "descriptors", before, func() int { return descriptors(l) })
	})
}
