package stream

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A Listener accepts connections on a loop, like asyncio's Server. All methods
// must be called on the loop's goroutine. A zero Listener behaves like a closed one
// without an address.
//
// A listener is in one of these states:
//
//	state      socket                meaning
//	accepting  registered            connections are accepted
//	suspended  open, a timer is set  accepting has failed for the moment
//	finishing  open                  Shutdown was called; the waiting connections are accepted
//	closed     given back            nothing is accepted; connections may be open
//
// Everything else is ignored:
//
//	event                           in                    what happens
//	connection waiting              accepting             newHandler, ConnectionMade; at most 64 a turn
//	connection waiting, next turn   finishing             the same; then closed, and Shutdown tells the connections
//	connection failed in the queue  accepting, finishing  the next one is accepted
//	newHandler returns nil, panics  accepting, finishing  the connection is closed; the state stays
//	no descriptor, no memory        accepting             suspended; the error is reported
//	no descriptor, no memory        finishing             closed; the error is reported
//	timer                           suspended             accepting; one attempt at once
//	socket closed by other code     accepting, suspended, closed; the error is reported; the number is not closed
//	                                finishing
//	context of Shutdown ends        finishing             closed; connections are aborted
//	Close                           accepting, suspended, closed; the kernel resets waiting connections
//	                                finishing
//	Shutdown                        accepting, suspended  finishing
//	loop closed                     any                   nothing until Close
//
// Functions of the user are called when a change of state is complete, so they may
// call any method, and may panic. Epoll does not report a descriptor that was closed:
// with it, such a listener ends with Close.
type Listener struct {
	loop     *eventloop.Loop
	socket   boundSocket
	opts     *options
	onAccept func(fd int, remote netip.AddrPort) // takes ownership of an accepted descriptor
	set      *connSet                            // of the accepted connections
	accept   acceptFunc                          // the function accept; tests replace it

	state      listenerState
	failing    bool             // an error was reported; cleared when no connection is waiting
	retryDelay time.Duration    // 0 after a successful accept
	retryTimer *eventloop.Timer // nil unless suspended
	finish     *finish          // nil before finishAccepting
}

type acceptFunc func(fd int) (newFD int, remote netip.AddrPort, err error)

// listenerState is the state of a Listener.
type listenerState uint8

const (
	noListener listenerState = iota // a zero Listener
	opening                         // not registered yet
	accepting
	suspended
	finishing
	listenerClosed
)

// Listen makes a listener. It calls newHandler on the loop for each accepted
// connection; if newHandler returns nil or panics, the connection is closed at once.
// The network is "tcp", "tcp4", "tcp6" or "unix", and the address has the form of
// package net: "localhost:80", ":0", "/run/socket". Resolving a host name
// blocks. The error of Listen wraps [ErrNilLoop], [ErrNilHandler],
// [errors.ErrUnsupported], or the error of package net or of the loop.
//
// A listener accepts at most 64 connections per turn, so that new connections
// do not delay existing ones. If accepting fails, for example because the
// process has no descriptors left, the listener is suspended for 100 ms. The
// delay doubles with each further failure, up to one second. Without the delay
// the listener would be ready, and fail, in every turn. See [WithAcceptError].
//
// The file of a Unix socket is removed by Close, unless it was replaced
// meanwhile. See also [WithReplaceStaleSocket].
func Listen(loop *eventloop.Loop, network, address string, newHandler func() Handler, opts ...Option) (*Listener, error) {
	fail := func(err error) (*Listener, error) { return nil, listenError(network, address, err) }
	switch {
	case loop == nil:
		return fail(ErrNilLoop)
	case newHandler == nil:
		return fail(ErrNilHandler)
	}
	o := newOptions(opts)
	s, err := listen(network, address, o)
	if err != nil {
		return fail(err)
	}
	l := newListener(loop, s, newHandler, o)
	if err := l.register(); err != nil {
		l.socket.close()
		return fail(err)
	}
	return l, nil
}

