//go:build unix

package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"goselectors/eventloop/stream"

	"golang.org/x/sys/unix"
)

// dial calls Dial on the loop. The cleanup aborts the connection.
func (l *testLoop) dial(ctx context.Context, network, address string, h stream.Handler, opts ...stream.Option) *stream.Conn {
	l.Helper()
	var c *stream.Conn
	var err error
	l.do(func() { c, err = stream.Dial(ctx, l.Loop, network, address, h, opts...) })
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		l.do(c.Abort)
		l.eventually("the dialed connection is closed", func() bool { return c.FD() == -1 })
	})
	return c
}

func TestDial(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		ln := l.listen(network, func() stream.Handler { return echo{} })
		p := newRecorder()
		c := l.dial(context.Background(), network, ln.Addr().String(), p)
		p.expect(l, "ConnectionMade")
		l.do(func() { c.Write([]byte("hello")) })
		p.expect(l, "DataReceived hello")
		l.do(func() { c.CloseWrite() })
		p.expect(l, "EOFReceived", "ConnectionLost")
		if p.err != nil {
			l.Error(p.err)
		}
	})
}

func TestIPv6(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		var ln *stream.Listener
		var err error
		l.do(func() {
			ln, err = stream.Listen(l.Loop, "tcp6", "[::1]:0", func() stream.Handler { return echo{} }, stream.WithIdleTimeout(time.Minute))
		})
		if err != nil {
			l.Skip("no IPv6: ", err)
		}
		p := newRecorder()
		c := l.dial(context.Background(), "tcp", ln.Addr().String(), p)
		l.do(func() { c.SetIdleTimeout(time.Minute); c.Write([]byte("hel")) })
		p.expect(l, "ConnectionMade", "DataReceived hel")
		l.do(func() {
			if c.RemoteAddr().String() != ln.Addr().String() {
				l.Errorf("remote %v, want %v", c.RemoteAddr(), ln.Addr())
			}
			c.SetIdleTimeout(time.Minute)
			c.Writev([]byte("l"), nil, []byte("o"))
		})
		p.expect(l, "DataReceived lo")
		l.do(func() { c.Close(); ln.Close() })
		l.eventually("all connections are closed", func() bool { return ln.Len() == 0 })
	})
}

// TestDialName checks host and service names, including some that do not resolve.
func TestDialName(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		ln := l.listen("tcp", func() stream.Handler { return echo{} })
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		for _, network := range []string{"tcp", "tcp4"} {
			for _, host := range []string{"localhost", ""} {
				p := newRecorder()
				c := l.dial(ctx, network, net.JoinHostPort(host, port), p)
				l.do(func() { c.Write([]byte("early")) })
				p.expect(l, "ConnectionMade", "DataReceived early")
			}
		}
		for _, address := range []string{"localhost:no-such-service", "no-such-host.invalid:80", "[::1]:80"} {
			p := newRecorder()
			l.dial(ctx, "tcp4", address, p)
			p.expect(l, "ConnectionLost with error")
			var opErr *net.OpError
			if !errors.As(p.err, &opErr) || opErr.Op != "dial" {
				l.Errorf("%s: %v", address, p.err)
			}
		}
	})
}

// TestDialEarlyWrites checks that data written before ConnectionMade is sent
// afterwards, and so is a CloseWrite.
func TestDialEarlyWrites(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		ln := l.listen(network, func() stream.Handler { return echo{} })
		message := randomBytes(1 << 20)
		for _, size := range []int{0, 5, len(message)} {
			p := newRecorder()
			p.ignoreData = true
			var got []byte
			p.onDataReceived = func(_ *stream.Conn, data []byte) { got = append(got, data...) }
			l.do(func() {
				c, err := stream.Dial(context.Background(), l.Loop, network, ln.Addr().String(), p)
				if err != nil {
					l.Error(err)
					return
				}
				c.Write(message[:size/2])
				c.Writev(message[size/2 : size])
				if c.Unsent() != size {
					l.Errorf("%d unsent, want %d", c.Unsent(), size)
				}
				c.CloseWrite()
			})
			counts := p.countUntil(l, "ConnectionLost")
			if counts["ConnectionMade"] != 1 || counts["EOFReceived"] != 1 {
				l.Errorf("events %v", counts)
			}
			checkBytes(l, "echo", got, message[:size])
		}
	})
}

func TestDialRefused(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, test := range []struct {
		network, address string
		want             error
	}{
		{"tcp", closed.Addr().String(), unix.ECONNREFUSED},
		{"unix", t.TempDir() + "/none", os.ErrNotExist},
	} {
		t.Run(test.network, func(t *testing.T) {
			eachBackend(t, func(l *testLoop) {
				p := newRecorder()
				c := l.dial(context.Background(), test.network, test.address, p)
				p.expect(l, "ConnectionLost with error")
				var opErr *net.OpError
				if !errors.Is(p.err, test.want) || !errors.As(p.err, &opErr) || opErr.Addr.String() != test.address {
					l.Errorf("ConnectionLost error %v", p.err)
				}
				l.do(func() {
					if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
						l.Errorf("write: %v", err)
					}
					if l.Selector().Len() != 0 {
						l.Error("a descriptor is registered")
					}
				})
				p.expectNone(l)
			})
		})
	}
}

