//go:build unix

package selectortest

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Masks for waitPoll and kinds of sockets.
const (
	readable = unix.POLLIN
	writable = unix.POLLOUT

	stream   = unix.SOCK_STREAM
	datagram = unix.SOCK_DGRAM
)

type address = unix.Sockaddr

// badFD is the error of the system for a descriptor that is not open.
const badFD = unix.EBADF

// system holds the open descriptors of a test. All are non-blocking and
// close-on-exec.
type system struct{ fds map[int]bool }

// track makes descriptors non-blocking and closes them at the end of the test.
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
			t.Errorf("set fd %d non-blocking: %v", fd, err)
		}
		t.fds[fd] = true
	}
}

func (t *T) close(fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if !t.fds[fd] {
			t.Fatalf("close of fd %d, which this test has not opened", fd)
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

// pipe returns the two ends of a new pipe.
func (t *T) pipe() (read, write int) {
	t.Helper()
	var fds [2]int
	t.noError(unix.Pipe(fds[:]), "pipe")
	t.track(fds[0], fds[1])
	return fds[0], fds[1]
}

// openFile opens a file by name.
func (t *T) openFile(path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	t.noError(err, "open "+path)
	t.track(fd)
	return fd
}

// regularFile returns a new regular file.
func (t *T) regularFile() int {
	t.Helper()
	return t.openFile(filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT)
}

func (t *T) write(fd int, data string) {
	t.Helper()
	n, err := unix.Write(fd, []byte(data))
	if err != nil || n != len(data) {
		t.Fatalf("write of %q to fd %d: %d, %v, want %d bytes", data, fd, n, err, len(data))
	}
}

func (t *T) read(fd int, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	n, err := unix.Read(fd, buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("read from fd %d: %q, %v, want %q", fd, buf[:max(n, 0)], err, want)
	}
}

// fill writes until the buffer is full.
func (t *T) fill(fd int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for len(buf) > 0 {
		switch _, err := unix.Write(fd, buf); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			buf = buf[:len(buf)/2] // a byte may fit where a block does not
		default:
			t.Fatalf("fill fd %d: %v", fd, err)
		}
	}
}

// dup returns a duplicate with the first free number that is at least lowest.
func (t *T) dup(fd, lowest int) int {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, lowest)
	t.noError(err, "fcntl(F_DUPFD)")
	t.track(dup)
	return dup
}

// dupTo makes number a duplicate of fd. The previous file of number is closed.
func (t *T) dupTo(fd, number int) {
	t.Helper()
	t.noError(unix.Dup2(fd, number), "dup2")
	t.track(number)
}

// waitPoll waits until poll(2) reports all bits of mask. Changes that go through
// the network are not visible at once.
func (t *T) waitPoll(fd int, mask int) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd)}}
	setMask(&fds[0].Events, mask)
	for deadline := time.Now().Add(reportTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
		if _, err := unix.Poll(fds, 0); err == nil && int(fds[0].Revents)&mask == mask {
			return
		}
	}
	t.Fatalf("poll of fd %d reports %#x after %v, want %#x", fd, fds[0].Revents, reportTimeout, mask)
}

// setMask sets a member of a pollfd, which is unsigned on AIX.
func setMask[M int16 | uint16](member *M, mask int) { *member = M(mask) }

// newSocket returns an IPv4 socket that is not connected.
func (t *T) newSocket(kind int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind, 0)
	t.noError(err, "socket")
	t.track(fd)
	return fd
}

// boundSocket returns a socket that is bound to a free port, and its address.
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

// connectAccept connects a to a listener and returns the accepted socket.
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

// socketFile returns an *os.File of one socket of a pair, and its peer.
func (t *T) socketFile() (f file, peer int) {
	t.Helper()
	a, b := t.pair()
	delete(t.fds, a) // f owns it
	f = os.NewFile(uintptr(a), "socket")
	t.Cleanup(func() { f.Close() })
	return f, b
}

// cpuTime returns the processor time that the process has used.
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
		t.Errorf("fd %d is not open: %v", fd, err)
	}
}

// fdLimit returns the descriptor limit of the process, at most 65536.
func (t *T) fdLimit() int {
	t.Helper()
	var limit unix.Rlimit
	t.noError(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit), "getrlimit")
	return int(min(uint64(limit.Cur), 1<<16))
}

// drain reads until there is no more data.
func (t *T) drain(fd int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for {
		switch n, err := unix.Read(fd, buf); {
		case err == unix.EAGAIN || err == nil && n == 0:
			return
		case err != nil && err != unix.EINTR:
			t.Fatalf("drain fd %d: %v", fd, err)
		}
	}
}

// shutdownWrite shuts down the sending direction of a socket.
func (t *T) shutdownWrite(fd int) { t.noError(unix.Shutdown(fd, unix.SHUT_WR), "shutdown") }

// sendUrgent sends a byte of urgent data.
func (t *T) sendUrgent(fd int) { t.noError(unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil), "send") }

func (t *T) sendTo(fd int, data string, to address) {
	t.Helper()
	t.noError(unix.Sendto(fd, []byte(data), 0, to), "sendto")
}

// isNonblocking reports whether a descriptor is in non-blocking mode.
func (t *T) isNonblocking(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK != 0
}

// moveToZero puts a file on descriptor 0 until the end of the test.
func (t *T) moveToZero(a int) {
	t.Helper()
	saved, err := unix.FcntlInt(0, unix.F_DUPFD, highFD) // fails if descriptor 0 is closed
	t.Cleanup(func() {
		if err != nil {
			unix.Close(0)
			return
		}
		if err := unix.Dup2(saved, 0); err != nil {
			t.Errorf("restore descriptor 0: %v", err)
		}
		unix.Close(saved)
	})
	t.noError(unix.Dup2(a, 0), "dup2")
	t.close(a)
}

// needSignals skips a test if no signals can be sent.
func (t *T) needSignals() {}

// signalProcess sends the process SIGURG, which Go programs ignore.
func signalProcess() { syscall.Kill(syscall.Getpid(), syscall.SIGURG) }
