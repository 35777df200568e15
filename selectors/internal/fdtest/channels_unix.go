//go:build unix

package fdtest

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Pipe returns the two ends of a pipe.
func Pipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	return Own(t, p[0]), Own(t, p[1])
}

// FIFO returns the two ends of a named pipe.
func FIFO(t testing.TB) (r, w int) {
	t.Helper()
	name := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return Open(t, name, unix.O_RDONLY|unix.O_NONBLOCK), Open(t, name, unix.O_WRONLY|unix.O_NONBLOCK)
}

// SocketPair returns two connected Unix sockets of a type such as
// unix.SOCK_DGRAM.
func SocketPair(t testing.TB, typ int) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, typ, 0)
	if err != nil {
		t.Fatal(err)
	}
	return Own(t, p[0]), Own(t, p[1])
}

// UnixPair returns two connected Unix stream sockets.
func UnixPair(t testing.TB) (a, b int) {
	t.Helper()
	return SocketPair(t, unix.SOCK_STREAM)
}

// TCPSocket returns a TCP socket that is neither bound nor connected.
func TCPSocket(t testing.TB) int {
	t.Helper()
	return newSocket(t, unix.SOCK_STREAM)
}

// UDPSocket returns a UDP socket that is bound to a port of the loopback
// interface, and its address.
func UDPSocket(t testing.TB) (int, unix.Sockaddr) {
	t.Helper()
	fd := newSocket(t, unix.SOCK_DGRAM)
	return fd, bindLoopback(t, fd)
}

func newSocket(t testing.TB, typ int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, typ, 0)
	if err != nil {
		t.Fatal(err)
	}
	return Own(t, fd)
}

func bindLoopback(t testing.TB, fd int) unix.Sockaddr {
	t.Helper()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// Listen returns a TCP socket that listens on the loopback interface, and its
// address.
func Listen(t testing.TB) (int, unix.Sockaddr) {
	t.Helper()
	fd := TCPSocket(t)
	addr := bindLoopback(t, fd)
	if err := unix.Listen(fd, 128); err != nil {
		t.Fatal(err)
	}
	return fd, addr
}

// Connect starts the connect of a non-blocking socket.
func Connect(t testing.TB, fd int, addr unix.Sockaddr) {
	t.Helper()
	if err := unix.Connect(fd, addr); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
}

// TCPPair returns the two ends of a TCP connection.
func TCPPair(t testing.TB) (a, b int) {
	t.Helper()
	l, addr := Listen(t)
	a = TCPSocket(t)
	Connect(t, a, addr)
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		b, _, err := unix.Accept(l)
		if err == nil {
			return a, Own(t, b)
		}
		if time.Since(start) > Timeout {
			t.Fatal("no connection to accept: ", err)
		}
	}
}

// UDPPair returns two UDP sockets that are connected to each other.
func UDPPair(t testing.TB) (a, b int) {
	t.Helper()
	a, addrA := UDPSocket(t)
	b, addrB := UDPSocket(t)
	Connect(t, a, addrB)
	Connect(t, b, addrA)
	return a, b
}

// NetPair returns the two ends of a TCP connection of package net.
func NetPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	y, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { y.Close() })
	return x.(*net.TCPConn), y.(*net.TCPConn)
}

// Shutdown is shutdown(2).
func Shutdown(t testing.TB, fd, how int) {
	t.Helper()
	if err := unix.Shutdown(fd, how); err != nil {
		t.Fatal(err)
	}
}

// Reset closes a TCP connection with an RST.
func Reset(t testing.TB, fd int) {
	t.Helper()
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		t.Fatal(err)
	}
	Close(t, fd)
}

// SendUrgent sends one byte of TCP urgent data.
func SendUrgent(t testing.TB, fd int) {
	t.Helper()
	if err := unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil); err != nil {
		t.Fatal(err)
	}
}
