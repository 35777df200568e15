//go:build unix

package stream_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A clockLoop is a loop with a clock that only the test advances. The test runs the
// loop itself, so that the load of the machine makes no difference.
type clockLoop struct {
	testing.TB
	*eventloop.Loop
	now time.Duration
}

// eachClockLoop runs a test with a clockLoop on every backend, and with each network.
func eachClockLoop(t *testing.T, test func(l *clockLoop, network string)) {
	for _, network := range networks {
		for _, b := range selectors.Backends() {
			t.Run(network+"/"+b.Name, func(t *testing.T) {
				l := &clockLoop{TB: t, now: time.Hour}
				l.Loop = newLoop(t, b, eventloop.WithClock(func() time.Duration { return l.now }))
				t.Cleanup(func() { l.Close() })
				test(l, network)
			})
		}
	}
}

// run runs the loop until nothing more happens.
func (l *clockLoop) run() {
	l.Helper()
	for quiet := 0; quiet < 3; quiet++ {
		ran, err := l.RunOnce(0)
		if err != nil {
			l.Fatal(err)
		}
		if ran > 0 {
			quiet = 0
		}
	}
}

// advance lets time pass in small steps. It calls each at every step.
func (l *clockLoop) advance(d time.Duration, each func()) {
	l.Helper()
	const step = 5 * time.Millisecond
	for end := l.now + d; l.now < end; {
		l.now += step
		if each != nil {
			each()
		}
		l.run()
	}
}

// pair returns a connection with a recorder and its non-blocking peer.
func (l *clockLoop) pair(network string, p *recorder, opts ...stream.Option) (c *stream.Conn, peer int) {
	l.Helper()
	var fd int
	if network == "unix" {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			l.Fatal(err)
		}
		fd, peer = ends[0], ends[1]
	} else {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.Fatal(err)
		}
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			l.Fatal(err)
		}
		defer client.Close()
		server, err := ln.Accept()
		if err != nil {
			l.Fatal(err)
		}
		defer server.Close()
		fd, peer = dupConn(l, server), dupConn(l, client)
	}
	if err := unix.SetNonblock(peer, true); err != nil {
		l.Fatal(err)
	}
	// A Unix socket sends pieces of half this size, and reports them as accepted when
	// they are read whole.
	if network == "unix" {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10); err != nil {
			l.Fatal(err)
		}
	}
	l.Cleanup(func() { unix.Close(peer) })
	c, err := stream.Wrap(l.Loop, fd, p, opts...)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(c.Abort)
	l.run()
	p.expect(l, "ConnectionMade")
	return c, peer
}

func dupConn(t testing.TB, conn net.Conn) int {
	t.Helper()
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// read reads at most n bytes from a peer.
func (l *clockLoop) read(peer, n int) (got int) {
	buf := make([]byte, n)
	for got < n {
		m, err := unix.Read(peer, buf[got:])
		if err == unix.EINTR {
			continue
		}
		if m <= 0 {
			break
		}
		got += m
	}
	return got
}

func (l *clockLoop) write(peer int, s string) {
	l.Helper()
	for {
		_, err := unix.Write(peer, []byte(s))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			l.Error(err)
		}
		return
	}
}

// expectAlive checks that the connection has not ended.
func (l *clockLoop) expectAlive(p *recorder, when string) {
	l.Helper()
	for len(p.events) > 0 {
		if event := <-p.events; event == "ConnectionLost" || event == "ConnectionLost with error" {
			l.Fatalf("%s: %s: %v", when, event, p.err)
		}
	}
}

// expectTimeout checks that the connection does not end within limit minus a
// step, and ends with an error that is a timeout within 5/4 of it.
func (l *clockLoop) expectTimeout(p *recorder, want error, limit time.Duration, each func()) {
	l.Helper()
	l.advance(limit-10*time.Millisecond, each)
	l.expectAlive(p, "before the timeout")
	l.advance(limit/4+20*time.Millisecond, each)
	last := ""
	for len(p.events) > 0 {
		last = <-p.events
	}
	if last != "ConnectionLost with error" || !errors.Is(p.err, want) || !errors.Is(p.err, os.ErrDeadlineExceeded) {
		l.Errorf("%q with %v, want %v", last, p.err, want)
	}
}

const timeout = 400 * time.Millisecond // on the test's clock

