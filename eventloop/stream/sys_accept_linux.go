package stream

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// accept accepts a connection and returns its non-blocking, close-on-exec
// descriptor and the address of the peer, which is not valid for a Unix socket.
// getpeername(2) fails once the peer has reset the connection, so the address is
// taken from the call. A raw call on a non-blocking socket neither blocks nor
// allocates.
func accept(fd int) (newFD int, remote netip.AddrPort, err error) {
	var sa unix.RawSockaddrAny
	for {
		size := uint32(unix.SizeofSockaddrAny)
		n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int(n), rawAddrPort(&sa), nil
		case unix.EINTR:
		case unix.ENOSYS: // before Linux 4.3 some architectures have only socketcall(2)
			return acceptAndParse(fd)
		default:
			return -1, netip.AddrPort{}, mapWouldBlock(errno)
		}
	}
}

// rawAddrPort returns the IP address in sa, or the zero AddrPort.
func rawAddrPort(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), networkOrder(&sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(zoneName(int(sa.Scope_id)))
		}
		return netip.AddrPortFrom(ip, networkOrder(&sa.Port))
	}
	return netip.AddrPort{}
}

// networkOrder returns a port that is stored in network byte order.
func networkOrder(port *uint16) uint16 {
	p := (*[2]byte)(unsafe.Pointer(port))
	return uint16(p[0])<<8 | uint16(p[1])
}

// isConnError reports whether an error of accept is about one connection that has
// failed while it was waiting, so that the next one can be accepted. Linux reports
// a network error that is pending on the new socket as the error of accept(2), and
// EPERM if a firewall forbids the connection.
func isConnError(err error) bool {
	switch err {
	case unix.ECONNABORTED, unix.EPERM, unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET,
		unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.ETIMEDOUT, unix.ECONNRESET:
		return true
	}
	return false
}
