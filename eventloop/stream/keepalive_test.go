//go:build unix && !openbsd && !solaris

package stream_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"goselectors/eventloop/stream"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// keepAliveState is the state of the options of a socket.
type keepAliveState struct {
	On                    bool
	Idle, Interval, Count int // seconds, and probes
}

func keepAliveOf(t testing.TB, fd int) (s keepAliveState) {
	t.Helper()
	get := func(level, option int) int {
		n, err := unix.GetsockoptInt(fd, level, option)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	s.On = get(unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0
	s.Idle, s.Interval, s.Count = get(unix.IPPROTO_TCP, stream.KeepAliveIdle), get(unix.IPPROTO_TCP, stream.KeepAliveInterval), get(unix.IPPROTO_TCP, stream.KeepAliveCount)
	return s
}

// TestKeepAlive checks the options of accepted and of dialed sockets. The zero fields
// of an expected state are the system's values.
func TestKeepAlive(t *testing.T) {
	for _, test := range []struct {
		name string
		opts []stream.Option
		want keepAliveState
	}{
		{"no option", nil, keepAliveState{}},
		{"not enabled", []stream.Option{stream.WithKeepAlive(net.KeepAliveConfig{Idle: time.Minute, Interval: time.Minute, Count: 3})}, keepAliveState{}},
		{"defaults", []stream.Option{stream.WithKeepAlive(net.KeepAliveConfig{Enable: true})}, keepAliveState{true, 15, 15, 9}},
		{"all set", []stream.Option{stream.WithKeepAlive(net.KeepAliveConfig{Enable: true, Idle: 3 * time.Minute, Interval: time.Minute, Count: 4})}, keepAliveState{true, 180, 60, 4}},
		{"rounded up", []stream.Option{stream.WithKeepAlive(net.KeepAliveConfig{Enable: true, Idle: 1, Interval: 1001 * time.Millisecond, Count: 1})}, keepAliveState{true, 1, 2, 1}},
		{"unchanged", []stream.Option{stream.WithKeepAlive(net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1})}, keepAliveState{On: true}},
		{"count unchanged", []stream.Option{stream.WithKeepAlive(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: -time.Hour, Count: -1})}, keepAliveState{On: true, Idle: 1}},
		{"out of range", []stream.Option{stream.WithKeepAlive(net.KeepAliveConfig{Enable: true, Idle: 1 << 62, Count: 5})}, keepAliveState{On: true, Interval: 15, Count: 5}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachBackend(t, func(l *testLoop) {
				if test.name == "out of range" && runtime.GOOS != "linux" {
					l.Skip("the limit is that of Linux")
				}
				accepted := newRecorder()
				ln := l.listen("tcp", func() stream.Handler { return accepted }, test.opts...)
				dialed := newRecorder()
				c := l.dial(context.Background(), "tcp", ln.Addr().String(), dialed, test.opts...)
				accepted.expect(l, "ConnectionMade")
				dialed.expect(l, "ConnectionMade")
				l.do(func() {
					want := withSystemValues(l, test.want)
					if diff := cmp.Diff(want, keepAliveOf(l, accepted.conn.FD())); diff != "" {
						l.Errorf("accepted (-want +got):\n%s", diff)
					}
					if diff := cmp.Diff(want, keepAliveOf(l, c.FD())); diff != "" {
						l.Errorf("dialed (-want +got):\n%s", diff)
					}
				})
			})
		})
	}
}

// withSystemValues replaces the zero fields by the values of a new socket.
func withSystemValues(t testing.TB, s keepAliveState) keepAliveState {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	system := keepAliveOf(t, fd)
	for _, field := range []struct{ value, system *int }{
		{&s.Idle, &system.Idle}, {&s.Interval, &system.Interval}, {&s.Count, &system.Count},
	} {
		if *field.value == 0 {
			*field.value = *field.system
		}
	}
	return s
}

// TestKeepAliveUnix checks that the option does no harm to Unix sockets.
func TestKeepAliveUnix(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		option := stream.WithKeepAlive(net.KeepAliveConfig{Enable: true})
		ln := l.listen("unix", func() stream.Handler { return echo{} }, option)
		p := newRecorder()
		c := l.dial(context.Background(), "unix", ln.Addr().String(), p, option)
		l.do(func() { c.Write([]byte("hello")) })
		p.expect(l, "ConnectionMade", "DataReceived hello")
	})
}
