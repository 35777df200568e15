//go:build linux

package comparetest_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// fileVerbs are the operations on files. Each runs once, whatever the number of
// instances.
var fileVerbs = map[string]struct {
	args string
	do   func(e *env, op operation) error
}{
	"pipe":       {"FILE FILE", (*env).pipe},
	"unix":       {"FILE FILE", func(e *env, op operation) error { return e.pair(op, unix.SOCK_STREAM) }},
	"dgram":      {"FILE FILE", func(e *env, op operation) error { return e.pair(op, unix.SOCK_DGRAM) }},
	"listen":     {"FILE", (*env).listen},
	"connect":    {"FILE FILE", (*env).connect},
	"accept":     {"FILE FILE", (*env).accept},
	"tcp":        {"FILE FILE", (*env).tcp},
	"socket":     {"FILE", (*env).socket},
	"udp":        {"FILE FILE", (*env).udp},
	"udp-closed": {"FILE", (*env).udpClosed},
	"pty":        {"FILE FILE", (*env).pty},
	"eventfd":    {"FILE", (*env).eventfd},
	"timerfd":    {"FILE DURATION", (*env).timerfd},
	"epollfd":    {"FILE FILE", (*env).epollfd},
	"file":       {"FILE", (*env).file},
	"dir":        {"FILE", (*env).directory},
	"device":     {"FILE PATH", (*env).device},
	"child":      {"FILE", (*env).child},
	"kill":       {"FILE", (*env).kill},
	"reap":       {"FILE", (*env).reap},
	"write":      {"FILE [COUNT]", (*env).write},
	"oob":        {"FILE", (*env).oob},
	"read":       {"FILE [COUNT]", (*env).read},
	"readoob":    {"FILE", (*env).readoob},
	"fill":       {"FILE", (*env).fill},
	"drain":      {"FILE", (*env).drain},
	"shutdown":   {"FILE HOW", (*env).shutdown},
	"reset":      {"FILE", (*env).reset},
	"close":      {"FILE", func(e *env, op operation) error { return unix.Close(e.number(op.args[0])) }},
	"dup":        {"FILE FILE", (*env).dup},
	"dup2":       {"FILE FILE", (*env).dup},
	"await":      {"FILE MASK", (*env).await},
	"sleep":      {"DURATION", (*env).sleep},
	"shortage":   {"begins|ends", (*env).shortage},
}

func (e *env) pair(op operation, kind int) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// With this buffer a socket stays writable for a few dozen single bytes, and
	// is full after a few pages.
	for _, fd := range fds {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10); err != nil {
			return err
		}
	}
	return e.assignTwo(op, fds[0], fds[1])
}

func (e *env) assignTwo(op operation, a, b int) error {
	return errors.Join(e.assign(op.args[0], a, bytesFile), e.assign(op.args[1], b, bytesFile))
}

// pipe makes a pipe of two pages, which is soon full.
func (e *env) pipe(op operation) error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSlots*os.Getpagesize()); err != nil {
		return err
	}
	return e.assignTwo(op, fds[0], fds[1])
}

const pipeSlots = 2

