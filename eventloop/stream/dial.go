package stream

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// Dial starts to connect and does not block. ConnectionMade reports success,
// and ConnectionLost without ConnectionMade reports failure. Both are called
// after Dial has returned. The error of Dial itself is about its arguments, or
// [eventloop.ErrClosed], or [errors.ErrUnsupported].
//
// The networks and addresses are those of [Listen]. An empty host, and an
// unspecified address such as 0.0.0.0, are the local system. A host name is
// resolved on another goroutine. If it has several addresses, they are tried as
// net.Dialer does it: the addresses of the family of the first one in order, and
// those of the other family (IPv4 or IPv6) at the same time, beginning 300 ms later
// or when the first ones have failed (RFC 8305). The first connection wins, and the
// others are closed. If all fail, the error is that of the first address. Each
// address gets an equal share of the time that is left until the deadline of ctx,
// and at least 2 s of it.
//
// ctx limits the time to connect, not the connection's life. When ctx ends before
// ConnectionMade, ConnectionLost gets an error that wraps ctx.Err(). Every error of
// a failed attempt wraps a *net.OpError. Abort and Close also end the attempt. A
// nil ctx means context.Background().
//
// If the queue of a listening Unix socket is full, the attempt waits until it has
// room.
func Dial(ctx context.Context, loop *eventloop.Loop, network, address string, h Handler, opts ...Option) (*Conn, error) {
	switch {
	case loop == nil:
		return nil, opError("dial", address, ErrNilLoop)
	case h == nil:
		return nil, opError("dial", address, ErrNilHandler)
	}
	c := newConn(loop, -1, h, newOptions(opts))
	d, err := startDial(ctx, loop, network, address, c.opts, c.dialed)
	if err != nil {
		return nil, err
	}
	c.dialing = d
	return c, nil
}

// dialed is called when Dial has connected, or has failed with err.
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

// A dialing is a connection that is being made. It owns the sockets of its
// attempts, the lookup of the name, its timers and the callback of the context,
// until it is finished.
//
//	state      owns                               event                     next state
//	resolving  the call of the resolver, or the   addresses                 racing
//	           scheduled start without a name     error, or no address      finished: done with the error
//	racing     the attempts of primary and        one has connected         finished: done with the socket
//	           fallback, the fallback timer       primary has failed, or    racing: fallback starts if it has not
//	                                              the timer has expired
//	                                              both have failed          finished: done with the first error
//	finished   nothing                            -                         -
//
// The end of the context and cancel finish it in every state. Every callback of
// the loop first looks at the context, because the callback of the context comes
// later than the end of the context.
type dialing struct {
	loop             *eventloop.Loop
	ctx              context.Context
	network, address string
	opts             *options
	system           *dialSystem
	done             func(fd int, remote net.Addr, err error) // nil once finished

	state             dialState
	cancelResolve     context.CancelFunc // nil without a name
	stopContext       func() bool        // removes the callback from the context; nil if the context never ends
	primary, fallback dialSeries
	fallbackTimer     *eventloop.Timer // starts fallback; nil if there is none
}

type dialState uint8

const (
	dialResolving dialState = iota
	dialRacing
	dialFinished
)

// A dialSystem is what a dialing uses besides the loop. Tests replace it.
type dialSystem struct {
	resolve   func(ctx context.Context, network, address string) ([]net.Addr, error) // blocks
	socket    func(net.Addr) (fd int, err error)
	connect   func(fd int, addr net.Addr) error         // errInProgress, or selectors.ErrWouldBlock if a queue is full
	result    func(fd int) (remote net.Addr, err error) // of connect; errInProgress if there is none yet
	close     func(fd int)
	now       func() time.Time
	afterFunc func(context.Context, func()) (stop func() bool)
}

var defaultDialSystem = &dialSystem{resolve, socketFor, connect, connectResult, closeFD, time.Now, context.AfterFunc}

// Durations of package net.
const (
	fallbackDelay = 300 * time.Millisecond
	minDialShare  = 2 * time.Second
)

// queueFullDelay is the time between two attempts to connect to a Unix socket
// whose queue is full. The kernel reports no readiness when there is room.
const queueFullDelay = 10 * time.Millisecond

var (
	errUnknownNetwork = errors.New("unknown network")
	errNoAddress      = errors.New("no suitable address")
)

// startDial starts to connect. It calls done on the loop, once, but never before
// startDial has returned and not after cancel. done takes ownership of fd, which is
// connected, non-blocking and not registered with the loop. If err is not nil, fd
// is -1.
func startDial(ctx context.Context, loop *eventloop.Loop, network, address string, o *options, done func(fd int, remote net.Addr, err error)) (*dialing, error) {
	if !slices.Contains([]string{"tcp", "tcp4", "tcp6", "unix"}, network) {
		return nil, opError("dial", network, errUnknownNetwork)
	}
	if !platformSupported {
		return nil, opError("dial", network, errors.ErrUnsupported)
	}
	if ctx == nil {
		ctx = context.Background()
	}
	d := &dialing{loop: loop, ctx: ctx, network: network, address: address, opts: o, system: defaultDialSystem, done: done}
	d.primary, d.fallback = newDialSeries(d), newDialSeries(d)
	addrs, isName, err := parseAddress(network, address)
	if err != nil {
		return nil, d.error(nil, err)
	}
	if isName && ctx.Err() == nil {
		err = d.startResolving()
	} else {
		err = loop.CallSoon(func() { d.race(addrs, nil) })
	}
	if err != nil {
		d.cancel()
		return nil, d.error(nil, loopCause(err))
	}
	if ctx.Done() != nil {
		d.stopContext = d.system.afterFunc(ctx, func() { loop.Post(func() { d.checkContext() }) })
	}
	return d, nil
}

