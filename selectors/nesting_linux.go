package selectors

import (
	"net"

	"goselectors/selectors/internal/sys"
)

// While a Select is parked, the kernel asks the files in the set through the gate,
// before the selector asks them. That must not be noticed. Therefore the set is
// taken out of the gate while it has a registration of one of these kinds:
//
//   - Files that are not known to be safe to ask: see sys.SafeToAsk.
//   - Exclusive registrations. The kernel ends its search for a waiter at a thread
//     that sleeps in epoll_wait on the set itself, not at a gate
//     (fs/eventpoll.c, ep_poll_callback).
//   - Registrations that exceed the kernel's limit for nested sets: see epoll.watch.
//
// Which kind a descriptor is costs a system call. So it is found out only before
// the next park, for all descriptors that have been added since the last one. If
// the gate may ask the set already it is found out before the registration.
//
// Also EPOLL_CTL_MOD, and EPOLL_CTL_ADD to a new set, ask the file, and the news that
// they take away is not reported. A file that is not safe is reported once after
// either: core.reportLater.

// Bits of entry.nesting.
const (
	fileSafe         uint8 = 1 << iota // asking the file has no effect
	fileUnsafe                         // asking the file may have one
	unclassified                       // neither is known yet; the descriptor is in epoll.unclassified
	pathLimited                        // the kernel refuses the registration in a nested set: see epoll.watch
	nestingForbidden                   // the registration keeps the set out of the gate
)

// classify finds out whether the file of a registration is safe to ask.
func (e *entry) classify(fd int) {
	switch {
	case e.nesting&(fileSafe|fileUnsafe) != 0:
	case isSocket(e.key.FileObj) || sys.SafeToAsk(fd):
		e.nesting |= fileSafe
	default:
		e.nesting |= fileUnsafe
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
	b.takeUnclassified(func(fd int, e *entry) {
		if e.classify(fd); e.nesting&fileUnsafe != 0 {
			b.forbidNesting(e)
		}
	})
	b.unclassified = b.unclassified[:0]
}
