//go:build unix

package stream_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop/stream"

	"golang.org/x/sys/unix"
)

const shortTimeout = 150 * time.Millisecond

// expectTimeout checks that the connection ends with an error that is a timeout, not
// earlier than limit after start.
func (l *testLoop) expectTimeout(p *recorder, want error, start time.Time, limit time.Duration) {
	l.Helper()
	for {
		select {
		case event := <-p.events:
			if event != "ConnectionLost with error" {
				if event == "ConnectionLost" {
					l.Fatal("ConnectionLost without error")
				}
				continue
			}
		case <-time.After(testTimeout):
			l.Fatalf("no ConnectionLost, want %v", want)
		}
		break
	}
	if !errors.Is(p.err, want) || !errors.Is(p.err, os.ErrDeadlineExceeded) {
		l.Errorf("ConnectionLost got %v, want %v", p.err, want)
	}
	if elapsed := time.Since(start); elapsed < limit {
		l.Errorf("%v after only %v", want, elapsed)
	}
}

// TestIdleAfterBusyTurn checks that activity is dated when it happens: a connection
// that has answered late in a turn is not idle.
func TestIdleAfterBusyTurn(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		var lastWrite [2]atomic.Int64
		var handlers []*recorder
		newHandler := func() stream.Handler {
			i := len(handlers)
			p := newRecorder()
			p.onDataReceived = func(c *stream.Conn, data []byte) {
				time.Sleep(2 * shortTimeout)
				c.Write(data)
				lastWrite[i].Store(int64(time.Since(testStart)))
			}
			handlers = append(handlers, p)
			return p
		}
		ln := l.listen("tcp", newHandler, stream.WithIdleTimeout(shortTimeout))
		peers := []net.Conn{l.connect(ln), l.connect(ln)}
		l.eventually("two connections", func() bool { return ln.Len() == 2 })
		l.do(func() { // both are ready in one turn
			for _, peer := range peers {
				write(l, peer, "question")
			}
			time.Sleep(quietPeriod)
		})
		for i, p := range handlers {
			var buf [8]byte
			if _, err := io.ReadFull(peers[i], buf[:]); err != nil {
				l.Errorf("answer %d: %v", i, err)
			}
			p.expect(l, "ConnectionMade", "DataReceived question")
			for event := range p.events {
				if event == "ConnectionLost with error" {
					break
				}
			}
			checkErrorIs(l, p.err, stream.ErrIdle)
			if idle := time.Since(testStart) - time.Duration(lastWrite[i].Load()); idle < shortTimeout {
				l.Errorf("connection %d was lost %v after its answer", i, idle)
			}
		}
	})
}

var testStart = time.Now()

// TestIdleSlowReader checks that a peer that reads slowly keeps its connection, and
// that one that stops reading loses it.
func TestIdleSlowReader(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p, stream.WithIdleTimeout(2*shortTimeout), stream.WithWriteTimeout(2*shortTimeout))
		l.do(func() {
			// A Unix socket sends pieces of half this size, and reports them as accepted
			// when they are read whole.
			if err := unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10); err != nil {
				l.Error(err)
			}
			c.Write(make([]byte, 16<<20))
		})
		p.expect(l, "PauseWriting")
		buf := make([]byte, 16<<10)
		for start := time.Now(); time.Since(start) < 6*shortTimeout; time.Sleep(10 * time.Millisecond) {
			if _, err := io.ReadFull(peer, buf); err != nil {
				l.Fatalf("after %v: %v", time.Since(start), err)
			}
		}
		if len(p.events) > 0 {
			l.Fatalf("event %q", <-p.events)
		}
		p.expect(l, "ConnectionLost with error")
		checkErrorIs(l, p.err, stream.ErrIdle, stream.ErrWriteTimeout)
	})
}

// TestHeartbeats checks which timeouts find a peer that does not read the heartbeats
// sent to it, and one that reads them and never answers.
func TestHeartbeats(t *testing.T) {
	heartbeat := func(l *testLoop, c *stream.Conn) {
		l.do(func() {
			if _, err := l.Every(shortTimeout/3, func() { c.Write([]byte("alive")) }); err != nil {
				l.Error(err)
			}
		})
	}
	eachNetwork(t, func(l *testLoop, network string) {
		l.part("read timeout", func(l *testLoop) {
			p := newRecorder()
			c, peer := l.pair(network, p, stream.WithReadTimeout(shortTimeout))
			go io.Copy(io.Discard, peer)
			start := time.Now()
			heartbeat(l, c)
			l.expectTimeout(p, stream.ErrReadTimeout, start.Add(-quietPeriod), shortTimeout)
		})
		l.part("idle timeout, peer reads", func(l *testLoop) {
			p := newRecorder()
			c, peer := l.pair(network, p, stream.WithIdleTimeout(shortTimeout))
			go io.Copy(io.Discard, peer)
			heartbeat(l, c)
			time.Sleep(4 * shortTimeout)
			if len(p.events) > 0 {
				l.Errorf("event %q", <-p.events)
			}
		})
		if network == "unix" {
			l.part("idle timeout, peer does not read", func(l *testLoop) {
				p := newRecorder()
				c, _ := l.pair(network, p, stream.WithIdleTimeout(shortTimeout))
				start := time.Now()
				heartbeat(l, c)
				l.expectTimeout(p, stream.ErrIdle, start.Add(-quietPeriod), shortTimeout)
			})
		}
	})
}

// TestReadTimeout checks that reading that is paused does not count, that data
// does, and that the timeout can be changed and removed.
func TestReadTimeout(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		p := newRecorder()
		c, peer := l.pair("tcp", p)
		l.do(func() {
			c.SetReadTimeout(shortTimeout)
			c.PauseReading()
		})
		time.Sleep(2 * shortTimeout)
		p.expectNone(l)
		l.do(c.ResumeReading)
		for range 6 {
			write(l, peer, "x")
			p.expect(l, "DataReceived x")
			time.Sleep(shortTimeout / 3)
		}
		l.do(func() { c.SetReadTimeout(0) })
		time.Sleep(2 * shortTimeout)
		p.expectNone(l)
		start := time.Now()
		l.do(func() {
			c.SetReadTimeout(time.Hour)
			c.SetReadTimeout(shortTimeout)
		})
		l.expectTimeout(p, stream.ErrReadTimeout, start, shortTimeout)
	})
}

// TestFirstByteTimeout checks that it ends a silent client, and only that.
func TestFirstByteTimeout(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		silent, talking := newRecorder(), newRecorder()
		start := time.Now()
		l.pair("tcp", silent, stream.WithFirstByteTimeout(shortTimeout))
		_, peer := l.pair("tcp", talking, stream.WithFirstByteTimeout(shortTimeout))
		write(l, peer, "x")
		talking.expect(l, "DataReceived x")
		l.expectTimeout(silent, stream.ErrFirstByteTimeout, start, shortTimeout)
		time.Sleep(shortTimeout)
		talking.expectNone(l)
	})
}

// TestWriteTimeout checks that a peer that does not read is found, and that time
// without queued data does not count.
func TestWriteTimeout(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p, stream.WithWriteTimeout(shortTimeout))
		time.Sleep(2 * shortTimeout)
		p.expectNone(l)
		start := time.Now()
		l.do(func() {
			c.Write(make([]byte, 16<<20))
			c.Close()
		})
		l.expectTimeout(p, stream.ErrWriteTimeout, start, shortTimeout)
		if _, err := io.Copy(io.Discard, peer); err == nil && network == "tcp" {
			l.Error("the peer takes the end for the end of the data")
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