func (d *dialing) startResolving() error {
	ctx, cancel := context.WithCancel(d.ctx)
	d.cancelResolve = cancel
	var addrs []net.Addr
	var err error
	resolve, network, address := d.system.resolve, d.network, d.address
	return d.loop.Do(
		func() { addrs, err = resolve(ctx, network, address) },
		func() { d.race(addrs, err) })
}

// race starts to connect to the resolved addresses. err is the error of the
// resolver.
func (d *dialing) race(addrs []net.Addr, err error) {
	switch {
	case d.checkContext():
		return
	case err != nil:
		d.finish(-1, nil, d.error(nil, err))
		return
	case len(addrs) == 0:
		d.finish(-1, nil, d.error(nil, errNoAddress))
		return
	}
	d.state = dialRacing
	d.primary.addrs, d.fallback.addrs = partition(addrs)
	if len(d.fallback.addrs) > 0 {
		d.fallbackTimer, _ = d.loop.CallLater(fallbackDelay, d.startFallback)
	} else {
		d.fallback.state = seriesFailed
	}
	d.primary.next()
}

func (d *dialing) startFallback() {
	if d.fallbackTimer != nil {
		d.fallbackTimer.Stop()
	}
	d.fallback.next()
}

// seriesHasFailed is called when one of the two series has no address left.
func (d *dialing) seriesHasFailed() {
	switch {
	case d.fallback.state == seriesWaiting:
		d.startFallback()
	case d.primary.state == seriesFailed && d.fallback.state == seriesFailed:
		d.finish(-1, nil, d.primary.firstErr)
	}
}

// checkContext finishes the dialing if its context has ended. It reports whether
// the dialing is finished.
func (d *dialing) checkContext() bool {
	if d.state == dialFinished {
		return true
	}
	err := d.ctx.Err()
	if left, limited := d.timeLeft(); err == nil && limited && left <= 0 {
		err = context.DeadlineExceeded // the timer of the context is late
	}
	if err == nil {
		return false
	}
	d.finish(-1, nil, d.error(nil, err))
	return true
}

// timeLeft returns the time until the deadline of the context.
func (d *dialing) timeLeft() (left time.Duration, limited bool) {
	deadline, ok := d.ctx.Deadline()
	if !ok {
		return 0, false
	}
	return deadline.Sub(d.system.now()), true
}

func (d *dialing) finish(fd int, remote net.Addr, err error) {
	done := d.done
	d.cancel()
	done(fd, remote, err)
}

// cancel ends the dialing and releases all that it owns. done is not called after
// it. It does nothing if the dialing is finished. If the loop is closed, cancel
// still closes the sockets.
func (d *dialing) cancel() {
	if d.state == dialFinished {
		return
	}
	d.state = dialFinished
	d.done = nil // a resolver that hangs keeps the dialing reachable, but not the connection
	if d.cancelResolve != nil {
		d.cancelResolve()
	}
	if d.stopContext != nil {
		d.stopContext()
	}
	if d.fallbackTimer != nil {
		d.fallbackTimer.Stop()
	}
	d.primary.endAttempt()
	d.fallback.endAttempt()
}

// error returns the error of the attempt at one address, or of all if addr is nil.
func (d *dialing) error(addr net.Addr, err error) error {
	if addr == nil {
		addr = targetAddr{d.network, d.address}
	}
	return opError("dial", addr.String(), dialCause{&net.OpError{Op: "dial", Net: d.network, Addr: addr, Err: err}})
}

// A dialCause makes the *net.OpError reachable without repeating the address in the
// message.
type dialCause struct{ err *net.OpError }

func (c dialCause) Error() string { return c.err.Err.Error() }
func (c dialCause) Unwrap() error { return c.err }

// loopCause returns the cause of an error of the loop, without the name of the
// loop's method.
func loopCause(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}

// A dialSeries tries its addresses in order, one at a time.
//
//	state       owns                           event                       next state
//	waiting     nothing                        next is called              as for a new address
//	connecting  a registered socket, the       writable, connected         the dialing is finished
//	            timer of the limit             writable, not connected     connecting
//	                                           error, or the limit         as for the next address
//	queueFull   a socket, the timers of the    the retry timer             as for a new address
//	            limit and of the retry         the limit                   as for the next address
//	failed      nothing                        -                           -
//
// For a new address the state is connecting or queueFull, or the address is skipped
// after an error, or the dialing is finished because connect(2) has succeeded at once.
// Without a next address the state is failed.
type dialSeries struct {
	dialing    *dialing
	addrs      []net.Addr // the current one and those not tried yet
	state      seriesState
	fd         int // -1 without an attempt
	registered bool
	limit      *eventloop.Timer // ends the attempt; nil if only the context limits it
	retry      *eventloop.Timer // nil unless the queue was full
	firstErr   error
}

