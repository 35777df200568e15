//go:build !race

package selectors

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNowUnknown: a kernel that does not know the call is asked once, and then
// the calls that every Unix has do.
func TestNowUnknown(t *testing.T) {
	lacksNow.Store(false)
	t.Cleanup(func() { lacksNow.Store(false) })
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })

	const noCall = 4000
	buf := make([]byte, 4)
	if n, done, err := onFile(noCall, p[0], buf, unix.POLLIN); n != 0 || done || err != nil {
		t.Errorf("a call that there is not: %d, %t, %v", n, done, err)
	}
	if !lacksNow.Load() {
		t.Error("that the kernel lacks the call is forgotten")
	}
	if n, err := TryRead(p[0], buf); n != 0 || err != ErrWouldBlock {
		t.Errorf("read from empty: %d, %v", n, err)
	}
	if n, done, err := writeNow(p[1], []byte("text")); n != 0 || done || err != nil {
		t.Errorf("it is called all the same: %d, %t, %v", n, done, err)
	}
	if n, err := TryWrite(p[1], []byte("text")); n != 4 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := TryRead(p[0], buf); n != 4 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
}

// TestNowPart: what the kernel writes without waiting takes a part where all
// of it does not fit, and nothing where it is full, although in blocking mode;
// write(2) in blocking mode would wait for room.
func TestNowPart(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func() (r, w int, err error)
	}{
		{"pipe", func() (r, w int, err error) {
			var p [2]int
			err = unix.Pipe2(p[:], unix.O_CLOEXEC)
			return p[0], p[1], err
		}},
		{"unix", func() (r, w int, err error) {
			p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			return p[0], p[1], err
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			r, w, err := kind.make()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(r); unix.Close(w) })
			if _, err := unix.Pwritev2(w, [][]byte{[]byte("x")}, -1, unix.RWF_NOWAIT); err != nil {
				t.Skip("this kernel does not write to it without waiting: ", err)
			}
			big := make([]byte, 4<<20)
			inTime(t, func() {
				sent := 1
				for {
					n, err := TryWrite(w, big)
					if err == ErrWouldBlock {
						break
					}
					if n <= 0 || err != nil {
						t.Errorf("write of more than fits: %d, %v", n, err)
						return
					}
					sent += n
				}
				if n, err := TryWrite(w, big[:briefly]); n != 0 || err != ErrWouldBlock {
					t.Errorf("write to full: %d, %v", n, err)
				}
				for came := 0; came < sent; {
					n, err := TryRead(r, big)
					if n <= 0 || err != nil {
						t.Errorf("read after %d of %d: %d, %v", came, sent, n, err)
						return
					}
					came += n
				}
				if n, err := TryRead(r, big); n != 0 || err != ErrWouldBlock {
					t.Errorf("read from empty: %d, %v", n, err)
				}
			})
		})
	}
}

// TestNowAfterError: a socket in blocking mode that has an error to tell in its
// queue, and nothing to read.
func TestNowAfterError(t *testing.T) {
	ln, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.LocalAddr().(*net.UDPAddr).Port
	ln.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	inTime(t, func() {
		buf := make([]byte, 10)
		if n, err := TryWrite(fd, buf); n != 10 || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
		if n, err := TryRead(fd, buf); n != 0 || !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("read of the error: %d, %v", n, err)
		}
		if n, err := TryRead(fd, buf); n != 0 || err != ErrWouldBlock {
			t.Errorf("read of nothing: %d, %v", n, err)
		}
	})
}

// inTime runs what must not block.
func inTime(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a call that must not block blocks")
	}
}