// listenError returns the error of Listen. Errors of package net name the operation
// and the address themselves.
func listenError(network, address string, err error) error {
	if e, ok := err.(*net.OpError); ok && e.Op == "listen" {
		err = e.Err
	}
	return opError("listen", network+" "+address, err)
}

func newListener(loop *eventloop.Loop, s boundSocket, newHandler func() Handler, o *options) *Listener {
	l := &Listener{loop: loop, socket: s, opts: o, set: &connSet{}, accept: accept, state: opening}
	l.onAccept = func(fd int, remote netip.AddrPort) { startAccepted(loop, fd, remote, newHandler, o, l.set) }
	return l
}

// startAccepted makes and starts a connection for an accepted descriptor. If
// newHandler makes no handler, it closes the descriptor.
func startAccepted(loop *eventloop.Loop, fd int, remote netip.AddrPort, newHandler func() Handler, o *options, set *connSet) {
	owned := true
	defer func() { // also if newHandler panics
		if owned {
			closeFD(fd)
		}
	}()
	loop.SetSubject(remote)
	h := newHandler()
	if h == nil {
		return
	}
	owned = false
	setAcceptedKeepAlive(fd, o.keepAlive)
	c := newConn(loop, fd, h, o)
	c.remote = remote
	set.add(c)
	c.start()
}

const (
	maxAcceptsPerTurn = 64
	minRetryDelay     = 100 * time.Millisecond
	maxRetryDelay     = time.Second
)

// register starts to accept. It is the only place where a listener is registered.
func (l *Listener) register() error {
	if l.socket.holder() != heldByUs {
		return errBadFD
	}
	if _, err := l.loop.Register(l.socket.fd, selectors.EventRead, l.onReady); err != nil {
		return err
	}
	l.state = accepting
	return nil
}

// leave ends the state accepting or suspended.
func (l *Listener) leave(next listenerState) {
	switch l.state {
	case accepting:
		// If the number belongs to another file now, its key may be one of other code.
		if l.socket.holder() != heldByOthers {
			l.loop.Unregister(l.socket.fd)
		}
	case suspended:
		if l.retryTimer != nil {
			l.retryTimer.Stop()
			l.retryTimer = nil
		}
	}
	l.state = next
}

// end gives the socket back. It is the only place where a listener ends.
func (l *Listener) end() {
	l.leave(listenerClosed)
	l.socket.close()
}

// onReady is the loop's callback.
func (l *Listener) onReady(_ any, events selectors.Event) {
	defer func() { // also if newHandler panics
		if l.failing && l.state == accepting && !isReadable(l.socket.fd) {
			l.failing = false
		}
	}()
	err := error(errBadFD)
	if events&selectors.EventInvalid == 0 {
		err = l.acceptBatch()
	}
	switch {
	case l.state != accepting, err == nil, err == selectors.ErrWouldBlock:
	case isSocketGone(err):
		l.end()
		l.report(err)
	default:
		l.suspend(err)
	}
}

// acceptBatch accepts at most maxAcceptsPerTurn connections. It returns nil if more
// may be waiting, or if a function of the user has changed the state.
func (l *Listener) acceptBatch() error {
	if l.socket.shared {
		// Another process may have put the open socket into blocking mode.
		if err := setNonblock(l.socket.fd); err != nil {
			return errBadFD
		}
	}
	state := l.state
	var connErr error // cleared by a successful accept
	for range maxAcceptsPerTurn {
		fd, remote, err := l.accept(l.socket.fd)
		switch {
		case err == nil:
			connErr, l.retryDelay = nil, 0
			l.onAccept(fd, remote)
			if l.state != state || l.loop.Closed() {
				return nil
			}
		case isConnError(err):
			connErr = err
		default:
			return err
		}
	}
	return connErr // of all attempts of the turn; it may not be about connections after all
}

