//go:build unix

package stream_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// TestZeroConn checks that a zero Conn behaves like one that has ended.
func TestZeroConn(t *testing.T) {
	var c stream.Conn
	c.PauseReading()
	c.ResumeReading()
	c.SetIdleTimeout(1)
	c.SetReadTimeout(1)
	c.SetWriteTimeout(1)
	c.SetWaterMarks(1, 1)
	c.Abort()
	if c.Loop() != nil || c.FD() != -1 || c.LocalAddr() != nil || c.RemoteAddr() != nil || !c.Closed() || c.Unsent() != 0 || c.Close() != nil {
		t.Error("a zero Conn has something")
	}
	errs := map[string]error{"CloseWrite": c.CloseWrite(), "SendFile": c.SendFile(os.Stdin, 0, 0, nil)}
	_, errs["Write"] = c.Write([]byte("x"))
	_, errs["Writev"] = c.Writev([]byte("x"))
	_, errs["Detach"] = c.Detach()
	_, errs["DetachFD"] = c.DetachFD()
	for method, err := range errs {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// A numbered is a file object that only has a number, as the selectors accept it.
type numbered int

func (n numbered) Fd() uintptr { return uintptr(n) }

// TestWrapArguments checks that Wrap takes what the selectors take, and the errors of
// other arguments.
func TestWrapArguments(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		for name, fileobj := range map[string]func(fd int) any{
			"int":     func(fd int) any { return fd },
			"uintptr": func(fd int) any { return uintptr(fd) },
			"file":    func(fd int) any { return os.NewFile(uintptr(fd), "file") },
			"Fd":      func(fd int) any { return numbered(fd) },
		} {
			l.part(name, func(l *testLoop) {
				ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
				if err != nil {
					l.Fatal(err)
				}
				defer unix.Close(ends[1])
				if name == "Fd" {
					defer unix.Close(ends[0]) // it has no Close method
				}
				p := newRecorder()
				l.wrap(fileobj(ends[0]), p)
				p.expect(l, "ConnectionMade")
				unix.Write(ends[1], []byte("data"))
				p.expect(l, "DataReceived data")
			})
		}
		l.do(func() {
			for name, test := range map[string]struct {
				loop *eventloop.Loop
				conn any
				h    stream.Handler
				want error
			}{
				"nil loop":     {nil, 0, echo{}, stream.ErrNilLoop},
				"zero loop":    {new(eventloop.Loop), 0, echo{}, eventloop.ErrInvalidLoop},
				"nil handler":  {l.Loop, 0, nil, stream.ErrNilHandler},
				"nil":          {l.Loop, nil, echo{}, selectors.ErrInvalidFileObj},
				"nil file":     {l.Loop, (*os.File)(nil), echo{}, selectors.ErrInvalidFileObj},
				"nil conn":     {l.Loop, (*net.TCPConn)(nil), echo{}, selectors.ErrInvalidFileObj},
				"string":       {l.Loop, "0", echo{}, selectors.ErrInvalidFileObj},
				"negative":     {l.Loop, -1, echo{}, unix.EBADF},
				"not open":     {l.Loop, 1 << 20, echo{}, unix.EBADF},
				"closed value": {l.Loop, numbered(1 << 20), echo{}, unix.EBADF},
			} {
				c, err := stream.Wrap(test.loop, test.conn, test.h, nil)
				var streamErr *stream.Error
				if c != nil || !errors.Is(err, test.want) || !errors.As(err, &streamErr) || streamErr.Op != "wrap" {
					l.Errorf("%s: %v, want %v", name, err, test.want)
				}
				if name == "nil loop" || name == "nil handler" || name == "zero loop" {
					c, err := stream.Dial(context.Background(), test.loop, "tcp", "127.0.0.1:1", test.h, nil)
					if c != nil || !errors.Is(err, test.want) || !errors.As(err, &streamErr) || streamErr.Op != "dial" {
						l.Errorf("dial with %s: %v, want %v", name, err, test.want)
					}
				}
			}
		})
	})
}
