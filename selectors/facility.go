package selectors

import (
	"errors"
	"syscall"
	"time"
)

// A Facility is a kernel facility that waits until descriptors are ready: the
// part of a Selector that differs from one kernel interface to the next.
// [NewSelector] makes a complete Selector of one. A Facility makes the system
// calls and translates between [Event] and the kernel's masks. The selector does
// the rest: keys, file objects, errors, one-shot keys, stale events, hints that
// the kernel repeats, files that are always ready, wakes, contexts and Close.
//
// # Tokens
//
// Add and Modify get a token, and Wait hands it back with each event. It is as
// large as epoll's data, kqueue's udata and io_uring's user_data. A facility that
// cannot give it to the kernel keeps it beside the descriptor. From the token the
// selector recognises stale events: those of a registration that has ended or was
// modified since. The facility need not filter them. A token is never 0, so that
// the facility can use 0 for its own descriptors.
//
// # Concurrency
//
// Add, Modify and Remove are called one at a time, from any goroutine, also while
// another one is in Wait. Only one goroutine at a time is in Wait. Wake may be
// called at any time before Close. Close is called once, after all other calls
// have returned. No method may call the selector, and none may panic.
type Facility interface {
	// Add starts watching a descriptor that is open and that the selector does
	// not watch. events has one or more of EventRead, EventWrite, EventPriority
	// and EventReadClosed, and the modes EdgeTriggered and Exclusive; only what
	// the facility's features include. It never has OneShot.
	//
	// The error is ErrAlwaysReady if the kernel does not watch such files because
	// they are always ready; the selector then reports them by itself. It is
	// ErrRegistered if the kernel has a registration of this descriptor, of a
	// file that was closed without Remove; the selector then calls Modify. After
	// any error the descriptor is not watched. Descriptors of the facility's own
	// are refused, with the system's error for a descriptor that is not open.
	Add(fd int, events Event, token uint64) error

	// Modify replaces the interest and the token of a descriptor that is watched,
	// and arms it again if it is edge-triggered. The errors are those of Add, and
	// ErrNotRegistered if the kernel has no registration of this descriptor, as
	// after it was closed; the selector then calls Add. After any other error the
	// old interest and the old token remain.
	Modify(fd int, events Event, token uint64) error

	// Remove stops watching. The descriptor may be closed by now, belong to
	// another file, or not be watched. A kernel that goes on reporting it, as
	// epoll does if a duplicate keeps the file open, would make Select busy:
	// then the facility has to get rid of the registration in another way.
	Remove(fd int)

	// Wait waits until a watched descriptor is ready, and calls report for each
	// that is. It reports states, not changes, unless a descriptor is
	// edge-triggered: one that stays ready is reported by every Wait. A
	// descriptor may be reported in several calls, which the selector joins.
	//
	// ready has events and hints. It may have events that are not in the
	// interest. The selector adds EventRead to EventHangup, EventReadClosed and
	// EventError, EventWrite to EventError, and EventError to EventInvalid.
	//
	// A timeout of 0 asks without waiting. A positive one, at most a day, is
	// rounded up to what the kernel can express. A negative one means no limit.
	// Wait may return early with nothing; EINTR is no error. If it returns
	// another error Select returns it, after it has returned what was reported.
	Wait(timeout time.Duration, report func(token uint64, ready Event)) error

	// Wake ends the current Wait, or the next one if there is none. Several
	// wakes may count as one. They are not reported.
	Wake() error

	// Close frees what the facility holds, registrations included.
	Close() error
}

// ErrAlwaysReady is for [Facility.Add] and [Facility.Modify]: the file is always
// ready and is not watched. No Selector returns it.
var ErrAlwaysReady = errAlwaysReady

// FacilityTraits describe a [Facility].
type FacilityTraits struct {
	// Name is the backend's name in errors.
	Name string

	// Features are what the facility can do. FeatureOneShot is always added.
	Features Feature

	// Live: Add, Modify and Remove take effect in a Wait that is under way.
	// Without it the selector wakes the Wait after each of them.
	Live bool
}

// NewSelector returns a selector on a kernel facility, which it closes in Close.
// It is for facilities that this package does not have. Package selectortest
// checks the result; examples/customselector is a complete one.
//
// Register and Modify ask fstat(2) which file a descriptor is, as poll and select
// do. A key for which only hints are reported is made edge-triggered if the
// facility has FeatureEdgeTriggered; otherwise it is removed, and added again ten
// times a second.
func NewSelector(f Facility, t FacilityTraits) Selector {
	s := &facilitySelector{}
	s.facility.open(f, t, &s.core)
	s.core.init(s, t.Name, &s.facility, traits{
		features:    t.Features | FeatureOneShot,
		updatesLive: t.Live,
		muteRepeats: s.facility.edge,
	})
	return s
}

type facilitySelector struct {
	core
	facility facility
}

// facility is the backend. The slot of an entry is 0 if its descriptor is watched.
type facility struct {
	Facility
	core *core
	edge bool // the facility has FeatureEdgeTriggered

	report    func(token uint64, ready Event)
	found     []facilityEvent // reported by the last Wait
	err       error           // for the next poll or sleep
	unwatched []int           // descriptors that unmute could not add: see repair
}

