package stream

import (
	"fmt"
	"iter"
	"log/slog"
	"net"
	"slices"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A Listener accepts connections on a loop, like asyncio's Server. All methods
// must be called on the loop's goroutine.
type Listener struct {
	loop     *eventloop.Loop
	socket   boundSocket
	opts     *options
	onAccept func(fd int) // takes ownership of an accepted descriptor
	set      *connSet

	acceptFailed bool             // an error was reported; cleared when no connection is waiting
	retryDelay   time.Duration    // 0 after a successful accept
	retryTimer   *eventloop.Timer // not nil while accepting is suspended
}

// Listen makes a listener. It calls newHandler on the loop for each accepted
// connection; if newHandler returns nil, the connection is closed at once. The
// network is "tcp", "tcp4", "tcp6" or "unix", and the address has the form of
// package net: "localhost:80", ":0", "/run/socket". Resolving a host name
// blocks. Listen returns [ErrNilHandler], [errors.ErrUnsupported], or the error of
// package net or of the loop.
//
// A listener accepts at most 64 connections per turn, so that new connections
// do not delay existing ones. If accepting fails, for example because the
// process has no descriptors left, the listener is suspended for 100 ms. The
// delay doubles with each further failure, up to one second. Without the delay
// the listener would be ready, and fail, in every turn. See [WithAcceptError].
func Listen(loop *eventloop.Loop, network, address string, newHandler func() Handler, opts ...Option) (*Listener, error) {
	if newHandler == nil {
		return nil, ErrNilHandler
	}
	o := newOptions(opts)
	s, err := listen(network, address, o)
	if err != nil {
		return nil, err
	}
	l := &Listener{loop: loop, socket: s, opts: o, set: &connSet{}}
	l.onAccept = func(fd int) { startAccepted(loop, fd, newHandler, o, l.set) }
	if err := l.start(); err != nil {
		s.close()
		return nil, err
	}
	return l, nil
}

// startAccepted makes and starts a connection for an accepted descriptor.
func startAccepted(loop *eventloop.Loop, fd int, newHandler func() Handler, o *options, set *connSet) {
	h := newHandler()
	if h == nil {
		closeFD(fd)
		return
	}
	setAcceptedKeepAlive(fd, o.keepAlive)
	c := newConn(loop, fd, h, o)
	c.setRemote(remoteAddr(fd))
	set.add(c)
	c.start()
}

const (
	maxAcceptsPerTurn = 64
	minRetryDelay     = 100 * time.Millisecond
	maxRetryDelay     = time.Second
)

func (l *Listener) start() error {
	_, err := l.loop.Register(l.socket.fd, selectors.EventRead, l.accept)
	return err
}

// accept is the loop's callback. It accepts at most maxAcceptsPerTurn
// connections.
func (l *Listener) accept(any, selectors.Event) {
	for range maxAcceptsPerTurn {
		if l.socket.fd < 0 { // closed by a handler
			return
		}
		fd, err := selectors.TryAcceptFD(l.socket.fd)
		if err == nil {
			l.retryDelay = 0
			l.onAccept(fd)
			continue
		}
		if err == selectors.ErrWouldBlock {
			l.acceptFailed = false
		} else {
			l.backOff(err)
		}
		return
	}
}

// backOff suspends the listener, sets the timer to retry and reports the error.
func (l *Listener) backOff(err error) {
	l.loop.Unregister(l.socket.fd)
	retry := func() {
		l.retryTimer = nil
		if err := l.start(); err != nil {
			l.backOff(err)
		} else {
			l.accept(nil, 0)
		}
	}
	l.retryDelay = min(max(2*l.retryDelay, minRetryDelay), maxRetryDelay)
	l.retryTimer, _ = l.loop.CallLater(l.retryDelay, retry)
	if l.acceptFailed {
		return
	}
	l.acceptFailed = true
	err = fmt.Errorf("stream: accept on %v: %w", l.Addr(), err)
	if l.opts.acceptError != nil {
		l.opts.acceptError(err)
	} else {
		slog.Error("accepting suspended", "error", err)
	}
}

// Addr returns the address of the listener, also after Close.
func (l *Listener) Addr() net.Addr { return l.socket.addr }

// Conns returns an iterator over the accepted connections that are not closed.
// It yields those that exist at the time of the call.
func (l *Listener) Conns() iter.Seq[*Conn] { return slices.Values(slices.Clone(l.set.conns)) }

// Len returns the number of accepted connections that are not closed.
func (l *Listener) Len() int { return len(l.set.conns) }

// Close stops listening and removes the file of a Unix socket. Accepted
// connections stay open. The kernel resets connections that wait to be accepted.
// Close always returns nil, and a second call does nothing.
func (l *Listener) Close() error {
	if l.socket.fd < 0 {
		return nil
	}
	if l.retryTimer != nil {
		l.retryTimer.Stop()
	} else {
		l.loop.Unregister(l.socket.fd)
	}
	l.socket.close()
	return nil
}

// acceptWaiting accepts the connections that are waiting now.
func (l *Listener) acceptWaiting() {
	for range 1 << 16 { // more than the kernel's queue can hold
		if l.socket.fd < 0 {
			return
		}
		fd, err := selectors.TryAcceptFD(l.socket.fd)
		if err != nil {
			return
		}
		l.onAccept(fd)
	}
}
