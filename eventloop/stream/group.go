package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"

	"goselectors/eventloop"
)

// A Group runs several loops, each on its own goroutine, and distributes the
// connections of its listeners over them. Its methods may be called from any
// goroutine, but not from a callback on one of its loops, because Listen,
// Shutdown and Wait wait for the loops. A zero Group has no loops and behaves like
// one that was shut down.
//
// A group is open until Shutdown. Each of its members, a loop with its listeners
// and connections, is in one of these states:
//
//	state     meaning
//	serving   the loop runs; it accepts connections and gets those of other members
//	stopping  Shutdown was called: listeners are in the state finishing (see Listener)
//	draining  all listeners of the group are closed; the connections are told
//	ended     the loop is closed, and has no listeners and no connections
//
//	event                           in                  what happens
//	Listen                          serving             a listener, or a share of one
//	connection from another member  serving, stopping   startAccepted in the next turn
//	Shutdown                        serving             stopping
//	all listeners closed            stopping            draining
//	no connections                  draining            Shutdown closes the loop: ended
//	context of Shutdown ends        stopping, draining  connections are aborted
//	loop stopped, closed or failed  any                 ended: listeners are closed, connections
//	                                                    are aborted, those on the way are closed
//	panic in newHandler or a hook   any                 the state stays; the connection is closed
type Group struct {
	members []*member
	wg      sync.WaitGroup // of the goroutines that run the loops

	mu       sync.Mutex // guards shutdown; held while Listen waits for the loops
	shutdown bool

	errsMu sync.Mutex // guards errs
	errs   []error    // of loops that ended before Shutdown closed them
}

// NewGroup makes and runs n loops. With n <= 0 it makes GOMAXPROCS loops. It
// calls newLoop for each, or eventloop.New if newLoop is nil, and returns the
// first error of newLoop, unchanged. A nil loop is an error that wraps [ErrNilLoop],
// and so is a loop that newLoop has returned before. Call Shutdown to end the group.
func NewGroup(n int, newLoop func() (*eventloop.Loop, error)) (*Group, error) {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	if newLoop == nil {
		newLoop = func() (*eventloop.Loop, error) { return eventloop.New() }
	}
	g, complete := &Group{}, false
	defer func() { // also if newLoop panics
		if !complete {
			for _, m := range g.members {
				m.loop.Close()
			}
		}
	}()
	for range n {
		loop, err := newLoop()
		if err != nil {
			return nil, err
		}
		if loop == nil {
			return nil, opError("new group", "", ErrNilLoop)
		}
		if slices.ContainsFunc(g.members, func(m *member) bool { return m.loop == loop }) {
			return nil, opError("new group", "", errors.New("the same loop twice"))
		}
		g.members = append(g.members, newMember(loop))
	}
	complete = true
	for _, m := range g.members {
		g.wg.Add(1)
		go g.run(m)
	}
	return g, nil
}

// run runs the loop of a member and then ends the member.
func (g *Group) run(m *member) {
	defer g.wg.Done()
	defer close(m.done)
	defer func() { // also after runtime.Goexit in a callback
		if v := recover(); v != nil {
			panic(v)
		}
		m.end()
	}()
	err := m.loop.Run(context.Background())
	if err == nil || errors.Is(err, eventloop.ErrClosed) {
		return
	}
	g.errsMu.Lock()
	g.errs = append(g.errs, err)
	g.errsMu.Unlock()
}

// Loops returns the loops of the group. The group runs and closes them. If other
// code stops or closes one, the group closes its listeners and aborts its accepted
// connections; the other loops go on.
func (g *Group) Loops() []*eventloop.Loop {
	var loops []*eventloop.Loop
	for _, m := range g.members {
		loops = append(loops, m.loop)
	}
	return loops
}

// Listen is like the function [Listen], but distributes the connections over
// all loops of the group. It returns the address of the listening sockets.
// newHandler is called on the loop of the new connection, so several goroutines
// may call it at the same time. On Linux, FreeBSD and DragonFly each loop has a listening
// socket and the kernel distributes connections over them (SO_REUSEPORT). On
// other systems, for Unix sockets and with [WithRoundRobin], the first loop accepts
// all connections and assigns them to the loops in turn.
//
// The error of Listen wraps those of the function Listen, [net.ErrClosed] after
// Shutdown, or [eventloop.ErrClosed] if a loop has ended.
func (g *Group) Listen(network, address string, newHandler func() Handler, opts ...Option) (net.Addr, error) {
	o := *newOptions(opts)
	addr, err := g.listen(newHandler, &o, func() ([]boundSocket, error) { return g.bind(network, address, &o) }, (*boundSocket).close)
	if err != nil {
		return nil, listenError(network, address, err)
	}
	return addr, nil
}

