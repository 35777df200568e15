package explore_test

import (
	"strings"
	"testing"

	"goselectors/internal/explore"
)

// A lockState is the state of two processes that use one lock.
type lockState struct {
	pc     [2]uint8
	locked bool
	inside int8
}

// lockModel is a lock whose test and set are one step, or two.
func lockModel(atomic bool) explore.Model[lockState] {
	m := explore.Model[lockState]{
		Check: func(s *lockState) string {
			if s.inside > 1 {
				return "two are inside"
			}
			return ""
		},
		AtRest: func(s *lockState) string {
			if s.locked {
				return "the lock is never released"
			}
			return ""
		},
	}
	for p, name := range []string{"a", "b"} {
		steps := []explore.Step[lockState]{
			{Name: "begin", Optional: true, Do: func(*lockState) {}},
			{Name: "read the lock", When: func(s *lockState) bool { return !s.locked }, Do: func(s *lockState) { s.locked = atomic }},
			{Name: "set the lock", Do: func(s *lockState) { s.locked = true; s.inside++ }},
			{Name: "release the lock", Do: func(s *lockState) { s.locked = false; s.inside-- }},
		}
		m.Processes = append(m.Processes, explore.Process[lockState]{
			Name: name, PC: func(s *lockState) *uint8 { return &s.pc[p] }, Steps: steps})
	}
	return m
}

func TestLock(t *testing.T) {
	if got := explore.Explore(lockModel(true)); got.Violation != "" || got.States != 12 {
		t.Errorf("the right lock: %d states, %s\n%s", got.States, got.Violation, got.Trace)
	}
	got := explore.Explore(lockModel(false))
	if want := "two are inside"; got.Violation != want {
		t.Fatalf("the wrong lock: %q, want %q", got.Violation, want)
	}
	if n := strings.Count(got.Trace, "\n"); n != 6 || !strings.Contains(got.Trace, "read the lock") {
		t.Errorf("the trace has %d lines, want the 6 of the shortest one:\n%s", n, got.Trace)
	}
}

// TestNeverReleased: a process that ends with the lock leaves the other waiting.
func TestNeverReleased(t *testing.T) {
	m := lockModel(true)
	m.Processes[0].Steps[3].Do = func(s *lockState) { s.inside--; s.pc[0] = 0 }
	if got, want := explore.Explore(m).Violation, "the lock is never released"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A politeState is the state of two processes that both give way.
type politeState struct {
	pc      [2]uint8
	wanting [2]bool
}

// politeModel is a lock of two flags. Who sees the other's flag takes back its own
// and tries again, so that both can do so for ever.
func politeModel(progress bool) explore.Model[politeState] {
	m := explore.Model[politeState]{}
	for p, name := range []string{"a", "b"} {
		other := 1 - p
		m.Processes = append(m.Processes, explore.Process[politeState]{
			Name: name, PC: func(s *politeState) *uint8 { return &s.pc[p] },
			Steps: []explore.Step[politeState]{
				{Name: "begin", Optional: true, Do: func(*politeState) {}},
				{Name: "set the flag", Do: func(s *politeState) { s.wanting[p] = true }},
				{Name: "read the other's flag", Do: func(s *politeState) {
					if !s.wanting[other] {
						s.pc[p] = 4
					}
				}},
				{Name: "take the flag back", Progress: progress, Do: func(s *politeState) { s.wanting[p] = false; s.pc[p] = 1 }},
				{Name: "leave", Progress: true, Do: func(s *politeState) { s.wanting[p] = false }},
			}})
	}
	return m
}

func TestCycle(t *testing.T) {
	got := explore.Explore(politeModel(false))
	if got.Violation != explore.Cycle || !strings.Contains(got.Trace, "again and again:\n") {
		t.Errorf("violation %q, want %q\n%s", got.Violation, explore.Cycle, got.Trace)
	}
	if got := explore.Explore(politeModel(true)); got.Violation != "" {
		t.Errorf("with progress in the cycle: %q\n%s", got.Violation, got.Trace)
	}
}

// A spinState is the state of a process that reads a flag until another sets it.
type spinState struct {
	pc  [2]uint8
	set bool
}

// TestFairness: a cycle that goes on only while another process is never run is
// none. If that process need not run, it is one.
func TestFairness(t *testing.T) {
	model := func(optional bool) explore.Model[spinState] {
		return explore.Model[spinState]{Processes: []explore.Process[spinState]{
			{Name: "reader", PC: func(s *spinState) *uint8 { return &s.pc[0] }, Steps: []explore.Step[spinState]{
				{Name: "read", Do: func(s *spinState) {
					if !s.set {
						s.pc[0] = 0
					}
				}},
				{Name: "end", When: func(*spinState) bool { return false }},
			}},
			{Name: "writer", PC: func(s *spinState) *uint8 { return &s.pc[1] }, Steps: []explore.Step[spinState]{
				{Name: "write", Optional: optional, Do: func(s *spinState) { s.set = true }},
				{Name: "end", When: func(*spinState) bool { return false }},
			}},
		}}
	}
	if got := explore.Explore(model(false)); got.Violation != "" {
		t.Errorf("a writer that runs in the end: %q\n%s", got.Violation, got.Trace)
	}
	if got := explore.Explore(model(true)); got.Violation != explore.Cycle {
		t.Errorf("a writer that may never run: %q, want %q", got.Violation, explore.Cycle)
	}
}

// TestChoices: each combination of choices is taken.
func TestChoices(t *testing.T) {
	type state struct{ pc, value uint8 }
	var c explore.Choices
	sums := map[uint8]bool{}
	m := explore.Model[state]{Choices: &c, Processes: []explore.Process[state]{{
		Name: "p", PC: func(s *state) *uint8 { return &s.pc },
		Steps: []explore.Step[state]{
			{Name: "choose", Do: func(s *state) {
				s.value = uint8(10 * c.Pick(2))
				if s.value > 0 {
					s.value += uint8(c.Pick(3))
				}
			}},
			{Name: "end", When: func(s *state) bool { sums[s.value] = true; return false }},
		}}}}
	if got := explore.Explore(m); got.States != 5 || len(sums) != 4 || !sums[0] || !sums[10] || !sums[11] || !sums[12] {
		t.Errorf("%d states with the values %v, want 5 with 0, 10, 11 and 12", got.States, sums)
	}
}
