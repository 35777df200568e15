package recipes

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// ErrMessagesLost tells that the receive buffer of a netlink socket was full. The
// program has to list the interfaces anew.
var ErrMessagesLost = errors.New("netlink messages were lost")

// WatchLinks calls changed with the index and the flags (IFF_UP and others) of each
// network interface that changes. The namespace is that of the calling thread. After
// ErrMessagesLost it goes on.
func WatchLinks(sel selectors.Selector, changed func(index int, flags uint32, err error)) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	buf := make([]byte, 65536) // a datagram that does not fit is truncated
	err = register(sel, fd, selectors.EventRead, func(selectors.Ready) {
		n, err := selectors.TryRead(fd, buf) // one datagram; if more are queued, the report repeats
		switch {
		case err == selectors.ErrWouldBlock:
			return
		case errors.Is(err, unix.ENOBUFS): // POLLERR, until a read returns it
			changed(0, 0, ErrMessagesLost)
			return
		case err != nil:
			Close(sel, fd)
			changed(0, 0, err)
			return
		}
		messages, _ := syscall.ParseNetlinkMessage(buf[:n])
		for _, m := range messages {
			if m.Header.Type == unix.RTM_NEWLINK && len(m.Data) >= unix.SizeofIfInfomsg {
				info := (*unix.IfInfomsg)(unsafe.Pointer(&m.Data[0]))
				changed(int(info.Index), info.Flags, nil)
			}
		}
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}
