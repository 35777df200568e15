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

// check returns what is wrong with the heap and its tables, of whose slots those
// in due are to be run.
func (h *timers) check(due []int32) error {
	if len(h.pos) != len(h.owner) || len(h.heap)+len(h.free)+len(due) != len(h.owner) {
		return fmt.Errorf("%d slots, %d of them owned: %d in the heap, %d free, %d due", len(h.pos), len(h.owner), len(h.heap), len(h.free), len(due))
	}
	seen := make([]bool, len(h.owner))
	for _, slot := range slices.Concat(h.free, due) {
		if seen[slot] {
			return fmt.Errorf("slot %d is free or due twice", slot)
		}
		seen[slot] = true
	}
	for _, slot := range h.free {
		if h.owner[slot] != nil {
			return fmt.Errorf("free slot %d is owned", slot)
		}
	}
	for _, slot := range due {
		t := h.owner[slot]
		if t == nil && h.pos[slot] != dropped || t != nil && (h.pos[slot] != pending || t.slot != slot) {
			return fmt.Errorf("slot %d is due, in state %d, with timer %+v", slot, h.pos[slot], t)
		}
	}
	orders := make(map[uint32]bool, len(h.heap))
	for i, n := range h.heap {
		if seen[n.slot()] {
			return fmt.Errorf("node %d: its slot is %d, which is in use elsewhere", i, n.slot())
		}
		seen[n.slot()] = true
		if n.order() == 0 || n.order() > h.order || orders[n.order()] {
			return fmt.Errorf("node %d has the order %d; the last was %d", i, n.order(), h.order)
		}
		orders[n.order()] = true
		if t := h.owner[n.slot()]; t == nil || t.slot != n.slot() || t.when != n.when() || h.pos[n.slot()] != int32(i) {
			return fmt.Errorf("node %d is %+v, at place %d, with timer %+v", i, n, h.pos[n.slot()], t)
		}
		if parent := h.heap[(i-1)/4]; i > 0 && parent.before(n) == 0 {
			return fmt.Errorf("node %d: %+v is below %+v", i, n, parent)
		}
	}
	return nil
}

// A heapModel does what timers do, in the plainest way, and compares.
type heapModel struct {
	timers
	due    []int32
	all    []Timer
	state  []modelled
	starts uint64
	queue  []modelDue // what is due, in order
	now    time.Duration
}

type modelled struct {
	when    time.Duration
	start   uint64 // when it was scheduled, among all
	running bool
	due     uint64 // the number of its start, while it is due; else 0
}

type modelDue struct {
	timer int
	start uint64
}

func newHeapModel(n int) *heapModel {
	m := &heapModel{all: make([]Timer, n), state: make([]modelled, n)}
	for i := range m.all {
		m.all[i].slot = none
	}
	return m
}

func (m *heapModel) begin(i int, when time.Duration) {
	m.starts++
	m.all[i].when = when
	m.timers.start(&m.all[i])
	m.state[i] = modelled{when: when, start: m.starts, running: true}
}

func (m *heapModel) end(i int) {
	m.timers.stop(&m.all[i])
	m.state[i] = modelled{}
}

// pass lets time pass. What was due before must have been run.
func (m *heapModel) pass(d time.Duration) error {
	m.now += d
	var due []int
	for i, s := range m.state {
		if s.running && s.when <= m.now {
			due = append(due, i)
		}
	}
	slices.SortFunc(due, func(a, b int) int {
		return cmp.Or(cmp.Compare(m.state[a].when, m.state[b].when), cmp.Compare(m.state[a].start, m.state[b].start))
	})
	if when, ok := m.timers.first(); ok != slices.ContainsFunc(m.state, func(s modelled) bool { return s.running }) {
		return fmt.Errorf("the first timer: %v, %v", when, ok)
	} else if ok && len(due) > 0 && when != m.state[due[0]].when {
		return fmt.Errorf("the first timer is at %v, want %v", when, m.state[due[0]].when)
	}
	m.due = m.timers.expire(m.now, m.due)
	if len(m.due) != len(due) {
		return fmt.Errorf("%d timers are due, want %d", len(m.due), len(due))
	}
	for i, slot := range m.due {
		if want := &m.all[due[i]]; m.owner[slot] != want {
			return fmt.Errorf("number %d that is due is not timer %d", i, due[i])
		}
		s := &m.state[due[i]]
		m.queue = append(m.queue, modelDue{due[i], s.start})
		*s = modelled{due: s.start}
	}
	return nil
}

// take runs the next that is due, if there is one.
func (m *heapModel) take() error {
	if len(m.due) == 0 {
		return nil
	}
	next := m.queue[0]
	var want *Timer
	if s := &m.state[next.timer]; s.due == next.start {
		want, s.due = &m.all[next.timer], 0
	}
	slot := m.due[0]
	m.due, m.queue = m.due[1:], m.queue[1:]
	if got := m.timers.take(slot); got != want {
		return fmt.Errorf("what is due is %+v, want %+v", got, want)
	}
	return nil
}

