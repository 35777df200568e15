package sys

import (
	"net"
	"net/netip"
	"strconv"
)

// addrPort6 returns the address of an IPv6 socket. It unmaps IPv4-mapped addresses.
func addrPort6(addr [16]byte, zone uint32, port int) netip.AddrPort {
	ip := netip.AddrFrom16(addr).Unmap()
	if zone != 0 && ip.Is6() {
		name := strconv.Itoa(int(zone))
		if i, err := net.InterfaceByIndex(int(zone)); err == nil {
			name = i.Name
		}
		ip = ip.WithZone(name)
	}
	return netip.AddrPortFrom(ip, uint16(port))
}

// zoneIndex returns the number of a zone, which is the name or the number of a
// network interface. It is 0 without a zone.
func zoneIndex(zone string) (index uint32, ok bool) {
	if zone == "" {
		return 0, true
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index), true
	}
	n, err := strconv.ParseUint(zone, 10, 32)
	return uint32(n), err == nil
}
