package stream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// Dial starts to connect and does not block. ConnectionMade reports success,
// and ConnectionLost without ConnectionMade reports failure. Both are called
// after Dial has returned. The error of Dial itself is about its arguments, or
// [eventloop.ErrClosed], or [errors.ErrUnsupported].
//
// The networks and addresses are those of [Listen]. A host name is resolved on
// another goroutine. If it has several addresses, they are tried in order, and
// each gets an equal share of the time that is left until the deadline of ctx,
// as in net.Dialer. ctx limits the time to connect, not the connection's life.
// When ctx ends, ConnectionLost gets ctx.Err(). Abort and Close also end the
// attempt. A nil ctx means context.Background().
func Dial(ctx context.Context, loop *eventloop.Loop, network, address string, h Handler, opts ...Option) (*Conn, error) {
	if h == nil {
		return nil, ErrNilHandler
	}
	if err := checkNetwork(network, "tcp", "tcp4", "tcp6", "unix"); err != nil {
		return nil, err
	}
	if ctx == nil {
		ctx = context.Background()
	}
	o := newOptions(opts)
	c := newConn(loop, -1, h, o)
	d, err := startDial(ctx, loop, network, address, o, c.dialed)
	if err != nil {
		return nil, err
	}
	c.dialing = d
	return c, nil
}

// dialed handles the result of the attempt to connect.
func (c *Conn) dialed(fd int, remote net.Addr, err error) {
	c.dialing = nil
	if err != nil {
		c.finish(err)
		return
	}
	c.fd = int32(fd)
	c.setRemote(remote)
	c.start()
}

type dialing struct {
	ctx              context.Context
	loop             *eventloop.Loop
	network, address string
	addrs            []net.Addr
	fd               int
	done             func(int, net.Addr, error)
	ended            bool
	stop             func() bool
	firstErr         error
	timer            *eventloop.Timer
}

func startDial(ctx context.Context, loop *eventloop.Loop, network, address string, o *options, done func(int, net.Addr, error)) (*dialing, error) {
	d := &dialing{ctx: ctx, loop: loop, network: network, address: address, done: done, fd: -1}
	addrs, err := parseLiteral(network, address)
	if err != nil {
		return nil, err
	}
	if len(addrs) > 0 {
		d.addrs = addrs
		err = loop.CallSoon(d.next)
	} else {
		err = loop.Do(func() { d.addrs, d.firstErr = resolve(ctx, network, address) }, d.next)
	}
	if err != nil {
		return nil, opError("dial", address, errors.Unwrap(err))
	}
	d.stop = context.AfterFunc(ctx, func() { loop.Post(func() { d.finish(-1, nil, ctx.Err()) }) })
	return d, nil
}

func (d *dialing) next() {
	if d.ended {
		return
	}
	if err := d.ctx.Err(); err != nil {
		d.finish(-1, nil, err)
		return
	}
	if len(d.addrs) == 0 {
		if d.firstErr == nil {
			d.firstErr = errors.New("no suitable address")
		}
		d.finish(-1, nil, &net.OpError{Op: "dial", Net: d.network, Err: d.firstErr})
		return
	}
	addr := d.addrs[0]
	d.addrs = d.addrs[1:]
	fd, err := socketFor(addr)
	if err == nil {
		d.fd = fd
		err = connect(fd, addr)
	}
	if err == errInProgress {
		d.loop.Register(fd, selectors.EventWrite, func(any, selectors.Event) {
			d.loop.Unregister(fd)
			err := socketError(fd)
			if err == nil && selfConnected(fd) {
				err = errConnRefused
			}
			d.attempted(addr, err)
		})
		return
	}
	if err == selectors.ErrWouldBlock {
		closeFD(fd)
		d.fd = -1
		d.addrs = append([]net.Addr{addr}, d.addrs...)
		d.timer, _ = d.loop.CallLater(10*time.Millisecond, d.next)
		return
	}
	d.attempted(addr, err)
}

func (d *dialing) attempted(addr net.Addr, err error) {
	if err == nil {
		if addr.Network() == "tcp" {
			setNoDelay(d.fd)
		}
		fd := d.fd
		d.fd = -1
		d.finish(fd, addr, nil)
		return
	}
	closeFD(d.fd)
	d.fd = -1
	err = &net.OpError{Op: "dial", Net: d.network, Addr: addr, Err: os.NewSyscallError("connect", err)}
	if d.firstErr == nil {
		d.firstErr = err
	}
	if len(d.addrs) == 0 {
		d.finish(-1, nil, d.firstErr)
		return
	}
	d.next()
}

func (d *dialing) finish(fd int, addr net.Addr, err error) {
	if !d.ended {
		d.cancel()
		d.done(fd, addr, err)
	}
}

func (d *dialing) cancel() {
	d.ended = true
	if d.stop != nil {
		d.stop()
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.fd >= 0 {
		d.loop.Unregister(d.fd)
		closeFD(d.fd)
	}
}

// parseLiteral returns the address if it contains no name to resolve, otherwise
// nil.
func parseLiteral(network, address string) ([]net.Addr, error) {
	if network == "unix" {
		a, err := net.ResolveUnixAddr(network, address)
		return []net.Addr{a}, err
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !matchesNetwork(network, ip) {
		return nil, nil // a name, or the resolver returns the error
	}
	return []net.Addr{net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))}, nil
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
		host = "localhost" // as in package net
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+network[len("tcp"):], host)
	if err != nil {
		return nil, err
	}
	var addrs []net.Addr
	for _, ip := range ips {
		if ip = ip.Unmap(); matchesNetwork(network, ip) {
			addrs = append(addrs, net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port))))
		}
	}
	return addrs, nil
}

// matchesNetwork reports whether "tcp", "tcp4" or "tcp6" allows the address.
func matchesNetwork(network string, ip netip.Addr) bool {
	switch network {
	case "tcp4":
		return ip.Unmap().Is4()
	case "tcp6":
		return !ip.Unmap().Is4()
	}
	return true
}
