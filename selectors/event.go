package selectors

import (
	"fmt"
	"strings"
)

// Event is a set of readiness bits. The low half holds what a file can be
// ready for, the high half how a registration is delivered.
//
// An interest (the events argument of [Selector.Register] and
// [Selector.Modify]) needs at least one of EventRead, EventWrite,
// EventPriority and EventReadClosed, may add the modes EdgeTriggered, OneShot
// and Exclusive, and holds nothing else.
//
// A report ([Ready.Events]) holds the bits of the interest that are ready, and
// the hints EventReadClosed, EventHangup, EventError and EventInvalid where
// the kernel told them. It never holds a mode and is never empty.
type Event uint32

// Interests, which are also reported. EventRead and EventWrite have the values
// of Python's EVENT_READ and EVENT_WRITE.
const (
	// EventRead: a read would not block. There is data, a connection to
	// accept, end of file, or an error to collect.
	EventRead Event = 1 << iota

	// EventWrite: a write would not block. There is room, a connect has
	// finished, or there is an error to collect.
	EventWrite

	// EventPriority: urgent data or another exceptional condition (POLLPRI,
	// select's exceptfds): a TCP urgent byte, a pty master's packet-mode
	// change, a GPIO edge.
	EventPriority

	// EventReadClosed: the peer shut down its writing half (POLLRDHUP); what
	// it sent before may still wait to be read. As an interest it needs
	// [FeatureReadClosed]. With EventRead alone in the interest it is
	// reported as a hint where the kernel says so.
	EventReadClosed
)

// Hints: reported, never asked for.
const (
	// EventHangup: both directions are closed (POLLHUP). A hint: never a
	// false alarm, but not every kernel facility can tell it.
	EventHangup Event = 1 << (iota + 4)

	// EventError: an error is pending on the file (POLLERR). A hint.
	EventError

	// EventInvalid: the descriptor was closed while it was registered
	// (POLLNVAL). Reported once, with EventError; the key then stays silent
	// until it is modified, replaced or unregistered.
	EventInvalid
)

// Modes, or'ed into an interest as in EPOLLIN|EPOLLET.
const (
	// EdgeTriggered reports changes instead of states: after a report the key
	// is silent until something new happens, even if data is left. Read until
	// [ErrWouldBlock]. Needs [FeatureEdgeTriggered]. Modify of an
	// edge-triggered key arms it afresh, so that what is ready is reported
	// again.
	EdgeTriggered Event = 1 << (16 + iota)

	// OneShot disables the key after one report until Modify arms it again.
	// It works on every backend.
	OneShot

	// Exclusive wakes one of the selectors that watch the same file instead
	// of all of them (EPOLLEXCLUSIVE, Linux 4.5). It goes with EventRead,
	// EventWrite and EdgeTriggered only. Needs [FeatureExclusive].
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

// String names the bits, "Read|Hangup" for example; bits without a name follow
// in hexadecimal, and no bits at all are "0".
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

// checkInterest tells whether a registration on a backend with features have
// can carry events.
func checkInterest(events Event, have Feature) error {
	if events != 0 && events&^(EventRead|EventWrite|OneShot) == 0 && events != OneShot {
		return nil
	}
	switch {
	case events&^(interestBits|modeBits) != 0:
		return fmt.Errorf("%w: %v cannot be asked for", ErrInvalidEvents, events&^(interestBits|modeBits))
	case events&interestBits == 0:
		return fmt.Errorf("%w: %v names nothing to wait for", ErrInvalidEvents, events)
	case events&Exclusive != 0 && events&(EventPriority|EventReadClosed|OneShot) != 0:
		// epoll_ctl(2): EPOLLEXCLUSIVE goes with IN, OUT and ET (and the
		// bits that are always on); anything else is EINVAL.
		return fmt.Errorf("%w: Exclusive does not go with %v", ErrInvalidEvents, events&(EventPriority|EventReadClosed|OneShot))
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
		if events&need.bit != 0 && have&need.feature == 0 {
			return &unsupportedError{need.bit.String()}
		}
	}
	return nil
}