// suspend stops accepting, sets the timer to retry, and reports the error.
func (l *Listener) suspend(err error) {
	delay := min(max(2*l.retryDelay, minRetryDelay), maxRetryDelay)
	timer, timerErr := l.loop.CallLater(delay, l.resume)
	if timerErr != nil {
		return // the loop is closed and calls nothing any more
	}
	l.leave(suspended)
	l.retryDelay, l.retryTimer = delay, timer
	l.report(err)
}

// resume is the callback of the timer.
func (l *Listener) resume() {
	l.retryTimer = nil
	switch err := l.register(); {
	case err == nil:
		l.onReady(nil, 0)
	case isSocketGone(err):
		l.end()
		l.report(err)
	default:
		l.suspend(err)
	}
}

// report reports an error of accepting, unless it has reported one since the last
// time when no connection was waiting. It must be called last, because it calls a
// function of the user.
func (l *Listener) report(cause error) {
	if l.failing && l.state != listenerClosed {
		return
	}
	l.failing = true
	if isSocketGone(cause) {
		cause = fmt.Errorf("%w: %w", net.ErrClosed, cause)
	}
	err := opError("accept", l.name(), cause)
	if l.opts.acceptError != nil {
		l.opts.acceptError(err)
	} else {
		slog.Error("accepting failed", "error", err)
	}
}

// name names the listener in errors.
func (l *Listener) name() string {
	if l.socket.addr == nil {
		return ""
	}
	return l.socket.addr.Network() + " " + l.socket.addr.String()
}

// Addr returns the address of the listener, also after Close.
func (l *Listener) Addr() net.Addr { return l.socket.addr }

// Loop returns the loop of the listener.
func (l *Listener) Loop() *eventloop.Loop { return l.loop }

// Conns returns an iterator over the accepted connections that are not closed.
// It yields those that exist at the time of the call.
func (l *Listener) Conns() iter.Seq[*Conn] {
	if l.set == nil {
		return func(func(*Conn) bool) {}
	}
	return slices.Values(slices.Clone(l.set.conns))
}

// Len returns the number of accepted connections that are not closed.
func (l *Listener) Len() int {
	if l.set == nil {
		return 0
	}
	return len(l.set.conns)
}

// Close stops listening and removes the file of a Unix socket. Accepted
// connections stay open. The kernel resets connections that wait to be accepted.
// During Shutdown Close stops accepting, and Shutdown goes on. Close always
// returns nil, and a second call does nothing.
func (l *Listener) Close() error {
	switch l.state {
	case accepting, suspended, finishing:
		l.end()
	}
	return nil
}

// A finish is the state finishing of a listener: it accepts the connections that
// are waiting, and then gives the socket back.
type finish struct {
	ctx   context.Context
	left  int    // connections to accept at most: more than the kernel's queue can hold
	ended func() // called once, on the loop, when the socket was given back
}

// finishAccepting enters the state finishing, in the next turn closed, and then
// calls ended. A listener that is closed already stays closed.
func (l *Listener) finishAccepting(ctx context.Context, ended func()) error {
	if err := l.loop.CallSoon(l.acceptRest); err != nil {
		return err
	}
	l.finish = &finish{ctx: ctx, left: 1 << 16, ended: ended}
	if l.state != listenerClosed {
		l.leave(finishing)
	}
	return nil
}

// acceptRest is a step of the state finishing.
func (l *Listener) acceptRest() {
	f, complete := l.finish, false
	defer func() {
		if !complete { // more connections may be waiting, or newHandler has panicked
			l.loop.CallSoon(l.acceptRest) // on a closed loop nothing more happens until Close
		}
	}()
	var err error
	if l.state == finishing && f.ctx.Err() == nil && f.left > 0 {
		f.left -= maxAcceptsPerTurn
		if err = l.acceptBatch(); err == nil {
			return
		}
	}
	complete = true
	// accept(2) may fail for lack of descriptors although no connection is waiting.
	failed := err != nil && err != selectors.ErrWouldBlock && isReadable(l.socket.fd)
	l.end()
	f.ended()
	if failed {
		l.report(err)
	}
}
