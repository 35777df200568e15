//go:build unix

package selectors_test

import (
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"

	"golang.org/x/sys/unix"
)

// udpSocket returns a socket of package net and its descriptor.
func udpSocket(t testing.TB, network, address string) (*net.UDPConn, int) {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		t.Skipf("no %s on %s: %v", network, address, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn), fdtest.Number(t, conn.(*net.UDPConn))
}

// TestTryReadFromAndWriteTo: the sender and the destination over every way to name a
// socket, in both modes, for the address families and their mixtures.
func TestTryReadFromAndWriteTo(t *testing.T) {
	for _, family := range []struct{ name, network, address, host string }{
		{"IPv4", "udp4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv4 mapped", "udp4", "127.0.0.1:0", "::ffff:127.0.0.1"},
		{"IPv6", "udp6", "[::1]:0", "::1"},
		{"dual stack", "udp", "[::]:0", "127.0.0.1"},
		{"dual stack mapped", "udp", "[::]:0", "::ffff:127.0.0.1"},
	} {
		for _, mode := range []string{"non-blocking", "blocking"} {
			t.Run(family.name+"/"+mode, func(t *testing.T) {
				a, fdA := udpSocket(t, family.network, family.address)
				b, fdB := udpSocket(t, family.network, family.address)
				if mode == "blocking" {
					fdtest.SetBlocking(t, fdA, fdB)
				}
				at := func(conn *net.UDPConn) netip.AddrPort {
					return netip.AddrPortFrom(netip.MustParseAddr(family.host), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
				}
				wantFrom := netip.AddrPortFrom(at(b).Addr().Unmap(), at(b).Port())
				senders := fileObjects(fdB)
				for name, receiver := range fileObjects(fdA) {
					fdtest.Nonblocking(t, func() {
						buf := make([]byte, 8)
						if n, from, err := selectors.TryReadFrom(receiver, buf); n != 0 || from.IsValid() || err != selectors.ErrWouldBlock {
							t.Errorf("%s: read from empty: %d, %v, %v", name, n, from, err)
						}
						for _, message := range []string{"data", "", "more than 8 bytes"} {
							if n, err := selectors.TryWriteTo(senders[name], []byte(message), at(a)); n != len(message) || err != nil {
								t.Fatalf("%s: write: %d, %v", name, n, err)
							}
							fdtest.AwaitReadable(t, fdA)
							n, from, err := selectors.TryReadFrom(receiver, buf)
							if want := message[:min(len(message), len(buf))]; string(buf[:n]) != want || from != wantFrom || err != nil {
								t.Errorf("%s: read %q from %v, %v; want %q from %v", name, buf[:n], from, err, want, wantFrom)
							}
						}
					})
				}
			})
		}
	}
}

// TestTryDatagramObjects: sockets of package net, whose own methods still work.
func TestTryDatagramObjects(t *testing.T) {
	a, fd := udpSocket(t, "udp4", "127.0.0.1:0")
	b, _ := udpSocket(t, "udp4", "127.0.0.1:0")
	addrA, addrB := a.LocalAddr().(*net.UDPAddr).AddrPort(), b.LocalAddr().(*net.UDPAddr).AddrPort()
	buf := make([]byte, 8)
	if n, err := selectors.TryWriteTo(b, []byte("one"), addrA); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	fdtest.AwaitReadable(t, fd)
	if n, from, err := selectors.TryReadFrom(a, buf); n != 3 || from != addrB || err != nil {
		t.Errorf("%d from %v, %v", n, from, err)
	}
	if _, _, err := selectors.TryReadFrom(a, buf); err != selectors.ErrWouldBlock {
		t.Error(err)
	}
	b.WriteToUDPAddrPort([]byte("two"), addrA)
	if n, from, err := a.ReadFromUDPAddrPort(buf); n != 3 || from != addrB || err != nil {
		t.Errorf("%d from %v, %v", n, from, err)
	}
}

// TestTryReadFromOthers: sockets without IP addresses, and streams.
func TestTryReadFromOthers(t *testing.T) {
	buf := make([]byte, 8)
	a, b := fdtest.SocketPair(t, unix.SOCK_DGRAM)
	for _, message := range []string{"", "text"} {
		if _, err := selectors.TryWrite(b, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if n, from, err := selectors.TryReadFrom(a, buf); string(buf[:n]) != message || from.IsValid() || err != nil {
			t.Errorf("%q from %v, %v; want %q", buf[:n], from, err, message)
		}
	}
	r, w := fdtest.TCPPair(t)
	fdtest.Write(t, w, "end")
	fdtest.Close(t, w)
	fdtest.AwaitReadable(t, r)
	if n, _, err := selectors.TryReadFrom(r, buf); string(buf[:n]) != "end" || err != nil {
		t.Errorf("stream: %q, %v", buf[:n], err)
	}
	fdtest.AwaitReadable(t, r)
	if n, _, err := selectors.TryReadFrom(r, buf); n != 0 || err != io.EOF {
		t.Errorf("end of a stream: %d, %v", n, err)
	}
}

// TestTryReadFromRefused: the error of an earlier datagram is returned once.
func TestTryReadFromRefused(t *testing.T) {
	gone, _ := udpSocket(t, "udp4", "127.0.0.1:0")
	addr := gone.LocalAddr().(*net.UDPAddr)
	gone.Close()
	conn, err := net.DialUDP("udp4", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := selectors.TryWrite(conn, []byte("x")); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	fdtest.Await(t, unix.PollFd{Fd: int32(fdtest.Number(t, conn)), Events: unix.POLLIN})
	if _, _, err := selectors.TryReadFrom(conn, make([]byte, 8)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the first read: %v", err)
	}
	if _, _, err := selectors.TryReadFrom(conn, make([]byte, 8)); err != selectors.ErrWouldBlock {
		t.Errorf("the second read: %v", err)
	}
}

// TestTryDatagramErrors: errors have the package and the operation.
func TestTryDatagramErrors(t *testing.T) {
	conn, fd := udpSocket(t, "udp4", "127.0.0.1:0")
	closed, _ := udpSocket(t, "udp4", "127.0.0.1:0")
	closed.Close()
	r, _ := fdtest.Pipe(t)
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, test := range []struct {
		name   string
		object any
		want   []error
	}{
		{"closed", closed, []error{os.ErrClosed, unix.EBADF}},
		{"pipe", r, []error{unix.ENOTSOCK}},
		{"negative", -1, []error{selectors.ErrInvalidFileObj}},
		{"huge", uintptr(math.MaxInt32 + 1), []error{unix.EBADF}},
		{"nil", nil, []error{selectors.ErrInvalidFileObj}},
		{"nil connection", (*net.UDPConn)(nil), []error{selectors.ErrInvalidFileObj}},
		{"text", "3", []error{selectors.ErrInvalidFileObj}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, from, readErr := selectors.TryReadFrom(test.object, make([]byte, 1))
			m, writeErr := selectors.TryWriteTo(test.object, []byte("x"), to)
			if n != 0 || m != 0 || from.IsValid() {
				t.Errorf("%d, %v, %d", n, from, m)
			}
			for op, err := range map[string]error{"read": readErr, "write": writeErr} {
				if err == nil || !strings.Contains(err.Error(), "selectors: "+op+": ") {
					t.Errorf("%s: the error is %v", op, err)
				}
				for _, want := range test.want {
					if !errors.Is(err, want) {
						t.Errorf("%s: the error is %v, want one that is %v", op, err, want)
					}
				}
			}
		})
	}
	for to, want := range map[string]error{"": unix.EAFNOSUPPORT, "[::1]:9": unix.EAFNOSUPPORT} {
		addr, _ := netip.ParseAddrPort(to)
		if _, err := selectors.TryWriteTo(fd, []byte("x"), addr); !errors.Is(err, want) {
			t.Errorf("write to %q: %v", to, err)
		}
	}
	if _, err := selectors.TryWriteTo(fd, make([]byte, 70000), to); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("write of 70000 bytes: %v", err)
	}
	_, fd6 := udpSocket(t, "udp6", "[::1]:0")
	if _, err := selectors.TryWriteTo(fd6, []byte("x"), netip.MustParseAddrPort("[fe80::1%nosuch0]:9")); !errors.Is(err, unix.ENXIO) {
		t.Errorf("write to an unknown zone: %v", err)
	}
}

// TestTryDatagramMemoryOrder: operations before TryWriteTo happen before those after
// TryReadFrom. The race detector must see it.
func TestTryDatagramMemoryOrder(t *testing.T) {
	a, fd := udpSocket(t, "udp4", "127.0.0.1:0")
	b, _ := udpSocket(t, "udp4", "127.0.0.1:0")
	shared := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		shared = 1
		if _, err := selectors.TryWriteTo(b, []byte("x"), a.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
			t.Error(err)
		}
	}()
	fdtest.AwaitReadable(t, fd)
	if _, _, err := selectors.TryReadFrom(fd, make([]byte, 1)); err != nil || shared != 1 {
		t.Error(shared, err)
	}
	<-done
}
