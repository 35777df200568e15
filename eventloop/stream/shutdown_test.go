//go:build unix

package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"
)

// A polite handler is told of a shutdown.
type polite struct {
	*recorder
	onShutdown func(*stream.Conn) // may be nil
}

func (p polite) ShutdownRequested(c *stream.Conn) {
	p.record("ShutdownRequested")
	if p.onShutdown != nil {
		p.onShutdown(c)
	}
}

func newPolite(onShutdown func(*stream.Conn)) polite { return polite{newRecorder(), onShutdown} }

// A result is the argument of the function done of Shutdown, which is recorded on
// the loop.
type result struct {
	calls int
	err   error
}

func (r *result) done(err error) { r.calls, r.err = r.calls+1, err }

// shutdown calls Shutdown of a listener.
func (l *testLoop) shutdown(ctx context.Context, ln *stream.Listener) *result {
	l.Helper()
	r := &result{}
	l.do(func() {
		if err := ln.Shutdown(ctx, r.done); err != nil {
			l.Error(err)
		}
		if r.calls > 0 {
			l.Error("done was called inside Shutdown")
		}
	})
	return r
}

// expectDone waits for the call of done, and checks that it was called once, when no
// connection was left.
func (l *testLoop) expectDone(ln *stream.Listener, r *result, want error) {
	l.Helper()
	l.eventually("done", func() bool {
		if r.calls > 0 && ln.Len() > 0 {
			l.Errorf("done was called with %d connections open", ln.Len())
		}
		return r.calls > 0
	})
	time.Sleep(5 * time.Millisecond)
	l.do(func() {
		if r.calls != 1 || r.err != want {
			l.Errorf("done was called %d times with %v, want %v", r.calls, r.err, want)
		}
	})
}

func expectRefused(t testing.TB, addr net.Addr) {
	t.Helper()
	if conn, err := net.Dial(addr.Network(), addr.String()); err == nil {
		conn.Close()
		t.Error("connected after Shutdown")
	}
}

// TestListenerShutdown checks the steps of a shutdown.
func TestListenerShutdown(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		handlers := make(chan stream.Handler, 4)
		p, q, waiting := newPolite(nil), newRecorder(), newPolite((*stream.Conn).Abort)
		handlers <- p
		handlers <- q
		handlers <- waiting
		ln := l.listen(network, func() stream.Handler { return <-handlers })
		first, second := l.connect(ln), l.connect(ln)
		l.eventually("accepted", func() bool { return ln.Len() == 2 })
		p.expect(l, "ConnectionMade")
		q.expect(l, "ConnectionMade")
		r := &result{}
		l.do(func() {
			l.connect(ln) // waits in the queue
			if err := ln.Shutdown(context.Background(), r.done); err != nil {
				l.Error(err)
			}
			if err := ln.Shutdown(context.Background(), func(error) { l.Error("done of the second Shutdown") }); !errors.Is(err, net.ErrClosed) {
				l.Errorf("second Shutdown: %v", err)
			}
		})
		waiting.expect(l, "ConnectionMade", "ShutdownRequested", "ConnectionLost")
		p.expect(l, "ShutdownRequested")
		q.expect(l, "ConnectionLost")
		if got := readAll(l, second); len(got) > 0 {
			l.Errorf("read %q", got)
		}
		expectRefused(l, ln.Addr())
		l.do(func() {
			if r.calls > 0 || ln.Len() != 1 {
				l.Errorf("done was called %d times, %d connections", r.calls, ln.Len())
			}
			p.conn.Write([]byte("the answer"))
			ln.Close() // changes nothing
			p.conn.Close()
		})
		if got := readAll(l, first); string(got) != "the answer" {
			l.Errorf("read %q", got)
		}
		p.expect(l, "ConnectionLost")
		l.expectDone(ln, r, nil)
		l.do(func() {
			if err := ln.Shutdown(context.Background(), nil); !errors.Is(err, net.ErrClosed) {
				l.Errorf("Shutdown after the end: %v", err)
			}
		})
	})
}