type seriesState uint8

const (
	seriesWaiting seriesState = iota
	seriesConnecting
	seriesQueueFull
	seriesFailed
)

func newDialSeries(d *dialing) dialSeries { return dialSeries{dialing: d, fd: -1} }

// next starts attempts until one is in progress, or has connected at once, or no
// address is left.
func (s *dialSeries) next() {
	for len(s.addrs) > 0 {
		if s.dialing.checkContext() {
			return
		}
		err := s.startAttempt()
		if err == nil {
			return
		}
		s.abandonAddress(err)
	}
	s.state = seriesFailed
	s.dialing.seriesHasFailed()
}

func (s *dialSeries) startAttempt() (err error) {
	if s.fd, err = s.dialing.system.socket(s.addrs[0]); err != nil {
		s.fd = -1
		return os.NewSyscallError("socket", err)
	}
	if share := s.share(); share > 0 {
		s.limit, _ = s.dialing.loop.CallLater(share, func() { s.fail(os.ErrDeadlineExceeded) })
	}
	return s.connect()
}

// share returns the time for the current address, or 0 if only the context limits
// it.
func (s *dialSeries) share() time.Duration {
	left, limited := s.dialing.timeLeft()
	if !limited {
		return 0
	}
	share := max(left/time.Duration(len(s.addrs)), minDialShare)
	if share >= left {
		return 0
	}
	return share
}

// connect calls connect(2) on the socket of the attempt.
func (s *dialSeries) connect() error {
	d := s.dialing
	err := d.system.connect(s.fd, s.addrs[0])
	switch err {
	case nil:
		remote, err := d.system.result(s.fd)
		if err == errInProgress { // the peer has reset the connection already
			remote, err = s.addrs[0], nil
		}
		if err == nil {
			s.win(remote)
		}
		return os.NewSyscallError("connect", err)
	case errInProgress:
		if _, err := d.loop.Register(s.fd, selectors.EventWrite, s.onReady); err != nil {
			return loopCause(err)
		}
		s.state, s.registered = seriesConnecting, true
		return nil
	case selectors.ErrWouldBlock:
		s.state = seriesQueueFull
		s.retry, _ = d.loop.CallLater(queueFullDelay, func() {
			if d.checkContext() {
				return
			}
			if err := s.connect(); err != nil {
				s.fail(err)
			}
		})
		return nil
	}
	return os.NewSyscallError("connect", err)
}

// onReady is the callback of the loop for the socket of the attempt.
func (s *dialSeries) onReady(_ any, events selectors.Event) {
	if events&selectors.EventInvalid != 0 {
		s.unregister()
		s.fd = -1 // closed by other code; the number may belong to another file now
		s.fail(os.NewSyscallError("poll", errBadFD))
		return
	}
	remote, err := s.dialing.system.result(s.fd)
	switch {
	case err == nil:
		s.win(remote)
	case err != errInProgress:
		s.fail(os.NewSyscallError("connect", err))
	case events&(selectors.EventError|selectors.EventHangup) != 0:
		s.fail(os.NewSyscallError("connect", errUnconnected))
	}
}

// win hands the connected socket over, unless the context has ended.
func (s *dialSeries) win(remote net.Addr) {
	d := s.dialing
	if d.checkContext() {
		return
	}
	s.unregister()
	fd := s.fd
	s.fd = -1
	if s.addrs[0].Network() == "tcp" {
		setNoDelay(fd)
		setKeepAlive(fd, d.opts.keepAlive)
	}
	d.finish(fd, remote, nil)
}

// fail ends the attempt and starts the next one.
func (s *dialSeries) fail(err error) {
	if s.dialing.checkContext() {
		return
	}
	s.abandonAddress(err)
	s.next()
}

// abandonAddress ends the attempt at the current address after an error.
func (s *dialSeries) abandonAddress(err error) {
	s.endAttempt()
	if s.firstErr == nil {
		s.firstErr = s.dialing.error(s.addrs[0], err)
	}
	s.addrs = s.addrs[1:]
}

// endAttempt releases the socket and the timers of the attempt, if there is one.
func (s *dialSeries) endAttempt() {
	for _, timer := range []**eventloop.Timer{&s.limit, &s.retry} {
		if *timer != nil {
			(*timer).Stop()
			*timer = nil
		}
	}
	s.unregister()
	if s.fd >= 0 {
		s.dialing.system.close(s.fd)
		s.fd = -1
	}
}

func (s *dialSeries) unregister() {
	if s.registered {
		s.registered = false
		s.dialing.loop.Unregister(s.fd)
	}
}
