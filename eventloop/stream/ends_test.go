//go:build unix

package stream_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// TestDataBeforeWriteError checks that what the peer has written before it closed
// is delivered although writes fail first, and that ConnectionLost then gets the
// error of the write.
func TestDataBeforeWriteError(t *testing.T) {
	answer := strings.Repeat("413 too large. ", 20000) // several reads
	ways := []struct {
		name  string
		write func(c *stream.Conn) // makes the write side fail
	}{
		{"direct", func(c *stream.Conn) { writeUntilError(c) }},
		{"writev", func(c *stream.Conn) {
			for i := 0; i < 1000; i++ {
				if _, err := c.Writev([]byte("a"), []byte("b")); err != nil {
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		}},
		{"queue", func(c *stream.Conn) { c.Write(make([]byte, 8<<20)) }},
		{"half-closing", func(c *stream.Conn) {
			c.Write(make([]byte, 8<<20))
			c.CloseWrite()
		}},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			eachNetwork(t, func(l *testLoop, network string) {
				p := newRecorder()
				p.ignoreData = true
				var received strings.Builder
				p.onDataReceived = func(_ *stream.Conn, data []byte) { received.Write(data) }
				c, peer := l.pair(network, p)
				l.do(func() {
					c.PauseReading()
					write(l, peer, answer[:len(answer)/2])
					peer.SetDeadline(time.Now().Add(testTimeout))
					if way.name == "direct" || way.name == "writev" {
						// The peer has closed before the callback in which the writes fail.
						peer.Close()
					}
					c.ResumeReading()
					way.write(c)
				})
				if way.name == "queue" || way.name == "half-closing" {
					peer.Close()
				}
				for event := ""; event != "ConnectionLost with error"; {
					select {
					case event = <-p.events:
					case <-time.After(testTimeout):
						l.Fatal("no ConnectionLost")
					}
					if event == "ConnectionLost" {
						l.Fatal("ConnectionLost without error")
					}
				}
				checkErrorIs(l, p.err, unix.EPIPE, unix.ECONNRESET)
				if network == "unix" && received.String() != answer[:len(answer)/2] {
					l.Errorf("received %d bytes, want %d", received.Len(), len(answer)/2)
				}
				if !strings.HasPrefix(answer, received.String()) || received.Len() == 0 {
					l.Errorf("received %d bytes, want some of the answer", received.Len())
				}
				l.do(func() {
					if _, err := c.Write([]byte("x")); err == nil {
						l.Error("write after the end")
					}
				})
			})
		})
	}
}

// writeUntilError writes single bytes until a write fails.
func writeUntilError(c *stream.Conn) {
	for range 10000 {
		if _, err := c.Write([]byte("x")); err != nil {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// TestWriteErrorWhilePaused checks that a connection whose write side fails while
// reading is paused waits for ResumeReading if there is data to read, and that a
// handler that waits for ResumeWriting is told.
func TestWriteErrorWhilePaused(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		p := newRecorder()
		c, peer := l.pair("unix", p)
		l.do(func() {
			c.PauseReading()
			c.Write(make([]byte, 8<<20))
		})
		p.expect(l, "PauseWriting")
		write(l, peer, "last words")
		peer.Close()
		p.expect(l, "ResumeWriting")
		p.expectNone(l)
		l.do(func() {
			if _, err := c.Write(nil); !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
				l.Errorf("write returns %v", err)
			}
			if _, err := c.DetachFD(); err == nil {
				l.Error("detached a failed connection")
			}
			c.ResumeReading()
		})
		p.expect(l, "DataReceived last words")
		event := <-p.events
		if event == "EOFReceived" {
			event = <-p.events
		}
		if event != "ConnectionLost with error" {
			l.Errorf("event %q", event)
		}
	})
}

// A panicker is a handler whose method panics, or ends the goroutine.
type panicker struct {
	*recorder
	method string
	value  any // of the panic
}

func (p *panicker) check(method string) {
	if p.method == method {
		panic(p.value)
	}
}

func (p *panicker) ConnectionMade(c *stream.Conn) {
	p.recorder.ConnectionMade(c)
	p.check("ConnectionMade")
}

func (p *panicker) DataReceived(c *stream.Conn, data []byte) {
	p.recorder.DataReceived(c, data)
	p.check("DataReceived")
}

func (p *panicker) EOFReceived(c *stream.Conn) bool {
	p.recorder.EOFReceived(c)
	p.check("EOFReceived")
	return true
}

func (p *panicker) PauseWriting(c *stream.Conn) {
	p.recorder.PauseWriting(c)
	p.check("PauseWriting")
}

func (p *panicker) ResumeWriting(c *stream.Conn) {
	p.recorder.ResumeWriting(c)
	p.check("ResumeWriting")
}

func (p *panicker) HangupReceived(c *stream.Conn) {
	p.record("HangupReceived")
	p.check("HangupReceived")
}

func (p *panicker) ConnectionLost(c *stream.Conn, err error) {
	p.recorder.ConnectionLost(c, err)
	p.check("ConnectionLost")
}

