package eventloop

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// A Timer calls a function on the loop at its time. Its methods are for the
// loop's goroutine.
type Timer struct {
	loop  *Loop
	fn    func()
	when  time.Duration
	every time.Duration
	site  uintptr
	slot  int32 // in the loop's timers; none while it is not to be called
}

// CallLater has fn called once, d from now; at zero or less, in the next turn.
// It is never called early, by the clock as it is now, not as it was when the
// turn began. Timers of one deadline are called in the order in which they were
// scheduled, and any number of them is fine.
func (l *Loop) CallLater(d time.Duration, fn func()) (*Timer, error) {
	return l.schedule("call later", later(l.clock(), d), 0, fn)
}

// CallAt has fn called once when the loop's time is when: see Now.
func (l *Loop) CallAt(when time.Duration, fn func()) (*Timer, error) {
	return l.schedule("call at", when, 0, fn)
}

// Every has fn called each interval, first an interval from now, until the
// timer is stopped. The deadlines keep to their grid however long fn takes;
// those that were missed meanwhile are skipped, not made up for. An interval
// must be positive, or the error is [ErrInvalidInterval].
func (l *Loop) Every(interval time.Duration, fn func()) (*Timer, error) {
	if interval <= 0 {
		return nil, fail("every", ErrInvalidInterval)
	}
	return l.schedule("every", later(l.clock(), interval), interval, fn)
}

func (l *Loop) schedule(op string, when, every time.Duration, fn func()) (*Timer, error) {
	if err := l.check(op, fn == nil); err != nil {
		return nil, err
	}
	t := &Timer{loop: l, fn: fn, when: when, every: every, site: l.site(), slot: none}
	l.timers.start(t)
	return t, nil
}

// later is at+d without overflow.
func later(at, d time.Duration) time.Duration {
	switch sum := at + d; {
	case d > 0 && sum < at:
		return math.MaxInt64
	case d < 0 && sum > at:
		return math.MinInt64
	default:
		return sum
	}
}

// Stop ends the timer and reports whether it was still to be called. It is
// gone then, and holds nothing. Stopping one that was never started, or was
// stopped, does nothing.
func (t *Timer) Stop() bool {
	if !t.loop.allows("stop a timer") {
		return false
	}
	was := t.Active()
	t.loop.timers.stop(t)
	return was
}

// Reset makes the timer be called d from now, as CallLater does, whether it was
// called or stopped before or not, and reports whether it was still to be
// called. One of Every goes on from there. On a loop that is closed it does
// nothing.
func (t *Timer) Reset(d time.Duration) bool {
	if !t.loop.allows("reset a timer") {
		return false
	}
	was := t.Active()
	t.when = later(t.loop.clock(), d)
	t.loop.timers.start(t)
	return was
}

// Active reports whether the timer is still to be called.
func (t *Timer) Active() bool { return t.slot != none }

// When is the loop's time at which the timer is called next, or was last.
func (t *Timer) When() time.Duration { return t.when }

// runTimer calls a timer that is due, unless it has been stopped or started
// anew since it became due.
func (l *Loop) runTimer(slot int32) {
	t := l.timers.take(slot)
	if t == nil {
		return
	}
	behind := uint64(l.Now() - t.when) // it may be more than a Duration can hold
	l.stats.fired(time.Duration(min(behind, math.MaxInt64)))
	if t.every > 0 {
		// The next one in the future, in whole intervals from this one.
		t.when = later(l.Now()-time.Duration(behind%uint64(t.every)), t.every)
		l.timers.start(t)
	}
	l.runTask(task{t.fn, "timer", t.site})
}

// timers are those that run: a 4-ary heap by deadline and, among equal ones, by
// order of scheduling. A node holds what it is compared by and no pointer, and
// four of them fill a cache line; where a timer is in the heap stands in a table
// of its own. So sifting touches neither the timers nor anything that the
// garbage collector has to look at.
type timers struct {
	heap  []node
	pos   []int32  // by slot: the place in the heap, or one of the states below
	owner []*Timer // by slot
	free  []int32  // slots
	order uint32   // of the last start

	holes []int32 // used by expire alone
	top   []node
}

// many is what is worth giving back when it is no longer needed.
const many = 1 << 16

// A node is a number of 128 bits: the deadline, the order, the slot. So two are
// compared without a branch that the processor would guess wrong half the time.
type node struct{ hi, lo uint64 }

