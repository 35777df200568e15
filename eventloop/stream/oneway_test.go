//go:build unix

package stream_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// wrap is stream.Wrap on the loop.
func (l *testLoop) wrap(conn any, h stream.Handler, opts ...stream.Option) *stream.Conn {
	l.Helper()
	var c *stream.Conn
	var err error
	l.do(func() { c, err = stream.Wrap(l.Loop, conn, h, opts...) })
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { l.do(c.Abort) })
	return c
}

// pipe returns the descriptors of a pipe. The test must close them.
func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// TestPipeWriteEnd checks the write end of a pipe: it is not read, and ends when
// the reader leaves, without an error if all data was sent.
func TestPipeWriteEnd(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		l.part("reader leaves", func(l *testLoop) {
			r, w := pipe(l)
			p := newRecorder()
			l.wrap(w, p)
			p.expect(l, "ConnectionMade")
			p.expectNone(l)
			unix.Close(r)
			p.expect(l, "ConnectionLost")
		})
		l.part("reader leaves with unsent data", func(l *testLoop) {
			r, w := pipe(l)
			p := newRecorder()
			c := l.wrap(w, p)
			p.expect(l, "ConnectionMade")
			l.do(func() { c.Write(make([]byte, 1<<20)) })
			p.expect(l, "PauseWriting")
			unix.Close(r)
			p.expect(l, "ConnectionLost with error")
			checkErrorIs(l, p.err, unix.EPIPE)
		})
		l.part("write after the reader has left", func(l *testLoop) {
			r, w := pipe(l)
			unix.Close(r)
			p := newRecorder()
			p.onConnectionMade = func(c *stream.Conn) { c.Write([]byte("x")) }
			l.wrap(w, p)
			p.expect(l, "ConnectionMade", "ConnectionLost with error")
			checkErrorIs(l, p.err, unix.EPIPE)
		})
		l.part("CloseWrite", func(l *testLoop) {
			r, w := pipe(l)
			f := os.NewFile(uintptr(r), "r")
			defer f.Close()
			p := newRecorder()
			c := l.wrap(w, p)
			p.expect(l, "ConnectionMade")
			data := randomBytes(1 << 20)
			l.do(func() {
				c.Write(data)
				if err := c.CloseWrite(); err != nil {
					l.Error(err)
				}
				if _, err := c.Write([]byte("x")); !errors.Is(err, stream.ErrWriteClosed) {
					l.Errorf("write returns %v", err)
				}
			})
			checkBytes(l, "pipe", readAll(l, f), data)
			p.expect(l, "PauseWriting", "ResumeWriting", "ConnectionLost")
		})
	})
}

// part runs a part of a test on the same loop.
func (l *testLoop) part(name string, f func(l *testLoop)) {
	l.TB.(*testing.T).Run(name, func(t *testing.T) { f(&testLoop{t, l.Loop}) })
}

// TestPipeReadEnd checks the read end of a pipe: it is not written, and the end of
// the data ends it.
func TestPipeReadEnd(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		r, w := pipe(l)
		p := newRecorder()
		p.keepOpen = true
		c := l.wrap(r, p)
		p.expect(l, "ConnectionMade")
		l.do(func() {
			if _, err := c.Write([]byte("x")); !errors.Is(err, stream.ErrWriteClosed) {
				l.Errorf("write returns %v", err)
			}
			if err := c.CloseWrite(); err != nil {
				l.Errorf("CloseWrite returns %v", err)
			}
		})
		unix.Write(w, []byte("data"))
		p.expect(l, "DataReceived data")
		unix.Close(w)
		p.expect(l, "EOFReceived", "ConnectionLost")
	})
}

// TestTerminal checks that the write side of a file that can be read and is not a
// socket cannot be closed alone, and that this changes nothing.
func TestTerminal(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			l.Fatal(err)
		}
		defer unix.Close(ends[1])
		unix.Close(ends[0])
		master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			l.TB.(*testing.T).Skip("no terminal: ", err)
		}
		p := newRecorder()
		c := l.wrap(master, p)
		p.expect(l, "ConnectionMade")
		l.do(func() {
			if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
				l.Errorf("CloseWrite returns %v", err)
			}
			if _, err := c.Write([]byte("x")); err != nil {
				l.Errorf("write returns %v", err)
			}
			c.Close()
		})
	})
}

