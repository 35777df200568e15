//go:build unix

package selectortest

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What becomes waits for, and what inet makes.
const (
	readable = unix.POLLIN
	writable = unix.POLLOUT

	stream   = unix.SOCK_STREAM
	datagram = unix.SOCK_DGRAM
)

type address = unix.Sockaddr

// badFD is what the system says of a descriptor that is not open.
const badFD = unix.EBADF

// system keeps the descriptors of a test. They are bare numbers, all of them
// non-blocking and closed on exec.
type system struct{ fds map[int]bool }

// track has descriptors closed at the end of the test.
func (t *T) track(fds ...int) {
	if t.fds == nil {
		t.fds = make(map[int]bool)
		t.Cleanup(func() {
			for fd := range t.fds {
				unix.Close(fd)
			}
		})
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Errorf("making fd %d non-blocking: %v", fd, err)
		}
		t.fds[fd] = true
	}
}

func (t *T) close(fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if !t.fds[fd] {
			t.Fatalf("closing fd %d, which is none of this test's", fd)
		}
		delete(t.fds, fd)
		t.noError(unix.Close(fd), "close")
	}
}

func (t *T) pairOf(kind int) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	t.noError(err, "socketpair")
	t.track(fds[0], fds[1])
	return fds[0], fds[1]
}

// pipe makes a pipe.
func (t *T) pipe() (read, write int) {
	t.Helper()
	var fds [2]int
	t.noError(unix.Pipe(fds[:]), "pipe")
	t.track(fds[0], fds[1])
	return fds[0], fds[1]
}

// openFile opens a file that is not a socket.
func (t *T) openFile(path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	t.noError(err, "open "+path)
	t.track(fd)
	return fd
}

// regularFile makes a regular file.
func (t *T) regularFile() int {
	t.Helper()
	return t.openFile(filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT)
}

func (t *T) write(fd int, data string) {
	t.Helper()
	n, err := unix.Write(fd, []byte(data))
	if err != nil || n != len(data) {
		t.Fatalf("write of %q to fd %d: %d, %v", data, fd, n, err)
	}
}

func (t *T) read(fd int, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	n, err := unix.Read(fd, buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("read from fd %d: %q, %v; want %q", fd, buf[:max(n, 0)], err, want)
	}
}

// fill writes until there is no more room.
func (t *T) fill(fd int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for len(buf) > 0 {
		switch _, err := unix.Write(fd, buf); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			buf = buf[:len(buf)/2] // a byte may fit where a block does not
		default:
			t.Fatalf("filling fd %d: %v", fd, err)
		}
	}
}

// dup makes a duplicate, with a number from least up.
func (t *T) dup(fd, least int) int {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, least)
	t.noError(err, "fcntl(F_DUPFD)")
	t.track(dup)
	return dup
}

// dupTo puts a duplicate of a file at a number, which loses its own file.
func (t *T) dupTo(fd, number int) {
	t.Helper()
	t.noError(unix.Dup2(fd, number), "dup2")
	t.track(number)
}

// waitPoll waits until poll(2) tells all of mask, for states that take the
// network a moment.
func (t *T) waitPoll(fd int, mask int) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd)}}
	setMask(&fds[0].Events, mask)
	for until := time.Now().Add(reportTimeout); time.Now().Before(until); time.Sleep(50 * time.Microsecond) {
		if _, err := unix.Poll(fds, 0); err == nil && int(fds[0].Revents)&mask == mask {
			return
		}
	}
	t.Fatalf("fd %d does not get into the state that the test is about: poll tells %#x, want %#x", fd, fds[0].Revents, mask)
}

// setMask is for the members of a pollfd, which are unsigned on AIX.
func setMask[M int16 | uint16](member *M, mask int) { *member = M(mask) }

// newSocket makes a socket that is not connected.
func (t *T) newSocket(kind int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind, 0)
	t.noError(err, "socket")
	t.track(fd)
	return fd
}

// boundSocket makes a socket with a port of its own.
func (t *T) boundSocket(kind int) (fd int, address address) {
	t.Helper()
	fd = t.newSocket(kind)
	t.noError(unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback}), "bind")
	address, err := unix.Getsockname(fd)
	t.noError(err, "getsockname")
	return fd, address
}

func (t *T) listen() (fd int, address address) {
	t.Helper()
	fd, address = t.boundSocket(unix.SOCK_STREAM)
	t.noError(unix.Listen(fd, 8), "listen")
	return fd, address
}

func (t *T) connect(fd int, address address) {
	t.Helper()
	if err := unix.Connect(fd, address); err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		t.Fatalf("connect: %v", err)
	}
}

// connectAccept connects a to a listener and returns the other end.
func (t *T) connectAccept(a, listener int, address address) (b int) {
	t.Helper()
	t.connect(a, address)
	t.waitPoll(listener, readable)
	b, _, err := unix.Accept(listener)
	t.noError(err, "accept")
	t.track(b)
	t.waitPoll(a, writable)
	return b
}

// socketFile makes an *os.File of one end of a pair.
func (t *T) socketFile() (f file, peer int) {
	t.Helper()
	a, b := t.pair()
	delete(t.fds, a) // the file's now
	f = os.NewFile(uintptr(a), "socket")
	t.Cleanup(func() { f.Close() })
	return f, b
}

// cpuTime is the processor time that the process has used.
func (t *T) cpuTime() time.Duration {
	t.Helper()
	var use unix.Rusage
	t.noError(unix.Getrusage(unix.RUSAGE_SELF, &use), "getrusage")
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// wantOpen checks that a descriptor is open.
func (t *T) wantOpen(fd int) {
	t.Helper()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("fd %d is not open any more: %v", fd, err)
	}
}

// fdLimit is how many descriptors the process may have.
func (t *T) fdLimit() int {
	t.Helper()
	var limit unix.Rlimit
	t.noError(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit), "getrlimit")
	return int(min(uint64(limit.Cur), 1<<16))
}

// drain reads until there is nothing left.
func (t *T) drain(fd int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for {
		switch n, err := unix.Read(fd, buf); {
		case err == unix.EAGAIN || err == nil && n == 0:
			return
		case err != nil && err != unix.EINTR:
			t.Fatalf("draining fd %d: %v", fd, err)
		}
	}
}

// shutdownWrite ends what a socket sends.
func (t *T) shutdownWrite(fd int) { t.noError(unix.Shutdown(fd, unix.SHUT_WR), "shutdown") }

// sendUrgent sends a byte of urgent data.
func (t *T) sendUrgent(fd int) { t.noError(unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil), "send") }

func (t *T) sendTo(fd int, data string, to address) {
	t.Helper()
	t.noError(unix.Sendto(fd, []byte(data), 0, to), "sendto")
}

// isNonblocking tells whether a descriptor is in non-blocking mode.
func (t *T) isNonblocking(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK != 0
}

// moveToZero puts a file on descriptor 0 until the end of the test.
func (t *T) moveToZero(a int) {
	t.Helper()
	saved, err := unix.FcntlInt(0, unix.F_DUPFD, highFD) // fails if it is closed
	t.Cleanup(func() {
		if err != nil {
			unix.Close(0)
			return
		}
		if err := unix.Dup2(saved, 0); err != nil {
			t.Errorf("putting standard input back: %v", err)
		}
		unix.Close(saved)
	})
	t.noError(unix.Dup2(a, 0), "dup2")
	t.close(a)
}

// needSignals skips a test where there are none.
func (t *T) needSignals() {}

// signalProcess sends the process a signal that does nothing in Go.
func signalProcess() { syscall.Kill(syscall.Getpid(), syscall.SIGURG) }
