package eventloop

import (
	"testing"

	"goselectors/internal/explore"
)

// What the model must never do.
const (
	postLost      = "a posted function never runs"
	outOfOrder    = "functions run out of order or twice"
	ranAfterClose = "functions run after Close"
	postKept      = "a closed loop has accepted a post"
	stopLost      = "Run does not end after Stop"
	cancelLost    = "Run does not end after its context"
	closeLost     = "Run does not end after Close"
	closeHangs    = "Close hangs"
	runHangs      = "Run hangs"
	wokenTwice    = "a sleep is ended by two wakes"
	wokenBusy     = "a busy loop is woken"
	neverFreed    = "the loop's resources are not freed"
	freedTwice    = "the loop's resources are freed twice"
	workLost      = "the completion of Do never runs"
	workNotAlive  = "Alive does not know of the work of Do"
)

func checkLoop(s *loopState) string {
	switch {
	case s.wrong != "":
		return s.wrong
	case s.tornDown > 1:
		return freedTwice
	case s.closing && s.incoming.n > 0:
		return postKept
	case s.doPC == doWorking && s.pendingWork == 0:
		return workNotAlive
	}
	return ""
}

func loopAtRest(s *loopState) string {
	isOver := func(pc uint8) bool { return pc == 0 || pc == closeDone }
	switch {
	case !isOver(s.closePC) || !isOver(s.closeAgainPC):
		return closeHangs
	case s.runPC == runEnded && s.tornDown == 0:
		return neverFreed
	case s.runPC == runEnded:
		return ""
	case s.runPC != runSelect:
		return runHangs
	case s.closing:
		return closeLost
	case s.stopped:
		return stopLost
	case s.cancelled:
		return cancelLost
	case s.pendingWork > 0:
		return workLost
	case s.ran != s.called:
		return postLost
	}
	return ""
}

func (m *loopModel) explore() explore.Result {
	processes := []loopProcess{{Name: "Run", PC: func(s *loopState) *uint8 { return &s.runPC }, Steps: m.runSteps()}}
	callers := m.callers()
	for _, name := range m.names {
		caller := callers[name]
		caller.Name = name
		processes = append(processes, caller)
	}
	return explore.Explore(explore.Model[loopState]{
		Processes: processes,
		Check:     checkLoop,
		AtRest:    loopAtRest,
		Choices:   &m.Choices,
		Limit:     1_000_000,
	})
}

// loopScenarios are the models that are explored: who takes part.
var loopScenarios = []struct {
	name string
	loopModel
}{
	{"post", loopModel{posts: 3, names: []string{"Post", "file"}}},
	{"post and do", loopModel{posts: 2, names: []string{"Post", "Do"}}},
	{"stop", loopModel{posts: 1, names: []string{"Post", "Stop", "cancel"}}},
	{"close", loopModel{posts: 2, names: []string{"Post", "Close", "another Close"}}},
	{"close and do", loopModel{names: []string{"Do", "Stop", "Close"}}},
}

// TestProtocol explores the code as it is.
func TestProtocol(t *testing.T) {
	for _, sc := range loopScenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			sc.explore().Expect(t, "")
		})
	}
}

// loopMutants are the mutations with a scenario that finds each of them, and the
// violation.
var loopMutants = []struct {
	loopMutation
	scenario, violation string
}{
	{noSecondCheck, "post", postLost},
	{asleepAfterCheck, "post", postLost},
	{asleepKept, "post", wokenBusy},
	{wakeBeforePost, "post", postLost},
	{flagClearedLate, "post", outOfOrder},
	{flagKept, "post", outOfOrder},
	{takeWithoutLock, "post", outOfOrder},
	{wakeWithoutSwap, "post and do", wokenBusy},
	{wakeKeepsAsleep, "post", wokenTwice},
	{soonOvertakes, "post", outOfOrder},
	{postWithoutClosing, "close", postKept},
	{doUncounted, "post and do", workNotAlive},
	{stopClearedLate, "stop", stopLost},
	{stopWithoutWake, "stop", stopLost},
	{cancelWithoutWake, "stop", cancelLost},
	{closeWithoutWake, "close", closeLost},
	{closingIgnored, "close", ranAfterClose},
	{closingReadEarly, "close and do", neverFreed},
	{closedIgnored, "close", freedTwice},
}

// TestMutants: the exploration finds what is wrong if something is taken out of the
// code. -v prints the traces.
func TestMutants(t *testing.T) {
	scenarios := map[string]loopModel{}
	for _, sc := range loopScenarios {
		scenarios[sc.name] = sc.loopModel
	}
	for _, mutant := range loopMutants {
		t.Run(string(mutant.loopMutation), func(t *testing.T) {
			t.Parallel()
			m := scenarios[mutant.scenario]
			m.mutation = mutant.loopMutation
			m.explore().Expect(t, mutant.violation)
		})
	}
}