func newSocket(kind int) (int, error) {
	return unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func newBoundSocket(kind int) (int, error) {
	fd, err := newSocket(kind)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	return fd, err
}

// socket makes a TCP socket that is bound, but neither listens nor is connected.
func (e *env) socket(op operation) error {
	fd, err := newBoundSocket(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	return e.assign(op.args[0], fd, bytesFile)
}

func (e *env) listen(op operation) error {
	fd, err := newBoundSocket(unix.SOCK_STREAM)
	if err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		return err
	}
	return e.assign(op.args[0], fd, bytesFile)
}

func (e *env) connect(op operation) error {
	to, err := unix.Getsockname(e.number(op.args[1]))
	if err != nil {
		return err
	}
	fd, err := newSocket(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		return err
	}
	return e.assign(op.args[0], fd, bytesFile)
}

func (e *env) accept(op operation) error {
	if err := pollFor(e.number(op.args[1]), unix.POLLIN); err != nil {
		return err
	}
	fd, _, err := unix.Accept4(e.number(op.args[1]), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	return e.assign(op.args[0], fd, bytesFile)
}

// tcp makes an established connection.
func (e *env) tcp(op operation) error {
	const listener = "(listener)"
	client, server := op.args[0], op.args[1]
	return errors.Join(
		e.listen(operation{"listen", []string{listener}}),
		e.connect(operation{"connect", []string{client, listener}}),
		e.accept(operation{"accept", []string{server, listener}}),
		unix.Close(e.number(listener)),
		pollFor(e.number(client), unix.POLLOUT),
	)
}

// udp makes two sockets that are connected to each other.
func (e *env) udp(op operation) error {
	var fds [2]int
	var names [2]unix.Sockaddr
	for i := range fds {
		var err error
		if fds[i], err = newBoundSocket(unix.SOCK_DGRAM); err != nil {
			return err
		}
		if names[i], err = unix.Getsockname(fds[i]); err != nil {
			return err
		}
	}
	return errors.Join(unix.Connect(fds[0], names[1]), unix.Connect(fds[1], names[0]), e.assignTwo(op, fds[0], fds[1]))
}

// udpClosed makes a UDP socket that is connected to a closed port.
func (e *env) udpClosed(op operation) error {
	closed, err := newBoundSocket(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	to, err := unix.Getsockname(closed)
	if err != nil {
		return err
	}
	fd, err := newBoundSocket(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	return errors.Join(unix.Connect(fd, to), unix.Close(closed), e.assign(op.args[0], fd, bytesFile))
}

// pty makes a pseudo-terminal in raw mode: master, slave.
func (e *env) pty(op operation) error {
	master, slave, err := fdtest.OpenPty()
	if err != nil {
		return err
	}
	return errors.Join(fdtest.SetTermios(slave, 0, 0, 0), e.assignTwo(op, master, slave))
}

func (e *env) eventfd(op operation) error {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	return e.assign(op.args[0], fd, counterFile)
}

// timerfd makes a timer that expires once.
func (e *env) timerfd(op operation) error {
	d, err := time.ParseDuration(op.args[1])
	if err != nil {
		return err
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return err
	}
	err = unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
	return errors.Join(err, e.assign(op.args[0], fd, counterFile))
}

// epollfd makes an epoll set that watches a file for reading.
func (e *env) epollfd(op operation) error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, e.number(op.args[1]), &unix.EpollEvent{Events: unix.EPOLLIN})
	return errors.Join(err, e.assign(op.args[0], fd, bytesFile))
}

func (e *env) file(op operation) error {
	fd, err := unix.Open(e.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil { // not every file system supports O_TMPFILE
		fd, err = unix.Open(e.dir+"/"+op.args[0], unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	}
	if err != nil {
		return err
	}
	return e.assign(op.args[0], fd, endlessFile)
}

func (e *env) directory(op operation) error {
	fd, err := unix.Open(e.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return e.assign(op.args[0], fd, endlessFile)
}

func (e *env) device(op operation) error {
	fd, err := unix.Open("/dev/"+op.args[1], unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return e.assign(op.args[0], fd, endlessFile)
}

// child starts a process and opens its pidfd.
func (e *env) child(op operation) error {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		return err
	}
	e.cmds[op.args[0]] = cmd
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		return err
	}
	return e.assign(op.args[0], fd, endlessFile)
}

func (e *env) kill(op operation) error { return e.cmds[op.args[0]].Process.Kill() }

func (e *env) reap(op operation) error {
	var exit *exec.ExitError
	if err := e.cmds[op.args[0]].Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// io repeats a read or write that a signal interrupts.
func (e *env) io(name string, p []byte, call func(fd int, p []byte) (int, error)) (n int, err error) {
	for {
		if n, err = call(e.number(name), p); err != unix.EINTR {
			return n, err
		}
	}
}

// size returns the number of bytes of a read or write.
func (e *env) size(op operation) (int, error) {
	if e.kind(op.args[0]) == counterFile {
		return 8, nil
	}
	return strconv.Atoi(op.arg(1, "1"))
}

func (e *env) write(op operation) error {
	n, err := e.size(op)
	if err != nil {
		return err
	}
	p := make([]byte, n)
	if e.kind(op.args[0]) == counterFile {
		binary.NativeEndian.PutUint64(p, 1)
	}
	_, err = e.io(op.args[0], p, unix.Write)
	return err
}

func (e *env) read(op operation) error {
	n, err := e.size(op)
	if err != nil {
		return err
	}
	n, err = e.io(op.args[0], make([]byte, n), unix.Read)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return err
}

func (e *env) oob(op operation) error {
	return unix.Sendto(e.number(op.args[0]), []byte{'!'}, unix.MSG_OOB, nil)
}

func (e *env) readoob(op operation) error {
	_, _, err := unix.Recvfrom(e.number(op.args[0]), make([]byte, 1), unix.MSG_OOB)
	return err
}

var chunk = make([]byte, 64<<10)

// fill writes until the write would block.
func (e *env) fill(op operation) error {
	name, p := op.args[0], chunk[:os.Getpagesize()]
	if e.kind(name) == counterFile {
		if err := e.drain(op); err != nil {
			return err
		}
		p = make([]byte, 8)
		binary.NativeEndian.PutUint64(p, ^uint64(1))
	}
	for {
		switch _, err := e.io(name, p, unix.Write); {
		case err == unix.EAGAIN:
			return nil
		case err != nil || e.kind(name) == endlessFile:
			return err
		}
	}
}

// drain reads until the read would block.
func (e *env) drain(op operation) error {
	p := make([]byte, len(chunk))
	for {
		switch n, err := e.io(op.args[0], p, unix.Read); {
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
	}
}

func (e *env) shutdown(op operation) error {
	how, ok := map[string]int{"read": unix.SHUT_RD, "write": unix.SHUT_WR, "both": unix.SHUT_RDWR}[op.args[1]]
	if !ok {
		return fmt.Errorf("shutdown of %q", op.args[1])
	}
	return unix.Shutdown(e.number(op.args[0]), how)
}

// reset closes a TCP connection with an RST.
func (e *env) reset(op operation) error {
	n := e.number(op.args[0])
	err := unix.SetsockoptLinger(n, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return errors.Join(err, unix.Close(n))
}

func (e *env) dup(op operation) error {
	from, to := e.number(op.args[0]), e.number(op.args[1])
	if op.verb == "dup" {
		if _, err := unix.FcntlInt(uintptr(to), unix.F_GETFD, 0); err == nil {
			return fmt.Errorf("%s is open: use dup2", op.args[1])
		}
	}
	if err := unix.Dup3(from, to, unix.O_CLOEXEC); err != nil {
		return err
	}
	e.setKind(op.args[1], e.kind(op.args[0]))
	return nil
}

// await waits until poll(2) reports events. What goes through the network stack,
// even over loopback, need not arrive at once.
func (e *env) await(op operation) error {
	var mask int16
	for name := range strings.SplitSeq(op.args[1], "|") {
		bit, ok := map[string]int16{"IN": unix.POLLIN, "OUT": unix.POLLOUT, "PRI": unix.POLLPRI,
			"RDHUP": unix.POLLRDHUP, "HUP": unix.POLLHUP, "ERR": unix.POLLERR}[name]
		if !ok {
			return fmt.Errorf("unknown poll event %q", name)
		}
		mask |= bit
	}
	return pollFor(e.number(op.args[0]), mask)
}

// pollFor waits until poll(2) reports all of mask.
func pollFor(fd int, mask int16) error {
	for start := time.Now(); time.Since(start) < fdtest.Timeout; time.Sleep(time.Millisecond) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: mask}}
		if _, err := unix.Poll(fds, 0); err != nil && err != unix.EINTR {
			return err
		}
		if fds[0].Revents&mask == mask {
			return nil
		}
	}
	return fmt.Errorf("poll(2) does not report %#x", mask)
}

func (e *env) sleep(op operation) error {
	d, err := time.ParseDuration(op.args[0])
	time.Sleep(d)
	return err
}
