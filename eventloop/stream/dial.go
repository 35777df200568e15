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

// Dial connects, without waiting for it: ConnectionMade says that it has come
// about, ConnectionLost alone that it has not. The error of Dial itself is of
// its arguments.
//
// Networks and addresses are those of Listen. A name is resolved on another
// goroutine; if it has several addresses they are tried in turn, and share the
// time that ctx leaves, as with net.Dialer. ctx bounds the connecting, not the
// connection; its end is ConnectionLost with ctx.Err(). Abort and Close end the
// attempt as well.
func Dial(ctx context.Context, loop *eventloop.Loop, network, address string, h Handler, opts ...Option) (*Conn, error) {
	if h == nil {
		return nil, ErrNilHandler
	}
	if err := supported(network, "tcp", "tcp4", "tcp6", "unix"); err != nil {
		return nil, err
	}
	if ctx == nil {
		ctx = context.Background()
	}
	c := newConn(loop, -1, h, newOptions(opts))
	d := &dialing{network: network, address: address}
	c.dial = d
	addrs, err := literal(network, address)
	switch {
	case err != nil:
		return nil, err
	case len(addrs) > 0:
		// In the next turn, so that nothing is called before Dial has returned.
		err = loop.CallSoon(func() { c.try(addrs, nil) })
	default:
		ctx, cancel := context.WithCancel(ctx)
		d.cancel = cancel
		var failed error
		err = loop.Do(
			func() { addrs, failed = resolve(ctx, network, address) },
			func() { c.try(addrs, failed) })
	}
	if err != nil {
		d.stop()
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		d.deadline = deadline
	}
	if ctx.Done() != nil {
		d.unwatch = context.AfterFunc(ctx, func() {
			loop.Post(func() {
				if c.dial == d {
					c.end(ctx.Err())
				}
			})
		})
	}
	return c, nil
}

// A dialing is what a connection has until it is one.
type dialing struct {
	network, address string
	addrs            []net.Addr // still to be tried
	deadline         time.Time
	started          bool // a connect goes on; writability ends it
	first            error
	timer            *eventloop.Timer // for this attempt, or before the next
	unwatch          func() bool
	cancel           context.CancelFunc // of the resolver
}

func (d *dialing) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.unwatch != nil {
		d.unwatch()
	}
	if d.cancel != nil {
		d.cancel()
	}
}

// try begins with what the name was resolved to.
func (c *Conn) try(addrs []net.Addr, err error) {
	if c.dial == nil { // given up
		return
	}
	if err == nil && len(addrs) == 0 {
		err = errors.New("no such address")
	}
	if err != nil {
		c.end(&net.OpError{Op: "dial", Net: c.dial.network, Err: err})
		return
	}
	c.dial.addrs = addrs
	c.connect()
}

// connect tries the next address.
func (c *Conn) connect() {
	d := c.dial
	fd, err := socketFor(d.addrs[0])
	if err == nil {
		c.fd = int32(fd)
		err = connect(fd, d.addrs[0])
	}
	switch err {
	case nil:
		c.finish(nil)
	case errInProgress:
		d.started = true
		c.watch()
		if limit := d.share(); limit > 0 && c.dial == d {
			d.timer, _ = c.loop.CallLater(limit, func() { c.finish(os.ErrDeadlineExceeded) })
		}
	case selectors.ErrWouldBlock:
		// A Unix socket whose queue is full. There is no readiness to wait for.
		c.release()
		d.timer, _ = c.loop.CallLater(10*time.Millisecond, c.connect)
	default:
		c.finish(os.NewSyscallError("connect", err))
	}
}

// share is this address's part of the time that is left: the last one's is all
// of it, which the context watches.
func (d *dialing) share() time.Duration {
	if d.deadline.IsZero() || len(d.addrs) == 1 {
		return 0
	}
	return max(time.Until(d.deadline)/time.Duration(len(d.addrs)), time.Millisecond)
}

// connected is called when a connect has ended.
func (c *Conn) connected() {
	err := socketError(int(c.fd))
	if err == nil && selfConnected(int(c.fd)) {
		// TCP allows it, if the port that was asked for is the one that the
		// system chose for this end; nobody wants it.
		err = errRefused
	}
	c.finish(os.NewSyscallError("connect", err))
}

// finish ends the attempt at one address.
func (c *Conn) finish(err error) {
	d := c.dial
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.started = false
	if err == nil {
		d.stop()
		c.dial = nil
		if d.addrs[0].Network() == "tcp" {
			setNoDelay(int(c.fd))
		}
		c.begin()
		if c.state&halfClosing != 0 && c.out == nil && c.state&over == 0 {
			c.drained() // CloseWrite came first, and there was nothing to send
		}
		return
	}
	c.release()
	if d.first == nil {
		d.first = &net.OpError{Op: "dial", Net: d.network, Addr: d.addrs[0], Err: err}
	}
	if d.addrs = d.addrs[1:]; len(d.addrs) == 0 {
		c.end(d.first)
		return
	}
	c.connect()
}

// release lets go of the socket of one attempt.
func (c *Conn) release() {
	c.watch()
	closeFD(int(c.fd))
	c.fd = -1
}

// literal is the address if there is nothing to look up, else none.
func literal(network, address string) ([]net.Addr, error) {
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
	if err != nil || !fits(network, ip) {
		return nil, nil // not a number, or the resolver will say what is wrong with it
	}
	return []net.Addr{net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))}, nil
}

// resolve blocks.
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
		host = "localhost" // as package net
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+network[len("tcp"):], host)
	if err != nil {
		return nil, err
	}
	var addrs []net.Addr
	for _, ip := range ips {
		if ip = ip.Unmap(); fits(network, ip) {
			addrs = append(addrs, net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port))))
		}
	}
	return addrs, nil
}

func fits(network string, ip netip.Addr) bool {
	switch network {
	case "tcp4":
		return ip.Unmap().Is4()
	case "tcp6":
		return !ip.Unmap().Is4()
	}
	return true
}
