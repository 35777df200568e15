package recipes

import (
	"time"

	"goselectors/eventloop"
)

const (
	// heartbeatSlice is how long a Heartbeat holds the loop in one turn, plus one beat.
	heartbeatSlice = time.Millisecond
	// heartbeatTick is the shortest time between two timers of a Heartbeat.
	heartbeatTick = 10 * time.Millisecond
)

// A Heartbeat calls a function for each of many members once an interval, for example to
// send a message on each connection. One call for all of them would hold the loop for as
// long as thousands of writes take. A Heartbeat spreads the calls over the interval, and
// a turn that is behind ends after a millisecond and goes on in the next one.
//
// Between two beats of a member pass less than two intervals, as long as the loop can
// keep up. It works on every platform. All methods are for the loop's goroutine; they may
// be called by the beat, too.
type Heartbeat[T comparable] struct {
	loop     *eventloop.Loop
	interval time.Duration
	beat     func(T)

	members []T
	index   map[T]int // in members
	done    int       // members[:done] have had their beat in this round
	start   time.Duration
	timer   *eventloop.Timer // nil while there are no members
}

// NewHeartbeat returns a Heartbeat without members.
func NewHeartbeat[T comparable](loop *eventloop.Loop, interval time.Duration, beat func(T)) *Heartbeat[T] {
	return &Heartbeat[T]{loop: loop, interval: max(interval, heartbeatTick), beat: beat, index: make(map[T]int)}
}

// Add adds a member: in ConnectionMade. A member that is there already is not added
// again. The error is that of the loop's CallLater.
func (h *Heartbeat[T]) Add(member T) (err error) {
	if _, ok := h.index[member]; ok {
		return nil
	}
	if h.timer == nil {
		h.start, h.done = h.loop.ReadClock(), 0
		if h.timer, err = h.loop.CallLater(h.interval, h.tick); err != nil {
			return err
		}
	}
	h.index[member] = len(h.members)
	h.members = append(h.members, member)
	if pause := h.pause(); h.timer.When()-h.loop.ReadClock() > pause {
		h.timer.Reset(pause) // only ever earlier: frequent calls of Add must not postpone it
	}
	return nil
}

// Remove removes a member: in ConnectionLost. The last beat was the last.
func (h *Heartbeat[T]) Remove(member T) {
	hole, ok := h.index[member]
	if !ok {
		return
	}
	delete(h.index, member)
	if hole < h.done { // fill it with one that is done, so that none is left out
		h.done--
		h.move(h.done, hole)
		hole = h.done
	}
	last := len(h.members) - 1
	h.move(last, hole)
	clear(h.members[last:])
	if h.members = h.members[:last]; last == 0 {
		h.Stop()
	}
}

func (h *Heartbeat[T]) move(from, to int) {
	if from != to {
		h.members[to] = h.members[from]
		h.index[h.members[to]] = to
	}
}

// Stop removes all members.
func (h *Heartbeat[T]) Stop() {
	h.timer.Stop()
	h.timer, h.members = nil, nil
	clear(h.index)
}

// pause returns the time until the next beat is due.
func (h *Heartbeat[T]) pause() time.Duration {
	return max(heartbeatTick, h.interval/time.Duration(len(h.members)))
}

// tick calls the beats that are due: of the members the part that has passed of the
// interval.
func (h *Heartbeat[T]) tick() {
	began := h.loop.ReadClock()
	passed := float64(began-h.start) / float64(h.interval)
	for h.done < len(h.members) && float64(h.done) < passed*float64(len(h.members)) {
		if h.loop.ReadClock()-began >= heartbeatSlice {
			h.timer.Reset(0) // other callbacks of the loop run before it
			return
		}
		h.done++
		h.beat(h.members[h.done-1])
	}
	if passed >= 1 { // the next round; those that were missed are not made up for
		h.start, h.done = max(h.start+h.interval, began-h.interval), 0
	}
	if h.timer != nil { // not all members were removed
		h.timer.Reset(h.pause())
	}
}
