//go:build !race

package sys

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHasCall: a call that the kernel has is told from one that it has not, without
// a file.
func TestHasCall(t *testing.T) {
	for call, want := range map[uintptr]bool{unix.SYS_PREADV2: true, unix.SYS_PWRITEV2: true, 4000: false} {
		if got := hasCall(call); got != want {
			t.Errorf("hasCall(%d) = %t, want %t", call, got, want)
		}
	}
}

// TestNonblockMissing: a kernel that does not have preadv2 is asked once. After
// that read(2) and write(2) are used.
func TestNonblockMissing(t *testing.T) {
	noRWFNowait.Store(false)
	t.Cleanup(func() { noRWFNowait.Store(false) })
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })

	const missingCall = 4000
	buf := make([]byte, 4)
	if n, done, err := preadvNonblock(missingCall, p[0], buf, unix.POLLIN); n != 0 || done || err != nil {
		t.Errorf("a missing call returned %d, %t, %v", n, done, err)
	}
	if !noRWFNowait.Load() {
		t.Error("it is not remembered that the call is missing")
	}
	if n, err := Read(p[0], buf, false); n != 0 || err != ErrWouldBlock {
		t.Errorf("read from an empty pipe: %d, %v", n, err)
	}
	if n, done, err := writeNonblock(p[1], []byte("text")); n != 0 || done || err != nil {
		t.Errorf("the missing call was made again: %d, %t, %v", n, done, err)
	}
	if n, err := Write(p[1], []byte("text"), false); n != 4 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := Read(p[0], buf, false); n != 4 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
}

// TestNonblockPartial: on a descriptor in blocking mode, a write without waiting
// takes a part if not all of it fits, and nothing if there is no room. write(2)
// would wait for room.
func TestNonblockPartial(t *testing.T) {
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
				t.Skip("this kernel has no RWF_NOWAIT for it: ", err)
			}
			big := make([]byte, 4<<20)
			bounded(t, func() {
				sent := 1
				for {
					n, err := Write(w, big, false)
					if err == ErrWouldBlock {
						break
					}
					if n <= 0 || err != nil {
						t.Errorf("write of more than fits: %d, %v", n, err)
						return
					}
					sent += n
				}
				if n, err := Write(w, big[:rawCopyLimit], false); n != 0 || err != ErrWouldBlock {
					t.Errorf("write to a full one: %d, %v", n, err)
				}
				for received := 0; received < sent; {
					n, err := Read(r, big, false)
					if n <= 0 || err != nil {
						t.Errorf("read after %d of %d: %d, %v", received, sent, n, err)
						return
					}
					received += n
				}
				if n, err := Read(r, big, false); n != 0 || err != ErrWouldBlock {
					t.Errorf("read from an empty pipe: %d, %v", n, err)
				}
			})
		})
	}
}

// TestNonblockErrorQueue: a socket in blocking mode that has an error in its queue
// and nothing to read.
func TestNonblockErrorQueue(t *testing.T) {
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
	bounded(t, func() {
		buf := make([]byte, 10)
		if n, err := Write(fd, buf, false); n != 10 || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
		if n, err := Read(fd, buf, false); n != 0 || !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("read of the error: %d, %v", n, err)
		}
		if n, err := Read(fd, buf, false); n != 0 || err != ErrWouldBlock {
			t.Errorf("read of nothing: %d, %v", n, err)
		}
	})
}

// bounded runs f, which must not block.
func bounded(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a call that must not block is still running after 20 s")
	}
}
