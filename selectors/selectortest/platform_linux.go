package selectortest

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// linuxStates are the rows that only Linux has in this form.
var linuxStates = []state{
	{"PairPeerClosedUnread", 0, func(t *T) int { a, b := t.pair(); t.write(a, "x"); t.close(b); return a }, r | w | rc | hu | er, 0},
	{"PairSelfShutRead", 0, func(t *T) int { a, _ := t.pair(); unix.Shutdown(a, unix.SHUT_RD); return a }, r | w | rc, 0},
	{"PairSelfShutWrite", 0, func(t *T) int { a, _ := t.pair(); unix.Shutdown(a, unix.SHUT_WR); return a }, w, 0},
	{"DgramPairPeerClosed", 0, func(t *T) int { a, b := t.pairOf(unix.SOCK_DGRAM); t.close(b); return a }, w, 0},

	{"PipeWriteFullReaderClosed", anyFile, func(t *T) int { a, b := t.pipe(); t.fill(b); t.close(a); return b }, r | w | er, 0},
	{"PipeWriteEmptyReaderClosed", anyFile, func(t *T) int { a, b := t.pipe(); t.close(a); return b }, r | w | er, 0},

	{"TCPNotConnected", 0, func(t *T) int { return t.newSocket(unix.SOCK_STREAM) }, r | w | hu, 0},
	{"TCPBound", 0, func(t *T) int { a, _ := t.boundSocket(unix.SOCK_STREAM); return a }, r | w | hu, 0},
	{"TCPUrgent", 0, func(t *T) int {
		a, b := t.tcp()
		t.noError(unix.Sendto(b, []byte("!"), unix.MSG_OOB, nil), "send")
		t.waitPoll(a, unix.POLLPRI)
		return a
	}, w | p, 0},
	{"TCPPeerReset", 0, func(t *T) int {
		a, b := t.tcp()
		t.reset(b)
		t.waitPoll(a, unix.POLLERR)
		return a
	}, r | w | rc | hu | er, 0},
	{"TCPRefused", 0, func(t *T) int {
		_, address := t.boundSocket(unix.SOCK_STREAM) // not listening
		a := t.newSocket(unix.SOCK_STREAM)
		t.connectRefused(a, address)
		t.waitPoll(a, unix.POLLERR)
		return a
	}, r | w | rc | hu | er, 0},
	{"TCPSelfShutRead", 0, func(t *T) int { a, _ := t.tcp(); unix.Shutdown(a, unix.SHUT_RD); return a }, r | w | rc, 0},
	{"TCPSelfShutWrite", 0, func(t *T) int { a, _ := t.tcp(); unix.Shutdown(a, unix.SHUT_WR); return a }, w, 0},
	{"TCPSelfShutBoth", 0, func(t *T) int { a, _ := t.tcp(); unix.Shutdown(a, unix.SHUT_RDWR); return a }, r | w | rc | hu, 0},

	{"UDPUnreachable", 0, func(t *T) int {
		// The other socket is connected to itself and receives from no other.
		other, address := t.boundSocket(unix.SOCK_DGRAM)
		t.connect(other, address)
		a := t.newSocket(unix.SOCK_DGRAM)
		t.connect(a, address)
		t.write(a, "x")
		t.waitPoll(a, unix.POLLERR)
		return a
	}, r | w | er, 0},

	{"RegularFile", anyFile, func(t *T) int { return t.regularFile() }, r | w, 0},
	{"Directory", anyFile, func(t *T) int { return t.openFile(t.TempDir(), unix.O_RDONLY) }, r | w, 0},
	{"DevNull", anyFile, func(t *T) int { return t.openFile("/dev/null", unix.O_RDWR) }, r | w, 0},
	{"DevZero", anyFile, func(t *T) int { return t.openFile("/dev/zero", unix.O_RDWR) }, r | w, 0},
	{"DevURandom", anyFile, func(t *T) int { return t.openFile("/dev/urandom", unix.O_RDONLY) }, r | w, 0},

	{"PtyMasterIdle", anyFile, func(t *T) int { master, _ := t.pty(); return master }, w, 0},
	{"PtyMasterSlaveClosed", anyFile, func(t *T) int { master, slave := t.pty(); t.close(slave); return master }, r | w | hu, 0},
	{"PtySlaveMasterClosed", anyFile, func(t *T) int { master, slave := t.pty(); t.close(master); return slave }, r | w | hu | er, 0},

	{"EventfdZero", anyFile, func(t *T) int { return t.eventfd(0) }, w, 0},
	{"EventfdOne", anyFile, func(t *T) int { return t.eventfd(1) }, r | w, 0},
	{"EventfdMax", anyFile, func(t *T) int { return t.eventfd(^uint64(0) - 1) }, r, 0},
	{"TimerfdIdle", anyFile, func(t *T) int { return t.timerfd(0) }, 0, 0},
	{"TimerfdExpired", anyFile, func(t *T) int { fd := t.timerfd(1); t.waitPoll(fd, unix.POLLIN); return fd }, r, 0},
	{"InotifyIdle", anyFile, func(t *T) int { return t.inotify(t.TempDir()) }, 0, 0},
	{"InotifyEvent", anyFile, func(t *T) int {
		dir := t.TempDir()
		fd := t.inotify(dir)
		t.noError(os.WriteFile(filepath.Join(dir, "new"), nil, 0o600), "WriteFile")
		return fd
	}, r, 0},
	{"EpollEmpty", anyFile, func(t *T) int { fd, _ := t.epoll(); return fd }, 0, 0},
	{"EpollReady", anyFile, func(t *T) int { fd, peer := t.epoll(); t.write(peer, "x"); return fd }, r, 0},
	{"PidfdRunning", anyFile, func(t *T) int { fd, _ := t.startChild(); return fd }, 0, 0},
	{"PidfdExited", anyFile, func(t *T) int { fd, end := t.startChild(); end(false); return fd }, r, 0},
	// Since Linux 6.9 a reaped process has a hang-up.
	{"PidfdReaped", anyFile, func(t *T) int { fd, end := t.startChild(); end(true); return fd }, r, hu},
}

