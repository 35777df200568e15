package selectors

import (
	"time"

	"golang.org/x/sys/windows"
)

var selectTraits = traits{features: FeaturePriority | FeatureInvalid, scans: true}

// selectBackend is the backend. The three sets are readable, writable and
// exceptional; the last tells of urgent data and of connects that failed. The
// call overwrites the lists that it is given, and wants may change while a wait
// goes on: hence the copies. The first of wants is the waker; an entry's slot
// is its place there.
type selectBackend struct {
	waker
	table  *table
	wants  []want
	asked  [3]fdSet // as of the last prepare
	got    [3]fdSet // what the call left of asked
	closed []int    // sockets for which the call failed as a whole
	hits   []hit
	place  []int // of the hit for a slot, plus one
	turn   int   // where the last batch began
}

// want is what is asked of a socket.
type want struct {
	fd     int
	events Event
	calm   bool // its exceptional condition is of no interest
}

// hit is what a socket is ready for.
type hit struct {
	fd     int
	events Event
}

func (b *selectBackend) open(t *table) error {
	b.table = t
	if err := b.waker.open(); err != nil {
		return err
	}
	b.wants = []want{{b.waker.fd(), EventRead, true}}
	return nil
}

func (b *selectBackend) add(fd int, e *entry, _ bool) error {
	if err := identify(fd, e); err != nil {
		return err
	}
	b.put(fd, e, e.events)
	return nil
}

func (b *selectBackend) modify(fd int, e *entry, events Event, _ uint32) error {
	if err := identify(fd, e); err != nil && err != errExists {
		return err
	}
	b.put(fd, e, events)
	return nil
}

func (b *selectBackend) put(fd int, e *entry, events Event) {
	if e.slot < 0 {
		e.slot = int32(len(b.wants))
		b.wants = append(b.wants, want{})
	}
	b.wants[e.slot] = want{fd, events, false}
}

func (b *selectBackend) remove(fd int, e *entry) {
	if e.slot < 0 {
		return
	}
	last := b.wants[len(b.wants)-1]
	b.wants = b.wants[:len(b.wants)-1]
	if last.fd != fd {
		b.wants[e.slot] = last
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
	if cap(b.wants) > 4*len(b.wants)+64 {
		b.wants = append([]want(nil), b.wants...)
		b.got, b.asked, b.place = [3]fdSet{}, [3]fdSet{}, nil
	}
	for i := range b.asked {
		b.asked[i] = append(b.asked[i][:0], 0)
	}
	for _, w := range b.wants {
		if w.events&EventRead != 0 {
			b.asked[0].add(w.fd)
		}
		if w.events&EventWrite != 0 {
			b.asked[1].add(w.fd)
		}
		if !w.calm {
			b.asked[2].add(w.fd)
		}
	}
}

func (b *selectBackend) poll() (int, error) { return b.sleep(0) }

func (b *selectBackend) sleep(timeout time.Duration) (int, error) {
	for i := range b.got {
		b.got[i] = append(b.got[i][:0], b.asked[i]...)
	}
	found, err := winsockSelect(b.got[0], b.got[1], b.got[2], timeout)
	if err == windows.WSAENOTSOCK && b.findClosed() {
		_, err = b.poll() // the others
		return len(b.closed) + found, err
	}
	if err != nil || found == 0 {
		for i := range b.got {
			b.got[i][0] = 0
		}
		return 0, err
	}
	for _, s := range b.got[0].sockets() {
		if s == uintptr(b.waker.socket) {
			b.drain()
			found--
		}
	}
	return found, nil
}

// findClosed finds out for which sockets the call failed, and asks for them no
// more: one that is closed makes the whole call fail.
func (b *selectBackend) findClosed() bool {
	known := len(b.closed)
	for i, set := range b.asked {
		left := append(set[:0:0], 0)
		for _, s := range set.sockets() {
			if _, err := socketKind(int(s)); err == nil {
				left.add(int(s))
				continue
			}
			b.closed = append(b.closed, int(s)) // twice does no harm
		}
		b.asked[i] = left
	}
	return len(b.closed) > known
}

func (b *selectBackend) collect(c *core, dst []Ready) []Ready {
	for _, fd := range b.closed {
		if e := c.table.find(fd); e != nil && c.older(e) {
			dst = c.report(dst, e, EventError|EventInvalid)
		}
	}
	b.closed = b.closed[:0]

	// One entry a socket, though it may be in three lists.
	b.hits = b.hits[:0]
	for len(b.place) < len(b.wants) {
		b.place = append(b.place, 0)
	}
	clear(b.place)
	for i, set := range b.got {
		for _, s := range set.sockets() {
			fd := int(s)
			e := c.table.find(fd)
			if e == nil || e.slot < 0 || !c.older(e) {
				continue
			}
			events := [3]Event{EventRead, EventWrite, 0}[i]
			if i == 2 {
				events = b.exception(c, fd, e)
			}
			if b.place[e.slot] == 0 {
				b.hits = append(b.hits, hit{fd: fd})
				b.place[e.slot] = len(b.hits)
			}
			b.hits[b.place[e.slot]-1].events |= events
		}
	}
	b.turn++
	for i := range b.hits {
		h := b.hits[(i+b.turn)%len(b.hits)]
		dst = c.report(dst, c.table.find(h.fd), h.events)
	}
	return dst
}

// exception tells what the exceptional condition of a socket is: urgent data if
// it is connected, and otherwise a connect that failed.
func (b *selectBackend) exception(c *core, fd int, e *entry) Event {
	if _, err := windows.Getpeername(windows.Handle(fd)); err != nil {
		return EventRead | EventWrite | EventError
	}
	if e.events&EventPriority == 0 { // or it would end every wait
		b.wants[e.slot].calm = true
		c.touch()
	}
	return EventPriority
}

// No registration outlives a call, so there are no ghosts.
func (b *selectBackend) repair(*core) error { return nil }
