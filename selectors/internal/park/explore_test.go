package park_test

import (
	"testing"

	"goselectors/internal/explore"
)

// What the model must never do.
const (
	eventLost   = "an event is slept over"
	wakeLost    = "a wake is slept over"
	contextLost = "the end of a context is slept over"
	timeoutLost = "a timeout is missed"
	closeHangs  = "Close hangs"
	callHangs   = "a call hangs"
	usedClosed  = "a descriptor is used after Close"
	registerHas = "Register fails because the set is in the gate"
	newsTaken   = "news is lost to the gate"
	runtimeBusy = "the gate stays armed while the selector is busy"
)

// check returns what is wrong with a state.
func check(s *state) string {
	switch {
	case s.afterClosed:
		return usedClosed
	case s.wakeDropped:
		return wakeLost
	case s.registerFails:
		return registerHas
	case s.newsLost:
		return newsTaken
	case s.selectPC == read && s.found != 0 && !s.slept && s.inGate && s.gateMask:
		return runtimeBusy
	}
	return ""
}

// atRest returns what is wrong with a state in which nothing goes on by itself.
func (m *model) atRest(s *state) string {
	sleeps := s.selectPC == wait || s.selectPC == block || s.selectPC == blockForTimer
	switch {
	case s.closePC != 0 && s.closePC != closeDone:
		return closeHangs
	case !sleeps && s.selectPC != selectFailed, s.mu, s.wakeMu:
		return callHangs
	case !sleeps:
		return ""
	case s.closed:
		return closeHangs
	case s.ready&s.inSet&ofTheUser != 0:
		return eventLost
	case s.contextEnded:
		return contextLost
	case s.wakes != 0 && !s.wakeFailed: // otherwise Wake has returned an error
		return wakeLost
	case s.finite && s.timeUp && s.timer != timerInTime:
		return timeoutLost
	}
	return ""
}

func (m *model) explore() explore.Result {
	initial := state{dirty: true}
	initial.inSet = itemFile | itemWaker | itemTimer
	return explore.Explore(explore.Model[state]{
		Initial:   initial,
		Processes: m.processes(),
		Check:     check,
		AtRest:    m.atRest,
		Choices:   &m.Choices,
		Normalize: normalize,
		Limit:     2_000_000,
	})
}

// scenarios are the models that are explored: how Select waits, and who takes part.
var scenarios = []struct {
	name string
	model
}{
	{"parking", model{strategy: "parking", timeouts: "infinite", names: []string{"file", "Wake"}}},
	{"two wakes", model{strategy: "parking", timeouts: "infinite", names: []string{"Wake", "another Wake"}}},
	{"adaptive file", model{strategy: "adaptive", timeouts: "infinite", names: []string{"file", "timerfd", "time", "deadline"}}},
	{"adaptive wake", model{strategy: "adaptive", timeouts: "infinite", coarse: true, names: []string{"Wake", "timerfd", "time", "deadline"}}},
	{"timeouts", model{strategy: "adaptive", timeouts: "any", coarse: true, names: []string{"file", "timerfd", "time", "deadline"}}},
	{"blocking", model{strategy: "blocking", timeouts: "any", names: []string{"file", "Wake", "another Wake", "time"}}},
	{"context", model{strategy: "parking", timeouts: "infinite", coarse: true, names: []string{"Wake", "context"}}},
	{"news", model{strategy: "parking", timeouts: "infinite", names: []string{"news", "Register"}}},
	{"file and news", model{strategy: "parking", timeouts: "infinite", names: []string{"news", "file", "Register"}}},
	{"news and wake", model{strategy: "parking", timeouts: "infinite", coarse: true, names: []string{"news", "Wake", "Register"}}},
	{"limited", model{strategy: "parking", timeouts: "infinite", limited: true, names: []string{"file", "Register"}}},
	{"register and wake", model{strategy: "parking", timeouts: "infinite", limited: true, coarse: true, names: []string{"Wake", "Register"}}},
	{"shortage", model{strategy: "parking", timeouts: "infinite", shortage: true, coarse: true, names: []string{"file", "Wake", "time"}}},
	{"repair", model{strategy: "parking", timeouts: "finite", failing: true, names: []string{"file", "orphan", "timerfd", "time"}}},
	{"repair and wake", model{strategy: "parking", timeouts: "infinite", failing: true, coarse: true, names: []string{"orphan", "Wake"}}},
	{"repair, blocking", model{strategy: "blocking", timeouts: "infinite", names: []string{"orphan", "Wake"}}},
	{"close", model{strategy: "parking", timeouts: "infinite", coarse: true, names: []string{"Wake", "Close"}}},
	{"close, blocking", model{strategy: "blocking", timeouts: "infinite", names: []string{"Wake", "Close"}}},
	{"close, wakes fail", model{strategy: "blocking", timeouts: "infinite", failing: true, names: []string{"Wake", "Close"}}},
	{"close and register", model{strategy: "parking", timeouts: "infinite", names: []string{"Register", "Close"}}},
}

func scenario(t *testing.T, name string) model {
	t.Helper()
	for _, sc := range scenarios {
		if sc.name == name {
			return sc.model
		}
	}
	t.Fatalf("there is no scenario %q", name)
	return model{}
}

// TestProtocol: the code as it is has no violation.
func TestProtocol(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			sc.explore().Expect(t, "")
		})
	}
}

// mutants are the mutations with the scenario that finds each of them, and the
// violation.
var mutants = []struct {
	mutation
	scenario, violation string
}{
	{noPollOfGate, "parking", eventLost},
	{wakesBeforeAsleep, "blocking", wakeLost},
	{noCheckAfterReset, "parking", wakeLost},
	{deadlineKept, "two wakes", explore.Cycle},
	{takeWakesLate, "context", contextLost},
	{takeWithoutSwap, "context", wakeLost},
	{parkedKept, "adaptive wake", wakeLost},
	{wakeOnlyGate, "blocking", wakeLost},
	{wakeWithoutSecondLook, "close", usedClosed},
	{disarmNever, "parking", runtimeBusy},
	{disarmKeepsArmed, "parking", eventLost},
	{timerTooLateKept, "timeouts", timeoutLost},
	{timerPassedKept, "timeouts", timeoutLost},
	{detachWithoutWake, "limited", eventLost},
	{forbidWithoutDetach, "news", newsTaken},
	{nestWithoutClassify, "news", newsTaken},
	{nestWithoutLock, "limited", registerHas},
	{armedAfterDetach, "limited", eventLost},
	{oneHarvest, "file and news", newsTaken},
	{disarmEndsAsking, "news and wake", newsTaken},
	{repairWithoutGate, "repair and wake", eventLost},
	{repairWithoutWaker, "repair, blocking", wakeLost},
	{repairWithoutTimer, "repair", timeoutLost},
	{closeFlagsLate, "close", closeHangs},
	{closeRelies, "close, wakes fail", closeHangs},
	{closeWithoutWake, "close", closeHangs},
	{closeWithoutWakeMu, "close", usedClosed},
	{closeWithoutSelecting, "close", usedClosed},
}

// TestMutants: the exploration finds what is wrong if something is taken out of the
// code. -v prints the traces.
func TestMutants(t *testing.T) {
	for _, mutant := range mutants {
		t.Run(string(mutant.mutation), func(t *testing.T) {
			t.Parallel()
			m := scenario(t, mutant.scenario)
			m.mutation = mutant.mutation
			m.explore().Expect(t, mutant.violation)
		})
	}
}
