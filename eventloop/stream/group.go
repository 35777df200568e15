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

// A Group is several loops, each on a goroutine of its own, that share the
// connections of the same listeners. Its methods may be called from any
// goroutine, but not from a callback on one of its loops: they wait for these.
type Group struct {
	members []*member
	running sync.WaitGroup

	mu       sync.Mutex // guards shutdown; held while Listen waits for the loops
	shutdown bool

	failing sync.Mutex // guards errs
	errs    []error    // of loops that ended by themselves
}

// A member is one loop. What it has belongs to the loop's goroutine.
type member struct {
	loop      *eventloop.Loop
	listeners []*Listener
	roster    roster
	ended     chan struct{} // closed when the loop has
}

// NewGroup makes n loops, with newLoop or, if that is nil, with eventloop.New,
// and runs them. If n is zero or less it is GOMAXPROCS. End it with Shutdown.
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
		g.members = append(g.members, &member{loop: loop, ended: make(chan struct{})})
	}
	for _, m := range g.members {
		g.running.Add(1)
		go g.run(m)
	}
	return g, nil
}

func (g *Group) run(m *member) {
	defer g.running.Done()
	defer close(m.ended)
	err := m.loop.Run(context.Background())
	if err == nil || errors.Is(err, eventloop.ErrClosed) {
		return
	}
	g.failing.Lock()
	g.errs = append(g.errs, err)
	g.failing.Unlock()
}

// Loops are the group's. It runs and closes them.
func (g *Group) Loops() []*eventloop.Loop {
	var loops []*eventloop.Loop
	for _, m := range g.members {
		loops = append(loops, m.loop)
	}
	return loops
}

// Listen is the function Listen for all loops of the group; newHandler is called
// on the loop that the connection is going to be on, so by several goroutines
// at a time. It returns the address. Where the system can spread connections
// over sockets (SO_REUSEPORT on Linux, FreeBSD and DragonFly), each loop has
// one; elsewhere, and for Unix sockets, the first loop accepts and deals them
// out in turn.
func (g *Group) Listen(network, address string, newHandler func() Handler, opts ...Option) (net.Addr, error) {
	if newHandler == nil {
		return nil, ErrNilHandler
	}
	g.mu.Lock()
	defer g.mu.Unlock() // also for Shutdown to wait until all listen, or none
	if g.shutdown {
		return nil, net.ErrClosed
	}
	o := *newOptions(opts)
	spread := len(g.members) > 1 && canReusePort && network != "unix"
	o.reusePort = o.reusePort || spread
	first, err := listen(network, address, &o)
	if err != nil {
		return nil, err
	}
	sockets := []socket{first}
	if spread {
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
		l := &Listener{loop: m.loop, socket: s, opts: &o, roster: &m.roster}
		l.deliver = func(fd int) { accepted(m.loop, fd, newHandler, &o, &m.roster) }
		if len(sockets) < len(g.members) {
			l.deliver = g.deal(newHandler, &o)
		}
		failed := m.call(func() {
			if err = l.start(); err == nil {
				m.listeners = append(m.listeners, l)
			}
		})
		if err = errors.Join(failed, err); err != nil {
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

func closeAll(sockets []socket) {
	for i := range sockets {
		sockets[i].close()
	}
}

// deal gives accepted descriptors to the loops in turn.
func (g *Group) deal(newHandler func() Handler, o *options) func(fd int) {
	next := 0
	return func(fd int) {
		m := g.members[next%len(g.members)]
		next++
		if m.loop.Post(func() { accepted(m.loop, fd, newHandler, o, &m.roster) }) != nil {
			closeFD(fd)
		}
	}
}

// call runs f on the member's loop and waits for it.
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
	case <-m.ended:
		return eventloop.ErrClosed
	}
}

// Shutdown ends the group in good order: it accepts who waits and then nobody
// any more, closes all connections, which sends what is to be sent, aborts
// those that are still there when ctx ends, and closes the loops. It returns
// when all that has been done: nil, or the error of ctx if something was
// aborted, or that of a loop.
//
// Connections of Dial and Wrap, and what else is on the loops, are the
// caller's to end.
func (g *Group) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	again := g.shutdown
	g.shutdown = true
	g.mu.Unlock()
	if again {
		return g.Wait()
	}
	for _, m := range g.members {
		m.call(func() {
			for _, l := range m.listeners {
				l.drain()
				l.Close()
			}
			m.listeners = nil
		})
	}
	// Now that nobody deals out any more, all that were dealt out are there.
	var late error
	empty := make([]chan struct{}, len(g.members))
	for i, m := range g.members {
		done := make(chan struct{})
		empty[i] = done
		m.loop.Post(func() { m.each((*Conn).finishUp, done) })
	}
	for i, m := range g.members {
		select {
		case <-empty[i]:
			continue
		case <-m.ended:
			continue
		case <-ctx.Done():
		}
		late = ctx.Err()
		m.loop.Post(func() { m.each((*Conn).Abort, nil) })
		select {
		case <-empty[i]:
		case <-m.ended:
		}
	}
	for _, m := range g.members {
		m.loop.Close()
	}
	return errors.Join(late, g.Wait())
}

func (c *Conn) finishUp() { c.Close() }

// each does something to all connections, and closes gone when there are none.
func (m *member) each(do func(*Conn), gone chan struct{}) {
	if gone != nil {
		m.roster.empty = func() { close(gone) }
	}
	if len(m.roster.conns) == 0 && gone != nil {
		m.roster.empty()
	}
	for _, c := range append([]*Conn(nil), m.roster.conns...) {
		do(c)
	}
}

// Wait waits until the group has ended, and returns the errors of loops that
// ended by themselves.
func (g *Group) Wait() error {
	g.running.Wait()
	g.failing.Lock()
	defer g.failing.Unlock()
	return errors.Join(g.errs...)
}
