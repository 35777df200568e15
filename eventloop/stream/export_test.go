//go:build unix

package stream

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The numbers of the options; 0 if the system has none.
const (
	KeepAliveIdle     = keepAliveIdle
	KeepAliveInterval = keepAliveInterval
	KeepAliveCount    = keepAliveCount
)

// UnresponsiveAddr returns a TCP address where connecting does not complete: the
// queue of a listener that does not accept is full. It returns nil if the queue
// never fills.
func UnresponsiveAddr(t testing.TB) net.Addr {
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

// ReplaceResolver makes Dial look up names with resolve, until the end of the test.
// Loops that dial must not run meanwhile, or be idle.
func ReplaceResolver(t testing.TB, resolve func(ctx context.Context, network, address string) ([]net.Addr, error)) {
	replaceDialSystem(t, func(s *dialSystem) { s.resolve = resolve })
}

// ReplaceSocket is ReplaceResolver for the function that makes the sockets of Dial.
// make may call the original one, which is its argument.
func ReplaceSocket(t testing.TB, make func(original func(net.Addr) (int, error), addr net.Addr) (int, error)) {
	original := defaultDialSystem.socket
	replaceDialSystem(t, func(s *dialSystem) {
		s.socket = func(addr net.Addr) (int, error) { return make(original, addr) }
	})
}

func replaceDialSystem(t testing.TB, edit func(*dialSystem)) {
	old := defaultDialSystem
	replaced := *old
	edit(&replaced)
	defaultDialSystem = &replaced
	t.Cleanup(func() { defaultDialSystem = old })
}
