package eventloop

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// check returns an error if the heap and its tables are not consistent. due has
// the slots of the timers that are due and have not run.
func (h *timerHeap) check(due []int32) error {
	if len(h.pos) != len(h.owner) || len(h.heap)+len(h.freeSlots)+len(due) != len(h.owner) {
		return fmt.Errorf("%d slots, %d of them owned: %d in the heap, %d free, %d due", len(h.pos), len(h.owner), len(h.heap), len(h.freeSlots), len(due))
	}
	seen := make([]bool, len(h.owner))
	for _, slot := range slices.Concat(h.freeSlots, due) {
		if seen[slot] {
			return fmt.Errorf("slot %d is free or due twice", slot)
		}
		seen[slot] = true
	}
	for _, slot := range h.freeSlots {
		if h.owner[slot] != nil {
			return fmt.Errorf("free slot %d is owned", slot)
		}
	}
	for _, slot := range due {
		t := h.owner[slot]
		if t == nil && h.pos[slot] != posDropped || t != nil && (h.pos[slot] != posDue || t.slot != slot) {
			return fmt.Errorf("slot %d is due, in state %d, with timer %+v", slot, h.pos[slot], t)
		}
	}
	seqs := make(map[uint32]bool, len(h.heap))
	for i, n := range h.heap {
		if seen[n.slot()] {
			return fmt.Errorf("node %d: its slot is %d, which is in use elsewhere", i, n.slot())
		}
		seen[n.slot()] = true
		if n.seq() == 0 || n.seq() > h.lastSeq || seqs[n.seq()] {
			return fmt.Errorf("node %d has the order %d; the last was %d", i, n.seq(), h.lastSeq)
		}
		seqs[n.seq()] = true
		if t := h.owner[n.slot()]; t == nil || t.slot != n.slot() || t.when != n.deadline() || h.pos[n.slot()] != int32(i) {
			return fmt.Errorf("node %d is %+v, at place %d, with timer %+v", i, n, h.pos[n.slot()], t)
		}
		if parent := h.heap[(i-1)/4]; i > 0 && parent.less(n) == 0 {
			return fmt.Errorf("node %d: %+v is below %+v", i, n, parent)
		}
	}
	return nil
}

// A heapModel is a simple model of the timers. It is compared with the heap.
type heapModel struct {
	timerHeap
	due    []int32
	timers []Timer
	want   []modelTimer
	starts uint64
	queue  []dueEntry // what is due, in order
	now    time.Duration
}

type modelTimer struct {
	when    time.Duration
	start   uint64 // when it was scheduled, among all
	running bool
	due     uint64 // the number of its start, while it is due; else 0
}

type dueEntry struct {
	timer int
	start uint64
}

func newHeapModel(n int) *heapModel {
	m := &heapModel{timers: make([]Timer, n), want: make([]modelTimer, n)}
	for i := range m.timers {
		m.timers[i].slot = noSlot
	}
	return m
}

func (m *heapModel) start(i int, when time.Duration) {
	m.starts++
	m.timers[i].when = when
	m.timerHeap.start(&m.timers[i])
	m.want[i] = modelTimer{when: when, start: m.starts, running: true}
}

func (m *heapModel) stop(i int) {
	m.timerHeap.stop(&m.timers[i])
	m.want[i] = modelTimer{}
}

// advance moves the time forward. Timers that were due earlier must have run.
func (m *heapModel) advance(d time.Duration) error {
	m.now += d
	var due []int
	for i, s := range m.want {
		if s.running && s.when <= m.now {
			due = append(due, i)
		}
	}
	slices.SortFunc(due, func(a, b int) int {
		return cmp.Or(cmp.Compare(m.want[a].when, m.want[b].when), cmp.Compare(m.want[a].start, m.want[b].start))
	})
	if when, ok := m.timerHeap.nextDeadline(); ok != slices.ContainsFunc(m.want, func(s modelTimer) bool { return s.running }) {
		return fmt.Errorf("the first timer: %v, %v", when, ok)
	} else if ok && len(due) > 0 && when != m.want[due[0]].when {
		return fmt.Errorf("the first timer is at %v, want %v", when, m.want[due[0]].when)
	}
	m.due = m.timerHeap.popDue(m.now, m.due)
	if len(m.due) != len(due) {
		return fmt.Errorf("%d timers are due, want %d", len(m.due), len(due))
	}
	for i, slot := range m.due {
		if want := &m.timers[due[i]]; m.owner[slot] != want {
			return fmt.Errorf("number %d that is due is not timer %d", i, due[i])
		}
		s := &m.want[due[i]]
		m.queue = append(m.queue, dueEntry{due[i], s.start})
		*s = modelTimer{due: s.start}
	}
	return nil
}