func TestDialArguments(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		l.do(func() {
			for _, test := range []struct{ network, address string }{
				{"udp", "127.0.0.1:1"}, {"", "127.0.0.1:1"}, {"tcp", "127.0.0.1"}, {"tcp", ""},
			} {
				if c, err := stream.Dial(context.Background(), l.Loop, test.network, test.address, echo{}); c != nil || err == nil {
					l.Errorf("%q %q: %v, %v", test.network, test.address, c, err)
				}
			}
			if _, err := stream.Dial(context.Background(), l.Loop, "tcp", "127.0.0.1:1", nil); !errors.Is(err, stream.ErrNilHandler) {
				l.Error(err)
			}
			if l.Selector().Len() != 0 {
				l.Error("a descriptor is registered")
			}
		})
	})
}

// TestDialCanceled checks each way to stop a dial in progress.
func TestDialCanceled(t *testing.T) {
	addr := stream.UnresponsiveAddr(t)
	if addr == nil {
		t.Skip("this system accepts more connections than the backlog of a listener")
	}
	eachBackend(t, func(l *testLoop) {
		for _, test := range []struct {
			name string
			stop func(c *stream.Conn, cancel func())
			want error
		}{
			{"deadline", nil, context.DeadlineExceeded},
			{"cancel", func(_ *stream.Conn, cancel func()) { cancel() }, context.Canceled},
			{"abort", func(c *stream.Conn, _ func()) { l.do(c.Abort) }, nil},
			{"close", func(c *stream.Conn, _ func()) { l.do(func() { c.Write([]byte("x")); c.Close() }) }, nil},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
			if test.stop == nil {
				ctx, cancel = context.WithTimeout(context.Background(), quietPeriod)
			}
			p := newRecorder()
			c := l.dial(ctx, "tcp", addr.String(), p)
			if test.stop != nil {
				p.expectNone(l)
				test.stop(c, cancel)
			}
			if test.want == nil {
				p.expect(l, "ConnectionLost")
			} else {
				p.expect(l, "ConnectionLost with error")
			}
			if !errors.Is(p.err, test.want) {
				l.Errorf("%s: ConnectionLost error %v", test.name, p.err)
			}
			l.eventually("no descriptor is registered", func() bool { return l.Selector().Len() == 0 })
			cancel()
			p.expectNone(l)
		}
	})
}

// TestDialUnixQueueFull checks that Dial connects once the full queue of a Unix
// socket has room. The kernel reports no readiness for that.
func TestDialUnixQueueFull(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		name := l.TempDir() + "/s"
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			l.Fatal(err)
		}
		defer unix.Close(fd)
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: name}), unix.Listen(fd, 0)); err != nil {
			l.Fatal(err)
		}
		var recorders []*recorder
		for range 4 {
			p := newRecorder()
			l.dial(context.Background(), "unix", name, p)
			recorders = append(recorders, p)
		}
		time.Sleep(quietPeriod)
		for range recorders {
			conn, _, err := unix.Accept(fd)
			if err != nil {
				l.Fatal(err)
			}
			defer unix.Close(conn)
		}
		for _, p := range recorders {
			p.expect(l, "ConnectionMade")
		}
	})
}

// TestDialResetAtOnce checks a peer that accepts and resets the connection.
func TestDialResetAtOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			reset(conn)
		}
	}()
	eachBackend(t, func(l *testLoop) {
		for range 20 {
			p := newRecorder()
			l.dial(context.Background(), "tcp", ln.Addr().String(), p)
			select {
			case first := <-p.events:
				if first == "ConnectionMade" {
					p.expect(l, "ConnectionLost with error")
				}
			case <-time.After(testTimeout):
				l.Fatal("no event")
			}
			checkErrorIs(l, p.err, unix.ECONNRESET)
		}
	})
}

