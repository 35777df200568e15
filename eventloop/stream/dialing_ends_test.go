//go:build unix

package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A dialStage is a state in which a dial waits.
type dialStage struct {
	name, network, address string
	addrs                  []net.Addr // of the name
	wait                   time.Duration
	sockets                int // that are registered
}

// dialStages returns the states. hang is a resolver that waits until the test ends.
func dialStages(t testing.TB) []dialStage {
	dead, refusing := deadAddr(t), refusingAddr(t, "127.0.0.1:0")
	stages := []dialStage{
		{"scheduled", "tcp", dead.String(), nil, 0, 0},
		{"resolving", "tcp", "hang:80", nil, quietPeriod, 0},
		{"connecting", "tcp", dead.String(), nil, quietPeriod, 1},
		{"second address", "tcp", "name:80", []net.Addr{refusing, dead, dead}, quietPeriod, 1},
		{"queue full", "unix", fullUnixQueue(t), nil, quietPeriod, 0},
	}
	if dead6 := deadAddr6(t); dead6 != nil {
		stages = append(stages,
			dialStage{"before the fallback", "tcp", "name:80", []net.Addr{dead, dead6}, quietPeriod, 1},
			dialStage{"both families", "tcp", "name:80", []net.Addr{dead, dead6}, 300*time.Millisecond + quietPeriod, 2},
			dialStage{"only the fallback", "tcp", "name:80", []net.Addr{refusing, dead6}, quietPeriod, 1})
	}
	return stages
}

// deadAddr6 returns an IPv6 address where connecting does not complete, or nil.
func deadAddr6(t testing.TB) net.Addr {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil
	}
	t.Cleanup(func() { unix.Close(fd) })
	if errors.Join(unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}), unix.Listen(fd, 0)) != nil {
		return nil
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), uint16(sa.(*unix.SockaddrInet6).Port)))
	for range 10 {
		conn, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	return nil
}

// fullUnixQueue returns the path of a Unix socket that accepts nothing and whose
// queue is full.
func fullUnixQueue(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := dir + "/s"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(client) })
		if unix.SetNonblock(client, true) != nil || unix.Connect(client, &unix.SockaddrUnix{Name: path}) != nil {
			return path
		}
	}
	t.Skip("the queue of a Unix socket does not fill")
	return ""
}

// useStage makes Dial resolve the names of a stage. The name "hang" is resolved when
// the test ends.
func useStage(t testing.TB, stage dialStage) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	stream.ReplaceResolver(t, func(_ context.Context, _, address string) ([]net.Addr, error) {
		if address == "hang:80" {
			<-hang
		}
		return stage.addrs, nil
	})
}

// TestDialEnds ends a dial in each state, in each way.
func TestDialEnds(t *testing.T) {
	stages := dialStages(t)
	ends := []struct {
		name string
		end  func(l *testLoop, c *stream.Conn, cancel func())
		want error
	}{
		{"close", func(_ *testLoop, c *stream.Conn, _ func()) { c.Close() }, nil},
		{"close with data", func(_ *testLoop, c *stream.Conn, _ func()) { c.Write([]byte("x")); c.CloseWrite(); c.Close() }, nil},
		{"abort", func(_ *testLoop, c *stream.Conn, _ func()) { c.Abort() }, nil},
		{"cancel", func(_ *testLoop, _ *stream.Conn, cancel func()) { cancel() }, context.Canceled},
		{"idle", func(_ *testLoop, c *stream.Conn, _ func()) { c.SetIdleTimeout(time.Millisecond) }, stream.ErrIdle},
	}
	type dial struct {
		conn   *stream.Conn
		cancel func()
		*recorder
	}
	eachBackend(t, func(l *testLoop) {
		files := settledDescriptors(l)
		for _, stage := range stages {
			useStage(l, stage)
			dials := make([]dial, len(ends))
			l.do(func() {
				for i, end := range ends {
					ctx, cancel := context.WithCancel(context.Background())
					d := dial{cancel: cancel, recorder: newRecorder()}
					var err error
					if d.conn, err = stream.Dial(ctx, l.Loop, stage.network, stage.address, d.recorder); err != nil {
						l.Error(err)
						return
					}
					if stage.wait == 0 {
						end.end(l, d.conn, cancel)
					}
					dials[i] = d
				}
			})
			if l.Failed() {
				return
			}
			time.Sleep(stage.wait)
			for i, end := range ends {
				d := dials[i]
				if stage.wait > 0 {
					checkRegistered(l, stage.sockets*(len(ends)-i))
					l.do(func() { end.end(l, d.conn, d.cancel) })
				}
				if end.want == nil {
					d.expect(l, "ConnectionLost")
				} else {
					d.expect(l, "ConnectionLost with error")
				}
				if !errors.Is(d.err, end.want) {
					l.Errorf("%s, %s: error %v, want %v", stage.name, end.name, d.err, end.want)
				}
				d.cancel()
			}
			checkRegistered(l, 0)
			l.do(func() {
				for i, end := range ends {
					if len(dials[i].events) > 0 {
						l.Errorf("%s, %s: event %q after the end", stage.name, end.name, <-dials[i].events)
					}
				}
			})
		}
		waitAtMost(l, "descriptors", files, func() int { return descriptors(l) })
	})
}

