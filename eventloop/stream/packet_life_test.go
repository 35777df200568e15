//go:build unix

package stream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// TestPacketPanic: a panic or a Goexit in any method ends the socket and nothing
// else. The descriptor is given back and SocketClosed gets the cause.
func TestPacketPanic(t *testing.T) {
	boom := errors.New("boom")
	refuse := func(l *testLoop, c *stream.PacketConn) {
		l.sendPacket(c, "x", netip.AddrPort{})
	}
	receive := func(l *testLoop, c *stream.PacketConn) {
		write(l, udpClient(l, c), "x")
	}
	for _, test := range []struct {
		method  string
		set     func(h *packets)
		provoke func(l *testLoop, c *stream.PacketConn)
		dial    bool
	}{
		{"SocketOpened", func(h *packets) { h.onOpen = func(*stream.PacketConn) { panic(boom) } }, nil, false},
		{"DatagramReceived", func(h *packets) {
			h.onDatagram = func(*stream.PacketConn, []byte, netip.AddrPort) { panic(boom) }
		}, receive, false},
		{"ErrorReceived", func(h *packets) { h.onError = func(*stream.PacketConn, error) { panic(boom) } }, refuse, true},
	} {
		t.Run(test.method, func(t *testing.T) {
			eachPanicLoop(t, func(l *testLoop, panics *atomic.Int64) {
				h := newPackets()
				test.set(h)
				var cause error
				h.onClose = func(_ *stream.PacketConn, err error) { cause = err }
				before := descriptors(l)
				var c *stream.PacketConn
				if test.dial {
					c = l.dialPacket("udp4", refusedAddr(l).String(), h)
				} else {
					c = l.listenPacket("udp4", "127.0.0.1:0", h)
				}
				if test.provoke != nil {
					h.expect(l, "opened")
					test.provoke(l, c)
				}
				for event := range h.events {
					if strings.HasPrefix(event, "closed by ") {
						if event != "closed by panic in "+test.method {
							l.Error(event)
						}
						break
					}
				}
				l.do(func() {
					if !c.Closed() || c.FD() != -1 || l.Selector().Len() != 0 {
						l.Error("the socket has not ended")
					}
					if !errors.Is(cause, boom) {
						l.Errorf("cause %v", cause)
					}
				})
				if panics.Load() != 1 {
					l.Errorf("the loop has seen %d panics", panics.Load())
				}
				h.expectNone(l)
				waitAtMost(l, "descriptors", before+2, func() int { return descriptors(l) }) // a client of the test
			})
		})
	}
}

// TestPacketPanicLast: a panic in the last calls loses nothing.
func TestPacketPanicLast(t *testing.T) {
	eachPanicLoop(t, func(l *testLoop, panics *atomic.Int64) {
		h := newPackets()
		h.onClose = func(*stream.PacketConn, error) { panic("boom") }
		h.onError = func(*stream.PacketConn, error) { panic("boom") }
		c := l.listenPacket("udp4", "127.0.0.1:0", h)
		h.expect(l, "opened")
		var fd int
		l.do(func() {
			fd = c.FD()
			unix.Close(fd)
			c.WriteTo([]byte("x"), refusedAddr(l))
		})
		h.expect(l, "error bad file descriptor", "closed by bad file descriptor")
		l.do(func() {})
		if panics.Load() == 0 {
			l.Error("the loop has seen no panic")
		}
	})
}

// TestPacketGoexit: a method that ends the loop's goroutine ends its socket, too.
func TestPacketGoexit(t *testing.T) {
	loop, err := eventloop.New()
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	h := newPackets()
	h.onOpen = func(*stream.PacketConn) { runtime.Goexit() }
	c, err := stream.ListenPacket(loop, "udp4", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop.RunOnce(0)
	}()
	<-done
	if !c.Closed() || c.FD() != -1 {
		t.Error("the socket has not ended")
	}
}

