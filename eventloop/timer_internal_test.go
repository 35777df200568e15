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

// check returns an error if the heap and its tables are not consistent. due holds
// the slots of the timers that are due and have not run.
func (h *timerHeap) check(due []int32) error {
	if len(h.pos) != len(h.owner) || len(h.heap)+len(h.freeSlots)+len(due) != len(h.owner) {
		return fmt.Errorf("%d positions and %d owners: %d in the heap, %d free, %d due", len(h.pos), len(h.owner), len(h.heap), len(h.freeSlots), len(due))
	}
	slotUsed := make([]bool, len(h.owner))
	for _, slot := range slices.Concat(h.freeSlots, due) {
		if slotUsed[slot] {
			return fmt.Errorf("slot %d appears twice in the lists of free and due slots", slot)
		}
		slotUsed[slot] = true
	}
	for _, slot := range h.freeSlots {
		if h.owner[slot] != nil {
			return fmt.Errorf("free slot %d has an owner", slot)
		}
	}
	for _, slot := range due {
		t := h.owner[slot]
		if t == nil && h.pos[slot] != posDropped || t != nil && (h.pos[slot] != posDue || t.slot != slot) {
			return fmt.Errorf("due slot %d has position %d and timer %+v", slot, h.pos[slot], t)
		}
	}
	seqUsed := make(map[uint32]bool, len(h.heap))
	for i, n := range h.heap {
		if slotUsed[n.slot()] {
			return fmt.Errorf("node %d has slot %d, which is already used", i, n.slot())
		}
		slotUsed[n.slot()] = true
		if n.seq() == 0 || n.seq() > h.lastSeq || seqUsed[n.seq()] {
			return fmt.Errorf("node %d has sequence number %d, which is invalid or used twice; the last one is %d", i, n.seq(), h.lastSeq)
		}
		seqUsed[n.seq()] = true
		if t := h.owner[n.slot()]; t == nil || t.slot != n.slot() || t.when != n.deadline() || h.pos[n.slot()] != int32(i) {
			return fmt.Errorf("node %d is %+v, but its slot has position %d and timer %+v", i, n, h.pos[n.slot()], t)
		}
		if parent := h.heap[(i-1)/4]; i > 0 && parent.less(n) == 0 {
			return fmt.Errorf("node %d: %+v does not sort after its parent %+v", i, n, parent)
		}
	}
	return nil
}

// A heapModel is a heap together with a simple model of it. Each operation is
// done on both, and their results are compared.
type heapModel struct {
	timerHeap
	now      time.Duration
	timers   []Timer
	dueSlots []int32 // slots that popDue returned and that have not run

	model     []modelTimer // by index in timers
	modelDue  []dueEntry   // due timers that have not run, in order
	lastStart uint64       // number of the last start
}

// A modelTimer is the expected state of a timer.
type modelTimer struct {
	when    time.Duration
	start   uint64 // number of its last start
	pending bool   // started and not due yet
	due     uint64 // the number of its start while it is due, else 0
}

// A dueEntry is a timer that became due. It does not run if the timer was stopped
// or started again since: then the timer has another start number.
type dueEntry struct {
	timer int // index in timers
	start uint64
}

func newHeapModel(n int) *heapModel {
	m := &heapModel{timers: make([]Timer, n), model: make([]modelTimer, n)}
	loop := new(Loop) // a Timer without a loop is not active
	for i := range m.timers {
		m.timers[i] = Timer{loop: loop, slot: noSlot}
	}
	return m
}

// start starts timer i, whether it is active already or not.
func (m *heapModel) start(i int, when time.Duration) {
	m.lastStart++
	m.timers[i].when = when
	m.timerHeap.start(&m.timers[i])
	m.model[i] = modelTimer{when: when, start: m.lastStart, pending: true}
}

// stop stops timer i.
func (m *heapModel) stop(i int) {
	m.timerHeap.stop(&m.timers[i])
	m.model[i] = modelTimer{}
}

