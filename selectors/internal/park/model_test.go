package park_test

import (
	"slices"

	"goselectors/internal/explore"
)

// The files model*_test.go are a model of one epoll selector: of the goroutine in
// Select, of those that wake it, and of the kernel and Go's runtime poller below.
// explore_test.go explores it. docs/protocol.md explains it.
//
// The steps are the accesses of shared memory and the system calls of core.go,
// wait.go, epoll_linux.go, epoll_nesting_linux.go and epoll_repair_linux.go in
// package selectors, and of waiter_linux.go and gate_linux.go here. They come in
// the order of the code and have its names. Memory that only the goroutine in
// Select uses is read and written within a step.

// A mutation takes something out of the code. The model has at most one.
type mutation string

// A state is all memory and all files of the model. Fields that the code has are
// named as in the code.
type state struct {
	// Program counters.
	selectPC, wake1PC, wake2PC, contextPC, registerPC, closePC       uint8
	filePC, newsPC, orphanPC, timerPC, runtimePC, deadlinePC, timePC uint8

	// core
	wakes            uint8
	asleep, closed   bool
	dirty, selecting bool
	mu, wakeMu       bool
	wakeFailed       bool
	registerFails    bool // Register has returned EINVAL

	// The goroutine in Select
	woken, timeIsUp  bool
	found            item // what the last epoll_wait has returned
	slept            bool // this round has slept
	reported         bool // the batch has an event
	finite, timeUp   bool // the timeout is finite, and is over
	limit            uint8
	timedOut, failed bool // what gate.wait returned

	// Waiter and gate
	parked, mustSetDeadline bool
	attached, armed         bool
	asking                  uint8
	forbidden, unclassified bool
	retry                   bool  // retryAt lies ahead
	repairPending           bool  // repairAt is not zero
	timer                   uint8 // where timerDeadline lies
	contextEnded            bool
	wakeDropped             bool // Wake's bit was cleared, and Select does not know

	kernel
}

// Bits of state.wakes.
const (
	wakeByUser uint8 = 1 << iota
	wakeInternal
)

// Values of state.asking, as in the code.
const (
	asksNot uint8 = iota
	asksMaybe
	asks
)

// Values of state.timer.
const (
	timerPassed  uint8 = iota
	timerInTime        // it goes off before the timeout of the current Select ends, or then
	timerTooLate       // it goes off later
)

// Values of state.limit, the second parameter of park.
const (
	noLimit uint8 = iota
	limitAhead
	limitPassed
)

type (
	step    = explore.Step[state]
	process = explore.Process[state]
)

// A model is a set of processes that share a selector.
type model struct {
	explore.Choices
	strategy string   // adaptive, parking or blocking
	timeouts string   // infinite, finite or any
	limited  bool     // Register's file exceeds the limit of nested sets; otherwise it must not be asked through the gate
	shortage bool     // arming the gate may fail
	failing  bool     // a repair may fail
	coarse   bool     // an event is one step
	names    []string // who takes part besides Select and the runtime
	mutation mutation
}

func (m *model) has(name mutation) bool { return m.mutation == name }

// either chooses without a rule.
func (m *model) either() bool { return m.Pick(2) == 1 }

// with reports whether one of some processes takes part.
func (m *model) with(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(m.names, name) })
}

// processes returns the processes of the model: Select, the runtime and those with
// the given names.
func (m *model) processes() []process {
	all := []process{
		{Name: "Select", PC: func(s *state) *uint8 { return &s.selectPC }, Steps: m.selectSteps()},
		{Name: "runtime", PC: func(s *state) *uint8 { return &s.runtimePC }, Steps: m.runtimeSteps()},
	}
	type counter = func(s *state) *uint8
	callers := map[string]struct {
		pc    counter
		steps func(pc counter) []step
	}{
		"Wake":         {func(s *state) *uint8 { return &s.wake1PC }, m.wakeSteps},
		"another Wake": {func(s *state) *uint8 { return &s.wake2PC }, m.wakeSteps},
		"context":      {func(s *state) *uint8 { return &s.contextPC }, m.contextSteps},
		"Register":     {func(s *state) *uint8 { return &s.registerPC }, m.registerSteps},
		"Close":        {func(s *state) *uint8 { return &s.closePC }, m.closeSteps},
		"file":         {func(s *state) *uint8 { return &s.filePC }, m.fileSteps},
		"news":         {func(s *state) *uint8 { return &s.newsPC }, m.newsSteps},
		"orphan":       {func(s *state) *uint8 { return &s.orphanPC }, m.orphanSteps},
		"timerfd":      {func(s *state) *uint8 { return &s.timerPC }, m.timerSteps},
		"deadline":     {func(s *state) *uint8 { return &s.deadlinePC }, m.deadlineSteps},
		"time":         {func(s *state) *uint8 { return &s.timePC }, m.timeSteps},
	}
	for _, name := range m.names {
		caller := callers[name]
		all = append(all, process{Name: name, PC: caller.pc, Steps: caller.steps(caller.pc)})
	}
	return all
}

// The mutations.
const (
	noPollOfGate          mutation = "the gate is not polled when it has been armed"
	wakesBeforeAsleep     mutation = "wakes is read before asleep is set"
	noCheckAfterReset     mutation = "wakes is not read after the deadline is reset"
	deadlineKept          mutation = "the deadline of an old wake is not reset"
	takeWakesLate         mutation = "wakes are cleared after their senders' state is checked"
	takeWithoutSwap       mutation = "wakes are read and cleared in two steps"
	parkedKept            mutation = "parked stays set after a park"
	wakeOnlyGate          mutation = "Wake does not ask whether the goroutine is parked"
	wakeWithoutSecondLook mutation = "interrupt does not read asleep again under wakeMu"
	detachWithoutWake     mutation = "a detach is not followed by a wake"
	forbidWithoutDetach   mutation = "a registration leaves the set in the gate"
	nestWithoutClassify   mutation = "files are not classified before the gate is armed"
	nestWithoutLock       mutation = "the gate is armed without mu"
	armedAfterDetach      mutation = "an armed gate is not checked for a detach"
	oneHarvest            mutation = "one harvest counts as the end of asking"
	disarmEndsAsking      mutation = "a disarmed gate counts as one that does not ask"
	disarmNever           mutation = "the gate is not disarmed when a poll finds events"
	disarmKeepsArmed      mutation = "armed stays set after disarm"
	timerTooLateKept      mutation = "a timer that goes off too late is left alone"
	timerPassedKept       mutation = "a timer that has gone off is left alone"
	repairWithoutGate     mutation = "the gate is not told of a new set"
	repairWithoutWaker    mutation = "the waker is not added to a new set"
	repairWithoutTimer    mutation = "the timer is not added to a new set"
	closeFlagsLate        mutation = "Close wakes before it sets closed"
	closeRelies           mutation = "Close leaves the wake to another caller"
	closeWithoutWake      mutation = "Close does not wake"
	closeWithoutWakeMu    mutation = "Close does not take wakeMu"
	closeWithoutSelecting mutation = "Close does not wait for Select"
)