type facilityEvent struct {
	token  uint64
	events Event
}

func (b *facility) open(f Facility, t FacilityTraits, c *core) {
	b.Facility, b.core, b.edge = f, c, t.Features&FeatureEdgeTriggered != 0
	b.report = func(token uint64, ready Event) { b.found = append(b.found, facilityEvent{token, ready}) }
}

func (b *facility) owns(int) bool { return false } // Add refuses them
func (b *facility) wake() error   { return b.Wake() }
func (b *facility) close() error  { return b.Close() }
func (b *facility) prepare(*core) {}

func facilityToken(fd int, generation uint32) uint64 {
	return uint64(generation)<<32 | uint64(uint32(fd))
}

func (b *facility) add(fd int, e *entry, replaces bool) error {
	if err := identify(fd, e); err != nil {
		return err
	}
	if replaces { // the number has another file than that of the old entry
		b.remove(fd, b.core.table.find(fd))
		e.slot = -1
	}
	return b.watch(fd, e, e.events, e.generation)
}

func (b *facility) modify(fd int, e *entry, events Event, generation uint32) error {
	known := e.fileID
	switch err := identify(fd, e); err {
	case nil: // another file
		b.remove(fd, e)
	case errExists:
	default:
		return err
	}
	err := b.watch(fd, e, events, generation)
	if err != nil && err != errAlwaysReady {
		e.fileID = known
	}
	return err
}

// watch adds a descriptor, or modifies it if it is watched. If the kernel does not
// agree about that, it makes the other call.
func (b *facility) watch(fd int, e *entry, events Event, generation uint32) error {
	token := facilityToken(fd, generation)
	err := ErrNotRegistered
	if e.slot >= 0 {
		err = b.Modify(fd, events&^OneShot, token)
	}
	if errors.Is(err, ErrNotRegistered) {
		e.slot = -1
		if err = b.Add(fd, events&^OneShot, token); errors.Is(err, ErrRegistered) {
			err = b.Modify(fd, events&^OneShot, token)
		}
	}
	switch {
	case err == nil:
		e.slot = 0
	case errors.Is(err, ErrAlwaysReady):
		b.remove(fd, e)
		err = errAlwaysReady
	}
	return err
}

func (b *facility) remove(fd int, e *entry) {
	if e.state&alwaysReady == 0 && e.slot >= 0 {
		b.Remove(fd)
		e.slot = -1
	}
}

func (b *facility) mute(fd int, e *entry) bool {
	if b.edge && b.Modify(fd, e.events&^OneShot|EdgeTriggered, facilityToken(fd, e.generation)) == nil {
		return true
	}
	b.remove(fd, e)
	return false
}

// unmute adds a descriptor again. If that fails the core calls repair later.
func (b *facility) unmute(fd int, e *entry) {
	if err := b.watch(fd, e, e.events, e.generation); err != nil && !errors.Is(err, errBadFD) {
		b.unwatched = append(b.unwatched, fd)
		b.core.requestRepair()
	}
}

func (b *facility) repair(c *core) (err error) {
	var failed []int
	for _, fd := range b.unwatched {
		e := c.table.find(fd)
		if e == nil || e.slot >= 0 || e.state&(alwaysReady|disabled|muted) != 0 {
			continue
		}
		if watchErr := b.watch(fd, e, e.events, e.generation); watchErr != nil && !errors.Is(watchErr, errBadFD) {
			failed, err = append(failed, fd), watchErr
		}
	}
	b.unwatched = failed
	return err
}

func (b *facility) poll() (int, error) { return b.sleep(0) }

// sleep returns an error only if nothing was reported, so that no event is lost.
func (b *facility) sleep(timeout time.Duration) (int, error) {
	b.found = b.found[:0]
	err := b.err
	if b.err = nil; err == nil {
		err = b.Wait(timeout, b.report)
	}
	if errors.Is(err, syscall.EINTR) { // routine: the Go runtime preempts goroutines with signals
		err = nil
	}
	if len(b.found) > 0 {
		b.err, err = err, nil
	}
	return len(b.found), err
}

// collect joins the events of each entry: its slot is its index in the joined
// list, plus 1.
func (b *facility) collect(c *core, dst []Ready) []Ready {
	joined := b.found[:0]
	for _, ev := range b.found {
		e := c.table.find(int(int32(ev.token)))
		if e == nil || facilityToken(e.key.FD, e.generation) != ev.token || e.slot < 0 || e.state&alwaysReady != 0 {
			continue // stale
		}
		if e.slot == 0 {
			joined = append(joined, facilityEvent{token: ev.token})
			e.slot = int32(len(joined))
		}
		joined[e.slot-1].events |= ev.events
	}
	for _, ev := range joined {
		e := c.table.find(int(int32(ev.token)))
		e.slot = 0
		dst = c.report(dst, e, facilityEvents(ev.events))
	}
	return dst
}

// facilityEvents adds what follows from a hint; see fromPoll.
func facilityEvents(events Event) Event {
	switch {
	case events&EventInvalid != 0:
		return EventError | EventInvalid
	case events&EventError != 0:
		events |= EventRead | EventWrite
	case events&(EventHangup|EventReadClosed) != 0:
		events |= EventRead
	}
	return events
}
