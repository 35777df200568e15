//go:build unix

package stream_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

type echo struct{ stream.BaseHandler }

func (echo) DataReceived(c *stream.Conn, p []byte) { c.Write(p) }

// eachNetwork runs a test with every backend and network.
func eachNetwork(t *testing.T, test func(l *testLoop, network string)) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			eachBackend(t, func(l *testLoop) { test(l, network) })
		})
	}
}

func TestEcho(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		ln := l.listen(network, func() stream.Handler { return echo{} })
		var conns []net.Conn
		for range 8 {
			conns = append(conns, l.connect(ln))
		}
		runConcurrently(len(conns), func(i int) {
			conn := conns[i]
			for _, size := range []int{1, 64, 1000, 64 << 10, 1 << 20} {
				message := randomBytes(size)
				go conn.Write(message)
				got := make([]byte, size)
				if _, err := io.ReadFull(conn, got); err != nil {
					l.Error(err)
				}
				checkBytes(l, "echo", got, message)
			}
		})
	})
}

// A memoryOrderHandler reads a variable that its client sets before it writes to
// the connection, and sets another one before it answers.
type memoryOrderHandler struct {
	stream.BaseHandler
	asked, answered *int
}

func (h memoryOrderHandler) DataReceived(c *stream.Conn, p []byte) {
	*h.answered = *h.asked + 1
	if *h.asked%2 == 0 {
		c.Write(p)
	} else {
		c.Writev(p[:1], p[1:])
	}
}

// TestMemoryOrder checks that a write happens before the read of its data at the
// other end, as with package net. The race detector must see that order.
func TestMemoryOrder(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		var asked, answered int
		conn := l.connect(l.listen(network, func() stream.Handler { return memoryOrderHandler{asked: &asked, answered: &answered} }))
		message := make([]byte, 2)
		for range 4 {
			asked++
			write(l, conn, "ab")
			if _, err := io.ReadFull(conn, message); err != nil || string(message) != "ab" {
				l.Fatalf("read %q, %v", message, err)
			}
			if answered != asked+1 {
				l.Fatalf("answered %d to %d", answered, asked)
			}
		}
	})
}

// TestLife checks the events of a connection that its two ends close in
// different ways, after a message in each direction.
func TestLife(t *testing.T) {
	type netConn interface {
		net.Conn
		CloseWrite() error
	}
	for _, test := range []struct {
		name     string
		keepOpen bool
		conn     func(c *stream.Conn) // on the loop
		peer     func(c netConn)
		want     []string
	}{
		{"the peer closes", false, nil, func(c netConn) { c.Close() }, []string{"EOFReceived", "ConnectionLost"}},
		{"the peer half-closes", false, nil, func(c netConn) { c.CloseWrite() }, []string{"EOFReceived", "ConnectionLost"}},
		{"close", false, func(c *stream.Conn) { c.Close() }, nil, []string{"ConnectionLost"}},
		{"close twice", false, func(c *stream.Conn) { c.Close(); c.Close() }, nil, []string{"ConnectionLost"}},
		{"abort", false, (*stream.Conn).Abort, nil, []string{"ConnectionLost"}},
		{"abort after close", false, func(c *stream.Conn) { c.Close(); c.Abort() }, nil, []string{"ConnectionLost"}},
		{"half-close, then the peer", false, func(c *stream.Conn) { c.CloseWrite() }, func(c netConn) { c.CloseWrite() }, []string{"EOFReceived", "ConnectionLost"}},
		{"half-close, then the peer, keepOpen", true, func(c *stream.Conn) { c.CloseWrite() }, func(c netConn) { c.CloseWrite() }, []string{"EOFReceived", "ConnectionLost"}},
		{"half-close twice", true, func(c *stream.Conn) { c.CloseWrite(); c.CloseWrite() }, func(c netConn) { c.Close() }, []string{"EOFReceived", "ConnectionLost"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachNetwork(t, func(l *testLoop, network string) {
				p := newRecorder()
				p.keepOpen = test.keepOpen
				c, peer := l.pair(network, p)
				write(l, peer, "ping")
				p.expect(l, "DataReceived ping")
				l.do(func() {
					if n, err := c.Write([]byte("pong")); n != 4 || err != nil {
						l.Error(n, err)
					}
				})
				pong := make([]byte, 4)
				if _, err := io.ReadFull(peer, pong); err != nil || string(pong) != "pong" {
					l.Errorf("the peer reads %q, %v", pong, err)
				}
				if test.conn != nil {
					l.do(func() { test.conn(c) })
				}
				if test.peer != nil {
					test.peer(peer.(netConn))
				}
				p.expect(l, test.want...)
				l.do(func() {
					if p.err != nil {
						l.Errorf("ConnectionLost error %v", p.err)
					}
				})
				l.eventually("descriptor closed", func() bool { return c.FD() == -1 })
				l.do(func() {
					if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) || !c.Closed() {
						l.Errorf("write after the end: %v", err)
					}
					if err := c.CloseWrite(); !errors.Is(err, net.ErrClosed) {
						l.Errorf("CloseWrite after the end: %v", err)
					}
					c.PauseReading()
					c.ResumeReading()
					c.SetIdleTimeout(time.Millisecond)
					c.Close()
					c.Abort()
					if l.Selector().Len() != 1 { // the listener
						l.Errorf("%d descriptors are registered", l.Selector().Len())
					}
				})
				p.expectNone(l)
			})
		})
	}
}

