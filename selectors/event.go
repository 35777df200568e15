package selectors

import (
	"fmt"
	"strings"

	"goselectors/selectors/internal/sys"
)

// An Event is a set of readiness bits. The low half holds what a file can be
// ready for, the high half modes of a registration.
//
// An interest (the events argument of [Selector.Register] and
// [Selector.Modify]) needs at least one of EventRead, EventWrite,
// EventPriority and EventReadClosed. It may add the modes EdgeTriggered, OneShot
// and Exclusive. Other bits are [ErrInvalidEvents].
//
// A report ([Ready.Events]) holds the bits of the interest that are ready, and
// the hints EventReadClosed, EventHangup, EventError and EventInvalid where
// they are known. It never holds a mode and is never empty.
type Event uint32

// Interests. They are also reported. EventRead and EventWrite have the values of
// Python's EVENT_READ and EVENT_WRITE.
const (
	// EventRead: a read would not block. There is data, a connection to
	// accept, the end of the file, or an error to read.
	EventRead Event = 1 << iota

	// EventWrite: a write would not block. There is room, a connect has
	// finished, or there is an error to read.
	EventWrite

	// EventPriority: urgent data or another exceptional condition (POLLPRI,
	// select's exceptfds), such as a TCP urgent byte, a packet-mode change of a
	// pty master or a GPIO edge. It needs [FeaturePriority].
	EventPriority

	// EventReadClosed: the peer has shut down its writing half (POLLRDHUP). Data
	// that it sent before may still be unread. As an interest it needs
	// [FeatureReadClosed]. If the interest has EventRead alone, it is reported
	// as a hint where it is known.
	EventReadClosed
)

// Hints. They are only reported, never part of an interest. If a key has nothing
// else to report, they are reported once, and again when they come back; the
// package documentation has the rules.
const (
	// EventHangup: both directions are closed (POLLHUP). If it is reported it is
	// true, but not every backend can report it.
	EventHangup Event = 1 << (iota + 4)

	// EventError: an error is pending on the file (POLLERR), or a socket has
	// something in its error queue. If it is reported it is true, but not every
	// backend can report it. An error that lasts may be reported more than once,
	// also if it is not new.
	EventError

	// EventInvalid: the descriptor was closed while it was registered
	// (POLLNVAL). It is reported once, together with EventError. After that the
	// key reports nothing until it is modified, replaced or unregistered.
	EventInvalid
)

// Modes. They are combined with an interest, as in EPOLLIN|EPOLLET.
const (
	// EdgeTriggered reports changes instead of states. After a report the key
	// is silent until something new happens, even if data is left: read until
	// [ErrWouldBlock]. Modify arms the key again, so that what is ready is
	// reported again. It needs [FeatureEdgeTriggered].
	EdgeTriggered Event = 1 << (16 + iota)

	// OneShot disables the key after one report, until Modify arms it again.
	// Every backend has it.
	OneShot

	// Exclusive wakes at least one of the selectors that watch the same file
	// exclusively, instead of all (EPOLLEXCLUSIVE, Linux 4.5; epoll_ctl(2)
	// promises one or more). It can be combined with
	// EventRead, EventWrite and EdgeTriggered only. It needs
	// [FeatureExclusive]. A selector with such a key blocks a thread while it
	// waits: the kernel does not count one that is parked as a waiter.
	Exclusive
)

const (
	interestBits = EventRead | EventWrite | EventPriority | EventReadClosed
	hintBits     = EventReadClosed | EventHangup | EventError | EventInvalid
	modeBits     = EdgeTriggered | OneShot | Exclusive
)

var eventNames = [...]struct {
	bit  Event
	name string
}{
	{EventRead, "Read"},
	{EventWrite, "Write"},
	{EventPriority, "Priority"},
	{EventReadClosed, "ReadClosed"},
	{EventHangup, "Hangup"},
	{EventError, "Error"},
	{EventInvalid, "Invalid"},
	{EdgeTriggered, "EdgeTriggered"},
	{OneShot, "OneShot"},
	{Exclusive, "Exclusive"},
}

// String returns the names of the bits, such as "Read|Hangup". Bits without a
// name follow in hexadecimal. The empty set is "0".
func (e Event) String() string {
	if e == 0 {
		return "0"
	}
	var names []string
	for _, n := range eventNames {
		if e&n.bit != 0 {
			names = append(names, n.name)
			e &^= n.bit
		}
	}
	if e != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(e)))
	}
	return strings.Join(names, "|")
}

// checkInterest returns an error if events is not a valid interest for a backend
// with the given features.
func checkInterest(events Event, features Feature) error {
	if events != 0 && events&^(EventRead|EventWrite|OneShot) == 0 && events != OneShot {
		return nil
	}
	switch {
	case events&^(interestBits|modeBits) != 0:
		return fmt.Errorf("%w: %v cannot be part of an interest", ErrInvalidEvents, events&^(interestBits|modeBits))
	case events&interestBits == 0:
		return fmt.Errorf("%w: %v has nothing to wait for", ErrInvalidEvents, events)
	case events&Exclusive != 0 && events&(EventPriority|EventReadClosed|OneShot) != 0:
		// epoll_ctl(2): EPOLLEXCLUSIVE with anything but IN, OUT, ET and the
		// bits that are always set is EINVAL.
		return fmt.Errorf("%w: Exclusive cannot be combined with %v", ErrInvalidEvents, events&(EventPriority|EventReadClosed|OneShot))
	}
	for _, need := range [...]struct {
		bit     Event
		feature Feature
	}{
		{EdgeTriggered, FeatureEdgeTriggered},
		{Exclusive, FeatureExclusive},
		{EventPriority, FeaturePriority},
		{EventReadClosed, FeatureReadClosed},
	} {
		if events&need.bit != 0 && features&need.feature == 0 {
			return sys.Unsupported(need.bit.String())
		}
	}
	return nil
}
