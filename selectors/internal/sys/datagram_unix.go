//go:build unix

package sys

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// ReceiveFrom reads once from a socket without waiting and returns the sender, if it
// has an IP address. It is like Read otherwise.
func ReceiveFrom(fd int, p []byte, nonblocking bool) (n int, from netip.AddrPort, err error) {
	if dontWait == 0 && !nonblocking && isBlocking(fd) && notReady(fd, PollIn) {
		return 0, from, ErrWouldBlock
	}
	var sender unix.Sockaddr
	n, err = retry(func() (n int, err error) {
		n, sender, err = unix.Recvfrom(fd, p, dontWait)
		return n, err
	})
	if err != nil {
		return 0, from, err
	}
	raceAcquire()
	if n == 0 && len(p) > 0 && sender == nil {
		return 0, from, readNothing(fd)
	}
	return n, addrPort(sender), nil
}

// SendTo writes once to a socket without waiting and returns how much the kernel
// took.
func SendTo(fd int, p []byte, to netip.AddrPort, nonblocking bool) (int, error) {
	if !to.IsValid() {
		return 0, unix.EAFNOSUPPORT
	}
	if dontWait == 0 && !nonblocking && isBlocking(fd) && notReady(fd, PollOut) {
		return 0, ErrWouldBlock
	}
	ip := to.Addr()
	n, err := sendTo(fd, p, to, !ip.Is4())
	if (err == unix.EAFNOSUPPORT || err == unix.EINVAL) && (ip.Is4() || ip.Is4In6()) {
		// The socket has the other family. An IPv6 socket of Linux takes IPv4
		// addresses, others take them as IPv4-mapped ones.
		if again, errAgain := sendTo(fd, p, to, ip.Is4()); errAgain == nil || errAgain == ErrWouldBlock {
			return again, errAgain
		}
	}
	return n, err
}

func sendTo(fd int, p []byte, to netip.AddrPort, v6 bool) (int, error) {
	var address unix.Sockaddr
	if v6 {
		zone, ok := zoneIndex(to.Addr().Zone())
		if !ok {
			return 0, unix.ENXIO
		}
		address = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16(), ZoneId: zone}
	} else {
		address = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	}
	raceRelease()
	return retry(func() (int, error) { return unix.SendmsgN(fd, p, nil, address, dontWait) })
}

func addrPort(address unix.Sockaddr) netip.AddrPort {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return addrPort6(a.Addr, a.ZoneId, a.Port)
	}
	return netip.AddrPort{}
}
