package selectors

import (
	"time"

	"golang.org/x/sys/windows"

	"goselectors/selectors/internal/sys"
	"goselectors/selectors/internal/wake"
)

var selectTraits = traits{features: FeaturePriority | FeatureInvalid, scansAll: true}

// selectBackend is the backend on Windows, where a set of descriptors is a list
// of sockets. The three sets are for reading, writing and exceptional conditions,
// which are urgent data and connects that failed. They may change during a wait,
// and the call overwrites what it is given; therefore the copies. The first
// element of interests is the waker; an entry's slot is its index there.
type selectBackend struct {
	noOrphans
	waker     wake.Waker
	table     *table
	interests []interest
	asked     [3]sys.FDSet // as of the last prepare
	ready     [3]sys.FDSet // what the call left of asked
	closed    []int        // sockets because of which the call failed as a whole
	reports   []report
	reportOf  []int // by slot: index in reports, plus one
	batches   int   // rotates the start of a batch
}

// An interest is what is asked of a socket.
type interest struct {
	fd         int
	events     Event
	skipUrgent bool // its exceptional condition is urgent data that was not asked for
}

// A report is what a socket is ready for.
type report struct {
	fd     int
	events Event
}

func (b *selectBackend) open(t *table) error {
	b.table = t
	if err := b.waker.Open(); err != nil {
		return err
	}
	b.interests = []interest{{b.waker.FD(), EventRead, true}}
	return nil
}

func (b *selectBackend) close() error { return b.waker.Close() }
func (b *selectBackend) wake() error  { return b.waker.Wake() }

func (b *selectBackend) owns(fd int) bool { return fd == b.waker.FD() }

func (b *selectBackend) add(fd int, e *entry, _ bool) error {
	err := identify(fd, e)
	if err == nil {
		b.put(fd, e, e.events)
	}
	return err
}

func (b *selectBackend) modify(fd int, e *entry, events Event, _ uint32) error {
	err := reidentify(fd, e)
	if err == nil {
		b.put(fd, e, events)
	}
	return err
}

func (b *selectBackend) put(fd int, e *entry, events Event) {
	if e.slot < 0 {
		e.slot = int32(len(b.interests))
		b.interests = append(b.interests, interest{})
	}
	b.interests[e.slot] = interest{fd, events, false}
}

func (b *selectBackend) remove(fd int, e *entry) {
	if e.slot < 0 {
		return
	}
	last := b.interests[len(b.interests)-1]
	b.interests = b.interests[:len(b.interests)-1]
	if last.fd != fd {
		b.interests[e.slot] = last
		b.table.find(last.fd).slot = e.slot
	}
	e.slot = -1
}

func (b *selectBackend) mute(fd int, e *entry) bool {
	b.remove(fd, e)
	return false
}

func (b *selectBackend) unmute(fd int, e *entry) { b.put(fd, e, e.events) }

func (b *selectBackend) prepare(*core) {
	if cap(b.interests) > 4*len(b.interests)+64 {
		b.interests = append([]interest(nil), b.interests...)
		b.ready, b.asked, b.reportOf = [3]sys.FDSet{}, [3]sys.FDSet{}, nil
	}
	for i := range b.asked {
		b.asked[i].Clear()
	}
	for _, w := range b.interests {
		if w.events&EventRead != 0 {
			b.asked[0].Add(w.fd)
		}
		if w.events&EventWrite != 0 {
			b.asked[1].Add(w.fd)
		}
		if !w.skipUrgent {
			b.asked[2].Add(w.fd)
		}
	}
}

func (b *selectBackend) poll() (int, error) { return b.sleep(0) }

func (b *selectBackend) sleep(timeout time.Duration) (int, error) {
	for i := range b.ready {
		b.ready[i] = append(b.ready[i][:0], b.asked[i]...)
	}
	found, err := sys.Select(b.ready[0], b.ready[1], b.ready[2], timeout)
	if err == windows.WSAENOTSOCK && b.findClosed() {
		_, err = b.poll() // the others
		return len(b.closed) + found, err
	}
	if err != nil || found == 0 {
		for i := range b.ready {
			b.ready[i][0] = 0
		}
		return 0, err
	}
	for _, s := range b.ready[0].Sockets() {
		if s == uintptr(b.waker.FD()) {
			b.waker.Drain()
			found--
		}
	}
	return found, nil
}

// findClosed finds the closed sockets and asks for them no more: one of them
// makes the whole call fail, with WSAENOTSOCK.
func (b *selectBackend) findClosed() bool {
	known := len(b.closed)
	for i, set := range b.asked {
		var left sys.FDSet
		left.Clear()
		for _, s := range set.Sockets() {
			if sys.IsOpen(int(s)) {
				left.Add(int(s))
				continue
			}
			b.closed = append(b.closed, int(s)) // a socket in two sets is added twice, which does no harm
		}
		b.asked[i] = left
	}
	return len(b.closed) > known
}

func (b *selectBackend) collect(c *core, dst []Ready) []Ready {
	for _, fd := range b.closed {
		if e := c.table.find(fd); e != nil && c.predatesWait(e) {
			dst = c.report(dst, e, EventError|EventInvalid)
		}
	}
	b.closed = b.closed[:0]

	// A socket may be in three sets, but gets one report.
	b.reports = b.reports[:0]
	for len(b.reportOf) < len(b.interests) {
		b.reportOf = append(b.reportOf, 0)
	}
	clear(b.reportOf)
	for i, set := range b.ready {
		for _, s := range set.Sockets() {
			fd := int(s)
			e := c.table.find(fd)
			if e == nil || e.slot < 0 || !c.predatesWait(e) {
				continue
			}
			events := [3]Event{EventRead, EventWrite, 0}[i]
			if i == 2 {
				events = b.exception(c, fd, e)
			}
			if b.reportOf[e.slot] == 0 {
				b.reports = append(b.reports, report{fd: fd})
				b.reportOf[e.slot] = len(b.reports)
			}
			b.reports[b.reportOf[e.slot]-1].events |= events
		}
	}
	b.batches++
	for i := range b.reports {
		r := b.reports[(i+b.batches)%len(b.reports)]
		dst = c.report(dst, c.table.find(r.fd), r.events)
	}
	return dst
}

// exception returns the events of a socket's exceptional condition: urgent data
// if it is connected, and otherwise a connect that failed.
func (b *selectBackend) exception(c *core, fd int, e *entry) Event {
	if _, err := windows.Getpeername(windows.Handle(fd)); err != nil {
		return EventRead | EventWrite | EventError
	}
	if e.events&EventPriority == 0 { // otherwise it would end every wait
		b.interests[e.slot].skipUrgent = true
		c.markDirty()
	}
	return EventPriority
}