// TestIdleAfterBusyTurn checks that activity is dated when it happens: a connection
// that has answered late in a turn is not idle.
func TestIdleAfterBusyTurn(t *testing.T) {
	eachClockLoop(t, func(l *clockLoop, network string) {
		p, q := newRecorder(), newRecorder()
		answer := func(c *stream.Conn, data []byte) {
			l.now += 2 * timeout
			c.Write(data)
		}
		p.onDataReceived, q.onDataReceived = answer, answer
		_, peerP := l.pair(network, p, stream.WithIdleTimeout(timeout))
		_, peerQ := l.pair(network, q, stream.WithIdleTimeout(timeout))
		l.write(peerP, "question") // both are ready in one turn
		l.write(peerQ, "question")
		l.run()
		l.expectAlive(q, "after the turn")
		q.events <- "checked"
		l.expectTimeout(q, stream.ErrIdle, timeout, nil)
		if n := l.read(peerP, 8) + l.read(peerQ, 8); n != 16 {
			l.Errorf("the peers have %d bytes, want both answers", n)
		}
	})
}

// TestIdleSlowReader checks that a peer that reads slowly keeps its connection, and
// that one that stops reading loses it.
func TestIdleSlowReader(t *testing.T) {
	for name, option := range map[string]stream.Option{"idle": stream.WithIdleTimeout(timeout), "write": stream.WithWriteTimeout(timeout)} {
		t.Run(name, func(t *testing.T) {
			eachClockLoop(t, func(l *clockLoop, network string) {
				want := stream.ErrIdle
				if name == "write" {
					want = stream.ErrWriteTimeout
				}
				p := newRecorder()
				c, peer := l.pair(network, p, option)
				c.Write(make([]byte, 32<<20))
				l.advance(5*timeout, func() { l.read(peer, 16<<10) })
				l.expectAlive(p, "while the peer reads")
				if c.Unsent() == 0 {
					l.Fatal("the peer has read all")
				}
				if network == "unix" {
					l.expectTimeout(p, want, timeout, nil)
					return
				}
				// The kernel of a TCP peer accepts data in larger pieces than the peer
				// reads, so the time may count from earlier.
				l.advance(2*timeout, nil)
				p.expect(l, "ConnectionLost with error")
				checkErrorIs(l, p.err, want)
			})
		})
	}
}

// TestHeartbeats checks which timeouts find a peer that does not read the heartbeats
// sent to it, and one that reads them and never answers.
func TestHeartbeats(t *testing.T) {
	eachClockLoop(t, func(l *clockLoop, network string) {
		heartbeat := func(c *stream.Conn) {
			if _, err := l.Every(timeout/4, func() { c.Write([]byte("alive")) }); err != nil {
				l.Error(err)
			}
		}
		p := newRecorder()
		c, peer := l.pair(network, p, stream.WithReadTimeout(timeout))
		heartbeat(c)
		l.expectTimeout(p, stream.ErrReadTimeout, timeout, func() { l.read(peer, 100) })

		p = newRecorder()
		c, peer = l.pair(network, p, stream.WithIdleTimeout(timeout))
		heartbeat(c)
		l.advance(4*timeout, func() { l.read(peer, 100) })
		l.expectAlive(p, "while the peer reads")
		if network == "unix" { // the kernel of a TCP peer acknowledges for it
			l.advance(timeout/4, func() { l.read(peer, 100) })
			l.advance(2*timeout, nil)
			p.expect(l, "ConnectionLost with error")
			checkErrorIs(l, p.err, stream.ErrIdle)
		}
	})
}

// TestIdleGivesTimeToAnswer checks that what is sent near the end of the idle time
// gives the peer the whole time to accept it.
func TestIdleGivesTimeToAnswer(t *testing.T) {
	eachClockLoop(t, func(l *clockLoop, network string) {
		p := newRecorder()
		c, _ := l.pair(network, p, stream.WithIdleTimeout(timeout))
		l.advance(timeout-10*time.Millisecond, nil)
		c.Write(make([]byte, 8<<20))
		if network == "unix" {
			l.expectTimeout(p, stream.ErrIdle, timeout, nil)
			return
		}
		// The kernel of a TCP peer accepts a part in its own time.
		l.advance(timeout-10*time.Millisecond, nil)
		l.expectAlive(p, "before the timeout")
	})
}

// TestReadTimeout checks that reading that is paused does not count, that data
// does, and that the timeout can be changed and removed.
func TestReadTimeout(t *testing.T) {
	eachClockLoop(t, func(l *clockLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p)
		c.SetReadTimeout(timeout)
		c.PauseReading()
		l.advance(2*timeout, nil)
		l.expectAlive(p, "while reading is paused")
		c.ResumeReading()
		for range 6 {
			l.write(peer, "x")
			l.advance(timeout/2, nil)
			p.expect(l, "DataReceived x")
		}
		c.SetReadTimeout(0)
		l.advance(2*timeout, nil)
		l.expectAlive(p, "without a timeout")
		c.SetReadTimeout(time.Hour)
		c.SetReadTimeout(timeout)
		l.expectTimeout(p, stream.ErrReadTimeout, timeout, nil)
	})
}