// TestListenerShutdownAborts checks that connections are aborted when the context
// ends, and that ConnectionLost of all comes before done.
func TestListenerShutdownAborts(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		for _, ended := range []bool{false, true} {
			told, lost := 0, 0
			ln := l.listen(network, func() stream.Handler {
				p := newPolite(func(*stream.Conn) { told++ })
				p.onConnectionLost = func(*stream.Conn, error) { lost++ }
				return p
			})
			for range 3 {
				l.connect(ln)
			}
			l.eventually("accepted", func() bool { return ln.Len() == 3 })
			ctx, cancel := context.WithCancel(context.Background())
			if ended {
				cancel()
			}
			r := &result{}
			l.do(func() {
				ln.Shutdown(ctx, func(err error) {
					r.done(err)
					if lost != 3 {
						l.Errorf("done after %d calls of ConnectionLost", lost)
					}
				})
			})
			if !ended {
				l.eventually("all are told", func() bool { return told == 3 })
				cancel()
			}
			l.expectDone(ln, r, context.Canceled)
			l.do(func() {
				if want := 3; ended && told != 0 || !ended && told != want {
					l.Errorf("%d connections told; context ended before: %v", told, ended)
				}
			})
			expectRefused(l, ln.Addr())
			cancel()
		}
	})
}

// TestListenerShutdownEmpty checks listeners without connections.
func TestListenerShutdownEmpty(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		for name, ctx := range map[string]context.Context{"background": context.Background(), "nil": nil, "ended": cancelled} {
			for _, closed := range []bool{false, true} {
				ln := l.listen(network, func() stream.Handler { return echo{} })
				if closed {
					l.do(func() { ln.Close() })
				}
				l.expectDone(ln, l.shutdown(ctx, ln), nil)
				if expectRefused(l, ln.Addr()); l.Failed() {
					l.Fatal(name, closed)
				}
			}
		}
		ln := l.listen(network, func() stream.Handler { return echo{} })
		l.do(func() {
			if err := ln.Shutdown(context.Background(), nil); err != nil {
				l.Error(err)
			}
		})
	})
}

// TestListenerShutdownHooks checks what ShutdownRequested may do.
func TestListenerShutdownHooks(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		other := l.listen(network, func() stream.Handler { return echo{} })
		dialed := newRecorder()
		var ln *stream.Listener
		for name, hook := range map[string]func(*stream.Conn){
			"Close":          func(c *stream.Conn) { c.Close() },
			"Abort":          (*stream.Conn).Abort,
			"write":          func(c *stream.Conn) { c.Write(randomBytes(1 << 20)); c.Close() },
			"Detach":         func(c *stream.Conn) { conn, _ := c.Detach(); conn.Close() },
			"listener Close": func(c *stream.Conn) { ln.Close(); c.Close() },
			"all": func(*stream.Conn) {
				for c := range ln.Conns() {
					c.Close()
				}
			},
			"Dial": func(c *stream.Conn) {
				stream.Dial(context.Background(), l.Loop, network, other.Addr().String(), dialed)
				c.Close()
			},
		} {
			ln = l.listen(network, func() stream.Handler { return newPolite(hook) })
			for range 3 {
				conn := l.connect(ln)
				go io.Copy(io.Discard, conn)
			}
			l.eventually("accepted", func() bool { return ln.Len() == 3 })
			l.expectDone(ln, l.shutdown(context.Background(), ln), nil)
			if l.Failed() {
				l.Fatal(name)
			}
		}
		for range 3 {
			dialed.expect(l, "ConnectionMade") // the connections of Dial go on
		}
		dialed.expectNone(l)
		l.do(func() {
			for c := range other.Conns() {
				c.Abort()
			}
		})
	})
}

// TestShutdownPanics checks that panics in newHandler and ShutdownRequested stop
// neither the shutdown nor the loop.
func TestShutdownPanics(t *testing.T) {
	eachRecoveringLoop(t, func(l *testLoop, panics *panicLog) {
		calls, told := 0, 0
		ln := l.listen("tcp", func() stream.Handler {
			if calls++; calls > 6 && calls%2 == 0 {
				panic("newHandler")
			}
			return newPolite(func(c *stream.Conn) {
				if told++; told%2 == 0 {
					panic("hook")
				}
				c.Close()
			})
		})
		files := descriptors(l)
		conns := []net.Conn{}
		for range 6 {
			conns = append(conns, l.connect(ln))
		}
		l.eventually("accepted", func() bool { return ln.Len() == 6 })
		r := &result{}
		l.do(func() {
			for range 6 {
				conns = append(conns, l.connect(ln))
			}
			if err := ln.Shutdown(context.Background(), r.done); err != nil {
				l.Error(err)
			}
		})
		l.expectDone(ln, r, nil)
		l.do(func() {
			if calls != 12 || told != 9 || panics.count() != 3+4 {
				l.Errorf("%d calls of newHandler, %d of ShutdownRequested, panics %v", calls, told, panics.values)
			}
		})
		for _, conn := range conns {
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) {
				l.Error(err)
			}
			conn.Close()
		}
		waitAtMost(l, "descriptors", files+1, func() int { return descriptors(l) })
	})
}

