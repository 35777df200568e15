package stream

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"goselectors/eventloop"
)

// A member is one loop of a group, with its listeners and its accepted
// connections. Only the goroutine that runs the loop uses listeners and set.
type member struct {
	loop      *eventloop.Loop
	listeners []*Listener
	set       connSet
	done      chan struct{} // closed when the member has ended
	takeNext  func()        // m.take, allocated once

	mu    sync.Mutex   // guards the fields below
	given []acceptedFD // by other members; for each of them a call of take is posted
	ended bool         // nothing is given any more
}

// An acceptedFD is an accepted connection on the way to another loop.
type acceptedFD struct {
	fd         int
	remote     netip.AddrPort
	newHandler func() Handler
	opts       *options
}

func newMember(loop *eventloop.Loop) *member {
	m := &member{loop: loop, done: make(chan struct{})}
	m.takeNext = m.take
	return m
}

// give hands a connection over to the member's loop, and reports whether the member
// owns it now. Any goroutine may call it.
func (m *member) give(a acceptedFD) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended || m.loop.Post(m.takeNext) != nil {
		return false
	}
	m.given = append(m.given, a)
	return true
}

// take starts the connection that was given first.
func (m *member) take() {
	m.mu.Lock()
	a := m.given[0]
	m.given[0] = acceptedFD{}
	if m.given = m.given[1:]; len(m.given) == 0 {
		m.given = nil
	}
	m.mu.Unlock()
	startAccepted(m.loop, a.fd, a.remote, a.newHandler, a.opts, &m.set)
}

// start registers a listener with the member's loop. On error the member does not
// have the listener.
func (m *member) start(l *Listener) error {
	var err error
	callErr := m.call(func() {
		if err = l.register(); err == nil {
			m.listeners = append(m.listeners, l)
		}
	})
	if callErr != nil {
		return callErr
	}
	return err
}

// call runs f on the member's loop and waits for it. It returns
// eventloop.ErrClosed, and f was not called, if the loop has ended.
func (m *member) call(f func()) error {
	called := make(chan struct{})
	err := m.loop.Post(func() {
		defer close(called) // also if f panics
		f()
	})
	if err != nil {
		return eventloop.ErrClosed
	}
	select {
	case <-called:
		return nil
	case <-m.done:
	}
	select {
	case <-called: // before the loop ended
		return nil
	default:
		return eventloop.ErrClosed
	}
}

// stopAccepting accepts the waiting connections of all listeners and closes them,
// and then calls done. It runs on the loop.
func (m *member) stopAccepting(ctx context.Context, done func()) {
	open := 1
	ended := func() {
		if open--; open == 0 {
			done()
		}
	}
	for _, l := range m.listeners {
		if l.finishAccepting(ctx, ended) == nil { // else the loop is closed
			open++
		}
	}
	ended()
}

// end ends the member when its loop does not run any more. It runs on the goroutine
// that has run the loop. ConnectionLost of the connections is called here, because
// the loop is closed.
func (m *member) end() {
	m.loop.Close()
	m.mu.Lock()
	given := m.given
	m.given, m.ended = nil, true
	m.mu.Unlock()
	for _, a := range given {
		closeFD(a.fd)
	}
	for _, l := range m.listeners {
		l.Close()
	}
	m.listeners = nil
	for _, c := range slices.Clone(m.set.conns) {
		c.Abort()
		if c.set != nil { // it had ended already, and the closed loop has dropped the call
			c.connectionLost()
		}
	}
}