// TestHalfClose checks that data arrives after the receiver has closed its write
// side, in both directions.
func TestHalfClose(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		p.keepOpen = true
		c, peer := l.pair(network, p)
		write(l, peer, "question")
		peer.(interface{ CloseWrite() error }).CloseWrite()
		p.expect(l, "DataReceived question", "EOFReceived")
		p.expectNone(l)
		answer := randomBytes(4 << 20)
		l.do(func() { c.Write(answer); c.CloseWrite() })
		l.do(func() {
			if _, err := c.Write([]byte("x")); !errors.Is(err, stream.ErrWriteClosed) {
				l.Errorf("write after CloseWrite: %v", err)
			}
			if _, err := c.Writev([]byte("x")); !errors.Is(err, stream.ErrWriteClosed) {
				l.Errorf("writev after CloseWrite: %v", err)
			}
		})
		checkBytes(l, "answer", readAll(l, peer), answer)
		if p.countUntil(l, "ConnectionLost"); p.err != nil {
			l.Error(p.err)
		}
	})
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p)
		l.do(func() { c.Write([]byte("all")); c.CloseWrite() })
		if got := readAll(l, peer); string(got) != "all" {
			l.Errorf("the peer reads %q", got)
		}
		p.expectNone(l)
		write(l, peer, "still here")
		p.expect(l, "DataReceived still here")
		peer.Close()
		p.expect(l, "EOFReceived", "ConnectionLost")
	})
}

// TestCloseFlushes checks that Close sends all data first, also to a slow peer.
func TestCloseFlushes(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p)
		message := randomBytes(8 << 20)
		l.do(func() {
			c.Write(message)
			c.Close()
			if c.Unsent() == 0 {
				l.Error("no unsent data: the message is too small for this test")
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				l.Errorf("write after Close: %v", err)
			}
		})
		p.expect(l, "PauseWriting")
		p.expectNone(l)
		checkBytes(l, "message", readAll(l, peer), message)
		p.expect(l, "ConnectionLost")
		if p.err != nil {
			l.Error(p.err)
		}
	})
}

// TestAbort checks that Abort discards unsent data.
func TestAbort(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p)
		message := randomBytes(16 << 20)
		l.do(func() { c.Write(message); c.Abort() })
		p.expect(l, "PauseWriting", "ConnectionLost")
		got, err := io.ReadAll(peer)
		if len(got) >= len(message) {
			l.Error("all data was sent")
		}
		if network == "tcp" && !errors.Is(err, unix.ECONNRESET) {
			l.Errorf("the peer reads until %v, want a reset", err)
		}
	})
}

