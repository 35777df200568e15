package eventloop

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// A timerHeap holds the active timers in a 4-ary heap, ordered by deadline and
// then by order of scheduling. A node holds only its sort key and no pointer,
// and the four children of a node fill a cache line. The position of each timer
// is in a separate table. So sifting touches neither the timers nor memory that
// the garbage collector has to scan.
type timerHeap struct {
	heap      []heapNode
	pos       []int32  // by slot: index in heap, or posDue or posDropped
	owner     []*Timer // by slot
	freeSlots []int32
	lastSeq   uint32 // sequence number of the last start

	// Buffers of popManyDue.
	holes    []int32
	dueNodes []heapNode
}

// Buffers with more room than shrinkAbove elements are freed when they are no
// longer needed.
const shrinkAbove = 1 << 16

// A heapNode is a 128-bit number: the deadline, the sequence number and the
// slot. Two nodes are compared without a branch, which the processor would
// mispredict half the time.
type heapNode struct{ hi, lo uint64 }

func newHeapNode(deadline time.Duration, seq uint32, slot int32) heapNode {
	return heapNode{uint64(deadline) ^ 1<<63, uint64(seq)<<32 | uint64(slot)} // flip the sign bit: negative deadlines sort first
}

func (n heapNode) deadline() time.Duration { return time.Duration(n.hi ^ 1<<63) }
func (n heapNode) seq() uint32             { return uint32(n.lo >> 32) }
func (n heapNode) slot() int32             { return int32(n.lo) }

// less returns 1 if n sorts before m, and 0 otherwise.
func (n heapNode) less(m heapNode) uint64 {
	_, borrow := bits.Sub64(n.lo, m.lo, 0)
	_, borrow = bits.Sub64(n.hi, m.hi, borrow)
	return borrow
}

const (
	noSlot     int32 = -1 // Timer.slot: the timer is inactive
	posDue     int32 = -2 // pos: due, called in this turn unless it is stopped
	posDropped int32 = -3 // pos: was due, and was stopped or started again since
)

// nextDeadline returns the earliest deadline.
func (h *timerHeap) nextDeadline() (deadline time.Duration, ok bool) {
	if len(h.heap) == 0 {
		return 0, false
	}
	return h.heap[0].deadline(), true
}

// start schedules a timer for t.when, whether it is active already or not.
func (h *timerHeap) start(t *Timer) {
	if h.lastSeq == math.MaxUint32 {
		h.renumber()
	}
	h.lastSeq++
	if t.slot != noSlot && h.pos[t.slot] >= 0 {
		h.sift(int(h.pos[t.slot]), newHeapNode(t.when, h.lastSeq, t.slot))
		return
	}
	h.stop(t) // it may be due
	if last := len(h.freeSlots) - 1; last >= 0 {
		t.slot = h.freeSlots[last]
		h.freeSlots = h.freeSlots[:last]
		h.owner[t.slot] = t
	} else {
		t.slot = int32(len(h.owner))
		h.owner = growDoubling(h.owner, t)
		h.pos = growDoubling(h.pos, 0)
	}
	h.heap = growDoubling(h.heap, heapNode{})
	h.siftUp(len(h.heap)-1, newHeapNode(t.when, h.lastSeq, t.slot))
}

// stop removes a timer.
func (h *timerHeap) stop(t *Timer) {
	if t.slot == noSlot {
		return
	}
	if i := h.pos[t.slot]; i >= 0 {
		h.removeAt(int(i))
		h.freeSlot(t.slot)
	} else { // due: the slot is still in the list of due timers
		h.pos[t.slot] = posDropped
		h.owner[t.slot] = nil
	}
	t.slot = noSlot
}

func (h *timerHeap) freeSlot(slot int32) {
	h.owner[slot] = nil
	h.freeSlots = append(h.freeSlots, slot)
	if len(h.owner) > shrinkAbove && len(h.heap) < len(h.owner)/8 && len(h.heap)+len(h.freeSlots) == len(h.owner) {
		h.shrink()
	}
}

// shrink frees unused memory. It renumbers the slots, so no timer may be due.
func (h *timerHeap) shrink() {
	shrunk := timerHeap{
		heap:    slices.Clone(h.heap),
		pos:     make([]int32, len(h.heap)),
		owner:   make([]*Timer, len(h.heap)),
		lastSeq: h.lastSeq,
	}
	for i := range shrunk.heap {
		slot := int32(i)
		n := &shrunk.heap[i]
		t := h.owner[n.slot()]
		t.slot = slot
		*n, shrunk.pos[i], shrunk.owner[i] = newHeapNode(n.deadline(), n.seq(), slot), slot, t
	}
	*h = shrunk
}

// popDue removes the timers that are due at now and appends their slots to due,
// in order.
func (h *timerHeap) popDue(now time.Duration, due []int32) []int32 {
	const maxPops = 256 // beyond it popManyDue is faster
	for range maxPops {
		if len(h.heap) == 0 || h.heap[0].deadline() > now {
			return due
		}
		slot := h.heap[0].slot()
		h.removeAt(0)
		h.pos[slot] = posDue
		due = append(due, slot)
	}
	return h.popManyDue(now, due)
}