// ListenFile is like the function [ListenFile], but assigns the connections to all
// loops of the group in turn. It returns the errors of ListenFile and of
// Group.Listen.
func (g *Group) ListenFile(file any, newHandler func() Handler, opts ...Option) (net.Addr, error) {
	var owner io.Closer
	o := newOptions(opts)
	addr, err := g.listen(newHandler, o, func() (sockets []boundSocket, err error) {
		sockets = make([]boundSocket, 1)
		sockets[0], owner, err = socketOfFile(file, o)
		return sockets, err
	}, func(s *boundSocket) { s.discard(owner) })
	if err != nil {
		return nil, opError("listen", subjectOf(file), err)
	}
	closeOwner(owner)
	return addr, nil
}

// listen starts listeners on the sockets that bind returns: one for each loop, or
// one on the first loop that assigns connections to all. On error it gives those
// that were not started to discard.
func (g *Group) listen(newHandler func() Handler, o *options, bind func() ([]boundSocket, error), discard func(*boundSocket)) (net.Addr, error) {
	if newHandler == nil {
		return nil, ErrNilHandler
	}
	g.mu.Lock()
	defer g.mu.Unlock() // Shutdown waits until Listen has returned
	if g.shutdown || len(g.members) == 0 {
		return nil, net.ErrClosed
	}
	sockets, err := bind()
	if err != nil {
		return nil, err
	}
	var started []*Listener
	for i, s := range sockets {
		m := g.members[i]
		l := newListener(m.loop, s, newHandler, o)
		l.set = &m.set
		if len(sockets) < len(g.members) {
			l.onAccept = g.assignInTurn(newHandler, o)
		}
		if err := m.start(l); err != nil {
			for j, l := range started {
				g.members[j].call(func() { l.Close() })
			}
			for i := i; i < len(sockets); i++ {
				discard(&sockets[i])
			}
			return nil, err
		}
		started = append(started, l)
	}
	return sockets[0].addr, nil
}

// bind makes the listening sockets: one for each loop if the kernel distributes
// connections, else one.
func (g *Group) bind(network, address string, o *options) (sockets []boundSocket, err error) {
	n := 1
	if canReusePort && network != "unix" && !o.roundRobin {
		n = len(g.members)
	}
	o.reusePort = o.reusePort || n > 1
	for range n {
		s, err := listen(network, address, o)
		if err != nil {
			for i := range sockets {
				sockets[i].close()
			}
			return nil, err
		}
		sockets = append(sockets, s)
		address = s.addr.String() // the same port, and the same address of a host name
	}
	return sockets, nil
}

// assignInTurn returns a function that gives accepted descriptors to the loops in
// turn. It leaves out loops that have ended.
func (g *Group) assignInTurn(newHandler func() Handler, o *options) func(fd int, remote netip.AddrPort) {
	next := 0
	return func(fd int, remote netip.AddrPort) {
		a := acceptedFD{fd, remote, newHandler, o}
		for range g.members {
			m := g.members[next%len(g.members)]
			next++
			if m.give(a) {
				return
			}
		}
		closeFD(fd)
	}
}

// Shutdown ends the group gracefully, and returns when that is complete:
//
//  1. It accepts the connections that are waiting and closes the listeners.
//  2. It tells each accepted connection, as [Listener.Shutdown] does: by
//     ShutdownRequested, or by Close, which sends the queued data.
//  3. It aborts those that are still open when ctx ends.
//  4. It closes the loops.
//
// Shutdown returns the error of ctx if connections were aborted because ctx had
// ended, joined with the errors that Wait returns. A second call is the same as
// Wait. A nil ctx never ends.
//
// Shutdown does not end connections of Dial and Wrap, nor other work on the
// loops. The caller must end these first.
func (g *Group) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	repeated := g.shutdown
	g.shutdown = true
	g.mu.Unlock()
	if repeated {
		return g.Wait()
	}
	if ctx == nil {
		ctx = context.Background()
	}
	g.eachMember(func(m *member, done func()) { m.stopAccepting(ctx, done) })
	// All listeners are closed. A connection that was given to another loop is posted
	// there before the posts below, so no loop gets a connection after them.
	ctxErrs := make([]error, len(g.members))
	g.eachMember(func(m *member, done func()) {
		i := slices.Index(g.members, m)
		d := &drain{loop: m.loop, set: &m.set, ctx: ctx, done: func(err error) {
			ctxErrs[i] = err
			done()
		}}
		d.begin()
	})
	for _, m := range g.members {
		m.loop.Close()
	}
	err := g.Wait() // the goroutines that write ctxErrs have ended
	for _, ctxErr := range ctxErrs {
		if ctxErr != nil {
			return errors.Join(ctxErr, err)
		}
	}
	return err
}

// eachMember calls f on the loop of each member, and waits until each f has called
// done or its loop has ended.
func (g *Group) eachMember(f func(m *member, done func())) {
	finished := make([]chan struct{}, len(g.members))
	for i, m := range g.members {
		finished[i] = make(chan struct{})
		m.loop.Post(func() { f(m, func() { close(finished[i]) }) })
	}
	for i, m := range g.members {
		select {
		case <-finished[i]:
		case <-m.done:
		}
	}
}

// Wait waits until all loops have ended, and returns the joined errors of those
// that ended before Shutdown closed them.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.errsMu.Lock()
	defer g.errsMu.Unlock()
	return errors.Join(g.errs...)
}