// TestPacketCloseInside: a handler closes the socket inside every method, and gets
// no further call except SocketClosed.
func TestPacketCloseInside(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		h := newPackets()
		h.onDatagram = func(c *stream.PacketConn, _ []byte, _ netip.AddrPort) { c.Close() }
		c := l.listenPacket("udp4", "127.0.0.1:0", h)
		h.expect(l, "opened")
		client := udpClient(l, c)
		l.do(func() { // both wait when the loop looks
			write(l, client, "one")
			write(l, client, "two")
		})
		h.expect(l, `datagram "one"`, "closed by nil")
		h.expectNone(l)

		// The number of the closed socket is that of another one at once.
		h, next := newPackets(), newPackets()
		h.onDatagram = func(c *stream.PacketConn, _ []byte, _ netip.AddrPort) {
			c.Close()
			c, err := stream.ListenPacket(l.Loop, "udp4", "127.0.0.1:0", next)
			if err != nil {
				l.Error(err)
				return
			}
			c.WriteTo([]byte("to the next"), addrPortOf(c.LocalAddr()))
			next.onDatagram = func(c *stream.PacketConn, _ []byte, _ netip.AddrPort) { c.Close() }
		}
		c = l.listenPacket("udp4", "127.0.0.1:0", h)
		h.expect(l, "opened")
		write(l, udpClient(l, c), "one")
		next.expect(l, "opened", `datagram "to the next"`, "closed by nil")
		h.expect(l, `datagram "one"`, "closed by nil")
		h.expectNone(l)

		h = newPackets()
		h.onOpen = func(c *stream.PacketConn) { c.Close() }
		l.listenPacket("udp4", "127.0.0.1:0", h)
		h.expect(l, "opened", "closed by nil")

		h = newPackets()
		h.onError = func(c *stream.PacketConn, _ error) { c.Close() }
		refused := refusedAddr(l)
		c = l.dialPacket("udp4", refused.String(), h)
		h.expect(l, "opened")
		l.sendPacket(c, "x", netip.AddrPort{})
		h.expect(l, "error read "+refused.String()+": connection refused", "closed by nil")

		h = newPackets()
		l.do(func() {
			c, err := stream.ListenPacket(l.Loop, "udp4", "127.0.0.1:0", h)
			if err != nil {
				l.Error(err)
				return
			}
			c.Close() // before SocketOpened
		})
		h.expect(l, "closed by nil")
		h.expectNone(l)
	})
}

// TestPacketClosedByOtherCode: other code closes the descriptor. Backends that see
// it end the socket at once; a write ends it in any case. A number that belongs to
// another file by then is left alone.
func TestPacketClosedByOtherCode(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		for _, useNumber := range []bool{false, true} {
			h := newPackets()
			c := l.listenPacket("udp4", "127.0.0.1:0", h)
			h.expect(l, "opened")
			var fd int
			var r, w *os.File
			l.do(func() {
				fd = c.FD()
				unix.Close(fd)
				if !useNumber {
					return
				}
				var err error
				if r, w, err = os.Pipe(); err != nil {
					l.Error(err)
					return
				}
				if int(r.Fd()) != fd && int(w.Fd()) != fd {
					if err := dup2(int(r.Fd()), fd); err != nil {
						l.Error(err)
					}
				}
			})
			l.do(func() {
				if _, err := c.WriteTo([]byte("x"), netip.MustParseAddrPort("127.0.0.1:9")); err == nil {
					l.Error("no error of a write")
				}
			})
			want := "bad file descriptor"
			if useNumber {
				want = "socket operation on non-socket"
			}
			got := <-h.events
			if got != "error "+want && got != "error bad file descriptor" {
				l.Errorf("event %s", got)
			}
			if got2 := <-h.events; got2 != "closed by "+strings.TrimPrefix(got, "error ") {
				l.Errorf("event %s after %s", got2, got)
			}
			l.do(func() {
				c.Close()
				if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); (err == nil) != useNumber {
					l.Errorf("the number: %v", err)
				}
				if useNumber {
					unix.Close(fd)
				}
				if n := l.Selector().Len(); n != 0 {
					l.Errorf("%d files are registered", n)
				}
			})
			if r != nil {
				r.Close()
				w.Close()
			}
			l.quiet()
		}
	})
}

