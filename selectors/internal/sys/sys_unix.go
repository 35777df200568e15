//go:build unix

package sys

import (
	"errors"
	"math"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// HasPoll and HasSelect tell whether the platform has the call.
	HasPoll   = true
	HasSelect = true

	// AnyFile tells whether Poll and Select take descriptors of every kind, not
	// of sockets only.
	AnyFile = true

	// HupIsReadClosed tells whether PollHup already means that the peer has shut
	// down its writing half.
	HupIsReadClosed = false
)

// ErrBadFD is the system's error for a descriptor that is not open.
var ErrBadFD error = unix.EBADF

// PollFD is one entry of the list that Poll takes.
type PollFD = unix.PollFd

// Events that Poll is asked for and reports.
const (
	PollIn   = unix.POLLIN
	PollOut  = unix.POLLOUT
	PollPri  = unix.POLLPRI
	PollHup  = unix.POLLHUP
	PollErr  = unix.POLLERR
	PollNval = unix.POLLNVAL
)

// NewPollFD returns an entry that asks for the events of mask.
func NewPollFD(fd int, mask uint32) (p PollFD) {
	p.Fd = int32(fd)
	SetEvents(&p, mask)
	return p
}

// SetEvents replaces the events that an entry asks for.
func SetEvents(p *PollFD, mask uint32) { setMask(&p.Events, mask) }

// setMask exists because the field is unsigned on AIX.
func setMask[T int16 | uint16](field *T, mask uint32) { *field = T(mask) }

// An FDSet is a bitmap of descriptors in the kernel's layout: an array of
// unsigned long.
type FDSet = []uintptr

// FileID returns a number that tells open files apart: device and inode number,
// mixed. It is never 0. All anonymous files of the Linux kernel (eventfd,
// timerfd, inotify, epoll …) have the same one.
func FileID(fd int) (uint64, error) {
	var st unix.Stat_t
	if err := Fstat(fd, &st); err != nil {
		return 0, err
	}
	return StatID(&st), nil
}

// StatID is FileID for a descriptor whose Stat_t is known.
func StatID(st *unix.Stat_t) uint64 {
	id := uint64(st.Ino)*0x9e3779b97f4a7c15 ^ uint64(st.Dev)
	if id == 0 {
		id = 1
	}
	return id
}

// Identify returns the FileID of a descriptor, and whether it may be the file
// whose FileID is known; known is 0 if there was none.
func Identify(fd int, known uint64) (id uint64, same bool, err error) {
	id, err = FileID(fd)
	return id, err == nil && id == known, err
}

// Fstat is fstat(2), repeated after EINTR.
func Fstat(fd int, st *unix.Stat_t) error {
	for {
		if err := unix.Fstat(fd, st); err != unix.EINTR {
			if err == unix.EBADF {
				return err
			}
			return os.NewSyscallError("fstat", err)
		}
	}
}

func closeDescriptor(fd int) { unix.Close(fd) }

// IsOpen reports whether a number is that of an open descriptor.
func IsOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err != unix.EBADF
}

// PollLimit returns how many descriptors Poll takes at present. poll(2) refuses a
// longer list with EINVAL.
func PollLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	return int(min(uint64(limit.Cur), math.MaxInt32))
}

func isShortage(err error) bool {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case unix.ENOMEM, unix.EAGAIN, unix.ENOBUFS, unix.EMFILE, unix.ENFILE, unix.ENOSPC, unix.EINTR:
		return true
	}
	return false
}

// Read reads once without waiting. At the end of the file the error is io.EOF; 0
// bytes and no error are an empty message. The caller sets nonblocking if it knows
// the descriptor to be in non-blocking mode; otherwise Read may have to ask.
func Read(fd int, p []byte, nonblocking bool) (int, error) {
	n, err := readOnce(fd, p, nonblocking)
	if n == 0 && err == nil && len(p) > 0 {
		return 0, readNothing(fd)
	}
	return n, err
}

func readOnce(fd int, p []byte, nonblocking bool) (int, error) {
	if n, done, err := readNonblock(fd, p); done {
		return n, err
	}
	if !nonblocking && isBlocking(fd) {
		if notReady(fd, PollIn) {
			return 0, ErrWouldBlock
		}
		p = withoutWaiting(fd, p)
	}
	return retry(func() (int, error) { return plainRead(fd, p) })
}

// Write writes once without waiting and returns how much the kernel took.
func Write(fd int, p []byte, nonblocking bool) (int, error) {
	if n, done, err := writeNonblock(fd, p); done {
		return n, err
	}
	if !nonblocking && isBlocking(fd) && notReady(fd, PollOut) {
		return 0, ErrWouldBlock
	}
	return retry(func() (int, error) { return plainWrite(fd, p) })
}

// Accept accepts once without waiting. The new descriptor is non-blocking and
// closed on exec.
func Accept(fd int) (int, error) {
	if isBlocking(fd) && notReady(fd, PollIn) {
		return -1, ErrWouldBlock
	}
	conn, err := retry(func() (int, error) {
		conn, err := accept(fd)
		if err == unix.ECONNABORTED {
			err = unix.EINTR // this connection was reset in the queue; try the next
		}
		return conn, err
	})
	if err != nil {
		return -1, err
	}
	return conn, nil
}

// AcceptConn is Accept that makes a net.Conn. withFD calls a function with the
// listener's descriptor.
func AcceptConn(_ any, withFD func(func(fd int) error) error) (net.Conn, error) {
	conn := -1
	err := withFD(func(fd int) (err error) {
		conn, err = acceptWithSpare(fd)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(conn), "accepted")
	defer f.Close() // FileConn makes a duplicate
	return net.FileConn(f)
}

// acceptWithSpare is Accept that makes sure that one more descriptor is free
// afterwards, so that net.FileConn can make its duplicate. Without that check
// a connection would be accepted and lost.
func acceptWithSpare(fd int) (int, error) {
	syscall.ForkLock.RLock()
	spare, err := unix.Dup(fd)
	if err == nil {
		unix.CloseOnExec(spare)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, err
	}
	defer unix.Close(spare)
	return Accept(fd)
}

// isBlocking reports whether a descriptor is in blocking mode.
func isBlocking(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK == 0
}

// notReady reports whether a system call on a descriptor in blocking mode would
// have to wait.
func notReady(fd int, mask uint32) bool {
	mask, err := pollNow(fd, mask)
	return mask == 0 && err == nil
}

// retry repeats a non-blocking call while signals interrupt it.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, ErrWouldBlock
		}
		return 0, err
	}
}