// runNext runs the next due timer, if there is one.
func (m *heapModel) runNext() error {
	if len(m.due) == 0 {
		return nil
	}
	next := m.queue[0]
	var want *Timer
	if s := &m.want[next.timer]; s.due == next.start {
		want, s.due = &m.timers[next.timer], 0
	}
	slot := m.due[0]
	m.due, m.queue = m.due[1:], m.queue[1:]
	if got := m.timerHeap.takeDue(slot); got != want {
		return fmt.Errorf("what is due is %+v, want %+v", got, want)
	}
	return nil
}

func (m *heapModel) compare() error {
	if err := m.timerHeap.check(m.due); err != nil {
		return err
	}
	for i := range m.timers {
		s := m.want[i]
		if active := s.running || s.due != 0; m.timers[i].Active() != active {
			return fmt.Errorf("timer %d: active is %v, want %v", i, !active, active)
		}
	}
	return nil
}

// do does one operation, which two bytes of a fuzzer's input select.
func (m *heapModel) do(op, arg byte) (err error) {
	i := int(arg) % len(m.timers)
	switch op % 8 {
	case 0, 1, 2: // few deadlines, so that many are equal
		m.start(i, m.now+time.Duration(op/8)-4)
	case 3:
		m.stop(i)
	case 4, 5:
		for len(m.due) > 0 && err == nil {
			err = m.runNext()
		}
		if err == nil {
			err = m.advance(time.Duration(arg % 8))
		}
	case 6:
		err = m.runNext()
	case 7:
		switch {
		case arg == 0:
			m.timerHeap.clear()
			clear(m.want)
			m.due, m.queue = nil, nil
		case arg < 16:
			m.lastSeq = max(m.lastSeq, math.MaxUint32-uint32(arg)/2)
		}
	}
	if err == nil {
		err = m.compare()
	}
	return err
}

func FuzzTimers(f *testing.F) {
	f.Add([]byte{0, 1, 8, 2, 8, 3, 4, 7, 6, 0, 3, 1, 4, 1})
	f.Add([]byte{0, 1, 7, 2, 0, 2, 0, 3, 0, 1, 0, 4, 4, 7})
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := newHeapModel(40)
		for i := 0; i+1 < len(ops) && i < 4000; i += 2 {
			if err := m.do(ops[i], ops[i+1]); err != nil {
				t.Fatalf("operation %d of %v: %v", i/2, ops[:i+2], err)
			}
		}
	})
}

func TestTimerHeapRandomized(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newHeapModel(1 + r.IntN(256))
		for n := range 2000 {
			if err := m.do(byte(r.Uint32()), byte(r.Uint32())); err != nil {
				t.Fatalf("seed %d, operation %d: %v", seed, n, err)
			}
		}
	}
}

