package selectors

import (
	"net"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/sys"
)

// While a Select is parked, the kernel asks the files in the set through the gate,
// before the selector asks them. That must not be noticed. Therefore the set is
// taken out of the gate while it has a registration of one of these kinds:
//
//   - Files that are not known to be safe to ask: see sys.EffectOfAsking.
//   - Exclusive registrations. The kernel ends its search for a waiter at a thread
//     that sleeps in epoll_wait on the set itself, not at a gate
//     (fs/eventpoll.c, ep_poll_callback).
//   - Registrations that exceed the kernel's limit for nested sets: see epoll.watch.
//
// Which kind a descriptor is costs a system call. So it is found out only before
// the next park, for all descriptors that have been added since the last one. If
// the gate may ask the set already it is found out before the registration.
//
// Also EPOLL_CTL_MOD, and EPOLL_CTL_ADD to a new set, ask the file, and the kernel
// does not report the news that they take away. See watchEdges.

// classify finds out whether the file of a registration is safe to ask.
func (e *entry) classify(fd int) {
	switch {
	case e.nesting&(fileSafe|fileUnsafe) != 0:
	case isSocket(e.key.FileObj):
		e.nesting |= fileSafe
	default:
		switch sys.EffectOfAsking(fd) {
		case sys.AskingHasNone:
			e.nesting |= fileSafe
		case sys.AskingIsLocal:
			e.nesting |= fileUnsafe
		default:
			e.nesting |= fileUnsafe | fileTakesNews
		}
	}
}

// isSocket reports whether a file object is known to be a socket.
func isSocket(fileobj any) bool {
	switch fileobj.(type) {
	case *net.TCPConn, *net.UnixConn, *net.UDPConn, *net.IPConn, *net.TCPListener, *net.UnixListener:
		return true
	}
	return false
}

// beforeWatch is called before the kernel watches a descriptor for events. If
// the gate must not ask the set then, it takes the set out of the gate.
func (b *epoll) beforeWatch(fd int, e *entry, events Event) {
	if !b.waiter.CanPark() {
		return
	}
	if b.waiter.MayAsk() {
		e.classify(fd)
	}
	if events&Exclusive != 0 || e.nesting&fileUnsafe != 0 {
		b.forbidNesting(e)
	}
}

// afterWatch is called with the outcome. On success the kernel watches the
// descriptor for events, or the file is always ready. e may be a new entry, which
// replaces the one in the table then.
func (b *epoll) afterWatch(fd int, e *entry, events Event, err error) {
	old := b.core.table.find(fd)
	watched := err == nil
	switch {
	case watched || err == errAlwaysReady:
		if old != nil && old != e {
			b.permitNesting(old)
		}
	case old == e: // the old interest remains
		watched, events = true, e.events
	}
	if !watched || events&Exclusive == 0 && e.nesting&(fileUnsafe|pathLimited) == 0 {
		b.permitNesting(e)
	}
	if err == nil && e.nesting&(fileSafe|fileUnsafe) == 0 && b.waiter.CanPark() {
		b.listUnclassified(fd, e)
	}
}

func (b *epoll) forbidNesting(e *entry) {
	if e.nesting&nestingForbidden == 0 {
		e.nesting |= nestingForbidden
		if b.waiter.Forbid() {
			b.core.interrupt(wakeInternal) // a Select may be parked
		}
	}
}

func (b *epoll) permitNesting(e *entry) {
	if e.nesting&nestingForbidden != 0 {
		e.nesting &^= nestingForbidden
		b.waiter.Permit()
	}
}

// listUnclassified adds a registration to the list for classifyNew. The list may
// have descriptors that have been unregistered since, also several times. They
// are removed when they are many.
func (b *epoll) listUnclassified(fd int, e *entry) {
	if e.nesting&unclassified != 0 {
		return
	}
	e.nesting |= unclassified
	if len(b.unclassified) > 2*b.core.table.len+64 {
		inUse := b.unclassified[:0]
		b.takeUnclassified(func(fd int, _ *entry) { inUse = append(inUse, int32(fd)) })
		for _, fd := range inUse {
			b.core.table.find(int(fd)).nesting |= unclassified
		}
		b.unclassified = inUse
	}
	b.unclassified = append(b.unclassified, int32(fd))
}

// takeUnclassified calls f once for each registration in the list that still
// exists.
func (b *epoll) takeUnclassified(f func(fd int, e *entry)) {
	for _, fd := range b.unclassified {
		if e := b.core.table.find(int(fd)); e != nil && e.nesting&unclassified != 0 {
			e.nesting &^= unclassified
			f(int(fd), e)
		}
	}
}

// classifyNew classifies the registrations in the list, and forbids nesting where
// that is necessary.
func (b *epoll) classifyNew() {
	if len(b.unclassified) == 0 {
		return
	}
	b.takeUnclassified(b.classifyNow)
	b.unclassified = b.unclassified[:0]
}

// classifyNow classifies a registration, and forbids nesting if that is necessary.
func (b *epoll) classifyNow(fd int, e *entry) {
	if e.classify(fd); e.nesting&fileUnsafe != 0 && b.waiter.CanPark() {
		b.forbidNesting(e)
	}
}

// watchEdges makes the kernel watch a file that tells its news once edge-triggered
// and for everything. After that its registration need not be changed, so that
// the file is asked only by waits and by the core (core.recheckLater), which both
// report what they find: again as long as a level-triggered key is ready, and after
// Modify. This call itself may take news away. So the key is reported once,
// unless the caller is about to report it.
func (b *epoll) watchEdges(fd int, e *entry, generation uint32, report bool) error {
	err := b.ctl(unix.EPOLL_CTL_MOD, fd, everyEdge, generation)
	if err == nil {
		e.state |= edgeWatched
		b.core.recheckLater(fd, report)
	}
	return err
}

const everyEdge = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET

// modifyNews is modify for a file that tells its news once.
func (b *epoll) modifyNews(fd int, e *entry, events Event, generation uint32) error {
	if (events|e.events)&Exclusive != 0 {
		return b.setMask(fd, e, toEpoll(events), generation)
	}
	if e.state&edgeWatched == 0 {
		return b.watchEdges(fd, e, generation, true)
	}
	// Adding a file that is in the set fails, before the kernel asks it.
	if err := b.ctl(unix.EPOLL_CTL_ADD, fd, toEpoll(events), generation); err != unix.EEXIST {
		if err == nil { // another file
			b.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0)
			err = unix.ENOENT
		}
		return err
	}
	b.core.recheckLater(fd, e.nesting&missedNews != 0)
	e.nesting &^= missedNews
	return nil
}