// TestShutdownDonePanics checks that done may panic.
func TestShutdownDonePanics(t *testing.T) {
	eachRecoveringLoop(t, func(l *testLoop, panics *panicLog) {
		ln := l.listen("tcp", func() stream.Handler { return echo{} })
		l.connect(ln)
		l.eventually("accepted", func() bool { return ln.Len() == 1 })
		l.do(func() { ln.Shutdown(context.Background(), func(error) { panic("done") }) })
		l.eventually("panic", func() bool { return panics.count() > 0 })
		time.Sleep(5 * time.Millisecond)
		if panics.count() != 1 || ln.Len() != 0 {
			l.Errorf("panics %v, %d connections", panics.values, ln.Len())
		}
	})
}

// TestNewHandlerPanics checks that a connection whose newHandler panics is closed,
// and that the listener goes on.
func TestNewHandlerPanics(t *testing.T) {
	eachRecoveringLoop(t, func(l *testLoop, panics *panicLog) {
		for _, network := range networks {
			calls := 0
			ln := l.listen(network, func() stream.Handler {
				if calls++; calls%2 == 1 {
					panic(network)
				}
				return echo{}
			})
			before, files := panics.count(), descriptors(l)
			for range 10 {
				conn := l.connect(ln)
				if n, err := conn.Read(make([]byte, 1)); n > 0 || !isClosedOrReset(err) {
					l.Errorf("read %d, %v", n, err)
				}
				conn.Close()
				checkEcho(l, ln.Addr())
			}
			if n := panics.count() - before; n != 10 {
				l.Errorf("%d panics, want 10", n)
			}
			l.eventually("connections closed", func() bool { return ln.Len() == 0 })
			waitAtMost(l, "descriptors", files+1, func() int { return descriptors(l) })
		}
	})
}

// TestNewHandlerPanicPropagates checks that the panic of newHandler ends Run, and
// that the listener goes on with the next Run.
func TestNewHandlerPanicPropagates(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			loop := newLoop(t, b)
			defer loop.Close()
			fail := true
			ln, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler {
				if fail {
					panic("newHandler")
				}
				return echo{}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			for range 2 {
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			}
			func() {
				defer func() {
					if v := recover(); v != "newHandler" {
						t.Errorf("panic %v", v)
					}
				}()
				for {
					loop.RunOnce(time.Second)
				}
			}()
			fail = false
			for start := time.Now(); ln.Len() == 0 && time.Since(start) < testTimeout; {
				loop.RunOnce(10 * time.Millisecond)
			}
			if ln.Len() != 1 {
				t.Errorf("%d connections, want 1", ln.Len())
			}
			for c := range ln.Conns() {
				c.Abort()
			}
			loop.RunOnce(0)
		})
	}
}

// TestShutdownInNewHandler checks that newHandler may shut its listener down.
func TestShutdownInNewHandler(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		r := &result{}
		var ln *stream.Listener
		p := newPolite(func(c *stream.Conn) { c.Close() })
		ln = l.listen("tcp", func() stream.Handler {
			ln.Shutdown(context.Background(), r.done)
			return p
		})
		l.do(func() { l.connect(ln) }) // newHandler sees ln
		p.expect(l, "ConnectionMade", "ShutdownRequested", "ConnectionLost")
		l.expectDone(ln, r, nil)
	})
}