// TestPacketNumberReregistered: the number of a socket that other code has closed is
// that of another registered file. Close leaves its registration alone.
func TestPacketNumberReregistered(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		h := newPlainPackets()
		c := l.listenPacket("udp4", "127.0.0.1:0", h)
		other := newPackets()
		d := l.listenPacket("udp4", "127.0.0.1:0", other)
		other.expect(l, "opened")
		l.do(func() {
			fd := c.FD()
			// The number now names the second socket, as after close and accept.
			if err := dup2(d.FD(), fd); err != nil {
				l.Error(err)
				return
			}
			defer unix.Close(fd)
			ready := func(any, selectors.Event) {}
			if _, err := l.Replace(fd, selectors.EventRead, ready); err != nil {
				l.Error(err)
				return
			}
			defer l.Unregister(fd)
			c.Close()
			if _, err := l.Selector().Key(fd); err != nil {
				l.Errorf("the key of the other file: %v", err)
			}
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
				l.Errorf("the number is not open: %v", err)
			}
		})
		write(l, udpClient(l, d), "x")
		other.expect(l, `datagram "x"`)
	})
}

// TestPacketLimits: at most 64 datagrams a turn, so that one socket does not delay
// the rest of the loop; empty datagrams count.
func TestPacketLimits(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		h := newPackets()
		c := l.listenPacket("udp4", "127.0.0.1:0", h)
		h.expect(l, "opened")
		client := udpClient(l, c)
		perTurn := make(map[uint64]int)
		h.onDatagram = func(*stream.PacketConn, []byte, netip.AddrPort) { perTurn[l.Stats().Turns]++ }
		l.do(func() {
			for range 150 {
				if _, err := client.Write(nil); err != nil {
					l.Error(err)
				}
			}
		})
		for range 150 {
			h.expect(l, `datagram ""`)
		}
		l.do(func() {
			for turn, n := range perTurn {
				if n > 64 {
					l.Errorf("%d datagrams in turn %d", n, turn)
				}
			}
		})
	})
}

// TestPacketBadInput: bad arguments are errors, with the package, the operation and
// the address, and leak nothing. A zero PacketConn is one that has ended.
func TestPacketBadInput(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		before := descriptors(l)
		l.do(func() {
			h := newPackets()
			for _, test := range []struct {
				network, address string
				loop             *eventloop.Loop
				h                stream.PacketHandler
				opts             []stream.Option
				want             error
				text             string
			}{
				{"udp", "127.0.0.1:0", l.Loop, nil, nil, stream.ErrNilHandler, "nil handler"},
				{"udp", "127.0.0.1:0", nil, h, nil, stream.ErrNilLoop, "nil loop"},
				{"tcp", "127.0.0.1:0", l.Loop, h, nil, net.UnknownNetworkError("tcp"), "unixgram"},
				{"unixgram", "/tmp/x", l.Loop, h, []stream.Option{nil, stream.WithReusePort()}, errors.ErrUnsupported, "reuse port"},
				{"udp", "127.0.0.1", l.Loop, h, nil, nil, "missing port"},
				{"udp", "127.0.0.1:123456", l.Loop, h, nil, nil, "invalid port"},
				{"udp4", "[::1]:0", l.Loop, h, nil, nil, "no suitable address"},
			} {
				c, err := stream.ListenPacket(test.loop, test.network, test.address, test.h, test.opts...)
				checkPacketError(l, c, err, "stream: listen "+test.network+" "+test.address+": ", test.text, test.want)
				if test.address == "127.0.0.1:123456" {
					continue // a name for DialPacket
				}
				c, err = stream.DialPacket(context.Background(), test.loop, test.network, test.address, test.h, test.opts...)
				checkPacketError(l, c, err, "stream: dial "+test.network+" "+test.address+": ", test.text, test.want)
			}
			if os.Getuid() != 0 {
				c, err := stream.ListenPacket(l.Loop, "udp", "127.0.0.1:80", h)
				checkPacketError(l, c, err, "stream: listen udp 127.0.0.1:80: ", "bind", unix.EACCES)
			}
			c, err := stream.ListenPacket(l.Loop, "udp", "203.0.113.1:0", h)
			checkPacketError(l, c, err, "stream: listen udp 203.0.113.1:0: ", "bind", unix.EADDRNOTAVAIL)
		})
		waitAtMost(l, "descriptors", before, func() int { return descriptors(l) })
	})
	var zero stream.PacketConn
	if zero.FD() != -1 || zero.LocalAddr() != nil || zero.RemoteAddr() != nil || zero.Loop() != nil || !zero.Closed() || zero.Close() != nil {
		t.Error("a zero PacketConn is not closed")
	}
	for _, write := range []func() (int, error){
		func() (int, error) { return zero.Write(nil) },
		func() (int, error) { return zero.WriteTo(nil, netip.AddrPort{}) },
		func() (int, error) { return zero.WriteToUnix(nil, "x") },
	} {
		if n, err := write(); n != 0 || !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "stream: write") {
			t.Errorf("a write to a zero PacketConn: %d, %v", n, err)
		}
	}
}