// TestReadTimeoutAfterEnd checks that the time does not count after the end of the
// peer's data.
func TestReadTimeoutAfterEnd(t *testing.T) {
	eachClockLoop(t, func(l *clockLoop, network string) {
		p := newRecorder()
		p.keepOpen = true
		_, peer := l.pair(network, p, stream.WithReadTimeout(timeout), stream.WithFirstByteTimeout(timeout))
		unix.Shutdown(peer, unix.SHUT_WR)
		l.advance(3*timeout, nil)
		p.expect(l, "EOFReceived")
		l.expectAlive(p, "after the end")
	})
}

// TestFirstByteTimeout checks that it ends a silent client, and only that.
func TestFirstByteTimeout(t *testing.T) {
	eachClockLoop(t, func(l *clockLoop, network string) {
		silent, talking := newRecorder(), newRecorder()
		_, peer := l.pair(network, talking, stream.WithFirstByteTimeout(timeout))
		l.pair(network, silent, stream.WithFirstByteTimeout(timeout))
		l.write(peer, "x")
		l.expectTimeout(silent, stream.ErrFirstByteTimeout, timeout, nil)
		l.advance(timeout, nil)
		l.expectAlive(talking, "after the first byte")
	})
}

// TestWriteTimeout checks that a peer that does not read is found, also after Close,
// and that time without queued data does not count.
func TestWriteTimeout(t *testing.T) {
	eachClockLoop(t, func(l *clockLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p, stream.WithWriteTimeout(timeout))
		l.advance(3*timeout, nil)
		l.expectAlive(p, "with an empty queue")
		c.Write(make([]byte, 8<<20))
		c.Close()
		if network == "unix" {
			l.expectTimeout(p, stream.ErrWriteTimeout, timeout, nil)
		} else {
			l.advance(timeout-10*time.Millisecond, nil)
			l.expectAlive(p, "before the timeout")
			for start := time.Now(); len(p.events) == 0 && time.Since(start) < testTimeout; {
				l.advance(timeout, nil) // the kernel of a TCP peer accepts a part in its own time
			}
			p.expect(l, "ConnectionLost with error")
			checkErrorIs(l, p.err, stream.ErrWriteTimeout)
			for {
				_, err := unix.Read(peer, make([]byte, 64<<10))
				if err == unix.ECONNRESET {
					break
				}
				if err != nil && err != unix.EINTR {
					l.Fatalf("the peer reads %v, want a reset", err)
				}
			}
		}
	})
}

// TestMaxUnsent checks that a connection whose queue exceeds its limit is aborted.
func TestMaxUnsent(t *testing.T) {
	writes := map[string]func(c *stream.Conn, p []byte) error{
		"write": func(c *stream.Conn, p []byte) error {
			_, err := c.Write(p)
			return err
		},
		"writev": func(c *stream.Conn, p []byte) error {
			_, err := c.Writev(p[:1], p[1:])
			return err
		},
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			eachNetwork(t, func(l *testLoop, network string) {
				const limit = 1 << 20
				p := newRecorder()
				c, _ := l.pair(network, p, stream.WithMaxUnsent(limit), stream.WithWaterMarks(limit, 0))
				l.do(func() {
					var err error
					most := 0
					for n := 0; err == nil && n < 64<<20; n += 64 << 10 {
						most = max(most, c.Unsent())
						err = write(c, make([]byte, 64<<10))
					}
					if !errors.Is(err, stream.ErrTooMuchUnsent) || most > limit || most < limit/2 {
						l.Errorf("write returns %v with %d bytes unsent", err, most)
					}
				})
				p.expect(l, "ConnectionLost with error")
				checkErrorIs(l, p.err, stream.ErrTooMuchUnsent)
			})
		})
	}
}

// TestSetWaterMarks checks that new water marks hold at once.
func TestSetWaterMarks(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		p := newRecorder()
		c, peer := l.pair("unix", p, stream.WithWaterMarks(64<<20, 64<<20))
		l.do(func() { c.Write(make([]byte, 16<<20)) })
		p.expectNone(l)
		l.do(func() { c.SetWaterMarks(1<<20, 0) })
		p.expect(l, "PauseWriting")
		l.do(func() { c.SetWaterMarks(8<<20, 8<<20) })
		if _, err := io.CopyN(io.Discard, peer, 12<<20); err != nil {
			l.Error(err)
		}
		p.expect(l, "ResumeWriting")
	})
}