// TestShutdownClosedLoop checks Shutdown on a loop that is closed before or
// afterwards, and on one that is stopped.
func TestShutdownClosedLoop(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			listen := func() (*eventloop.Loop, *stream.Listener, *result) {
				loop := newLoop(t, b)
				ln, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler { return newPolite(nil) })
				if err != nil {
					t.Fatal(err)
				}
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				for ln.Len() == 0 {
					loop.RunOnce(time.Second)
				}
				return loop, ln, &result{}
			}

			loop, ln, r := listen()
			loop.Close()
			if err := ln.Shutdown(context.Background(), r.done); !errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("Shutdown on a closed loop: %v", err)
			}
			ln.Close()
			for c := range ln.Conns() {
				c.Abort()
			}
			if ln.Len() != 0 || r.calls != 0 {
				t.Errorf("%d connections, done called %d times", ln.Len(), r.calls)
			}

			for steps := range 4 { // closed in different steps of the shutdown
				loop, ln, r = listen()
				if err := ln.Shutdown(context.Background(), r.done); err != nil {
					t.Error(err)
				}
				for range steps {
					loop.RunOnce(0)
				}
				loop.Close()
				ln.Close()
				for c := range ln.Conns() {
					c.Abort()
				}
				if ln.Len() != 0 || r.calls != 1 {
					t.Errorf("closed after %d turns: %d connections, done called %d times", steps, ln.Len(), r.calls)
				}
			}

			loop, ln, r = listen()
			defer loop.Close()
			ctx, cancel := context.WithCancel(context.Background())
			if err := ln.Shutdown(ctx, r.done); err != nil {
				t.Error(err)
			}
			loop.RunOnce(0)
			cancel()
			for start := time.Now(); r.calls == 0 && time.Since(start) < testTimeout; {
				loop.Stop()
				loop.Run(context.Background())
			}
			if r.calls != 1 || r.err != context.Canceled {
				t.Errorf("stopped: done called %d times with %v", r.calls, r.err)
			}
		})
	}
}

// TestGroupShutdownHooks checks that Shutdown of a group tells its connections, and
// also those that are on the way to another loop.
func TestGroupShutdownHooks(t *testing.T) {
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		var made, told, lost atomic.Int32
		addr, err := g.Listen(network, address, func() stream.Handler {
			p := newPolite(func(c *stream.Conn) {
				told.Add(1)
				c.Write([]byte("bye"))
				c.Loop().CallLater(time.Millisecond, func() { c.Close() })
			})
			p.onConnectionMade = func(*stream.Conn) { made.Add(1) }
			p.onConnectionLost = func(*stream.Conn, error) { lost.Add(1) }
			return p
		}, stream.WithRoundRobin())
		if err != nil {
			t.Fatal(err)
		}
		unblock := make(chan struct{})
		for _, loop := range g.Loops()[1:] {
			loop.Post(func() { <-unblock }) // connections are given to them, and not started
		}
		const n = 30
		conns := dialAll(t, addr, n)
		shutdownErr := make(chan error, 1)
		go func() { shutdownErr <- shutdown(t, g, testTimeout) }()
		time.Sleep(quietPeriod)
		close(unblock)
		for _, conn := range conns {
			if got := readAll(t, conn); string(got) != "bye" {
				t.Errorf("read %q", got)
			}
			conn.Close()
		}
		if err := <-shutdownErr; err != nil {
			t.Error(err)
		}
		if made.Load() != n || told.Load() != n || lost.Load() != n {
			t.Errorf("%d made, %d told, %d lost, want %d", made.Load(), told.Load(), lost.Load(), n)
		}
	})
}

// TestGroupPanics checks that panics in newHandler and ShutdownRequested close their
// connections and do not hold up Shutdown.
func TestGroupPanics(t *testing.T) {
	for _, b := range selectors.Backends() {
		for _, network := range networks {
			t.Run(b.Name+" "+network, func(t *testing.T) {
				panics := &panicLog{}
				files := descriptors(t)
				g, err := stream.NewGroup(2, func() (*eventloop.Loop, error) { return newRecoveringLoop(t, b, panics), nil })
				if err != nil {
					t.Fatal(err)
				}
				address := "127.0.0.1:0"
				if network == "unix" {
					address = socketPath(t)
				}
				var calls atomic.Int32
				addr, err := g.Listen(network, address, func() stream.Handler {
					if calls.Add(1)%2 == 0 {
						panic("newHandler")
					}
					return newPolite(func(*stream.Conn) { panic("hook") })
				})
				if err != nil {
					t.Fatal(err)
				}
				dialAll(t, addr, 10)
				if err := shutdown(t, g, testTimeout); err != nil {
					t.Error(err)
				}
				if n := panics.count(); calls.Load() != 10 || n != 10 {
					t.Errorf("%d calls, panics %v", calls.Load(), panics.values)
				}
				waitAtMost(t, "descriptors", files+2+10, func() int { return descriptors(t) })
			})
		}
	}
}

// TestRoundRobin checks that every loop gets the same number of connections.
func TestRoundRobin(t *testing.T) {
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		loops := newLoopCounter()
		addr, err := g.Listen(network, address, loops.newHandler, stream.WithRoundRobin())
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			checkEcho(t, addr)
		}
		loops.check(t, g, 3, 3, 4)
	})
}