// TestReset checks a reset by the peer in each state of the connection.
func TestReset(t *testing.T) {
	big := randomBytes(16 << 20)
	for _, test := range []struct {
		name    string
		prepare func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) // before the reset
		trigger func(c *stream.Conn)                                          // after it; needed if the state hides the reset
		want    []error
	}{
		{"idle", nil, nil, []error{unix.ECONNRESET}},
		{"unread data", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			l.do(func() { c.Write([]byte("unread")) })
		}, nil, []error{unix.ECONNRESET}},
		{"writing", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			l.do(func() { c.Write(big) })
			p.expect(l, "PauseWriting")
		}, nil, []error{unix.ECONNRESET, unix.EPIPE}},
		{"paused", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			l.do(c.PauseReading)
		}, (*stream.Conn).ResumeReading, []error{unix.ECONNRESET}},
		{"paused, then writes", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			l.do(c.PauseReading)
		}, func(c *stream.Conn) { c.Write([]byte("x")) }, []error{unix.ECONNRESET, unix.EPIPE}},
		{"paused, then writes several", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			l.do(c.PauseReading)
		}, func(c *stream.Conn) { c.Writev([]byte("x"), []byte("y")) }, []error{unix.ECONNRESET, unix.EPIPE}},
		{"paused and writing", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			l.do(func() { c.PauseReading(); c.Write(big) })
			p.expect(l, "PauseWriting")
		}, nil, []error{unix.ECONNRESET, unix.EPIPE}},
		{"half-closed by the peer", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			peer.(*net.TCPConn).CloseWrite()
			p.expect(l, "EOFReceived")
		}, func(c *stream.Conn) { c.Write([]byte("x")) }, []error{unix.ECONNRESET, unix.EPIPE}},
		{"half-closed by the peer, writing", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			peer.(*net.TCPConn).CloseWrite()
			p.expect(l, "EOFReceived")
			l.do(func() { c.Write(big) })
			p.expect(l, "PauseWriting")
		}, nil, []error{unix.ECONNRESET, unix.EPIPE}},
		{"half-closed", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			l.do(func() { c.CloseWrite() })
		}, nil, []error{unix.ECONNRESET}},
		{"half-closing", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			l.do(func() { c.Write(big); c.CloseWrite() })
			p.expect(l, "PauseWriting")
		}, nil, []error{unix.ECONNRESET, unix.EPIPE}},
		{"closing", func(l *testLoop, c *stream.Conn, p *recorder, peer net.Conn) {
			l.do(func() { c.Write(big); c.Close() })
			p.expect(l, "PauseWriting")
		}, nil, []error{unix.ECONNRESET, unix.EPIPE}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachBackend(t, func(l *testLoop) {
				p := newRecorder()
				p.keepOpen = true
				c, peer := l.pair("tcp", p)
				if test.prepare != nil {
					test.prepare(l, c, p, peer)
				}
				reset(peer)
				if test.trigger != nil {
					time.Sleep(quietPeriod) // the reset arrives
					l.do(func() { test.trigger(c) })
				}
				p.expect(l, "ConnectionLost with error")
				checkErrorIs(l, p.err, test.want...)
				l.eventually("descriptor released", func() bool { return c.FD() == -1 && c.Unsent() == 0 && l.Selector().Len() == 1 })
				p.expectNone(l)
			})
		})
	}
}

// TestDataBeforeEnd checks that data sent before EOF is delivered once.
func TestDataBeforeEnd(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		message := randomBytes(1 << 20)
		var got []byte
		p := newRecorder()
		p.ignoreData = true
		p.onDataReceived = func(_ *stream.Conn, data []byte) { got = append(got, data...) }
		_, peer := l.pair(network, p)
		if _, err := peer.Write(message); err != nil {
			l.Error(err)
		}
		peer.Close()
		p.expect(l, "EOFReceived", "ConnectionLost")
		checkBytes(l, "message", got, message)
	})
}