// reset closes a TCP socket so that the peer gets a reset instead of end of file.
func (t *T) reset(fd int) {
	t.Helper()
	t.noError(unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), "setsockopt(SO_LINGER)")
	t.close(fd)
}

// connectRefused connects to an address without a listener.
func (t *T) connectRefused(fd int, address unix.Sockaddr) {
	t.Helper()
	if err := unix.Connect(fd, address); err != unix.EINPROGRESS {
		t.Skipf("connect: %v, want EINPROGRESS", err)
	}
}

// pty returns the two ends of a new pseudo-terminal.
func (t *T) pty() (master, slave int) {
	t.Helper()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals: open /dev/ptmx: %v", err)
	}
	t.track(master)
	t.noError(unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0), "ioctl(TIOCSPTLCK)")
	n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN) // 32 bits in native byte order
	t.noError(err, "ioctl(TIOCGPTN)")
	slave, err = unix.Open("/dev/pts/"+strconv.Itoa(int(n)), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals: open /dev/pts/%d: %v", n, err)
	}
	t.track(slave)
	return master, slave
}

// eventfd returns an eventfd with the given count.
func (t *T) eventfd(count uint64) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	t.noError(err, "eventfd")
	t.track(fd)
	if count != 0 {
		buf := make([]byte, 8)
		binary.NativeEndian.PutUint64(buf, count)
		_, err := unix.Write(fd, buf)
		t.noError(err, "write to eventfd")
	}
	return fd
}

// timerfd returns a timer that expires in ns nanoseconds, or never if ns is 0.
func (t *T) timerfd(ns int64) int {
	t.Helper()
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	t.noError(err, "timerfd_create")
	t.track(fd)
	t.noError(unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(ns)}, nil), "timerfd_settime")
	return fd
}

// inotify returns an inotify descriptor that watches dir for new files.
func (t *T) inotify(dir string) int {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	t.noError(err, "inotify_init1")
	t.track(fd)
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE)
	t.noError(err, "inotify_add_watch")
	return fd
}

// epoll returns an epoll set that watches a socket, and the peer of that socket.
func (t *T) epoll() (set, peer int) {
	t.Helper()
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	t.noError(err, "epoll_create1")
	t.track(set)
	a, peer := t.pair()
	t.noError(unix.EpollCtl(set, unix.EPOLL_CTL_ADD, a, &unix.EpollEvent{Events: unix.EPOLLIN}), "epoll_ctl")
	return set, peer
}

// startChild starts a process and returns a pidfd of it. end makes the process
// exit and waits for that; it also reaps the process if reap is true.
func (t *T) startChild() (pidfd int, end func(reap bool)) {
	t.Helper()
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	t.noError(err, "StdinPipe")
	if err := cmd.Start(); err != nil {
		t.Skipf("cannot start a child process: %v", err)
	}
	reaped := false
	t.Cleanup(func() {
		stdin.Close()
		if !reaped {
			cmd.Wait()
		}
	})
	pidfd, err = unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Skipf("no pidfds: pidfd_open: %v", err)
	}
	t.track(pidfd)
	return pidfd, func(reap bool) {
		stdin.Close()
		t.waitPoll(pidfd, unix.POLLIN)
		if reaped = reap; reap {
			t.noError(cmd.Wait(), "Wait for the child process")
		}
	}
}
