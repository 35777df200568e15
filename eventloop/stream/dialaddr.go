package stream

import (
	"context"
	"net"
	"net/netip"
	"strconv"
)

// A targetAddr is the address of a dial as its caller has written it. It may
// contain names.
type targetAddr struct{ network, address string }

func (a targetAddr) Network() string { return a.network }
func (a targetAddr) String() string  { return a.address }

// parseAddress returns the address to connect to. If the address contains a name to
// resolve, it returns isName instead.
func parseAddress(network, address string) (addrs []net.Addr, isName bool, err error) {
	if network == "unix" {
		return []net.Addr{&net.UnixAddr{Net: network, Name: address}}, false, nil
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, false, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, true, nil
	}
	ip := loopback(network == "tcp6")
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			return nil, true, nil
		}
	}
	return tcpAddrs(network, uint16(port), ip), false, nil
}

// resolve looks up the addresses of a name. It blocks.
func resolve(ctx context.Context, network, address string) ([]net.Addr, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return tcpAddrs(network, uint16(port), loopback(network == "tcp6")), nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+network[len("tcp"):], host)
	if err != nil {
		return nil, err
	}
	return tcpAddrs(network, uint16(port), ips...), nil
}

func loopback(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// tcpAddrs returns the addresses that the network allows.
func tcpAddrs(network string, port uint16, ips ...netip.Addr) []net.Addr {
	var addrs []net.Addr
	for _, ip := range ips {
		if ip = ip.Unmap(); matchesNetwork(network, ip) {
			if ip.IsUnspecified() { // not every system connects to it
				ip = loopback(ip.Is6())
			}
			addrs = append(addrs, net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
		}
	}
	return addrs
}

// matchesNetwork reports whether "tcp", "tcp4" or "tcp6" allows the address. ip is not
// an IPv4 address in IPv6 form.
func matchesNetwork(network string, ip netip.Addr) bool {
	switch network {
	case "tcp4":
		return ip.Is4()
	case "tcp6":
		return ip.Is6()
	}
	return true
}

// partition separates the addresses of the family of the first one from the others,
// as package net does. The order is kept.
func partition(addrs []net.Addr) (primary, fallback []net.Addr) {
	for _, addr := range addrs {
		if isIPv4(addr) == isIPv4(addrs[0]) {
			primary = append(primary, addr)
		} else {
			fallback = append(fallback, addr)
		}
	}
	return primary, fallback
}

func isIPv4(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.To4() != nil
}