// After a burst of timers the memory is released, even if some timers remain.
func TestTimersReleaseMemory(t *testing.T) {
	const burst, small = 70_000, 1 << 16
	for _, test := range []struct {
		standing int
		end      string
	}{{0, "stop"}, {0, "fire"}, {100, "stop"}, {100, "both"}} {
		standing, end := test.standing, test.end
		t.Run(fmt.Sprintf("%d stay, the others %s", standing, end), func(t *testing.T) {
			m := newHeapModel(standing + burst)
			r := rand.New(rand.NewPCG(1, uint64(standing)))
			perm := r.Perm(len(m.timers))
			for _, i := range perm {
				when := time.Duration(r.IntN(1000))
				if i < standing {
					when = time.Hour + time.Duration(r.IntN(100))
				}
				m.start(i, when)
			}
			for _, i := range perm {
				if i >= standing && (end == "stop" || end == "both" && i%2 == 0) {
					m.stop(i)
				}
			}
			if err := m.advance(1000); err != nil {
				t.Fatal(err)
			}
			for len(m.due) > 0 {
				if err := m.runNext(); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.compare(); err != nil {
				t.Fatal(err)
			}
			if cap(m.heap) > small || cap(m.owner) > small || cap(m.pos) > small || cap(m.freeSlots) > small || cap(m.holes) > small || cap(m.dueNodes) > small {
				t.Errorf("room for %d in the heap, %d slots, %d free ones and %d that are due remains", cap(m.heap), cap(m.owner), cap(m.freeSlots), cap(m.dueNodes))
			}
			if err := m.advance(time.Hour); err != nil || len(m.due) == 0 && standing > 0 {
				t.Errorf("%d of those that stayed are due: %v", len(m.due), err)
			}
		})
	}
}

// Many that are due at once, of all or of a part of the heap, some with deadlines
// as far apart as there can be.
func TestManyTimersAreDue(t *testing.T) {
	for _, n := range []int{256, 257, 258, 300, 1000, 20_000} {
		for name, when := range map[string]func(r *rand.Rand) time.Duration{
			"one deadline":   func(*rand.Rand) time.Duration { return 5 },
			"two":            func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(2)) },
			"half are later": func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(20)) },
			"two seconds":    func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(2e9)) - 1e9 },
			"all there are":  func(r *rand.Rand) time.Duration { return time.Duration(r.Uint64()) },
		} {
			t.Run(fmt.Sprintf("%d, %s", n, name), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(n), 3))
				m := newHeapModel(n)
				for i := range m.timers {
					m.start(i, when(r))
				}
				for _, d := range []time.Duration{10, math.MaxInt64 - 10} {
					if err := m.advance(d); err != nil {
						t.Fatal(err)
					}
					if err := m.compare(); err != nil {
						t.Fatal(err)
					}
					for len(m.due) > 0 {
						if err := m.runNext(); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := m.compare(); err != nil || len(m.heap) > 0 {
					t.Errorf("%d timers remain: %v", len(m.heap), err)
				}
			})
		}
	}
}

// The tables shrink only after all due timers have run.
func TestTimersShrinkAfterDueTimersRan(t *testing.T) {
	m := newHeapModel(1 << 17)
	for i := range m.timers {
		m.start(i, time.Duration(min(i, 2)))
	}
	if err := m.advance(1); err != nil { // two
		t.Fatal(err)
	}
	for i := 2; i < len(m.timers)-2; i++ {
		m.stop(i)
	}
	for range 2 {
		if err := m.compare(); err != nil {
			t.Fatal(err)
		}
		if len(m.owner) != len(m.timers) {
			t.Fatalf("%d slots remain, with %d due", len(m.owner), len(m.due))
		}
		if err := m.runNext(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.compare(); err != nil {
		t.Fatal(err)
	}
	if len(m.owner) != 2 {
		t.Errorf("%d slots remain, want 2", len(m.owner))
	}
}

// After 2^32 starts the sequence numbers overflow. The order is kept.
func TestTimerOrderOverflows(t *testing.T) {
	m := newHeapModel(200)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		m.start(i, time.Duration(r.IntN(3)))
	}
	m.lastSeq = math.MaxUint32 - 50
	for i := 50; i < 200; i++ { // 50 of them start anew
		m.start(i, time.Duration(r.IntN(3)))
		if err := m.compare(); err != nil {
			t.Fatalf("at timer %d: %v", i, err)
		}
	}
	if m.lastSeq > 1000 {
		t.Errorf("the order is %d still", m.lastSeq)
	}
	if err := m.advance(3); err != nil {
		t.Error(err)
	}
	for len(m.due) > 0 {
		if err := m.runNext(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.compare(); err != nil {
		t.Error(err)
	}
}

func TestAddClamped(t *testing.T) {
	for _, test := range []struct{ at, d, want time.Duration }{
		{1, 2, 3},
		{1, -2, -1},
		{0, math.MaxInt64, math.MaxInt64},
		{1, math.MaxInt64, math.MaxInt64},
		{math.MaxInt64, 1, math.MaxInt64},
		{math.MaxInt64, math.MinInt64, -1},
		{0, math.MinInt64, math.MinInt64},
		{-1, math.MinInt64, math.MinInt64},
		{math.MinInt64, -1, math.MinInt64},
		{math.MinInt64, math.MaxInt64, -1},
	} {
		if got := addClamped(test.at, test.d); got != test.want {
			t.Errorf("addClamped(%d, %d) is %d, want %d", test.at, test.d, got, test.want)
		}
	}
}
