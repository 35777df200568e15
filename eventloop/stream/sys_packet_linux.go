package stream

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// errHostNotOnNet is what an ICMP message of an isolated host becomes.
const errHostNotOnNet = unix.ENONET

// receiveError takes one message from the error queue, and returns the lengths of
// its data and of its control messages. On error the queue is empty.
func receiveError(fd int, p, control []byte) (n, nc int, e queuedError, err error) {
	n, nc, _, sa, err := unix.Recvmsg(fd, p, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	for err == unix.EINTR {
		n, nc, _, sa, err = unix.Recvmsg(fd, p, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	}
	if err != nil {
		return 0, 0, queuedError{}, err
	}
	e.addr, e.err = addrPort(sa), queuedErrno(control[:nc])
	return n, nc, e, nil
}

// queuedErrno returns the error that the control messages of an error queue's
// message have, or nil. Time stamps and completions have another origin, or no
// error number (ip(7), IP_RECVERR; Documentation/networking/timestamping.rst and
// msg_zerocopy.rst).
func queuedErrno(control []byte) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		isError := m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVERR ||
			m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !isError || len(m.Data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			continue
		}
		e := (*unix.SockExtendedErr)(unsafe.Pointer(unsafe.SliceData(m.Data)))
		switch e.Origin {
		case unix.SO_EE_ORIGIN_LOCAL, unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6, unix.SO_EE_ORIGIN_TXTIME:
			if e.Errno != 0 {
				return unix.Errno(e.Errno)
			}
		}
	}
	return nil
}

// isReadShutDown reports whether a socket is shut down for reading. A receive then
// returns EAGAIN in non-blocking mode, like that of a socket without a datagram.
func isReadShutDown(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return n > 0 && err == nil && fds[0].Revents&unix.POLLRDHUP != 0
}