// advance moves the time forward by d and collects the timers that become due.
// Timers that became due earlier must have run.
func (m *heapModel) advance(d time.Duration) error {
	m.now += d
	var wantDue []int // indexes in timers
	for i, s := range m.model {
		if s.pending && s.when <= m.now {
			wantDue = append(wantDue, i)
		}
	}
	slices.SortFunc(wantDue, func(a, b int) int {
		return cmp.Or(cmp.Compare(m.model[a].when, m.model[b].when), cmp.Compare(m.model[a].start, m.model[b].start))
	})
	if when, ok := m.timerHeap.nextDeadline(); ok != slices.ContainsFunc(m.model, func(s modelTimer) bool { return s.pending }) {
		return fmt.Errorf("nextDeadline returned %v, %v, want %v", when, ok, !ok)
	} else if ok && len(wantDue) > 0 && when != m.model[wantDue[0]].when {
		return fmt.Errorf("nextDeadline returned %v, want %v", when, m.model[wantDue[0]].when)
	}
	m.dueSlots = m.timerHeap.popDue(m.now, m.dueSlots)
	if len(m.dueSlots) != len(wantDue) {
		return fmt.Errorf("popDue returned %d timers, want %d", len(m.dueSlots), len(wantDue))
	}
	for i, slot := range m.dueSlots {
		if want := &m.timers[wantDue[i]]; m.owner[slot] != want {
			return fmt.Errorf("slot %d that popDue returned does not belong to timer %d", i, wantDue[i])
		}
		s := &m.model[wantDue[i]]
		m.modelDue = append(m.modelDue, dueEntry{wantDue[i], s.start})
		*s = modelTimer{due: s.start}
	}
	return nil
}

// runNext takes the next due timer, if there is one, as the loop does before it
// runs the timer.
func (m *heapModel) runNext() error {
	if len(m.dueSlots) == 0 {
		return nil
	}
	next := m.modelDue[0]
	var want *Timer
	if s := &m.model[next.timer]; s.due == next.start {
		want, s.due = &m.timers[next.timer], 0
	}
	slot := m.dueSlots[0]
	m.dueSlots, m.modelDue = m.dueSlots[1:], m.modelDue[1:]
	if got := m.timerHeap.takeDue(slot); got != want {
		return fmt.Errorf("takeDue returned %+v, want %+v", got, want)
	}
	return nil
}

// runAllDue takes all due timers.
func (m *heapModel) runAllDue() error {
	for len(m.dueSlots) > 0 {
		if err := m.runNext(); err != nil {
			return err
		}
	}
	return nil
}

// compare checks the heap, and compares the state of all timers with the model.
func (m *heapModel) compare() error {
	if err := m.timerHeap.check(m.dueSlots); err != nil {
		return err
	}
	for i := range m.timers {
		s := m.model[i]
		if active := s.pending || s.due != 0; m.timers[i].Active() != active {
			return fmt.Errorf("timer %d: Active is %v, want %v", i, !active, active)
		}
	}
	return nil
}

// do does one operation on the heap and on the model, and compares them. Two bytes
// of random input select the operation.
func (m *heapModel) do(op, arg byte) (err error) {
	i := int(arg) % len(m.timers)
	switch op % 8 {
	case 0, 1, 2: // only 32 different deadlines, so many are equal
		m.start(i, m.now+time.Duration(op/8)-4)
	case 3:
		m.stop(i)
	case 4, 5:
		if err = m.runAllDue(); err == nil {
			err = m.advance(time.Duration(arg % 8))
		}
	case 6:
		err = m.runNext()
	case 7:
		switch {
		case arg == 0: // close the loop
			m.timerHeap.clear()
			clear(m.model)
			m.dueSlots, m.modelDue = nil, nil
		case arg < 16: // let the sequence numbers overflow soon
			m.lastSeq = max(m.lastSeq, math.MaxUint32-uint32(arg)/2)
		}
	}
	if err == nil {
		err = m.compare()
	}
	return err
}

// FuzzTimers compares the heap with the model on random operations.
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

// TestTimerHeapRandomized is FuzzTimers with random input from fixed seeds.
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

