//go:build unix

package stream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// backendLoop returns a loop on a backend. The test runs it.
func backendLoop(t *testing.T, b selectors.Backend) *eventloop.Loop {
	t.Helper()
	sel, err := b.New()
	if err != nil {
		t.Fatal(err)
	}
	loop, err := eventloop.New(eventloop.WithSelector(sel))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loop.Close() })
	return loop
}

// A slowSocket is a socket that becomes writable when the test says so. It stands for
// one that is connecting.
type slowSocket struct {
	fd, peer int
	written  int
}

func newSlowSocket(t *testing.T) *slowSocket {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &slowSocket{fd: ends[0], peer: ends[1]}
	t.Cleanup(func() { unix.Close(s.peer) })
	for _, fd := range ends {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	for {
		n, err := unix.Write(s.fd, make([]byte, 1<<16))
		if err != nil {
			return s
		}
		s.written += n
	}
}

func (s *slowSocket) makeWritable() {
	for p := make([]byte, 1<<16); s.written > 0; {
		n, err := unix.Read(s.peer, p)
		if err != nil {
			return
		}
		s.written -= n
	}
}

// isClosed reports whether the other end is closed. It reads what is left.
func (s *slowSocket) isClosed() bool {
	for p := make([]byte, 1<<16); ; {
		n, err := unix.Read(s.peer, p)
		if n <= 0 {
			return err == nil || err == unix.ECONNRESET
		}
	}
}

// TestDialSimultaneous checks two connections that are made in the same turn: one
// wins, and the other is closed.
func TestDialSimultaneous(t *testing.T) {
	addrs := []net.Addr{
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:1")),
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:1")),
	}
	for _, b := range selectors.Backends() {
		for range 2 { // either family first
			addrs[0], addrs[1] = addrs[1], addrs[0]
			t.Run(b.Name, func(t *testing.T) {
				loop := backendLoop(t, b)
				sockets := make(map[net.Addr]*slowSocket)
				for _, addr := range addrs {
					sockets[addr] = newSlowSocket(t)
				}
				replaceDialSystem(t, func(s *dialSystem) {
					s.resolve = func(context.Context, string, string) ([]net.Addr, error) { return addrs, nil }
					s.socket = func(addr net.Addr) (int, error) { return sockets[addr].fd, nil }
					s.connect = func(int, net.Addr) error { return errInProgress }
				})
				h := &lifeRecorder{}
				c, err := Dial(context.Background(), loop, "tcp", "name:1", h)
				if err != nil {
					t.Fatal(err)
				}
				runUntil(t, loop, func() bool { return loop.Selector().Len() == 2 })
				for _, s := range sockets {
					s.makeWritable()
				}
				runUntil(t, loop, func() bool { return h.connected || h.ended })
				if h.ended || loop.Selector().Len() != 1 {
					t.Errorf("ended %v with %v, %d descriptors are registered", h.ended, h.err, loop.Selector().Len())
				}
				for addr, s := range sockets {
					if s.isClosed() == (s.fd == c.FD()) {
						t.Errorf("%v: closed %v, winner %v", addr, s.isClosed(), s.fd == c.FD())
					}
				}
				c.Abort()
				runUntil(t, loop, func() bool { return h.ended })
				for addr, s := range sockets {
					if !s.isClosed() {
						t.Errorf("%v is open", addr)
					}
				}
			})
		}
	}
}

// TestDialLoopClosedInAttempt closes the loop while an attempt starts. The dial then
// fails at once and leaves nothing.
func TestDialLoopClosedInAttempt(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			loop := backendLoop(t, b)
			s := newSlowSocket(t)
			replaceDialSystem(t, func(system *dialSystem) {
				system.socket = func(net.Addr) (int, error) { return s.fd, nil }
				system.connect = func(int, net.Addr) error { loop.Close(); return errInProgress }
			})
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			h := &lifeRecorder{}
			if _, err := Dial(ctx, loop, "tcp", "127.0.0.1:1", h); err != nil {
				t.Fatal(err)
			}
			loop.RunOnce(0)
			if !h.ended || h.connected || h.err == nil || !s.isClosed() {
				t.Errorf("ended %v, connected %v, error %v, closed %v", h.ended, h.connected, h.err, s.isClosed())
			}
		})
	}
}

// TestDialNoDescriptors checks a process that has no descriptor left.
func TestDialNoDescriptors(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			loop := backendLoop(t, b)
			h := &lifeRecorder{}
			c, err := Dial(context.Background(), loop, "tcp", "127.0.0.1:1", h)
			if err != nil {
				t.Fatal(err)
			}
			var old unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
				t.Fatal(err)
			}
			low := old
			low.Cur = 0
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
				t.Skip("cannot lower the limit of descriptors: ", err)
			}
			addrs, _, _ := parseAddress("tcp", "127.0.0.1:1")
			c.dialing.race(addrs, nil) // without a Select, which may need a descriptor
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
				t.Fatal(err)
			}
			runUntil(t, loop, func() bool { return h.ended })
			if !errors.Is(h.err, unix.EMFILE) {
				t.Errorf("error %v, want %v", h.err, unix.EMFILE)
			}
		})
	}
}

// TestDialNotRegistered checks a socket that the selector refuses. The registration
// of other code for the same descriptor stays.
func TestDialNotRegistered(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			loop := backendLoop(t, b)
			s := newSlowSocket(t)
			replaceDialSystem(t, func(system *dialSystem) {
				system.socket = func(net.Addr) (int, error) {
					_, err := loop.Register(s.fd, selectors.EventRead, func(any, selectors.Event) {})
					return s.fd, err
				}
				system.connect = func(int, net.Addr) error { return errInProgress }
				system.close = func(int) {}
			})
			h := &lifeRecorder{}
			if _, err := Dial(context.Background(), loop, "tcp", "127.0.0.1:1", h); err != nil {
				t.Fatal(err)
			}
			runUntil(t, loop, func() bool { return h.connected || h.ended })
			if !errors.Is(h.err, selectors.ErrRegistered) {
				t.Errorf("error %v, want %v", h.err, selectors.ErrRegistered)
			}
			if _, err := loop.Unregister(s.fd); err != nil {
				t.Errorf("the other registration is gone: %v", err)
			}
			unix.Close(s.fd)
		})
	}
}
