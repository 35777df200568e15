//go:build unix

package selectors_test

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"

	"golang.org/x/sys/unix"
)

// fileObjects are the ways to name a descriptor.
func fileObjects(fd int) map[string]any {
	return map[string]any{"int": fd, "uintptr": uintptr(fd), "Fd": fdtest.FdOnly(fd)}
}

func TestTryReadAndWrite(t *testing.T) {
	for _, mode := range []string{"non-blocking", "blocking"} {
		for _, kind := range []struct {
			name string
			make func(testing.TB) (r, w int)
		}{{"pipe", fdtest.Pipe}, {"unix", fdtest.UnixPair}, {"tcp", fdtest.TCPPair}} {
			t.Run(kind.name+"/"+mode, func(t *testing.T) {
				r, w := kind.make(t)
				if mode == "blocking" {
					fdtest.SetBlocking(t, r, w)
				}
				to := fileObjects(w)
				for name, from := range fileObjects(r) {
					fdtest.Nonblocking(t, func() {
						buf := make([]byte, 8)
						if n, err := selectors.TryRead(from, buf); n != 0 || err != selectors.ErrWouldBlock {
							t.Errorf("%s: read from empty: %d, %v", name, n, err)
						}
						if n, err := selectors.TryWrite(to[name], []byte("data")); n != 4 || err != nil {
							t.Errorf("%s: write: %d, %v", name, n, err)
						}
						fdtest.AwaitReadable(t, r)
						if n, err := selectors.TryRead(from, buf); n != 4 || err != nil || string(buf[:n]) != "data" {
							t.Errorf("%s: read: %d %q, %v", name, n, buf[:max(n, 0)], err)
						}
					})
				}
			})
		}
	}
}

func TestTryWriteFull(t *testing.T) {
	r, w := fdtest.Pipe(t)
	big := make([]byte, 1<<20)
	n, err := selectors.TryWrite(w, big)
	if n <= 0 || n >= len(big) || err != nil {
		t.Fatalf("write of more than fits: %d, %v", n, err)
	}
	fdtest.Fill(t, w)
	if n, err := selectors.TryWrite(w, big); n != 0 || err != selectors.ErrWouldBlock {
		t.Errorf("write to full: %d, %v", n, err)
	}
	fdtest.SetBlocking(t, w)
	fdtest.Nonblocking(t, func() {
		if n, err := selectors.TryWrite(w, []byte("x")); n != 0 || err != selectors.ErrWouldBlock {
			t.Errorf("write to full, blocking: %d, %v", n, err)
		}
	})
	fdtest.Drain(t, r)
}

func TestTryReadEOF(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func(testing.TB) (r, w int)
	}{{"pipe", fdtest.Pipe}, {"unix", fdtest.UnixPair}, {"tcp", fdtest.TCPPair}} {
		for _, mode := range []string{"non-blocking", "blocking"} {
			t.Run(kind.name+"/"+mode, func(t *testing.T) {
				r, w := kind.make(t)
				fdtest.Write(t, w, "end")
				fdtest.Close(t, w)
				if mode == "blocking" {
					fdtest.SetBlocking(t, r)
				}
				fdtest.AwaitReadable(t, r)
				fdtest.Nonblocking(t, func() {
					buf := make([]byte, 8)
					if n, err := selectors.TryRead(r, buf); n != 3 || err != nil {
						t.Errorf("read of the last data: %d, %v", n, err)
					}
					fdtest.AwaitReadable(t, r)
					for range 2 {
						if n, err := selectors.TryRead(r, buf); n != 0 || err != io.EOF {
							t.Errorf("read at the end: %d, %v", n, err)
						}
					}
				})
			})
		}
	}
	t.Run("regular file", func(t *testing.T) {
		name := t.TempDir() + "/file"
		if err := os.WriteFile(name, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		text, err := io.ReadAll(tryReader{f})
		if string(text) != "text" || err != nil {
			t.Errorf("read %q, %v", text, err)
		}
	})
	t.Run("empty buffer", func(t *testing.T) {
		r, w := fdtest.Pipe(t)
		fdtest.Close(t, w)
		if n, err := selectors.TryRead(r, nil); n != 0 || err != nil {
			t.Errorf("read of no bytes: %d, %v", n, err)
		}
	})
}