// TestTimersReleaseMemory checks that the memory is released after a burst of
// timers, even if some timers remain.
func TestTimersReleaseMemory(t *testing.T) {
	const burst, maxCap = 70_000, 1 << 16
	for _, test := range []struct {
		remaining int
		end       string // of the burst: all timers are stopped, all run, or half of each
	}{{0, "stop"}, {0, "run"}, {100, "stop"}, {100, "both"}} {
		remaining, end := test.remaining, test.end
		t.Run(fmt.Sprintf("%d remain, burst ends by %s", remaining, end), func(t *testing.T) {
			m := newHeapModel(remaining + burst)
			r := rand.New(rand.NewPCG(1, uint64(remaining)))
			perm := r.Perm(len(m.timers))
			for _, i := range perm {
				when := time.Duration(r.IntN(1000))
				if i < remaining {
					when = time.Hour + time.Duration(r.IntN(100))
				}
				m.start(i, when)
			}
			for _, i := range perm {
				if i >= remaining && (end == "stop" || end == "both" && i%2 == 0) {
					m.stop(i)
				}
			}
			if err := m.advance(1000); err != nil {
				t.Fatal(err)
			}
			if err := m.runAllDue(); err != nil {
				t.Fatal(err)
			}
			if err := m.compare(); err != nil {
				t.Fatal(err)
			}
			if cap(m.heap) > maxCap || cap(m.owner) > maxCap || cap(m.pos) > maxCap || cap(m.freeSlots) > maxCap || cap(m.holes) > maxCap || cap(m.dueNodes) > maxCap {
				t.Errorf("capacities after the burst: heap %d, owner %d, pos %d, freeSlots %d, holes %d, dueNodes %d; want at most %d each", cap(m.heap), cap(m.owner), cap(m.pos), cap(m.freeSlots), cap(m.holes), cap(m.dueNodes), maxCap)
			}
			if err := m.advance(time.Hour); err != nil || len(m.dueSlots) == 0 && remaining > 0 {
				t.Errorf("%d of %d remaining timers are due: %v", len(m.dueSlots), remaining, err)
			}
		})
	}
}

// TestManyDueTimers checks popManyDue: many timers become due at once, all of the
// heap or a part of it. Some deadlines span the whole range of a Duration.
func TestManyDueTimers(t *testing.T) {
	for _, n := range []int{256, 257, 258, 300, 1000, 20_000} {
		for name, when := range map[string]func(r *rand.Rand) time.Duration{
			"one deadline":  func(*rand.Rand) time.Duration { return 5 },
			"two deadlines": func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(2)) },
			"half are due":  func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(20)) },
			"two seconds":   func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(2e9)) - 1e9 },
			"full range":    func(r *rand.Rand) time.Duration { return time.Duration(r.Uint64()) },
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
					if err := m.runAllDue(); err != nil {
						t.Fatal(err)
					}
				}
				if err := m.compare(); err != nil || len(m.heap) > 0 {
					t.Errorf("%d timers remain: %v", len(m.heap), err)
				}
			})
		}
	}
}

// TestTimersShrinkAfterDueTimersRan checks that the tables shrink only after all
// due timers have run.
func TestTimersShrinkAfterDueTimersRan(t *testing.T) {
	m := newHeapModel(1 << 17)
	for i := range m.timers {
		m.start(i, time.Duration(min(i, 2)))
	}
	if err := m.advance(1); err != nil { // the first two timers are due
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
			t.Fatalf("%d slots while %d timers are due, want %d", len(m.owner), len(m.dueSlots), len(m.timers))
		}
		if err := m.runNext(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.compare(); err != nil {
		t.Fatal(err)
	}
	if len(m.owner) != 2 {
		t.Errorf("%d slots after the due timers ran, want 2", len(m.owner))
	}
}

// TestTimerSequenceOverflow checks that timers keep their order when the 32-bit
// sequence numbers overflow.
func TestTimerSequenceOverflow(t *testing.T) {
	m := newHeapModel(200)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		m.start(i, time.Duration(r.IntN(3)))
	}
	m.lastSeq = math.MaxUint32 - 50
	for i := 50; i < 200; i++ { // timers 50 to 99 are started again
		m.start(i, time.Duration(r.IntN(3)))
		if err := m.compare(); err != nil {
			t.Fatalf("after the start of timer %d: %v", i, err)
		}
	}
	if m.lastSeq > 1000 {
		t.Errorf("the last sequence number is %d, want at most 1000 after the overflow", m.lastSeq)
	}
	if err := m.advance(3); err != nil {
		t.Error(err)
	}
	if err := m.runAllDue(); err != nil {
		t.Fatal(err)
	}
	if err := m.compare(); err != nil {
		t.Error(err)
	}
}

// TestAddClamped checks that addClamped does not overflow.
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
