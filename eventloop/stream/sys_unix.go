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
	errUnconnected error = unix.ENOTCONN
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

// shutdownWrite ends the write side of a socket. If the peer has reset the
// connection, Linux returns ENOTCONN, and the cause is the error of the socket: EPIPE
// after the end of the peer's data, otherwise ECONNRESET (tcp_reset in
// net/ipv4/tcp_input.c).
func shutdownWrite(fd int) error {
	err := unix.Shutdown(fd, unix.SHUT_WR)
	if err == unix.ENOTCONN {
		if cause := socketError(fd); cause != nil {
			err = cause
		}
	}
	return err
}

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
	if controlErr := rc.Control(func(n uintptr) { fd, err = duplicateFD(int(n)) }); controlErr != nil {
		return -1, controlErr
	}
	return fd, err
}

// duplicateFD returns a close-on-exec duplicate of a descriptor.
func duplicateFD(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Dup(fd)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	return fd, nil
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
	switch err := unix.Connect(fd, sa); {
	case err == unix.EINTR: // connecting continues
		return errInProgress
	case err == unix.EAGAIN && addr.Network() == "unix":
		return selectors.ErrWouldBlock
	default:
		return err
	}
}

// connectResult returns the result of a connect: the peer's address, or the error.
// It returns errInProgress if the socket is not connected and has no error.
func connectResult(fd int) (net.Addr, error) {
	if err := socketError(fd); err != nil {
		return nil, err
	}
	remote := remoteAddr(fd)
	switch {
	case remote == nil:
		return nil, errInProgress
	case selfConnected(fd, remote):
		// TCP lets a socket connect to itself if the system chose the requested
		// port as the local port. Nothing listens there then.
		return nil, errConnRefused
	}
	return remote, nil
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

// hasUnread reports whether a non-blocking file has data to read.
func hasUnread(fd int) bool {
	var b [1]byte
	for {
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK)
		switch err {
		case unix.EINTR:
			continue
		case unix.ENOTSOCK:
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, 0)
			return n > 0 && err == nil && fds[0].Revents&unix.POLLIN != 0
		}
		return n > 0 && err == nil
	}
}

// kindOf returns what a file is.
func kindOf(fd int) (fileKind, error) {
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil {
		if kind == unix.SOCK_STREAM {
			return streamSocket, nil
		}
		return otherSocket, nil
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return 0, err
	}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return readOnlyFile, nil
	case unix.O_RDWR:
		return twoWayFile, nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO {
		return pipeWriteEnd, nil
	}
	return writeOnlyFile, nil
}

// selfConnected reports whether a socket is a TCP socket that is connected to
// itself. remote is the address of the peer.
func selfConnected(fd int, remote net.Addr) bool {
	peer, ok := remote.(*net.TCPAddr)
	if !ok {
		return false
	}
	local, ok := localAddr(fd).(*net.TCPAddr)
	return ok && local.Port == peer.Port && local.IP.Equal(peer.IP)
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