type tryReader struct{ object any }

func (r tryReader) Read(p []byte) (int, error) { return selectors.TryRead(r.object, p) }

// TestTryReadEmptyMessage: a read of 0 bytes from a datagram socket is an empty
// message, not the end.
func TestTryReadEmptyMessage(t *testing.T) {
	a, b := fdtest.SocketPair(t, unix.SOCK_DGRAM)
	if n, err := selectors.TryWrite(b, nil); n != 0 || err != nil {
		t.Fatalf("write of an empty message: %d, %v", n, err)
	}
	fdtest.Write(t, b, "text")
	buf := make([]byte, 8)
	for _, want := range []string{"", "text"} {
		if n, err := selectors.TryRead(a, buf); err != nil || string(buf[:n]) != want {
			t.Errorf("read %q, %v, want %q", buf[:n], err, want)
		}
	}
	if n, err := selectors.TryRead(a, buf); n != 0 || err != selectors.ErrWouldBlock {
		t.Errorf("read from empty: %d, %v", n, err)
	}

	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := selectors.TryRead(conn, buf); n != 0 || err != selectors.ErrWouldBlock {
		t.Errorf("udp: read from empty: %d, %v", n, err)
	}
	if _, err := conn.WriteTo(nil, conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	fdtest.AwaitReadable(t, fdtest.Number(t, conn.(*net.UDPConn)))
	if n, err := selectors.TryRead(conn, buf); n != 0 || err != nil {
		t.Errorf("udp: read of an empty message: %d, %v", n, err)
	}
}

// TestTryOnObjects: connections of package net and files of package os. Their own
// methods still work.
func TestTryOnObjects(t *testing.T) {
	a, b := fdtest.NetPair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	for _, end := range []struct {
		r interface {
			io.Reader
			SetReadDeadline(time.Time) error
		}
		w  io.Writer
		fd int
	}{{a, b, fdtest.Number(t, a)}, {r, w, fdtest.Number(t, r)}} {
		fdtest.Nonblocking(t, func() {
			buf := make([]byte, 8)
			if n, err := selectors.TryRead(end.r, buf); n != 0 || err != selectors.ErrWouldBlock {
				t.Errorf("%T: read from empty: %d, %v", end.r, n, err)
			}
			if n, err := selectors.TryWrite(end.w, []byte("one")); n != 3 || err != nil {
				t.Errorf("%T: write: %d, %v", end.w, n, err)
			}
			fdtest.AwaitReadable(t, end.fd)
			if n, err := selectors.TryRead(end.r, buf); n != 3 || err != nil {
				t.Errorf("%T: read: %d, %v", end.r, n, err)
			}
			end.w.Write([]byte("two"))
			end.r.SetReadDeadline(time.Now().Add(fdtest.Timeout))
			if n, err := end.r.Read(buf); n != 3 || err != nil {
				t.Errorf("%T: Read after TryRead: %d, %v", end.r, n, err)
			}
		})
	}
}

// TestTryMemoryOrder: operations before a write at one end happen before those
// after the read at the other end, for connections of package net and for
// numbers, and whatever function reads and writes the number. The race detector
// must see it.
func TestTryMemoryOrder(t *testing.T) {
	type call = func(p []byte) (int, error)
	for name, remote := range map[string]func(conn net.Conn, fd int) (read, write call){
		"net": func(conn net.Conn, fd int) (read, write call) { return conn.Read, conn.Write },
		"unix": func(conn net.Conn, fd int) (read, write call) {
			return func(p []byte) (int, error) { return unix.Read(fd, p) }, func(p []byte) (int, error) { return unix.Write(fd, p) }
		},
		"syscall": func(conn net.Conn, fd int) (read, write call) {
			return func(p []byte) (int, error) { return syscall.Read(fd, p) }, func(p []byte) (int, error) { return syscall.Write(fd, p) }
		},
		"number": func(conn net.Conn, fd int) (read, write call) {
			return func(p []byte) (int, error) { return selectors.TryRead(fd, p) }, func(p []byte) (int, error) { return selectors.TryWrite(fd, p) }
		},
	} {
		for _, number := range []bool{false, true} {
			a, b := fdtest.NetPair(t)
			var object any = b
			fd := fdtest.Number(t, b)
			if number {
				object = fd
			}
			var requests, replies int
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, 1)
				for range 3 {
					fdtest.AwaitReadable(t, fd)
					if n, err := selectors.TryRead(object, buf); n != 1 || err != nil {
						t.Errorf("%s: read: %d, %v", name, n, err)
					}
					replies = requests + 1
					if n, err := selectors.TryWrite(object, buf); n != 1 || err != nil {
						t.Errorf("%s: write: %d, %v", name, n, err)
					}
				}
			}()
			a.SetDeadline(time.Now().Add(fdtest.Timeout))
			remoteFD := fdtest.Number(t, a)
			read, write := remote(a, remoteFD)
			buf := make([]byte, 1)
			for range 3 {
				requests++
				write(buf)
				fdtest.AwaitReadable(t, remoteFD)
				if n, err := read(buf); n != 1 || err != nil || replies != requests+1 {
					t.Errorf("%s: reply %d to request %d, read %d, %v", name, replies, requests, n, err)
				}
			}
			<-done
		}
	}
}

