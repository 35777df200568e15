//go:build unix

package fdtest

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// FirstFD is the lowest number that this package gives to a descriptor. The
	// Go runtime and the selectors under test get lower ones.
	FirstFD = 700
	// lastFD is the highest such number. It fits into an fd_set of every
	// platform, which holds at least 1024.
	lastFD = 1024 - 100
)

// nextFD is the number to try next. The numbers are used in turn, so that a
// number that was just closed does not come back at once with another file.
var nextFD = FirstFD

// Own moves a descriptor to a number from FirstFD up, makes it non-blocking and
// closes it at the end of the test.
func Own(t testing.TB, fd int) int {
	t.Helper()
	high := Dup(t, fd)
	unix.Close(fd)
	if err := unix.SetNonblock(high, true); err != nil {
		t.Fatal(err)
	}
	return high
}

// Dup duplicates a descriptor to a number from FirstFD up. The duplicate is
// closed at the end of the test.
func Dup(t testing.TB, fd int) int {
	t.Helper()
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, nextFD)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(high)
	if nextFD = high + 1; nextFD > lastFD {
		nextFD = FirstFD
	}
	t.Cleanup(func() { unix.Close(high) })
	return high
}

// Close closes descriptors before the end of the test.
func Close(t testing.TB, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
}

// Replace makes the number fd, open or closed, refer to the file of with, as
// dup2(2) does.
func Replace(t testing.TB, fd, with int) {
	t.Helper()
	if err := Dup2(with, fd); err != nil {
		t.Fatal(err)
	}
}

// ReplaceStdin makes descriptor 0 refer to the file of with until the end of
// the test.
func ReplaceStdin(t testing.TB, with int) {
	t.Helper()
	saved := Dup(t, 0)
	t.Cleanup(func() {
		if err := Dup2(saved, 0); err != nil {
			t.Fatal(err)
		}
		unix.FcntlInt(0, unix.F_SETFD, 0) // inheritable, as before
	})
	Replace(t, 0, with)
}

// SetBlocking puts descriptors into blocking mode.
func SetBlocking(t testing.TB, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, false); err != nil {
			t.Fatal(err)
		}
	}
}

// Open opens a file by name.
func Open(t testing.TB, name string, flags int) int {
	t.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return Own(t, fd)
}

// Number returns the descriptor of a file object, which keeps it.
func Number(t testing.TB, c syscall.Conn) (n int) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err == nil {
		err = rc.Control(func(fd uintptr) { n = int(fd) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// CountOpen returns the number of open descriptors below FirstFD.
func CountOpen() (n int) {
	for fd := range FirstFD {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

// Write writes a few bytes, which must fit.
func Write(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) || err != nil {
		t.Fatalf("write to %d: %d, %v", fd, n, err)
	}
}

// Read reads at most n bytes.
func Read(t testing.TB, fd, n int) string {
	t.Helper()
	buf := make([]byte, n)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatalf("read from %d: %v", fd, err)
	}
	return string(buf[:n])
}

// Fill writes until the write would block. It returns the number of bytes.
func Fill(t testing.TB, fd int) (n int) {
	t.Helper()
	for _, size := range []int{1 << 16, 1} {
		for buf := make([]byte, size); ; {
			m, err := unix.Write(fd, buf)
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				t.Fatalf("write to %d: %v", fd, err)
			}
			n += m
		}
	}
	return n
}

// Drain reads until the read would block or the file ends. It returns the
// number of bytes.
func Drain(t testing.TB, fd int) (n int) {
	t.Helper()
	for buf := make([]byte, 1<<16); ; {
		m, err := unix.Read(fd, buf)
		if err == unix.EAGAIN || m == 0 && err == nil {
			return n
		}
		if err != nil {
			t.Fatalf("read from %d: %v", fd, err)
		}
		n += m
	}
}

// AwaitReadable waits until poll(2) reports POLLIN or a condition that it
// always reports. Data that goes through the network stack, even over loopback,
// need not arrive at once.
func AwaitReadable(t testing.TB, fd int) {
	t.Helper()
	Await(t, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
}

// AwaitWritable is AwaitReadable for POLLOUT.
func AwaitWritable(t testing.TB, fd int) {
	t.Helper()
	Await(t, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT})
}

// Await waits until poll(2) reports something for p. It reports a timeout by
// t.Errorf, so that other goroutines than the test's may call it.
func Await(t testing.TB, p unix.PollFd) {
	t.Helper()
	for start := time.Now(); ; {
		n, err := unix.Poll([]unix.PollFd{p}, 100)
		if n == 1 {
			return
		}
		if err != nil && err != unix.EINTR || time.Since(start) > Timeout {
			t.Errorf("fd %d does not get ready: %v", p.Fd, err)
			return
		}
	}
}

// Nonblocking runs f in another goroutine and fails the test if f does not
// return within Timeout. f must not call t.Fatal.
func Nonblocking(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(Timeout):
		t.Fatal("a call that must not block blocks")
	}
}

// CPUTime returns the processor time that the process has used so far.
func CPUTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // not possible with valid arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// An FdOnly is a descriptor as a file object with an Fd method and no other.
type FdOnly int

// Fd returns the descriptor.
func (fd FdOnly) Fd() uintptr { return uintptr(fd) }