func newNode(when time.Duration, order uint32, slot int32) node {
	return node{uint64(when) ^ 1<<63, uint64(order)<<32 | uint64(slot)} // negative ones first
}

func (n node) when() time.Duration { return time.Duration(n.hi ^ 1<<63) }
func (n node) order() uint32       { return uint32(n.lo >> 32) }
func (n node) slot() int32         { return int32(n.lo) }

// before is 1 if n comes before m, else 0.
func (n node) before(m node) uint64 {
	_, borrow := bits.Sub64(n.lo, m.lo, 0)
	_, borrow = bits.Sub64(n.hi, m.hi, borrow)
	return borrow
}

const (
	none    int32 = -1
	pending int32 = -2 // due: called in this turn unless it is stopped
	dropped int32 = -3 // was due, and has been stopped or started anew since
)

// first is the next deadline.
func (h *timers) first() (when time.Duration, ok bool) {
	if len(h.heap) == 0 {
		return 0, false
	}
	return h.heap[0].when(), true
}

// start schedules a timer for t.when, whether it is scheduled already or not.
func (h *timers) start(t *Timer) {
	if h.order == math.MaxUint32 {
		h.renumber()
	}
	h.order++
	if t.slot != none && h.pos[t.slot] >= 0 {
		h.place(int(h.pos[t.slot]), newNode(t.when, h.order, t.slot))
		return
	}
	h.stop(t) // if it is due
	if last := len(h.free) - 1; last >= 0 {
		t.slot = h.free[last]
		h.free = h.free[:last]
		h.owner[t.slot] = t
	} else {
		t.slot = int32(len(h.owner))
		h.owner = double(h.owner, t)
		h.pos = double(h.pos, 0)
	}
	h.heap = double(h.heap, node{})
	h.up(len(h.heap)-1, newNode(t.when, h.order, t.slot))
}

// stop takes a timer out.
func (h *timers) stop(t *Timer) {
	if t.slot == none {
		return
	}
	if i := h.pos[t.slot]; i >= 0 {
		h.remove(int(i))
		h.release(t.slot)
	} else { // it is in the list of those that are due
		h.pos[t.slot] = dropped
		h.owner[t.slot] = nil
	}
	t.slot = none
}

func (h *timers) release(slot int32) {
	h.owner[slot] = nil
	h.free = append(h.free, slot)
	if len(h.owner) > many && len(h.heap) < len(h.owner)/8 && len(h.heap)+len(h.free) == len(h.owner) {
		h.shrink() // those were a great many
	}
}

// shrink gives back what is not used. No timer may be due: the slots are
// numbered anew.
func (h *timers) shrink() {
	few := timers{
		heap:  slices.Clone(h.heap),
		pos:   make([]int32, len(h.heap)),
		owner: make([]*Timer, len(h.heap)),
		order: h.order,
	}
	for i := range few.heap {
		slot := int32(i)
		n := &few.heap[i]
		t := h.owner[n.slot()]
		t.slot = slot
		*n, few.pos[i], few.owner[i] = newNode(n.when(), n.order(), slot), slot, t
	}
	*h = few
}

// expire moves the timers whose time has come to due, in order.
func (h *timers) expire(now time.Duration, due []int32) []int32 {
	const few = 256
	for range few {
		if len(h.heap) == 0 || h.heap[0].when() > now {
			return due
		}
		slot := h.heap[0].slot()
		h.remove(0)
		h.pos[slot] = pending
		due = append(due, slot)
	}
	return h.expireMany(now, due)
}

// expireMany does what expire does. A pop from a large heap waits for memory on
// every level, so those that are due are not popped but gathered: they are the
// top of the heap, a tree that is sorted on its own, and the holes that it
// leaves are filled from the last one up, as a heap is made.
func (h *timers) expireMany(now time.Duration, due []int32) []int32 {
	if len(h.heap) == 0 || h.heap[0].when() > now {
		return due
	}
	h.holes = append(h.holes[:0], 0)
	for next := 0; next < len(h.holes); next++ {
		child := 4*int(h.holes[next]) + 1
		for c := child; c < min(child+4, len(h.heap)); c++ {
			if h.heap[c].when() <= now {
				h.holes = append(h.holes, int32(c))
			}
		}
	}
	h.top = slices.Grow(h.top[:0], 2*len(h.holes))
	for _, i := range h.holes {
		h.top = append(h.top, h.heap[i])
	}
	for _, n := range sorted(h.top) {
		h.pos[n.slot()] = pending
		due = append(due, n.slot())
	}
	for _, i := range slices.Backward(h.holes) {
		last := len(h.heap) - 1
		n := h.heap[last]
		h.heap = h.heap[:last]
		if int(i) < last { // then n is not due: there is no hole behind this one
			h.down(int(i), n)
		}
	}
	if len(h.holes) > many {
		h.holes, h.top = nil, nil
	}
	return due
}

