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

// WatchErrorQueue turns on software time stamps of sent datagrams and the errors that the
// network reports, for an IPv4 socket, and calls queued with each.
func WatchErrorQueue(sel selectors.Selector, conn syscall.Conn, queued func(QueuedError, error)) error {
	err := onDescriptor(conn, func(fd int) error {
		const stamps = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_TSONLY
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamps),
			unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1),
			// With this option a queue that is not empty is POLLPRI as well as POLLERR
			// (datagram_poll in net/core/datagram.c). So EventPriority is reported, by every
			// backend and until the queue is empty. Without it there is only the hint EventError.
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SELECT_ERR_QUEUE, 1))
	})
	if err != nil {
		return err
	}
	_, err = sel.Register(conn, selectors.EventPriority, func(selectors.Ready) {
		for {
			q, err := readErrorQueue(conn)
			if err == unix.EAGAIN {
				return
			}
			if err != nil {
				sel.Unregister(conn)
			}
			queued(q, err)
			if err != nil {
				return
			}
		}
	})
	return err
}

// readErrorQueue takes one message. Reading from the error queue never blocks.
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
