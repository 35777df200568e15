package recipes

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// A QueuedError is a message in the error queue of a socket: a time stamp, whose Errno
// is ENOMSG, or an error that the network has reported for a datagram.
type QueuedError struct {
	Errno syscall.Errno
	Time  time.Time // when the datagram left; only of a time stamp
}

// WatchDatagrams turns on software time stamps of sent datagrams and the errors that the
// network reports, for an IPv4 socket. It calls queued with each message of the error
// queue and received with each datagram. The datagram is valid during the call. After
// an error the socket is still registered.
func WatchDatagrams(sel selectors.Selector, conn syscall.Conn, queued func(QueuedError), received func(p []byte, err error)) error {
	err := onDescriptor(conn, func(fd int) error {
		const stamps = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_TSONLY
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamps),
			unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1),
			// A queue that is not empty is POLLERR. With this option it is POLLPRI too
			// (datagram_poll in net/core/datagram.c), so that EventPriority reports it.
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SELECT_ERR_QUEUE, 1))
	})
	if err != nil {
		return err
	}
	buf := make([]byte, 65536)
	// POLLERR is EventRead as well. Without EventRead, select(2) sleeps on when the
	// queue is no longer empty: the wake-up has the key EPOLLERR alone
	// (sock_def_error_report in net/core/sock.c), for which select waits only with a
	// file to read or write.
	_, err = sel.Register(conn, selectors.EventRead|selectors.EventPriority, func(ready selectors.Ready) {
		// The queue comes first. Reading it takes the pending error from the socket, which
		// TryRead would return otherwise.
		if ready.Events&selectors.EventPriority != 0 {
			for q, err := readErrorQueue(conn); err == nil; q, err = readErrorQueue(conn) {
				queued(q)
			}
		}
		n, err := selectors.TryRead(conn, buf)
		if err != selectors.ErrWouldBlock {
			received(buf[:n], err)
		}
	})
	return err
}

// readErrorQueue takes one message. If there is none the error is EAGAIN: reading from
// the error queue never blocks.
func readErrorQueue(conn syscall.Conn) (q QueuedError, err error) {
	var payload [1]byte // what was sent is not needed, so it may be truncated
	var control [512]byte
	var n int
	err = onDescriptor(conn, func(fd int) error {
		_, n, _, _, err = unix.Recvmsg(fd, payload[:], control[:], unix.MSG_ERRQUEUE)
		return err
	})
	if err != nil {
		return q, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	for _, m := range messages {
		switch data := unsafe.Pointer(unsafe.SliceData(m.Data)); [2]int32{m.Header.Level, m.Header.Type} {
		case [2]int32{unix.SOL_SOCKET, unix.SCM_TIMESTAMPING}:
			q.Time = time.Unix((*unix.ScmTimestamping)(data).Ts[0].Unix())
		case [2]int32{unix.SOL_IP, unix.IP_RECVERR}:
			q.Errno = syscall.Errno((*unix.SockExtendedErr)(data).Errno)
		}
	}
	return q, err
}

// onDescriptor calls f with the descriptor of a connection. Unlike the File method of
// package net it neither duplicates it nor makes it blocking.
func onDescriptor(conn syscall.Conn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}