// TestDialLoopClosed closes the loop while a dial waits. Close and Abort then call
// ConnectionLost at once and close the sockets.
func TestDialLoopClosed(t *testing.T) {
	stages := dialStages(t)
	for _, b := range selectors.Backends() {
		for _, stage := range stages {
			t.Run(fmt.Sprintf("%s/%s", b.Name, stage.name), func(t *testing.T) {
				useStage(t, stage)
				files := descriptors(t)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				loop := newLoop(t, b)
				defer loop.Close()
				recorders := []*recorder{newRecorder(), newRecorder(), newRecorder()}
				var conns []*stream.Conn
				for _, p := range recorders {
					c, err := stream.Dial(ctx, loop, stage.network, stage.address, p)
					if err != nil {
						t.Fatal(err)
					}
					conns = append(conns, c)
				}
				for start := time.Now(); time.Since(start) < stage.wait; {
					if _, err := loop.RunOnce(10 * time.Millisecond); err != nil {
						t.Fatal(err)
					}
				}
				if n := loop.Selector().Len(); n != 3*stage.sockets {
					t.Errorf("%d descriptors are registered, want %d", n, 3*stage.sockets)
				}
				loop.Close()
				conns[0].Close()
				conns[1].Abort()
				cancel()
				time.Sleep(time.Millisecond) // the callback of the context runs
				conns[2].Abort()
				for i, p := range recorders {
					if len(p.events) != 1 {
						t.Errorf("connection %d: %d events, want ConnectionLost", i, len(p.events))
					} else if p.expect(t, "ConnectionLost"); p.err != nil {
						t.Error(p.err)
					}
				}
				waitAtMost(t, "descriptors", files, func() int { return descriptors(t) })
			})
		}
	}
}

// TestDialResolverHangs checks that a resolver that ignores its context does not
// delay the end of the dial, and that its late result is ignored.
func TestDialResolverHangs(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		ln := l.listen("tcp", func() stream.Handler { return echo{} })
		hang, returned := make(chan struct{}), make(chan struct{}, 2)
		stream.ReplaceResolver(l, func(ctx context.Context, _, _ string) ([]net.Addr, error) {
			defer func() { returned <- struct{}{} }()
			<-hang
			if ctx.Err() == nil {
				l.Error("the context of the resolver has not ended")
			}
			return []net.Addr{ln.Addr()}, nil
		})
		ctx, cancel := context.WithTimeout(context.Background(), quietPeriod)
		defer cancel()
		p, q := newRecorder(), newRecorder()
		l.dial(ctx, "tcp", "name:80", p)
		c := l.dial(context.Background(), "tcp", "name:80", q)
		p.expect(l, "ConnectionLost with error")
		checkErrorIs(l, p.err, context.DeadlineExceeded)
		checkDialError(l, p.err, "name:80")
		l.do(c.Abort)
		q.expect(l, "ConnectionLost")
		close(hang)
		for range 2 {
			<-returned
		}
		p.expectNone(l)
		q.expectNone(l)
		l.do(func() {
			if ln.Len() != 0 {
				l.Error("connected after the end")
			}
		})
	})
}
