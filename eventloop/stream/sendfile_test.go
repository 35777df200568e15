//go:build unix

package stream_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"goselectors/eventloop/stream"

	"golang.org/x/sys/unix"
)

// tempFile returns an open file with the data.
func tempFile(t testing.TB, data []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSendFile checks that parts of files are sent in order with written data, that
// their functions are called, and that the files are closed.
func TestSendFile(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		for _, cached := range []bool{true, false} {
			name := "cached"
			if !cached {
				name = "not cached"
			}
			l.part(name, func(l *testLoop) {
				data := randomBytes(3<<20 + 1234)
				p := newRecorder()
				c, peer := l.pair(network, p)
				var want bytes.Buffer
				var files []*os.File
				results := make(chan error, 10)
				send := func(offset, n int) {
					f := tempFile(l, data)
					if !cached {
						dropFromCache(l, f)
					}
					files = append(files, f)
					want.Write(data[offset : offset+n])
					if err := c.SendFile(f, int64(offset), int64(n), func(err error) { results <- err }); err != nil {
						l.Error(err)
					}
				}
				write := func(s string) {
					want.WriteString(s)
					c.Write([]byte(s))
				}
				l.do(func() {
					write("header")
					send(0, len(data))
					write("between")
					write(" and between")
					send(1000, 0)
					send(1234, 100_000)
					send(len(data)-1, 1)
					write("end")
					if n := c.Unsent(); n > 100 {
						l.Errorf("%d bytes unsent", n)
					}
					c.CloseWrite()
				})
				checkBytes(l, "received", readAll(l, peer), want.Bytes())
				for range files {
					if err := <-results; err != nil {
						l.Error(err)
					}
				}
				for _, f := range files {
					if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
						l.Errorf("the file is open: %v", err)
					}
				}
				l.do(c.Abort)
				p.expect(l, "ConnectionLost")
			})
		}
	})
}

// TestSendFileFails checks files that cannot be sent.
func TestSendFileFails(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		big := make([]byte, 32<<20)
		tests := []struct {
			name string
			end  func(c *stream.Conn, peer net.Conn, f *os.File)
			data []byte
			size int64
			want error // of the function; ConnectionLost gets it if it is not net.ErrClosed
		}{
			{"too short", nil, make([]byte, 300_000), 300_001, io.ErrUnexpectedEOF},
			{"truncated", func(_ *stream.Conn, peer net.Conn, f *os.File) {
				f.Truncate(1 << 20)
				go io.Copy(io.Discard, peer)
			}, big, int64(len(big)), io.ErrUnexpectedEOF},
			{"abort", func(c *stream.Conn, _ net.Conn, _ *os.File) { c.Abort() }, big, int64(len(big)), net.ErrClosed},
			{"peer leaves", func(_ *stream.Conn, peer net.Conn, _ *os.File) { reset(peer) }, big, int64(len(big)), unix.EPIPE},
		}
		for _, test := range tests {
			l.part(test.name, func(l *testLoop) {
				if test.name == "peer leaves" && network == "unix" {
					l.TB.(*testing.T).Skip("a Unix socket has no reset")
				}
				p := newRecorder()
				c, peer := l.pair(network, p)
				if test.end == nil {
					go io.Copy(io.Discard, peer)
				}
				f := tempFile(l, test.data)
				again, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
				if err != nil {
					l.Fatal(err)
				}
				defer again.Close()
				result := make(chan error, 2)
				l.do(func() {
					if err := c.SendFile(f, 0, test.size, func(err error) {
						p.record("sent")
						result <- err
					}); err != nil {
						l.Error(err)
					}
				})
				if test.end != nil {
					time.Sleep(quietPeriod)
					l.do(func() { test.end(c, peer, again) })
				}
				lost := "ConnectionLost with error"
				if test.want == net.ErrClosed {
					lost = "ConnectionLost"
				}
				p.expect(l, "sent", lost)
				err = <-result
				checkErrorIs(l, err, test.want, unix.ECONNRESET)
				if test.want != net.ErrClosed {
					checkErrorIs(l, p.err, test.want, unix.ECONNRESET)
				}
				if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
					l.Errorf("the file is open: %v", err)
				}
			})
		}
	})
}

// TestSendFileArguments checks that a file is not taken over on error.
func TestSendFileArguments(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		p := newRecorder()
		c, _ := l.pair("tcp", p)
		f := tempFile(l, []byte("data"))
		l.do(func() {
			for _, err := range []error{c.SendFile(nil, 0, 1, nil), c.SendFile(f, -1, 1, nil), c.SendFile(f, 0, -1, nil), c.SendFile(f, 1<<62, 1<<62, nil)} {
				checkErrorIs(l, err, os.ErrInvalid)
			}
			c.CloseWrite()
			checkErrorIs(l, c.SendFile(f, 0, 1, nil), stream.ErrWriteClosed)
			c.Close()
			checkErrorIs(l, c.SendFile(f, 0, 1, nil), net.ErrClosed)
		})
		if _, err := f.Stat(); err != nil {
			l.Error(err)
		}
	})
}