// TestCloseAfterHalfClose checks that the connection ends when a peer half-closes
// and later closes: at once if the selector reports hints, otherwise at the next
// write.
func TestCloseAfterHalfClose(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		p.keepOpen = true
		c, peer := l.pair(network, p)
		peer.(interface{ CloseWrite() error }).CloseWrite()
		p.expect(l, "EOFReceived")
		p.expectNone(l)
		if network == "tcp" {
			reset(peer)
		} else {
			peer.Close()
		}
		features := selectors.FeaturePriority | selectors.FeatureHangup
		l.do(func() { features &= l.Selector().Features() })
		if features != selectors.FeaturePriority|selectors.FeatureHangup {
			p.expectNone(l)
			l.do(func() { c.Write([]byte("x")) })
		}
		p.expect(l, "ConnectionLost with error")
		checkErrorIs(l, p.err, unix.ECONNRESET, unix.EPIPE)
	})
}

// TestUrgentAfterEnd checks that unread urgent data does not make the loop spin.
func TestUrgentAfterEnd(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		p := newRecorder()
		p.keepOpen = true
		c, peer := l.pair("tcp", p)
		rc, err := peer.(*net.TCPConn).SyscallConn()
		if err != nil {
			l.Fatal(err)
		}
		rc.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
		if err != nil {
			l.Skip("no urgent data: ", err)
		}
		peer.(*net.TCPConn).CloseWrite()
		p.expect(l, "EOFReceived")
		time.Sleep(quietPeriod)
		turns := l.Stats().Turns
		time.Sleep(idlePeriod)
		if n := l.Stats().Turns - turns; n > 20 {
			l.Errorf("%d turns of an idle loop", n)
		}
		l.do(func() { c.Write([]byte("answer")); c.Close() })
		if got := readAll(l, peer); string(got) != "answer" {
			l.Errorf("the peer reads %q", got)
		}
	})
}

// TestClosedByOthers closes the descriptor of a connection without the Conn. If
// the backend reports that, the connection ends and does not close the number
// again.
func TestClosedByOthers(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		invalid := false
		l.do(func() { invalid = l.Selector().Features()&selectors.FeatureInvalid != 0 })
		if !invalid {
			l.Skip("this backend does not report invalid descriptors")
		}
		p := newRecorder()
		c, peer := l.pair("tcp", p)
		high := -1 // a number that is not reused soon
		l.do(func() {
			fd, err := c.DetachFD()
			if err == nil {
				high, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 700)
			}
			unix.Close(fd)
			if err == nil {
				c, err = stream.Wrap(l.Loop, high, p)
			}
			if err != nil {
				l.Error(err)
			}
		})
		p.expect(l, "ConnectionMade")
		reused := -1
		l.do(func() {
			p.onConnectionLost = func(*stream.Conn, error) { reused, _ = unix.FcntlInt(0, unix.F_DUPFD, high) }
			unix.Close(high)
		})
		p.expect(l, "ConnectionLost with error")
		checkErrorIs(l, p.err, unix.EBADF)
		l.eventually("descriptor released", func() bool { return c.FD() == -1 && l.Selector().Len() == 1 })
		if err := unix.Close(reused); err != nil || reused != high {
			l.Errorf("new descriptor %d, want %d, still open: %v", reused, high, err)
		}
		peer.Close()
	})
}

func TestPauseReading(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p)
		l.do(func() {
			c.PauseReading()
			c.PauseReading()
			if n := l.Selector().Len(); n != 1 {
				l.Errorf("%d descriptors are registered, want only the listener", n)
			}
		})
		write(l, peer, "one")
		p.expectNone(l)
		l.do(func() { c.Write([]byte("out")) })
		out := make([]byte, 3)
		if _, err := io.ReadFull(peer, out); err != nil {
			l.Error("writing while reading is paused:", err)
		}
		l.do(c.ResumeReading)
		p.expect(l, "DataReceived one")
		// PauseReading inside DataReceived, with more data to come.
		l.do(func() { p.onDataReceived = func(c *stream.Conn, data []byte) { c.PauseReading() } })
		write(l, peer, "two")
		p.expect(l, "DataReceived two")
		write(l, peer, "three")
		peer.Close()
		p.expectNone(l)
		l.do(c.ResumeReading)
		p.expect(l, "DataReceived three")
		p.expectNone(l)
		l.do(c.ResumeReading)
		p.expect(l, "EOFReceived", "ConnectionLost")
	})
}

