package stream

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strconv"
	"sync"

	"goselectors/eventloop"
)

// A Group runs several loops, each on its own goroutine, and distributes the
// connections of its listeners over them. Its methods may be called from any
// goroutine, but not from a callback on one of its loops, because Listen,
// Shutdown and Wait wait for the loops.
type Group struct {
	members []*member
	wg      sync.WaitGroup // of the goroutines that run the loops

	mu       sync.Mutex // guards shutdown; held while Listen waits for the loops
	shutdown bool

	errsMu sync.Mutex // guards errs
	errs   []error    // of loops that ended before Shutdown closed them
}

// A member is one loop of a group. Only the loop's goroutine uses listeners and
// set.
type member struct {
	loop      *eventloop.Loop
	listeners []*Listener
	set       connSet
	done      chan struct{} // closed when the loop has returned from Run
}

// NewGroup makes and runs n loops. With n <= 0 it makes GOMAXPROCS loops. It
// calls newLoop for each, or eventloop.New if newLoop is nil, and returns the
// first error of newLoop. Call Shutdown to end the group.
func NewGroup(n int, newLoop func() (*eventloop.Loop, error)) (*Group, error) {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	if newLoop == nil {
		newLoop = func() (*eventloop.Loop, error) { return eventloop.New() }
	}
	g := &Group{}
	for range n {
		loop, err := newLoop()
		if err != nil {
			for _, m := range g.members {
				m.loop.Close()
			}
			return nil, err
		}
		g.members = append(g.members, &member{loop: loop, done: make(chan struct{})})
	}
	for _, m := range g.members {
		g.wg.Add(1)
		go g.run(m)
	}
	return g, nil
}

func (g *Group) run(m *member) {
	defer g.wg.Done()
	defer close(m.done)
	err := m.loop.Run(context.Background())
	if err == nil || errors.Is(err, eventloop.ErrClosed) {
		return
	}
	g.errsMu.Lock()
	g.errs = append(g.errs, err)
	g.errsMu.Unlock()
}

// Loops returns the loops of the group. The group runs and closes them.
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
// other systems, and for Unix sockets, the first loop accepts all connections and
// assigns them to the loops in turn.
//
// Listen returns the errors of the function Listen, [net.ErrClosed] after
// Shutdown, and [eventloop.ErrClosed] if a loop has ended.
func (g *Group) Listen(network, address string, newHandler func() Handler, opts ...Option) (net.Addr, error) {
	if newHandler == nil {
		return nil, ErrNilHandler
	}
	g.mu.Lock()
	defer g.mu.Unlock() // Shutdown waits until Listen has returned
	if g.shutdown {
		return nil, net.ErrClosed
	}
	o := *newOptions(opts)
	perLoop := len(g.members) > 1 && canReusePort && network != "unix"
	o.reusePort = o.reusePort || perLoop
	first, err := listen(network, address, &o)
	if err != nil {
		return nil, err
	}
	sockets := []boundSocket{first}
	if perLoop {
		host, _, _ := net.SplitHostPort(address)
		address = net.JoinHostPort(host, strconv.Itoa(first.addr.(*net.TCPAddr).Port))
		for range g.members[1:] {
			s, err := listen(network, address, &o)
			if err != nil {
				closeAll(sockets)
				return nil, err
			}
			sockets = append(sockets, s)
		}
	}
	var started []*Listener
	for i, s := range sockets {
		m := g.members[i]
		l := &Listener{loop: m.loop, socket: s, opts: &o, set: &m.set}
		l.onAccept = func(fd int) { startAccepted(m.loop, fd, newHandler, &o, &m.set) }
		if len(sockets) < len(g.members) {
			l.onAccept = g.assignInTurn(newHandler, &o)
		}
		callErr := m.call(func() {
			if err = l.start(); err == nil {
				m.listeners = append(m.listeners, l)
			}
		})
		if err = errors.Join(callErr, err); err != nil {
			for j, l := range started {
				g.members[j].call(func() { l.Close() })
			}
			closeAll(sockets[i:])
			return nil, err
		}
		started = append(started, l)
	}
	return first.addr, nil
}

func closeAll(sockets []boundSocket) {
	for i := range sockets {
		sockets[i].close()
	}
}

// assignInTurn returns a function that gives accepted descriptors to the loops in
// turn.
func (g *Group) assignInTurn(newHandler func() Handler, o *options) func(fd int) {
	next := 0
	return func(fd int) {
		m := g.members[next%len(g.members)]
		next++
		if m.loop.Post(func() { startAccepted(m.loop, fd, newHandler, o, &m.set) }) != nil {
			closeFD(fd)
		}
	}
}

// call runs f on the member's loop and waits for it. It returns
// eventloop.ErrClosed if the loop has ended.
func (m *member) call(f func()) error {
	done := make(chan struct{})
	err := m.loop.Post(func() {
		f()
		close(done)
	})
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-m.done:
		return eventloop.ErrClosed
	}
}

// Shutdown ends the group gracefully, and returns when that is complete:
//
//  1. It accepts the connections that are waiting and closes the listeners.
//  2. It closes all accepted connections, which sends their queued data.
//  3. It aborts those that are still open when ctx ends.
//  4. It closes the loops.
//
// Shutdown returns the error of ctx if ctx ended before all connections were
// closed, joined with the errors that Wait returns. A second call is the same as
// Wait.
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
	for _, m := range g.members {
		m.call(func() {
			for _, l := range m.listeners {
				l.acceptWaiting()
				l.Close()
			}
			m.listeners = nil
		})
	}
	// All listeners are closed, so no loop gets a connection after the posts below.
	var ctxErr error
	empty := make([]chan struct{}, len(g.members))
	for i, m := range g.members {
		done := make(chan struct{})
		empty[i] = done
		m.loop.Post(func() { m.forEachConn(func(c *Conn) { c.Close() }, done) })
	}
	for i, m := range g.members {
		select {
		case <-empty[i]:
			continue
		case <-m.done:
			continue
		case <-ctx.Done():
		}
		ctxErr = ctx.Err()
		m.loop.Post(func() { m.forEachConn((*Conn).Abort, nil) })
		select {
		case <-empty[i]:
		case <-m.done:
		}
	}
	for _, m := range g.members {
		m.loop.Close()
	}
	return errors.Join(ctxErr, g.Wait())
}

// forEachConn calls do for each connection of the loop. If empty is not nil, it
// closes empty when no connection is left.
func (m *member) forEachConn(do func(*Conn), empty chan struct{}) {
	if empty != nil {
		m.set.onEmpty = func() { close(empty) }
	}
	if len(m.set.conns) == 0 && empty != nil {
		m.set.onEmpty()
	}
	for _, c := range append([]*Conn(nil), m.set.conns...) {
		do(c)
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
