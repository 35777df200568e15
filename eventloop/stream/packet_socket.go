package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"goselectors/eventloop"
)

// A packetSocket is a duplicate of a datagram socket that package net has made.
// The original is closed, because Go's runtime polls it and would wake up for all
// events of the duplicate.
type packetSocket struct {
	boundSocket
	remote net.Addr // nil unless the socket is connected
	isUnix bool
	isIPv6 bool
}

// peer returns the address of the peer of a connected UDP socket.
func (s *packetSocket) peer() netip.AddrPort {
	if addr, ok := s.remote.(*net.UDPAddr); ok {
		return unmap(addr.AddrPort())
	}
	return netip.AddrPort{}
}

func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// listenPacket makes a bound socket with package net.
func listenPacket(network, address string, o *options) (packetSocket, error) {
	config := net.ListenConfig{Control: packetControl(o)}
	conn, err := config.ListenPacket(context.Background(), network, address)
	if err != nil {
		return packetSocket{}, err
	}
	s, err := takePacketSocket(conn)
	if err != nil || !s.isUnix {
		return s, err
	}
	path := s.addr.String()
	if path == "" || isAbstract(path) {
		return s, nil
	}
	if path, err = filepath.Abs(path); err != nil {
		s.close()
		return packetSocket{}, err
	}
	if id, err := idOfSocketFile(path); err == nil {
		s.file = socketFile{path, id}
	}
	return s, nil
}

// dialPacket makes a connected socket with package net. The address contains no
// name, so it does not block.
func dialPacket(network, address string, o *options) (packetSocket, error) {
	dialer := net.Dialer{Control: packetControl(o)}
	conn, err := dialer.Dial(network, address)
	if err != nil {
		return packetSocket{}, err
	}
	s, err := takePacketSocket(conn)
	s.remote = conn.RemoteAddr()
	return s, err
}

// dialFirst is dialPacket with the first address that the system can send to.
func dialFirst(network string, addrs []string, o *options) (packetSocket, error) {
	var firstErr error
	for _, addr := range addrs {
		s, err := dialPacket(network, addr, o)
		if err == nil {
			return s, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return packetSocket{}, firstErr
}

// takePacketSocket duplicates a socket of package net, and closes the original.
func takePacketSocket(conn interface {
	LocalAddr() net.Addr
	Close() error
}) (packetSocket, error) {
	defer conn.Close()
	fd, err := duplicate(conn.(syscall.Conn))
	if err != nil {
		return packetSocket{}, err
	}
	s := packetSocket{boundSocket: boundSocket{fd: fd, addr: conn.LocalAddr()}, isIPv6: isIPv6(fd)}
	s.id, _ = idOfFD(fd)
	_, s.isUnix = conn.(*net.UnixConn)
	return s, nil
}

func packetControl(o *options) func(network, address string, rc syscall.RawConn) error {
	if !o.reusePort {
		return nil
	}
	return func(_, _ string, rc syscall.RawConn) (err error) {
		controlErr := rc.Control(func(fd uintptr) { err = reusePort(int(fd)) })
		return errors.Join(controlErr, err)
	}
}

var packetNetworks = []string{"udp", "udp4", "udp6", "unixgram"}

// checkPacketArguments returns the error of arguments that cannot work.
func checkPacketArguments(loop *eventloop.Loop, network string, h PacketHandler, o *options) error {
	switch {
	case !slices.Contains(packetNetworks, network):
		return fmt.Errorf("%w: datagrams have %s", net.UnknownNetworkError(network), strings.Join(packetNetworks, ", "))
	case !platformSupported:
		return fmt.Errorf("%w on this platform", errors.ErrUnsupported)
	case h == nil:
		return ErrNilHandler
	case loop == nil:
		return ErrNilLoop
	case o.reusePort && (!canReusePort || network == "unixgram"):
		return fmt.Errorf("reuse port: %w", errors.ErrUnsupported)
	}
	return nil
}

// packetError returns the error of ListenPacket or DialPacket. Its text repeats the
// address, so the operation of package net is left out.
func packetError(op, network, address string, err error) error {
	if netErr, ok := err.(*net.OpError); ok {
		err = netErr.Err
	}
	return opError(op, network+" "+address, err)
}

// isLiteral reports whether an address contains no name to resolve.
func isLiteral(network, address string) (bool, error) {
	if network == "unixgram" {
		return true, nil
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return false, err
	}
	_, portErr := strconv.ParseUint(service, 10, 16)
	_, hostErr := netip.ParseAddr(host)
	return portErr == nil && (host == "" || hostErr == nil), nil
}

// resolvePacket looks up the addresses of a name. It blocks.
func resolvePacket(ctx context.Context, network, address string) ([]string, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	if host == "" { // package net makes it the local system
		return []string{net.JoinHostPort("", strconv.Itoa(port))}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+network[len("udp"):], host)
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)).String())
	}
	if len(addrs) == 0 {
		return nil, errors.New("no suitable address")
	}
	return addrs, nil
}