// TestFairness checks that a connection with much data is read once per turn, and
// one buffer at most.
func TestFairness(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		const each = 1 << 20
		done := make(chan struct{})
		left := 2 * each
		ln := l.listen("unix", func() stream.Handler {
			p := newRecorder()
			p.ignoreData = true
			last := time.Duration(-1)
			p.onDataReceived = func(_ *stream.Conn, data []byte) {
				if len(data) > 64<<10 {
					l.Errorf("%d bytes at once", len(data))
				}
				if now := l.Now(); now == last {
					l.Error("read twice in a turn")
				} else {
					last = now
				}
				if left -= len(data); left == 0 {
					close(done)
				}
			}
			return p
		})
		a, b := l.connect(ln), l.connect(ln)
		go a.Write(make([]byte, each))
		go b.Write(make([]byte, each))
		select {
		case <-done:
		case <-time.After(testTimeout):
			l.Fatal("timeout")
		}
	})
}

func TestIdleTimeout(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		const limit = 80 * time.Millisecond
		p := newRecorder()
		_, peer := l.pair("tcp", p, stream.WithIdleTimeout(limit))
		for range 4 { // activity restarts the timeout
			time.Sleep(limit / 2)
			write(l, peer, "x")
			p.expect(l, "DataReceived x")
		}
		start := time.Now()
		write(l, peer, "y")
		p.expect(l, "DataReceived y", "ConnectionLost with error")
		if elapsed := time.Since(start); elapsed < limit {
			l.Errorf("idle for only %v", elapsed)
		}
		if p.err != stream.ErrIdle || !errors.Is(p.err, os.ErrDeadlineExceeded) {
			l.Errorf("ConnectionLost error %v", p.err)
		}

		// A peer that does not read the queued data is idle too.
		q := newRecorder()
		c, _ := l.pair("tcp", q)
		l.do(func() {
			c.Write(make([]byte, 16<<20))
			c.SetIdleTimeout(limit)
			c.Close()
		})
		q.expect(l, "PauseWriting", "ConnectionLost with error")

		// SetIdleTimeout(0) removes the timeout.
		r := newRecorder()
		c, _ = l.pair("tcp", r, stream.WithIdleTimeout(quietPeriod/2))
		l.do(func() { c.SetIdleTimeout(0) })
		r.expectNone(l)
	})
}

func TestAddresses(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p)
		l.do(func() {
			local, remote := c.LocalAddr(), c.RemoteAddr()
			if local == nil || local.String() != peer.RemoteAddr().String() || local.Network() != network {
				l.Errorf("local %v, want %v", local, peer.RemoteAddr())
			}
			if network == "tcp" && (remote == nil || remote.String() != peer.LocalAddr().String()) {
				l.Errorf("remote %v, want %v", remote, peer.LocalAddr())
			}
			if c.Loop() != l.Loop {
				l.Error("Loop returns another loop")
			}
		})
		peer.Close()
		p.expect(l, "EOFReceived", "ConnectionLost")
		l.eventually("the end", func() bool { return c.LocalAddr() == nil })
		l.do(func() {
			// Only a TCP address is remembered.
			if remote := c.RemoteAddr(); network == "tcp" && (remote == nil || remote.String() != peer.LocalAddr().String()) || network == "unix" && remote != nil {
				l.Errorf("remote %v after the end", remote)
			}
		})
	})
}

// TestAbortOthers aborts other connections that are ready in the same turn.
func TestAbortOthers(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		var all []*recorder
		received := 0
		ln := l.listen("tcp", func() stream.Handler {
			p := newRecorder()
			p.onDataReceived = func(*stream.Conn, []byte) {
				received++
				for _, q := range all {
					q.conn.Abort()
				}
			}
			all = append(all, p)
			return p
		})
		var peers []net.Conn
		for range 20 {
			peers = append(peers, l.connect(ln))
		}
		l.eventually("all connections are accepted", func() bool { return len(all) == len(peers) })
		l.do(func() { // so that all are ready in one turn
			for _, peer := range peers {
				write(l, peer, "x")
			}
		})
		l.eventually("all connections are closed", func() bool { return ln.Len() == 0 })
		l.do(func() {
			if received != 1 {
				l.Errorf("%d connections received data, want 1", received)
			}
		})
	})
}
