//go:build unix

package stream

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

const platformSupported = true

var (
	errBadFD       error = unix.EBADF
	errBrokenPipe  error = unix.EPIPE
	errConnRefused error = unix.ECONNREFUSED
	errInProgress  error = unix.EINPROGRESS
)

// mapWouldBlock returns selectors.ErrWouldBlock for EAGAIN, and other errors
// unchanged.
func mapWouldBlock(err error) error {
	if err == unix.EAGAIN {
		return selectors.ErrWouldBlock
	}
	return err
}

func closeFD(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}

func shutdownWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// resetOnClose makes close(2) reset a TCP connection and discard unsent data.
func resetOnClose(fd int) {
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// setNoDelay turns off Nagle's algorithm, as package net does. Accepted
// connections inherit the option from the listening socket.
func setNoDelay(fd int) { unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

func setNonblock(fd int) error { return unix.SetNonblock(fd, true) }

// duplicate returns a close-on-exec duplicate of the descriptor of conn.
func duplicate(conn syscall.Conn) (fd int, err error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	syscall.ForkLock.RLock()
	controlErr := rc.Control(func(n uintptr) {
		if fd, err = unix.Dup(int(n)); err == nil {
			unix.CloseOnExec(fd)
		}
	})
	syscall.ForkLock.RUnlock()
	if controlErr != nil {
		return -1, controlErr
	}
	return fd, err
}

// socketFor makes a non-blocking socket of the address's family.
func socketFor(addr net.Addr) (int, error) {
	family := unix.AF_INET
	switch addr := addr.(type) {
	case *net.UnixAddr:
		family = unix.AF_UNIX
	case *net.TCPAddr:
		if addr.IP.To4() == nil {
			family = unix.AF_INET6
		}
	}
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		if err = unix.SetNonblock(fd, true); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// connect starts to connect. It returns errInProgress if the result comes later,
// and selectors.ErrWouldBlock if the queue of a Unix socket is full.
func connect(fd int, addr net.Addr) error {
	var sa unix.Sockaddr
	switch addr := addr.(type) {
	case *net.UnixAddr:
		sa = &unix.SockaddrUnix{Name: addr.Name}
	case *net.TCPAddr:
		sa = sockaddr(addr.AddrPort(), addr.IP.To4() == nil)
	}
	err := unix.Connect(fd, sa)
	if err == unix.EINTR { // connecting continues
		err = unix.EINPROGRESS
	}
	return mapWouldBlock(err)
}

// socketError returns and clears the pending error of a socket, for example the
// result of a connect.
func socketError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
}

// isStreamSocket reports whether a descriptor is a stream socket.
func isStreamSocket(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

// selfConnected reports whether a TCP socket is connected to itself.
func selfConnected(fd int) bool {
	local, ok := localAddr(fd).(*net.TCPAddr)
	if !ok {
		return false
	}
	remote, ok := remoteAddr(fd).(*net.TCPAddr)
	return ok && local.Port == remote.Port && local.IP.Equal(remote.IP)
}

func localAddr(fd int) net.Addr  { return address(unix.Getsockname(fd)) }
func remoteAddr(fd int) net.Addr { return address(unix.Getpeername(fd)) }

func address(sa unix.Sockaddr, err error) net.Addr {
	if err != nil {
		return nil
	}
	if sa, ok := sa.(*unix.SockaddrUnix); ok {
		return &net.UnixAddr{Net: "unix", Name: sa.Name}
	}
	if addr := addrPort(sa); addr.IsValid() {
		return net.TCPAddrFromAddrPort(addr)
	}
	return nil
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && ip.Is6() {
			ip = ip.WithZone(zoneName(int(sa.ZoneId)))
		}
		return netip.AddrPortFrom(ip, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// sockaddr is the inverse of addrPort. v6 selects an IPv6 address, and otherwise
// the address must be IPv4.
func sockaddr(addr netip.AddrPort, v6 bool) unix.Sockaddr {
	ip := addr.Addr()
	if !v6 {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16(), ZoneId: zoneIndex(ip.Zone())}
}

func zoneName(index int) string {
	if i, err := net.InterfaceByIndex(index); err == nil {
		return i.Name
	}
	return strconv.Itoa(index)
}

func zoneIndex(name string) uint32 {
	if name == "" {
		return 0
	}
	if i, err := net.InterfaceByName(name); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(name, 10, 32)
	return uint32(n)
}
