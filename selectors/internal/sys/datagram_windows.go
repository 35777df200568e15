package sys

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

// ReceiveFrom reads once from a socket without waiting and returns the sender, if it
// has an IP address. It is like Read otherwise.
func ReceiveFrom(fd int, p []byte, nonblocking bool) (n int, from netip.AddrPort, err error) {
	if err := prepare(fd, PollIn, nonblocking); err != nil {
		return 0, from, err
	}
	var received, flags uint32
	var sender windows.RawSockaddrAny
	size := int32(unsafe.Sizeof(sender))
	err = windows.WSARecvFrom(windows.Handle(fd), wsaBuf(p), 1, &received, &flags, &sender, &size, nil, nil)
	switch {
	case err == windows.WSAEMSGSIZE: // a datagram that did not fit: its beginning was read
		received = uint32(len(p))
	case err != nil:
		return 0, from, wouldBlock(err)
	}
	if address, err := sender.Sockaddr(); err == nil {
		switch a := address.(type) {
		case *windows.SockaddrInet4:
			from = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
		case *windows.SockaddrInet6:
			from = addrPort6(a.Addr, a.ZoneId, a.Port)
		}
	}
	if received == 0 && len(p) > 0 {
		return 0, from, receivedNothing(fd)
	}
	return int(received), from, nil
}

// SendTo writes once to a socket without waiting and returns how much the system
// took.
func SendTo(fd int, p []byte, to netip.AddrPort, nonblocking bool) (int, error) {
	if !to.IsValid() {
		return 0, windows.WSAEAFNOSUPPORT
	}
	if err := prepare(fd, PollOut, nonblocking); err != nil {
		return 0, err
	}
	local, err := windows.Getsockname(windows.Handle(fd))
	_, v6 := local.(*windows.SockaddrInet6)
	if err != nil { // not bound yet
		v6 = !to.Addr().Unmap().Is4()
	}
	var address windows.Sockaddr
	switch ip := to.Addr(); {
	case v6:
		zone, ok := zoneIndex(ip.Zone())
		if !ok {
			return 0, windows.WSAEADDRNOTAVAIL
		}
		address = &windows.SockaddrInet6{Port: int(to.Port()), Addr: ip.As16(), ZoneId: zone}
	case ip.Unmap().Is4():
		address = &windows.SockaddrInet4{Port: int(to.Port()), Addr: ip.Unmap().As4()}
	default:
		return 0, windows.WSAEAFNOSUPPORT
	}
	var n uint32
	err = windows.WSASendto(windows.Handle(fd), wsaBuf(p), 1, &n, 0, address, nil, nil)
	return int(n), wouldBlock(err)
}
