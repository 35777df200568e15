//go:build unix

package selectors

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// unready reports whether a descriptor is in blocking mode and a system call
// on it would have to wait.
func unready(fd int, events pollMask) bool {
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		return false
	}
	n, err := ppoll([]unix.PollFd{{Fd: int32(fd), Events: events}}, 0)
	return n == 0 && err == nil
}

// retry repeats a non-blocking call that a signal interrupted.
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

func tryRead(fd int, p []byte, nonblock bool) (int, error) {
	n, err := readOnce(fd, p, nonblock)
	if n == 0 && err == nil && len(p) > 0 && !datagrams(fd) {
		return 0, io.EOF
	}
	return n, err
}

func readOnce(fd int, p []byte, nonblock bool) (int, error) {
	if n, done, err := readNow(fd, p); done {
		return n, err
	}
	if !nonblock && unready(fd, unix.POLLIN) {
		return 0, ErrWouldBlock
	}
	return retry(func() (int, error) { return plainRead(fd, p) })
}

// datagrams reports whether reading nothing means an empty message.
func datagrams(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind != unix.SOCK_STREAM && kind != unix.SOCK_SEQPACKET
}

func tryWrite(fd int, p []byte, nonblock bool) (int, error) {
	if n, done, err := writeNow(fd, p); done {
		return n, err
	}
	if !nonblock && unready(fd, unix.POLLOUT) {
		return 0, ErrWouldBlock
	}
	return retry(func() (int, error) { return plainWrite(fd, p) })
}

func tryAccept(fd int) (int, error) {
	if unready(fd, unix.POLLIN) {
		return -1, ErrWouldBlock
	}
	conn, err := retry(func() (int, error) {
		conn, err := accept(fd)
		if err == unix.ECONNABORTED {
			err = unix.EINTR // go on with the next in the queue
		}
		return conn, err
	})
	if err != nil {
		return -1, err
	}
	return conn, nil
}

// tryAcceptSpare is tryAccept that leaves room for one more descriptor, so that
// tryAcceptConn does not fail with a connection in its hands.
func tryAcceptSpare(fd int) (int, error) {
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
	return tryAccept(fd)
}

func tryAcceptConn(listener any) (net.Conn, error) {
	fd, err := acceptWith(listener, tryAcceptSpare)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "accepted")
	defer f.Close() // FileConn has made a duplicate
	return net.FileConn(f)
}