func TestWrap(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		wrap := func(conn any, h stream.Handler) (c *stream.Conn) {
			l.Helper()
			var err error
			l.do(func() { c, err = stream.Wrap(l.Loop, conn, h) })
			if err != nil {
				l.Fatal(err)
			}
			return c
		}
		// A net.Conn.
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.Fatal(err)
		}
		defer ln.Close()
		a, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			l.Fatal(err)
		}
		b, err := ln.Accept()
		if err != nil {
			l.Fatal(err)
		}
		defer b.Close()
		b.SetDeadline(time.Now().Add(testTimeout))
		p := newRecorder()
		c := wrap(a, p)
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			l.Errorf("the net.Conn is not closed: %v", err)
		}
		p.expect(l, "ConnectionMade")
		write(l, b, "ping")
		p.expect(l, "DataReceived ping")

		// Detach returns a net.Conn.
		var back net.Conn
		l.do(func() {
			if back, err = c.Detach(); err != nil {
				return
			}
			if l.Selector().Len() != 0 || !c.Closed() || c.FD() != -1 {
				l.Error("detached, but still on the loop")
			}
			if _, err := c.Detach(); !errors.Is(err, net.ErrClosed) {
				l.Errorf("detached twice: %v", err)
			}
			c.Close()
			c.Abort()
		})
		if err != nil {
			l.Fatal(err)
		}
		back.SetDeadline(time.Now().Add(testTimeout))
		write(l, back, "pong")
		pong := make([]byte, 4)
		if _, err := io.ReadFull(b, pong); err != nil || string(pong) != "pong" {
			l.Errorf("read %q, %v", pong, err)
		}
		write(l, b, "ping")
		if _, err := io.ReadFull(back, pong); err != nil || string(pong) != "ping" {
			l.Errorf("read %q, %v", pong, err)
		}
		back.Close()
		p.expectNone(l)

		// Two descriptors, in blocking mode.
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			l.Fatal(err)
		}
		q, r := newRecorder(), newRecorder()
		c, d := wrap(fds[0], q), wrap(fds[1], r)
		q.expect(l, "ConnectionMade")
		r.expect(l, "ConnectionMade")
		l.do(func() { c.Write([]byte("across")) })
		r.expect(l, "DataReceived across")
		l.do(func() {
			d.Write(make([]byte, 16<<20))
			if _, err := d.DetachFD(); !errors.Is(err, stream.ErrUnsent) {
				l.Errorf("detach with unsent data: %v", err)
			}
			d.Abort()
			c.Abort()
		})
		r.expect(l, "PauseWriting", "ConnectionLost")

		// A pipe.
		pr, pw, err := os.Pipe()
		if err != nil {
			l.Fatal(err)
		}
		defer pw.Close()
		s := newRecorder()
		wrap(pr, s)
		s.expect(l, "ConnectionMade")
		write(l, pw, "through the pipe")
		s.expect(l, "DataReceived through the pipe")
		pw.Close()
		s.expect(l, "EOFReceived", "ConnectionLost")

		// Values that cannot be wrapped.
		closed, other, err := os.Pipe()
		if err != nil {
			l.Fatal(err)
		}
		closed.Close()
		defer other.Close()
		x, y := net.Pipe()
		defer x.Close()
		defer y.Close()
		for _, conn := range []any{nil, "string", -1, 1 << 30, x, closed} {
			l.do(func() {
				if c, err := stream.Wrap(l.Loop, conn, echo{}); c != nil || err == nil {
					l.Errorf("wrapped %v", conn)
				}
			})
		}
		l.do(func() {
			if _, err := stream.Wrap(l.Loop, 0, nil); !errors.Is(err, stream.ErrNilHandler) {
				l.Error(err)
			}
		})
		l.eventually("no descriptor is registered", func() bool { return l.Selector().Len() == 0 })
	})
}

// TestDialCycles checks that hundreds of dials with different ends leak no
// descriptors.
func TestDialCycles(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	eachBackend(t, func(l *testLoop) {
		ln := l.listen("tcp", func() stream.Handler { return echo{} })
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		files := descriptors(l)
		const rounds = 100
		ended := make(chan struct{}, 5*rounds)
		for i := range rounds {
			ctx, cancel := context.WithCancel(context.Background())
			l.do(func() {
				for j, address := range []string{ln.Addr().String(), ln.Addr().String(), "localhost:" + port, "localhost:" + port, closed.Addr().String()} {
					p := newRecorder()
					p.onConnectionLost = func(*stream.Conn, error) { ended <- struct{}{} }
					if j%2 == 0 {
						p.onConnectionMade = func(c *stream.Conn) { c.Write([]byte("x")); c.CloseWrite() }
					} else {
						p.onConnectionMade = (*stream.Conn).Abort
					}
					c, err := stream.Dial(ctx, l.Loop, "tcp", address, p)
					if err != nil {
						l.Error(err)
						return
					}
					if (i+j)%7 == 0 {
						c.Abort()
					}
				}
			})
			if i%2 == 0 {
				cancel()
			} else {
				l.Cleanup(cancel)
			}
		}
		for range 5 * rounds {
			select {
			case <-ended:
			case <-time.After(testTimeout):
				l.Fatal("timeout waiting for ConnectionLost")
			}
		}
		l.eventually("all connections are closed", func() bool { return ln.Len() == 0 && l.Selector().Len() == 1 })
		waitAtMost(l, "descriptors", files+2, func() int { return descriptors(l) })
	})
}