// TestDetachFails checks that nothing has changed if Detach returns an error.
func TestDetachFails(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		l.part("not a socket", func(l *testLoop) {
			r, w := pipe(l)
			p := newRecorder()
			c := l.wrap(r, p)
			p.expect(l, "ConnectionMade")
			l.do(func() {
				if conn, err := c.Detach(); err == nil {
					conn.Close()
					l.Error("a pipe became a net.Conn")
				}
				if c.Closed() || c.FD() != r {
					l.Error("the connection has changed")
				}
			})
			unix.Write(w, []byte("data"))
			p.expect(l, "DataReceived data")
			unix.Close(w)
			p.expect(l, "EOFReceived", "ConnectionLost")
		})
		l.part("no free descriptor", func(l *testLoop) {
			p := newRecorder()
			c, peer := l.pair("tcp", p)
			var restore func()
			l.do(func() {
				restore = limitDescriptors(l)
				conn, err := c.Detach()
				restore()
				if err == nil {
					conn.Close()
				}
				checkErrorIs(l, err, unix.EMFILE)
			})
			write(l, peer, "still there")
			p.expect(l, "DataReceived still there")
			peer.Close()
			p.expect(l, "EOFReceived", "ConnectionLost")
		})
	})
}

// limitDescriptors sets the limit of descriptors to the number of the lowest free
// one. The result restores it.
func limitDescriptors(t testing.TB) (restore func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	limit := old
	setLimit(&limit.Cur, uint64(fd))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }
}

func setLimit[T int64 | uint64](limit *T, n uint64) { *limit = T(n) }

// TestPauseBeforeConnectionMade checks that a pause holds that was made before
// ConnectionMade.
func TestPauseBeforeConnectionMade(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		origins := map[string]func(p *recorder) (*stream.Conn, net.Conn){
			"wrap": func(p *recorder) (c *stream.Conn, peer net.Conn) {
				ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
				if err != nil {
					l.Fatal(err)
				}
				f := os.NewFile(uintptr(ends[1]), "peer")
				defer f.Close()
				if peer, err = net.FileConn(f); err != nil {
					l.Fatal(err)
				}
				write(l, peer, "early")
				l.do(func() {
					if c, err = stream.Wrap(l.Loop, ends[0], p); err == nil {
						c.PauseReading()
					}
				})
				if err != nil {
					l.Fatal(err)
				}
				return c, peer
			},
			"dial": func(p *recorder) (c *stream.Conn, peer net.Conn) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					l.Fatal(err)
				}
				defer ln.Close()
				l.do(func() {
					if c, err = stream.Dial(context.Background(), l.Loop, "tcp", ln.Addr().String(), p); err == nil {
						c.PauseReading()
					}
				})
				if err != nil {
					l.Fatal(err)
				}
				if peer, err = ln.Accept(); err != nil {
					l.Fatal(err)
				}
				write(l, peer, "early")
				return c, peer
			},
		}
		for name, origin := range origins {
			l.part(name, func(l *testLoop) {
				p := newRecorder()
				c, peer := origin(p)
				p.expect(l, "ConnectionMade")
				p.expectNone(l)
				l.do(c.ResumeReading)
				p.expect(l, "DataReceived early")
				peer.Close()
				p.expect(l, "EOFReceived", "ConnectionLost")
			})
		}
	})
}

// TestHangup checks that a handler with HangupReceived learns that the peer has
// gone while reading is paused, and still gets the data.
func TestHangup(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		if _, ok := l.Selector().(*selectors.SelectSelector); ok {
			l.TB.(*testing.T).Skip("select(2) does not report a hang-up")
		}
		p := &panicker{recorder: newRecorder()}
		ln := l.listen(network, func() stream.Handler { return p })
		peer := l.connect(ln)
		p.expect(l, "ConnectionMade")
		l.do(p.conn.PauseReading)
		write(l, peer, "last words")
		p.expectNone(l)
		if network == "tcp" {
			time.Sleep(quietPeriod)
			reset(peer)
		} else {
			peer.Close()
		}
		p.expect(l, "HangupReceived")
		p.expectNone(l)
		l.do(p.conn.ResumeReading)
		p.expect(l, "DataReceived last words")
	})
}

// TestPeerRemembered checks that the address of the peer is known in
// ConnectionLost after a reset, and later.
func TestPeerRemembered(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		p := newRecorder()
		var inLost net.Addr
		p.onConnectionLost = func(c *stream.Conn, _ error) { inLost = c.RemoteAddr() }
		c, peer := l.pair("tcp", p)
		want := peer.LocalAddr().String()
		reset(peer)
		p.expect(l, "ConnectionLost with error")
		l.do(func() {
			if inLost == nil || inLost.String() != want || c.RemoteAddr() == nil || c.RemoteAddr().String() != want {
				l.Errorf("remote address %v, then %v, want %v", inLost, c.RemoteAddr(), want)
			}
		})
	})
}