// sorted puts nodes in order, and may use as much room behind them as they take:
// first by deadline, eleven bits at a time, then those of one deadline by their
// order.
func sorted(nodes []node) []node {
	first, last := nodes[0].hi, nodes[0].hi
	for _, n := range nodes {
		first, last = min(first, n.hi), max(last, n.hi)
	}
	to := nodes[len(nodes) : 2*len(nodes)]
	const digit = 11
	for shift := 0; (last-first)>>shift != 0; shift += digit {
		var place [1 << digit]int32
		for _, n := range nodes {
			place[(n.hi-first)>>shift%(1<<digit)]++
		}
		at := int32(0)
		for i, n := range place {
			place[i] = at
			at += n
		}
		for _, n := range nodes {
			i := &place[(n.hi-first)>>shift%(1<<digit)]
			to[*i] = n
			*i++
		}
		nodes, to = to, nodes
	}
	for i := 0; i < len(nodes); {
		same := i + 1
		for same < len(nodes) && nodes[same].hi == nodes[i].hi {
			same++
		}
		slices.SortFunc(nodes[i:same], func(n, m node) int { return cmp.Compare(n.lo, m.lo) })
		i = same
	}
	return nodes
}

// take is the timer of a slot that was due, if it still is.
func (h *timers) take(slot int32) *Timer {
	t := h.owner[slot]
	if t != nil {
		t.slot = none
	}
	h.release(slot)
	return t
}

// clear drops all timers.
func (h *timers) clear() {
	for _, t := range h.owner {
		if t != nil {
			t.slot = none
		}
	}
	*h = timers{}
}

func (h *timers) remove(i int) {
	last := len(h.heap) - 1
	n := h.heap[last]
	h.heap = h.heap[:last]
	if i < last {
		h.place(i, n)
	}
}

// place puts a node where another was.
func (h *timers) place(i int, n node) {
	if i > 0 && n.before(h.heap[(i-1)/4]) != 0 {
		h.up(i, n)
	} else {
		h.down(i, n)
	}
}

// up moves n from a hole at i towards the root.
func (h *timers) up(i int, n node) {
	for i > 0 {
		parent := (i - 1) / 4
		p := h.heap[parent]
		if n.before(p) == 0 {
			break
		}
		h.heap[i], h.pos[p.slot()] = p, int32(i)
		i = parent
	}
	h.heap[i], h.pos[n.slot()] = n, int32(i)
}

// down moves n from a hole at i towards the leaves.
func (h *timers) down(i int, n node) {
	for {
		child := 4*i + 1
		if child >= len(h.heap) {
			break
		}
		children := h.heap[child:min(child+4, len(h.heap))]
		m, least := children[0], uint64(0)
		for c := 1; c < len(children); c++ {
			o := children[c]
			smaller := -o.before(m) // all bits or none
			m.hi ^= (m.hi ^ o.hi) & smaller
			m.lo ^= (m.lo ^ o.lo) & smaller
			least ^= (least ^ uint64(c)) & smaller
		}
		if m.before(n) == 0 {
			break
		}
		h.heap[i], h.pos[m.slot()] = m, int32(i)
		i = child + int(least)
	}
	h.heap[i], h.pos[n.slot()] = n, int32(i)
}

// renumber makes room for further numbers: after four thousand million starts
// those that still run are numbered from 1 again, in the same order.
func (h *timers) renumber() {
	byOrder := make([]*node, len(h.heap))
	for i := range h.heap {
		byOrder[i] = &h.heap[i]
	}
	slices.SortFunc(byOrder, func(a, b *node) int { return cmp.Compare(a.order(), b.order()) })
	for i, n := range byOrder {
		*n = newNode(n.when(), uint32(i+1), n.slot())
	}
	h.order = uint32(len(byOrder))
}

// double is append, but it doubles long slices too: append copies those of a
// million five times over as they grow.
func double[T any](s []T, v T) []T {
	if len(s) == cap(s) {
		s = slices.Grow(s, max(len(s), 16))
	}
	return append(s, v)
}