func TestTryErrors(t *testing.T) {
	closedConn, peer := fdtest.NetPair(t)
	closedConn.Close()
	peer.Close()
	closedFile, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closedFile.Close()
	closedListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedListener.Close()
	notOpen, _ := fdtest.Pipe(t)
	fdtest.Close(t, notOpen)

	for _, test := range []struct {
		name   string
		object any
		want   []error
	}{
		{"closed connection", closedConn, []error{os.ErrClosed, unix.EBADF}},
		{"closed file", closedFile, []error{os.ErrClosed, unix.EBADF}},
		{"closed listener", closedListener, []error{os.ErrClosed, unix.EBADF}},
		{"not open", notOpen, []error{unix.EBADF}},
		{"Fd of a closed file", fdtest.FdOnly(-1), []error{os.ErrClosed, unix.EBADF}},
		{"huge", uintptr(math.MaxInt32 + 1), []error{unix.EBADF}},
		{"negative", -1, []error{selectors.ErrInvalidFileObj}},
		{"nil", nil, []error{selectors.ErrInvalidFileObj}},
		{"nil file", (*os.File)(nil), []error{selectors.ErrInvalidFileObj}},
		{"nil connection", (*net.TCPConn)(nil), []error{selectors.ErrInvalidFileObj}},
		{"zero file", new(os.File), []error{selectors.ErrInvalidFileObj}},
		{"zero connection", &net.TCPConn{}, []error{selectors.ErrInvalidFileObj}},
		{"text", "3", []error{selectors.ErrInvalidFileObj}},
		{"reader", strings.NewReader(""), []error{selectors.ErrInvalidFileObj}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, readErr := selectors.TryRead(test.object, make([]byte, 1))
			_, writeErr := selectors.TryWrite(test.object, make([]byte, 1))
			_, acceptErr := selectors.TryAccept(test.object)
			fd, acceptFDErr := selectors.TryAcceptFD(test.object)
			if fd != -1 {
				t.Errorf("TryAcceptFD returned %d", fd)
			}
			for op, err := range map[string]error{"read": readErr, "write": writeErr, "accept": acceptErr, "accept ": acceptFDErr} {
				if err == nil || !strings.Contains(err.Error(), "selectors: "+strings.TrimSpace(op)+": ") {
					t.Errorf("%s: the error is %v", op, err)
				}
				for _, want := range test.want {
					if !errors.Is(err, want) {
						t.Errorf("%s: the error is %v, want one that is %v", op, err, want)
					}
				}
			}
		})
	}

	r, w := fdtest.Pipe(t)
	if _, err := selectors.TryRead(w, make([]byte, 1)); !errors.Is(err, unix.EBADF) {
		t.Errorf("read from a pipe's writing end: %v", err)
	}
	if _, err := selectors.TryAccept(r); !errors.Is(err, unix.ENOTSOCK) {
		t.Errorf("accept on a pipe: %v", err)
	}
	a, _ := fdtest.UnixPair(t)
	if _, err := selectors.TryAccept(a); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("accept on a connection: %v", err)
	}
	b, c := fdtest.UnixPair(t)
	fdtest.Close(t, c)
	if _, err := selectors.TryWrite(b, []byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("write to a closed peer: %v", err)
	}
}