func (m *heapModel) compare() error {
	if err := m.timers.check(m.due); err != nil {
		return err
	}
	for i := range m.all {
		s := m.state[i]
		if active := s.running || s.due != 0; m.all[i].Active() != active {
			return fmt.Errorf("timer %d: active is %v, want %v", i, !active, active)
		}
	}
	return nil
}

// do takes two bytes of a fuzzer for one operation.
func (m *heapModel) do(op, arg byte) (err error) {
	i := int(arg) % len(m.all)
	switch op % 8 {
	case 0, 1, 2: // few deadlines, so that many are equal
		m.begin(i, m.now+time.Duration(op/8)-4)
	case 3:
		m.end(i)
	case 4, 5:
		for len(m.due) > 0 && err == nil {
			err = m.take()
		}
		if err == nil {
			err = m.pass(time.Duration(arg % 8))
		}
	case 6:
		err = m.take()
	case 7:
		switch {
		case arg == 0:
			m.timers.clear()
			clear(m.state)
			m.due, m.queue = nil, nil
		case arg < 16:
			m.order = max(m.order, math.MaxUint32-uint32(arg)/2)
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

// After a burst of timers their room is given back, also if a few go on.
func TestTimersGiveBackTheirRoom(t *testing.T) {
	const burst, small = 70_000, 1 << 16
	for _, test := range []struct {
		standing int
		end      string
	}{{0, "stop"}, {0, "fire"}, {100, "stop"}, {100, "both"}} {
		standing, end := test.standing, test.end
		t.Run(fmt.Sprintf("%d stay, the others %s", standing, end), func(t *testing.T) {
			m := newHeapModel(standing + burst)
			r := rand.New(rand.NewPCG(1, uint64(standing)))
			perm := r.Perm(len(m.all))
			for _, i := range perm {
				when := time.Duration(r.IntN(1000))
				if i < standing {
					when = time.Hour + time.Duration(r.IntN(100))
				}
				m.begin(i, when)
			}
			for _, i := range perm {
				if i >= standing && (end == "stop" || end == "both" && i%2 == 0) {
					m.end(i)
				}
			}
			if err := m.pass(1000); err != nil {
				t.Fatal(err)
			}
			for len(m.due) > 0 {
				if err := m.take(); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.compare(); err != nil {
				t.Fatal(err)
			}
			if cap(m.heap) > small || cap(m.owner) > small || cap(m.pos) > small || cap(m.free) > small || cap(m.holes) > small || cap(m.top) > small {
				t.Errorf("room for %d in the heap, %d slots, %d free ones and %d that are due remains", cap(m.heap), cap(m.owner), cap(m.free), cap(m.top))
			}
			if err := m.pass(time.Hour); err != nil || len(m.due) == 0 && standing > 0 {
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
				for i := range m.all {
					m.begin(i, when(r))
				}
				for _, d := range []time.Duration{10, math.MaxInt64 - 10} {
					if err := m.pass(d); err != nil {
						t.Fatal(err)
					}
					if err := m.compare(); err != nil {
						t.Fatal(err)
					}
					for len(m.due) > 0 {
						if err := m.take(); err != nil {
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

// A few that are due keep the room until they have been run.
func TestTimersShrinkWhenNoneIsDue(t *testing.T) {
	m := newHeapModel(1 << 17)
	for i := range m.all {
		m.begin(i, time.Duration(min(i, 2)))
	}
	if err := m.pass(1); err != nil { // two
		t.Fatal(err)
	}
	for i := 2; i < len(m.all)-2; i++ {
		m.end(i)
	}
	for range 2 {
		if err := m.compare(); err != nil {
			t.Fatal(err)
		}
		if len(m.owner) != len(m.all) {
			t.Fatalf("%d slots remain, with %d due", len(m.owner), len(m.due))
		}
		if err := m.take(); err != nil {
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

// After four thousand million starts the numbers are used up. The order stays.
func TestTimerOrderOverflows(t *testing.T) {
	m := newHeapModel(200)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		m.begin(i, time.Duration(r.IntN(3)))
	}
	m.order = math.MaxUint32 - 50
	for i := 50; i < 200; i++ { // 50 of them start anew
		m.begin(i, time.Duration(r.IntN(3)))
		if err := m.compare(); err != nil {
			t.Fatalf("at timer %d: %v", i, err)
		}
	}
	if m.order > 1000 {
		t.Errorf("the order is %d still", m.order)
	}
	if err := m.pass(3); err != nil {
		t.Error(err)
	}
	for len(m.due) > 0 {
		if err := m.take(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.compare(); err != nil {
		t.Error(err)
	}
}

func TestLater(t *testing.T) {
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
		if got := later(test.at, test.d); got != test.want {
			t.Errorf("later(%d, %d) is %d, want %d", test.at, test.d, got, test.want)
		}
	}
}
