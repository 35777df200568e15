// Package explore tries every interleaving of a small model of concurrent code.
// It is for tests.
//
// A model is a state and some processes. Each process has a program counter in
// the state and one [Step] for each of its values. A step is what the code does
// without interruption: one access of shared memory, or one system call. Explore
// visits all reachable states, breadth first, and looks for
//
//   - a state that Check rejects,
//   - a state in which no process has to go on, and that AtRest rejects: a lock
//     that is never released, a sleep that nothing ends,
//   - a cycle in which processes run for ever without progress.
//
// It returns the shortest sequence of steps to the first violation.
//
// An exploration runs on one goroutine. The functions that take most of its time
// are not instrumented for the race detector, which would only make them slower.
package explore

import (
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A Step is one atomic step of a process.
type Step[S comparable] struct {
	Name string // what the step is in the code

	// Do changes the state. Unless it assigns the program counter, the next step
	// of the process is the following one.
	Do func(s *S)

	// When reports whether the step can be taken. A process waits while it
	// cannot. If When is nil, it always can.
	When func(s *S) bool

	// Private reports that the step touches nothing that another process uses.
	// Then no interleaving is lost if it is taken together with the step before
	// it. A trace does not show it. If Private is nil, it is not.
	Private func(s *S) bool

	// Optional: the step may never be taken, for example an event that need not
	// happen. All other steps are taken in the end, if they stay possible.
	Optional bool

	// Progress: a cycle of steps with this one is not endless idling.
	Progress bool
}

// A Process is a sequence of steps. PC returns its program counter, an index into
// Steps, in a state.
type Process[S comparable] struct {
	Name  string
	PC    func(s *S) *uint8
	Steps []Step[S]
}

// A Model is what Explore explores. Processes must be fewer than 32.
type Model[S comparable] struct {
	Initial   S
	Processes []Process[S]

	// Check returns what is wrong with a state, or "".
	Check func(s *S) string

	// AtRest returns what is wrong with a state in which no process has a step
	// that it must take, or "".
	AtRest func(s *S) string

	// Normalize gives variables that are written before they are read again one
	// value, so that states which differ in nothing else are one. It may be nil.
	Normalize func(s *S)

	// Limit is the largest number of states, if not zero. A model that has more
	// is a violation.
	Limit int

	// Choices is what the steps take their decisions with. It may be nil.
	Choices *Choices
}

// Cycle is the violation of a model in which processes can run for ever without
// progress.
const Cycle = "runs for ever without progress"

// TooLarge is the violation of a model with more states than its limit.
const TooLarge = "too many states"

// A Result is the outcome of Explore.
type Result struct {
	States    int
	Violation string // what Check or AtRest returned, Cycle or TooLarge; "" if there is none
	Trace     string // the shortest way to the violation, one step a line
}

// Expect fails the test if the violation is another one. It logs the number of
// states and the trace.
func (r Result) Expect(t testing.TB, violation string) {
	t.Helper()
	if r.Violation != violation {
		t.Fatalf("%d states, violation %q, want %q\n%s", r.States, r.Violation, violation, r.Trace)
	}
	t.Logf("%d states, violation %q\n%s", r.States, r.Violation, r.Trace)
}

// Choices makes a step non-deterministic: Explore takes the step once for each
// combination of results of Pick.
type Choices struct {
	picks []pick
	next  int
}

type pick struct{ value, n int }

// Pick returns a number from 0 to n-1.
func (c *Choices) Pick(n int) int {
	if c.next == len(c.picks) {
		c.picks = append(c.picks, pick{0, n})
	}
	c.next++
	return c.picks[c.next-1].value
}

// advance prepares the next combination. It reports false after the last one.
func (c *Choices) advance() bool {
	c.next = 0
	for last := len(c.picks) - 1; last >= 0; last-- {
		if c.picks[last].value++; c.picks[last].value < c.picks[last].n {
			return true
		}
		c.picks = c.picks[:last]
	}
	return false
}

func (c *Choices) reset() { c.picks, c.next = c.picks[:0], 0 }

// An edge is a step from one state to another, neither optional nor progress.
type edge struct {
	to      int32
	process uint8
}

// A node is a state with what is known about it. Nodes are stored in blocks, in the
// order in which they were found.
type node[S comparable] struct {
	state   S
	parent  int32  // the node it was first reached from
	edges   int32  // the index of its first edge
	enabled uint32 // the processes that must go on, as bits
}

const blockSize = 1 << 12

// A slot has the index of a state plus one, or 0, and a part of its hash.
type slot struct{ number, hash uint32 }

type explorer[S comparable] struct {
	Model[S]
	blocks [][]node[S]
	count  int32  // of nodes
	index  []slot // a hash table of the states, with linear probing
	seed   maphash.Seed
	edges  []edge // for findCycle
}

// Explore explores a model until it finds a violation or has visited all states.
func Explore[S comparable](m Model[S]) Result {
	x := &explorer[S]{Model: m, index: make([]slot, 1<<10), seed: maphash.MakeSeed()}
	if x.Choices == nil {
		x.Choices = &Choices{}
	}
	x.visit(&x.Initial, -1)
	for at := int32(0); at < x.count; at++ {
		s := x.node(at).state
		if x.Check != nil {
			if wrong := x.Check(&s); wrong != "" {
				return x.result(wrong, x.path(at), nil)
			}
		}
		if x.expand(at); x.Limit > 0 && int(x.count) > x.Limit {
			return x.result(TooLarge, nil, nil)
		}
		if x.node(at).enabled == 0 && x.AtRest != nil {
			if wrong := x.AtRest(&s); wrong != "" {
				return x.result(wrong, x.path(at), nil)
			}
		}
	}
	if at, cycle := x.findCycle(); cycle != nil {
		return x.result(Cycle, x.path(at), cycle)
	}
	return x.result("", nil, nil)
}

//go:norace
func (x *explorer[S]) node(at int32) *node[S] { return &x.blocks[at/blockSize][at%blockSize] }

// visit returns the index of a state and adds the state if it is new.
//
//go:norace
func (x *explorer[S]) visit(s *S, parent int32) int32 {
	hash := uint32(maphash.Comparable(x.seed, *s))
	mask := uint32(len(x.index) - 1)
	at := hash & mask
	for ; x.index[at].number != 0; at = (at + 1) & mask {
		if x.index[at].hash == hash {
			if known := int32(x.index[at].number - 1); x.node(known).state == *s {
				return known
			}
		}
	}
	if x.count%blockSize == 0 {
		x.blocks = append(x.blocks, make([]node[S], blockSize))
	}
	x.count++
	*x.node(x.count - 1) = node[S]{state: *s, parent: parent}
	x.index[at] = slot{uint32(x.count), hash}
	if int(x.count) > len(x.index)/2 {
		x.grow()
	}
	return x.count - 1
}

// grow doubles the hash table.
//
//go:norace
func (x *explorer[S]) grow() {
	old := x.index
	x.index = make([]slot, 2*len(old))
	mask := uint32(len(x.index) - 1)
	for _, s := range old {
		if s.number != 0 {
			at := s.hash & mask
			for x.index[at].number != 0 {
				at = (at + 1) & mask
			}
			x.index[at] = s
		}
	}
}

// expand visits the states that follow a state.
//
//go:norace
func (x *explorer[S]) expand(at int32) {
	first := len(x.edges)
	var enabled uint32
	x.successors(at, func(p int, step *Step[S], next *S) bool {
		to := x.visit(next, at)
		if !step.Optional {
			enabled |= 1 << p
			if !step.Progress {
				x.edges = append(x.edges, edge{to, uint8(p)})
			}
		}
		return true
	})
	x.node(at).edges, x.node(at).enabled = int32(first), enabled
}

// successors takes every step that is possible in a state, until yield returns
// false.
//
//go:norace
func (x *explorer[S]) successors(at int32, yield func(p int, step *Step[S], next *S) bool) {
	s := x.node(at).state
	for p := range x.Processes {
		process := &x.Processes[p]
		step := &process.Steps[*process.PC(&s)]
		if step.When != nil && !step.When(&s) {
			continue
		}
		for more := true; more; more = x.Choices.advance() {
			next := s
			process.take(&next)
			if x.Normalize != nil {
				x.Normalize(&next)
			}
			if !yield(p, step, &next) {
				x.Choices.reset()
				return
			}
		}
	}
}

// take takes the next step of a process, and the private ones that follow.
//
//go:norace
func (p *Process[S]) take(s *S) {
	pc := p.PC(s)
	for {
		step := &p.Steps[*pc]
		*pc++
		step.Do(s)
		if int(*pc) >= len(p.Steps) {
			*pc = 0
		}
		if next := &p.Steps[*pc]; next.Private == nil || !next.Private(s) {
			return
		}
	}
}

// path returns the states from the first one to at.
func (x *explorer[S]) path(at int32) []int32 {
	var path []int32
	for ; at >= 0; at = x.node(at).parent {
		path = append(path, at)
	}
	slices.Reverse(path)
	return path
}

func (x *explorer[S]) result(violation string, path, cycle []int32) Result {
	var trace strings.Builder
	x.print(&trace, path)
	if cycle != nil {
		trace.WriteString("and then again and again:\n")
		x.print(&trace, cycle)
	}
	return Result{int(x.count), violation, trace.String()}
}

// print writes the steps between successive states, and what each one changes.
func (x *explorer[S]) print(w *strings.Builder, path []int32) {
	for i := 1; i < len(path); i++ {
		from, to := path[i-1], path[i]
		x.successors(from, func(p int, step *Step[S], next *S) bool {
			if *next != x.node(to).state {
				return true
			}
			fmt.Fprintf(w, "%3d  %-12s %-58s %s\n", i, x.Processes[p].Name, step.Name, x.changes(from, to))
			return false
		})
	}
}

// edgesOf returns the indices of a node's first edge and of the next node's.
//
//go:norace
func (x *explorer[S]) edgesOf(at int32) (first, end int32) {
	end = int32(len(x.edges))
	if at+1 < x.count {
		end = x.node(at + 1).edges
	}
	return x.node(at).edges, end
}

// changes lists the fields in which two states differ, program counters excepted:
// the names of the steps tell those.
func (x *explorer[S]) changes(from, to int32) string {
	before, after := x.node(from).state, x.node(to).state
	for p := range x.Processes {
		*x.Processes[p].PC(&before) = *x.Processes[p].PC(&after)
	}
	return strings.Join(differences(nil, "", reflect.ValueOf(before), reflect.ValueOf(after)), " ")
}

func differences(list []string, name string, before, after reflect.Value) []string {
	switch {
	case before.Kind() == reflect.Struct:
		for i := range before.NumField() {
			field := before.Type().Field(i)
			full := name
			if !field.Anonymous {
				full = strings.TrimPrefix(name+"."+field.Name, ".")
			}
			list = differences(list, full, before.Field(i), after.Field(i))
		}
	case !before.Equal(after):
		list = append(list, fmt.Sprintf("%s=%v", name, after))
	}
	return list
}