func TestTryAccept(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if conn, err := selectors.TryAccept(l); conn != nil || err != selectors.ErrWouldBlock {
		t.Fatalf("accept of nothing: %v, %v", conn, err)
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fdtest.AwaitReadable(t, fdtest.Number(t, l.(*net.TCPListener)))
	conn, err := selectors.TryAccept(l)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*net.TCPConn); !ok || conn.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("accepted a %T of %v, want a TCP connection of %v", conn, conn.RemoteAddr(), client.LocalAddr())
	}

	// It is a usual connection, with deadlines.
	conn.SetReadDeadline(time.Now().Add(fdtest.QuietTime))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v", err)
	}
	if _, err := selectors.TryAccept(l); err != selectors.ErrWouldBlock {
		t.Errorf("accept of nothing more: %v", err)
	}
}

func TestTryAcceptFD(t *testing.T) {
	for _, mode := range []string{"non-blocking", "blocking"} {
		t.Run(mode, func(t *testing.T) {
			l, addr := fdtest.Listen(t)
			if mode == "blocking" {
				fdtest.SetBlocking(t, l)
			}
			fdtest.Nonblocking(t, func() {
				for name, object := range fileObjects(l) {
					if fd, err := selectors.TryAcceptFD(object); fd != -1 || err != selectors.ErrWouldBlock {
						t.Errorf("%s: accept of nothing: %d, %v", name, fd, err)
					}
					client := fdtest.TCPSocket(t)
					if err := unix.Connect(client, addr); err != nil && err != unix.EINPROGRESS {
						t.Errorf("connect: %v", err)
					}
					fdtest.AwaitReadable(t, l)
					fd, err := selectors.TryAcceptFD(object)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
					if flags&unix.O_NONBLOCK == 0 {
						t.Errorf("%s: the new descriptor is in blocking mode", name)
					}
					if flags, _ = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
						t.Errorf("%s: the new descriptor is inherited", name)
					}
					unix.Close(fd)
				}
			})
		})
	}
}

// TestTryAcceptReset: a connection is reset while it waits in the queue. Linux
// returns it, and the next read returns ECONNRESET. Other systems return
// ECONNABORTED, after which TryAcceptFD goes on to the next connection. In both
// cases there is no error, and the next connection is returned.
func TestTryAcceptReset(t *testing.T) {
	l, addr := fdtest.Listen(t)
	reset, good := fdtest.TCPSocket(t), fdtest.TCPSocket(t)
	for _, fd := range []int{reset, good} {
		fdtest.Connect(t, fd, addr)
		if fd == reset {
			fdtest.AwaitReadable(t, l)
			fdtest.Reset(t, fd)
		}
	}
	fdtest.AwaitWritable(t, good)
	fdtest.Write(t, good, "x")
	fdtest.Nonblocking(t, func() {
		for {
			fd, err := selectors.TryAcceptFD(l)
			if err == selectors.ErrWouldBlock {
				time.Sleep(time.Millisecond)
				continue
			}
			if err != nil {
				t.Errorf("accept: %v", err)
				return
			}
			defer unix.Close(fd)
			fdtest.AwaitReadable(t, fd)
			n, err := selectors.TryRead(fd, make([]byte, 1))
			if n == 1 && err == nil {
				return // the good one
			}
			if !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("read from the connection that was reset: %d, %v", n, err)
			}
		}
	})
}