// TestPanics checks that a panic in any method ends its connection with a
// HandlerPanic, that the panic handler of the loop learns what it was about, and
// that neither descriptors nor turns are lost.
func TestPanics(t *testing.T) {
	methods := map[string]func(l *testLoop, c *stream.Conn, peer net.Conn){
		"ConnectionMade": nil,
		"DataReceived":   func(l *testLoop, _ *stream.Conn, peer net.Conn) { write(l, peer, "x") },
		"EOFReceived":    func(_ *testLoop, _ *stream.Conn, peer net.Conn) { closeWrite(peer) },
		"PauseWriting":   func(_ *testLoop, c *stream.Conn, _ net.Conn) { c.Loop().Post(func() { c.Write(make([]byte, 8<<20)) }) },
		"ResumeWriting": func(l *testLoop, c *stream.Conn, peer net.Conn) {
			l.do(func() { c.Write(make([]byte, 16<<20)) })
			go io.Copy(io.Discard, peer)
		},
		"HangupReceived": func(l *testLoop, c *stream.Conn, peer net.Conn) {
			if _, ok := l.Selector().(*selectors.SelectSelector); ok {
				l.TB.(*testing.T).Skip("select(2) does not report a hang-up")
			}
			l.do(func() { c.PauseReading() })
			reset(peer)
		},
		"ConnectionLost": func(_ *testLoop, c *stream.Conn, _ net.Conn) { c.Loop().Post(func() { c.Close() }) },
	}
	for method, provoke := range methods {
		t.Run(method, func(t *testing.T) {
			for _, b := range selectors.Backends() {
				t.Run(b.Name, func(t *testing.T) { testPanic(t, b, method, provoke) })
			}
		})
	}
}

func testPanic(t *testing.T, b selectors.Backend, method string, provoke func(*testLoop, *stream.Conn, net.Conn)) {
	panics := make(chan eventloop.Panic, 10)
	l := newTestLoop(t, b, eventloop.WithPanicHandler(func(p eventloop.Panic) { panics <- p }))
	before := descriptors(t)
	sentinel := errors.New("sentinel")
	p := &panicker{recorder: newRecorder(), method: method, value: sentinel}
	ln := l.listen("tcp", func() stream.Handler { return p })
	peer, err := net.DialTimeout("tcp", ln.Addr().String(), testTimeout)
	if err != nil && (method != "ConnectionMade" || !errors.Is(err, unix.ECONNRESET)) { // it is reset at once
		t.Fatal(err)
	}
	p.expect(t, "ConnectionMade")
	if provoke != nil {
		provoke(l, p.conn, peer)
	}
	select {
	case got := <-panics:
		if got.Value != sentinel {
			t.Errorf("panic with %v", got.Value)
		}
		if method != "ConnectionLost" && got.Subject != any(p.conn) {
			t.Errorf("subject %T, want the connection", got.Subject)
		}
		if !strings.Contains(string(got.Stack), "panicker") {
			t.Errorf("the stack does not show the handler:\n%s", got.Stack)
		}
	case <-time.After(testTimeout):
		t.Fatal("no panic")
	}
	l.eventually("ConnectionLost", func() bool { return ln.Len() == 0 })
	want := "ConnectionLost with error"
	if method == "ConnectionLost" {
		want = "ConnectionLost"
	}
	last := ""
	for len(p.events) > 0 {
		last = <-p.events
	}
	if last != want {
		t.Errorf("last event %q, want %q", last, want)
	}
	var cause *stream.HandlerPanic
	if method != "ConnectionLost" && (!errors.As(p.err, &cause) || cause.Method != method || !errors.Is(p.err, sentinel)) {
		t.Errorf("ConnectionLost got %v", p.err)
	}
	if peer != nil {
		peer.SetReadDeadline(time.Now().Add(testTimeout))
		if _, err := io.Copy(io.Discard, peer); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the peer does not learn of the end")
		}
		peer.Close()
	}
	l.do(func() { ln.Close() })
	// The epoll selector opens one when it parks for the first time.
	waitAtMost(t, "descriptors", before+1, func() int { return descriptors(t) })
	turns := l.Stats().Turns
	time.Sleep(quietPeriod)
	if n := l.Stats().Turns - turns; n > 5 {
		t.Errorf("%d turns of an idle loop", n)
	}
}

// TestGoexit checks that a handler method that ends the goroutine ends the
// connection too.
func TestGoexit(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			loop := newLoop(t, b)
			defer loop.Close()
			ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(ends[1])
			p := newRecorder()
			p.onConnectionMade = func(*stream.Conn) { runtime.Goexit() }
			c, err := stream.Wrap(loop, ends[0], p)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				loop.RunOnce(0)
			}()
			<-done
			if _, err := loop.RunOnce(0); err != nil {
				t.Fatal(err)
			}
			p.expect(t, "ConnectionMade", "ConnectionLost with error")
			var cause *stream.HandlerPanic
			if !errors.As(p.err, &cause) || cause.Value != nil || c.FD() != -1 {
				t.Errorf("ConnectionLost got %v", p.err)
			}
		})
	}
}
