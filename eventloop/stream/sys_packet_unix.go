//go:build unix

package stream

import (
	"fmt"

	"golang.org/x/sys/unix"
)

var (
	errTooLarge      error = unix.EMSGSIZE
	errNoDestination error = unix.EDESTADDRREQ
)

// isForeign reports whether an error tells that the number is not that of a socket
// any more.
func isForeign(err error) bool { return err == unix.EBADF || err == unix.ENOTSOCK }

// mayBePending reports whether an error of sendto may be that of an earlier
// datagram. ICMP messages become these errors (net/ipv4/icmp.c, icmp_err_convert;
// net/ipv6/icmp.c, tab_unreach).
func mayBePending(err error) bool {
	switch err {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EPROTO, unix.EACCES:
		return true
	}
	return err == errHostNotOnNet
}

// isIPv6 reports whether a socket uses IPv6 addresses.
func isIPv6(fd int) bool {
	sa, _ := unix.Getsockname(fd)
	_, v6 := sa.(*unix.SockaddrInet6)
	return v6
}

// receivePacket receives one datagram. recvmsg tells whether it was truncated,
// which recvfrom does on Linux only.
func receivePacket(s *packetSocket, p []byte) (n int, from packetSource, err error) {
	for {
		n, _, flags, sa, err := unix.Recvmsg(s.fd, p, nil, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, packetSource{}, mapWouldBlock(err)
		}
		from.truncated = flags&unix.MSG_TRUNC != 0
		from.ended = n == 0 && sa == nil && !s.isUnix // every datagram of UDP has a sender
		if unixAddr, ok := sa.(*unix.SockaddrUnix); ok {
			from.path = unixAddr.Name
		} else {
			from.addr = addrPort(sa)
		}
		return n, from, nil
	}
}

// sendPacket sends one datagram.
func sendPacket(s *packetSocket, p []byte, to packetTarget) error {
	var sa unix.Sockaddr
	switch ip := to.addr.Addr(); {
	case to.peer:
	case s.isUnix && to.addr.IsValid():
		return unix.EAFNOSUPPORT
	case s.isUnix:
		sa = &unix.SockaddrUnix{Name: to.path}
	case !to.addr.IsValid() || !s.isIPv6 && !ip.Unmap().Is4():
		return unix.EAFNOSUPPORT
	case s.isIPv6 && ip.Zone() != "" && zoneIndex(ip.Zone()) == 0:
		return fmt.Errorf("no network interface %q: %w", ip.Zone(), unix.EINVAL)
	default:
		sa = sockaddr(to.addr, s.isIPv6)
	}
	for {
		if err := unix.Sendto(s.fd, p, 0, sa); err != unix.EINTR {
			return mapWouldBlock(err)
		}
	}
}