func checkPacketError(t testing.TB, c *stream.PacketConn, err error, prefix, text string, want error) {
	t.Helper()
	if c != nil || err == nil || !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), text) || want != nil && !errors.Is(err, want) {
		t.Errorf("%v, %v; want an error %q with %q that is %v", c, err, prefix, text, want)
	}
}

// TestPacketWriteErrors: each error has the operation and the address, and the
// system's number.
func TestPacketWriteErrors(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		v4 := l.listenPacket("udp4", "127.0.0.1:0", newPackets())
		peer := udpPeer(l)
		connected := l.dialPacket("udp4", peer.LocalAddr().String(), newPackets())
		l.do(func() {
			check := func(n int, err error, subject string, want error) {
				l.Helper()
				if n != 0 || !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "stream: write "+subject) {
					l.Errorf("%d, %v; want %v about %s", n, err, want, subject)
				}
			}
			n, err := v4.WriteTo([]byte("x"), netip.MustParseAddrPort("[::1]:1"))
			check(n, err, "[::1]:1", unix.EAFNOSUPPORT)
			n, err = v4.WriteTo(make([]byte, 70000), netip.MustParseAddrPort("127.0.0.1:9"))
			check(n, err, "127.0.0.1:9", unix.EMSGSIZE)
			n, err = v4.WriteTo([]byte("x"), netip.AddrPort{})
			check(n, err, "fd", unix.EAFNOSUPPORT) // prefix of the subject
			n, err = v4.Write([]byte("x"))
			check(n, err, "fd", unix.EDESTADDRREQ)
			n, err = v4.WriteToUnix([]byte("x"), "/tmp/x")
			check(n, err, "/tmp/x", unix.EAFNOSUPPORT)
			n, err = connected.WriteTo([]byte("x"), addrPortOf(peer.LocalAddr()))
			check(n, err, peer.LocalAddr().String(), net.ErrWriteToConnected)
		})
		v6, err := net.ListenPacket("udp6", "[::1]:0")
		if err != nil {
			return // no IPv6
		}
		v6.Close()
		c := l.listenPacket("udp6", "[::1]:0", newPackets())
		l.do(func() {
			_, err := c.WriteTo([]byte("x"), netip.MustParseAddrPort("[fe80::1%nosuch0]:9"))
			if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "nosuch0") {
				l.Errorf("write to an unknown zone: %v", err)
			}
		})
	})
}

// TestPacketBroadcast: sending to a broadcast address is allowed, as in package net.
func TestPacketBroadcast(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		c := l.listenPacket("udp4", "127.0.0.1:0", newPackets())
		if err := l.sendPacket(c, "x", netip.MustParseAddrPort("127.255.255.255:9")); errors.Is(err, unix.EACCES) {
			l.Error(err)
		}
	})
}

// TestPacketClosedLoop: on a closed loop sockets cannot be made, and can be closed.
func TestPacketClosedLoop(t *testing.T) {
	loop, err := eventloop.New()
	if err != nil {
		t.Fatal(err)
	}
	h := newPackets()
	c, err := stream.ListenPacket(loop, "udp4", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	path := socketDir(t) + "/s"
	loop.Close()
	_, listenErr := stream.ListenPacket(loop, "unixgram", path, h)
	_, dialErr := stream.DialPacket(context.Background(), loop, "udp4", "127.0.0.1:9", h)
	_, nameErr := stream.DialPacket(context.Background(), loop, "udp4", "localhost:9", h)
	for _, err := range []error{listenErr, dialErr, nameErr} {
		if !errors.Is(err, eventloop.ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of the socket: %v", err)
	}
	c.Close()
	h.expect(t, "closed by nil")
	if now := descriptors(t); now >= before {
		t.Errorf("%d descriptors, before Close %d", now, before)
	}
}

// udpClient returns a socket of package net that is connected to c.
func udpClient(l *testLoop, c *stream.PacketConn) net.Conn {
	l.Helper()
	conn, err := net.Dial("udp4", c.LocalAddr().String())
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { conn.Close() })
	return conn
}