// popManyDue does the same as popDue. A pop from a large heap waits for memory
// on every level, so popManyDue does not pop one by one. The due nodes are a
// subtree at the top of the heap. They are copied out and sorted, and the holes
// they leave are filled from the last one up, as in building a heap.
func (h *timerHeap) popManyDue(now time.Duration, due []int32) []int32 {
	if len(h.heap) == 0 || h.heap[0].deadline() > now {
		return due
	}
	h.holes = append(h.holes[:0], 0)
	for next := 0; next < len(h.holes); next++ {
		child := 4*int(h.holes[next]) + 1
		for c := child; c < min(child+4, len(h.heap)); c++ {
			if h.heap[c].deadline() <= now {
				h.holes = append(h.holes, int32(c))
			}
		}
	}
	h.dueNodes = slices.Grow(h.dueNodes[:0], 2*len(h.holes))
	for _, i := range h.holes {
		h.dueNodes = append(h.dueNodes, h.heap[i])
	}
	for _, n := range sortNodes(h.dueNodes) {
		h.pos[n.slot()] = posDue
		due = append(due, n.slot())
	}
	for _, i := range slices.Backward(h.holes) {
		last := len(h.heap) - 1
		n := h.heap[last]
		h.heap = h.heap[:last]
		if int(i) < last { // n is not due: there is no hole after this one
			h.siftDown(int(i), n)
		}
	}
	if len(h.holes) > shrinkAbove {
		h.holes, h.dueNodes = nil, nil
	}
	return due
}

// sortNodes returns the nodes in order. It needs capacity for twice their
// number, and overwrites both halves. It is a radix sort by deadline with 11-bit
// digits, followed by a sort of the nodes with equal deadlines by sequence
// number.
func sortNodes(nodes []heapNode) []heapNode {
	first, last := nodes[0].hi, nodes[0].hi
	for _, n := range nodes {
		first, last = min(first, n.hi), max(last, n.hi)
	}
	to := nodes[len(nodes) : 2*len(nodes)]
	const digitBits = 11
	for shift := 0; (last-first)>>shift != 0; shift += digitBits {
		var offset [1 << digitBits]int32 // by digit: first its count, then its next index in to
		for _, n := range nodes {
			offset[(n.hi-first)>>shift%(1<<digitBits)]++
		}
		sum := int32(0)
		for digit, count := range offset {
			offset[digit] = sum
			sum += count
		}
		for _, n := range nodes {
			i := &offset[(n.hi-first)>>shift%(1<<digitBits)]
			to[*i] = n
			*i++
		}
		nodes, to = to, nodes
	}
	for i := 0; i < len(nodes); {
		end := i + 1
		for end < len(nodes) && nodes[end].hi == nodes[i].hi {
			end++
		}
		slices.SortFunc(nodes[i:end], func(n, m heapNode) int { return cmp.Compare(n.lo, m.lo) })
		i = end
	}
	return nodes
}

// takeDue returns the timer of a due slot, or nil if it is not due any more, and
// frees the slot.
func (h *timerHeap) takeDue(slot int32) *Timer {
	t := h.owner[slot]
	if t != nil {
		t.slot = noSlot
	}
	h.freeSlot(slot)
	return t
}

// clear removes all timers.
func (h *timerHeap) clear() {
	for _, t := range h.owner {
		if t != nil {
			t.slot = noSlot
		}
	}
	*h = timerHeap{}
}

func (h *timerHeap) removeAt(i int) {
	last := len(h.heap) - 1
	n := h.heap[last]
	h.heap = h.heap[:last]
	if i < last {
		h.sift(i, n)
	}
}

// sift moves n from a hole at i in either direction.
func (h *timerHeap) sift(i int, n heapNode) {
	if i > 0 && n.less(h.heap[(i-1)/4]) != 0 {
		h.siftUp(i, n)
	} else {
		h.siftDown(i, n)
	}
}

// siftUp moves n from a hole at i towards the root.
func (h *timerHeap) siftUp(i int, n heapNode) {
	for i > 0 {
		parent := (i - 1) / 4
		p := h.heap[parent]
		if n.less(p) == 0 {
			break
		}
		h.heap[i], h.pos[p.slot()] = p, int32(i)
		i = parent
	}
	h.heap[i], h.pos[n.slot()] = n, int32(i)
}

// siftDown moves n from a hole at i towards the leaves.
func (h *timerHeap) siftDown(i int, n heapNode) {
	for {
		child := 4*i + 1
		if child >= len(h.heap) {
			break
		}
		children := h.heap[child:min(child+4, len(h.heap))]
		m, least := children[0], uint64(0) // the least child and its index
		for c := 1; c < len(children); c++ {
			other := children[c]
			mask := -other.less(m) // all bits set if other is less, else zero
			m.hi ^= (m.hi ^ other.hi) & mask
			m.lo ^= (m.lo ^ other.lo) & mask
			least ^= (least ^ uint64(c)) & mask
		}
		if m.less(n) == 0 {
			break
		}
		h.heap[i], h.pos[m.slot()] = m, int32(i)
		i = child + int(least)
	}
	h.heap[i], h.pos[n.slot()] = n, int32(i)
}

// renumber resets the sequence numbers when they are used up, after 2³²-1
// starts: it numbers the active timers from 1 in the same order.
func (h *timerHeap) renumber() {
	bySeq := make([]*heapNode, len(h.heap))
	for i := range h.heap {
		bySeq[i] = &h.heap[i]
	}
	slices.SortFunc(bySeq, func(a, b *heapNode) int { return cmp.Compare(a.seq(), b.seq()) })
	for i, n := range bySeq {
		*n = newHeapNode(n.deadline(), uint32(i+1), n.slot())
	}
	h.lastSeq = uint32(len(bySeq))
}

// growDoubling is append, but it also doubles the capacity of long slices.
// append grows them by a quarter, and so copies a slice that grows to a million
// elements five times over.
func growDoubling[T any](s []T, v T) []T {
	if len(s) == cap(s) {
		s = slices.Grow(s, max(len(s), 16))
	}
	return append(s, v)
}
