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
	c := newConn(loop, -1, h, newOptions(opts))
	d := &dialState{network: network, address: address}
	c.dial = d
	addrs, err := parseLiteral(network, address)
	switch {
	case err != nil:
		return nil, err
	case len(addrs) > 0:
		// In the next turn, so that no handler is called before Dial returns.
		err = loop.CallSoon(func() { c.dialAddrs(addrs, nil) })
	default:
		ctx, cancel := context.WithCancel(ctx)
		d.cancelResolve = cancel
		var resolveErr error
		err = loop.Do(
			func() { addrs, resolveErr = resolve(ctx, network, address) },
			func() { c.dialAddrs(addrs, resolveErr) })
	}
	if err != nil {
		d.stop()
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		d.deadline = deadline
	}
	if ctx.Done() != nil {
		d.stopContext = context.AfterFunc(ctx, func() {
			loop.Post(func() {
				if c.dial == d {
					c.finish(ctx.Err())
				}
			})
		})
	}
	return c, nil
}

// A dialState is the state of a connection of Dial until it is connected.
type dialState struct {
	network, address string
	addrs            []net.Addr // the current one and those not tried yet
	deadline         time.Time  // of the context; zero if none
	connecting       bool       // connect(2) is in progress; the socket becomes writable when it ends
	firstErr         error
	timer            *eventloop.Timer   // limits this attempt, or delays the next
	stopContext      func() bool        // removes the callback from the context; may be nil
	cancelResolve    context.CancelFunc // may be nil
}

func (d *dialState) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.stopContext != nil {
		d.stopContext()
	}
	if d.cancelResolve != nil {
		d.cancelResolve()
	}
}

// dialAddrs starts with the first of the resolved addresses. err is the error
// of the resolver.
func (c *Conn) dialAddrs(addrs []net.Addr, err error) {
	if c.dial == nil { // aborted meanwhile
		return
	}
	if err == nil && len(addrs) == 0 {
		err = errors.New("no suitable address")
	}
	if err != nil {
		c.finish(&net.OpError{Op: "dial", Net: c.dial.network, Err: err})
		return
	}
	c.dial.addrs = addrs
	c.dialNext()
}

// dialNext starts an attempt at the first of the remaining addresses.
func (c *Conn) dialNext() {
	d := c.dial
	fd, err := socketFor(d.addrs[0])
	if err == nil {
		c.fd = int32(fd)
		err = connect(fd, d.addrs[0])
	}
	switch err {
	case nil:
		c.finishAttempt(nil)
	case errInProgress:
		d.connecting = true
		c.watch()
		if limit := d.attemptTimeout(); limit > 0 && c.dial == d {
			d.timer, _ = c.loop.CallLater(limit, func() { c.finishAttempt(os.ErrDeadlineExceeded) })
		}
	case selectors.ErrWouldBlock:
		// The queue of a Unix socket is full. The kernel reports no readiness
		// when there is room, so try again later.
		c.closeAttempt()
		d.timer, _ = c.loop.CallLater(10*time.Millisecond, c.dialNext)
	default:
		c.finishAttempt(os.NewSyscallError("connect", err))
	}
}

// attemptTimeout returns the share of the remaining time for the current
// address. For the last address it returns 0, which means no limit, because the
// context ends that attempt.
func (d *dialState) attemptTimeout() time.Duration {
	if d.deadline.IsZero() || len(d.addrs) == 1 {
		return 0
	}
	return max(time.Until(d.deadline)/time.Duration(len(d.addrs)), time.Millisecond)
}

// onConnectReady is called when connect(2) has completed.
func (c *Conn) onConnectReady() {
	err := socketError(int(c.fd))
	if err == nil && selfConnected(int(c.fd)) {
		// TCP lets a socket connect to itself if the system chose the requested
		// port as the local port. Treat it as refused.
		err = errConnRefused
	}
	c.finishAttempt(os.NewSyscallError("connect", err))
}

// finishAttempt handles the result for the current address.
func (c *Conn) finishAttempt(err error) {
	d := c.dial
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.connecting = false
	if err == nil {
		d.stop()
		c.dial = nil
		if d.addrs[0].Network() == "tcp" {
			setNoDelay(int(c.fd))
		}
		c.start()
		if c.state&closingWrite != 0 && c.out == nil && c.state&ended == 0 {
			c.afterDrain() // CloseWrite was called before, and nothing is queued
		}
		return
	}
	c.closeAttempt()
	if d.firstErr == nil {
		d.firstErr = &net.OpError{Op: "dial", Net: d.network, Addr: d.addrs[0], Err: err}
	}
	if d.addrs = d.addrs[1:]; len(d.addrs) == 0 {
		c.finish(d.firstErr)
		return
	}
	c.dialNext()
}

// closeAttempt unregisters and closes the socket of one attempt.
func (c *Conn) closeAttempt() {
	c.watch()
	closeFD(int(c.fd))
	c.fd = -1
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
