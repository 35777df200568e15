package stream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A Listener accepts connections on a loop: asyncio's Server. Its methods are
// for the loop's goroutine.
type Listener struct {
	loop    *eventloop.Loop
	socket  socket
	opts    *options
	deliver func(fd int) // what to do with an accepted descriptor
	roster  *roster

	starved bool          // and reported; until nobody is left to accept
	delay   time.Duration // before the next attempt to accept
	retry   *eventloop.Timer
}

// Listen makes a listener, and for each connection that it accepts a handler.
// Networks are "tcp", "tcp4", "tcp6" and "unix", addresses as package net has
// them: "localhost:80", ":0", "/run/socket". Resolving a name blocks.
//
// A listener takes at most 64 connections a turn, so that what is connected
// already is not kept waiting by those who come. When the process is out of
// descriptors it stops listening for a moment, longer each time up to a second,
// instead of being told the same in every turn: see [WithAcceptError].
func Listen(loop *eventloop.Loop, network, address string, newHandler func() Handler, opts ...Option) (*Listener, error) {
	if newHandler == nil {
		return nil, ErrNilHandler
	}
	o := newOptions(opts)
	s, err := listen(network, address, o)
	if err != nil {
		return nil, err
	}
	l := &Listener{loop: loop, socket: s, opts: o, roster: &roster{}}
	l.deliver = func(fd int) { accepted(loop, fd, newHandler, o, l.roster) }
	if err := l.start(); err != nil {
		s.close()
		return nil, err
	}
	return l, nil
}

// accepted makes a connection of an accepted descriptor.
func accepted(loop *eventloop.Loop, fd int, newHandler func() Handler, o *options, r *roster) {
	h := newHandler()
	if h == nil { // it wants no more
		closeFD(fd)
		return
	}
	c := newConn(loop, fd, h, o)
	r.add(c)
	c.begin()
}

const (
	acceptBudget = 64
	minDelay     = 100 * time.Millisecond
	maxDelay     = time.Second
)

func (l *Listener) start() error {
	_, err := l.loop.Register(l.socket.fd, selectors.EventRead, l.accept)
	return err
}

func (l *Listener) accept(any, selectors.Event) {
	for range acceptBudget {
		if l.socket.fd < 0 { // closed by a handler
			return
		}
		fd, err := selectors.TryAcceptFD(l.socket.fd)
		if err == nil {
			l.delay = 0
			l.deliver(fd)
			continue
		}
		if err == selectors.ErrWouldBlock {
			l.starved = false
		} else {
			l.backOff(err)
		}
		return
	}
}

// backOff leaves the listener alone for a while. As long as there is nobody to
// give a descriptor to, it would be ready, and fail, in every turn.
func (l *Listener) backOff(err error) {
	l.loop.Unregister(l.socket.fd)
	again := func() {
		l.retry = nil
		if err := l.start(); err != nil {
			l.backOff(err)
		} else {
			l.accept(nil, 0)
		}
	}
	l.delay = min(max(2*l.delay, minDelay), maxDelay)
	l.retry, _ = l.loop.CallLater(l.delay, again)
	if l.starved {
		return
	}
	l.starved = true
	err = fmt.Errorf("stream: accept at %v: %w", l.Addr(), err)
	if l.opts.acceptError != nil {
		l.opts.acceptError(err)
	} else {
		slog.Error("not accepting for a while", "error", err)
	}
}

// Addr is where it listens; after Close, where it did.
func (l *Listener) Addr() net.Addr { return l.socket.addr }

// Conns yields the connections that it has accepted and that are not lost, as
// they are at the call.
func (l *Listener) Conns() iter.Seq[*Conn] { return slices.Values(slices.Clone(l.roster.conns)) }

// Len is how many these are.
func (l *Listener) Len() int { return len(l.roster.conns) }

// Close stops listening. Connections that were accepted go on; those that wait
// to be accepted are reset by the kernel.
func (l *Listener) Close() error {
	if l.socket.fd < 0 {
		return nil
	}
	if l.retry != nil {
		l.retry.Stop()
	} else {
		l.loop.Unregister(l.socket.fd)
	}
	l.socket.close()
	return nil
}

// drain accepts those that wait.
func (l *Listener) drain() {
	for range 1 << 16 { // whatever the queue can hold
		if l.socket.fd < 0 {
			return
		}
		fd, err := selectors.TryAcceptFD(l.socket.fd)
		if err != nil {
			return
		}
		l.deliver(fd)
	}
}

// A socket is one that package net has made and prepared. We keep a duplicate,
// because net's own is watched by Go's runtime, which would wake up for all
// that is ours.
type socket struct {
	fd   int
	addr net.Addr
	path string // of a Unix socket, to be removed
}

func listen(network, address string, o *options) (socket, error) {
	none := socket{fd: -1}
	if err := supported(network, "tcp", "tcp4", "tcp6", "unix"); err != nil {
		return none, err
	}
	config, err := listenConfig(network, o)
	if err != nil {
		return none, err
	}
	l, err := config.Listen(context.Background(), network, address)
	if err != nil {
		return none, err
	}
	defer l.Close()
	fd, err := duplicate(l.(syscall.Conn))
	if err != nil {
		return none, err
	}
	s := socket{fd: fd, addr: l.Addr()}
	if l, ok := l.(interface{ SetUnlinkOnClose(bool) }); ok {
		l.SetUnlinkOnClose(false)
		if s.path = s.addr.String(); strings.HasPrefix(s.path, "@") {
			s.path = "" // in the abstract name space of Linux
		}
	} else {
		setNoDelay(fd)
	}
	return s, nil
}

func listenConfig(network string, o *options) (config net.ListenConfig, err error) {
	config.SetMultipathTCP(false) // the default of package net, but slower, and of no use unless the network is made for it
	if o.reusePort {
		if !canReusePort || network == "unix" {
			return config, fmt.Errorf("stream: spreading connections over sockets at one %s address: %w", network, errors.ErrUnsupported)
		}
		config.Control = func(_, _ string, rc syscall.RawConn) (err error) {
			failed := rc.Control(func(fd uintptr) { err = reusePort(int(fd)) })
			return errors.Join(failed, err)
		}
	}
	return config, nil
}

func (s *socket) close() {
	if s.path != "" {
		os.Remove(s.path)
	}
	closeFD(s.fd)
	s.fd = -1
}

// supported checks a network, and whether there is anything for it here.
func supported(network string, known ...string) error {
	if !slices.Contains(known, network) {
		return net.UnknownNetworkError(network)
	}
	if !available {
		return fmt.Errorf("stream: %w on this platform", errors.ErrUnsupported)
	}
	return nil
}
