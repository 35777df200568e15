package selectortest

import (
	"runtime"
	"slices"

	"goselectors/selectors"
)

// A state is a row of the readiness table: a file in some state and the events
// that a selector must report for it. The rows follow the result of poll(2) with
// the definitions of select(2): readable is IN, HUP or ERR, writable is OUT or ERR.
type state struct {
	name string
	need selectors.Feature
	make func(t *T) (fd int)

	events   selectors.Event // all events and hints of the state
	optional selectors.Event // further hints, which depend on the kernel version
}

// readinessRules makes a rule of each state.
func readinessRules() (rules []rule) {
	for _, s := range slices.Concat(states, linuxStates) {
		rules = append(rules, rule{s.name, s.need, func(t *T) { checkState(t, s) }})
	}
	return rules
}

// checkState checks the reported events of a state for each combination of
// interests.
func checkState(t *T, s state) {
	fd := s.make(t)
	available := r | w
	for _, c := range []struct {
		feature selectors.Feature
		event   selectors.Event
	}{
		{selectors.FeaturePriority, p},
		{selectors.FeatureReadClosed, rc},
	} {
		if t.features&c.feature != 0 {
			available |= c.event
		}
	}
	for _, interest := range []selectors.Event{r, w, p, rc, r | w, r | p, w | p | rc, r | w | p | rc} {
		if interest &= available; interest == 0 {
			continue
		}
		must := s.events & interest
		may := s.events&hints | s.optional
		if t.features&selectors.FeatureHangup != 0 {
			must |= s.events & (hu | er)
		}
		if t.features&selectors.FeatureReadClosed != 0 && interest&r != 0 {
			must |= s.events & rc
		}
		if runtime.GOOS != "linux" {
			// Systems differ in what poll(2) reports for hang-ups and errors.
			must, may = must&(interest&(r|w|p)), hints
		}

		key := t.register(fd, interest, nil)
		var first selectors.Event // events of the interest in the first report
		for i := range 2 {
			got := nextEvents(t, key)
			if i == 0 {
				first = got & interest
			} else if first == 0 {
				// Hints without an event of the interest are reported once, but
				// an error may be a new one.
				if must = 0; may&er == 0 {
					may = 0
				}
			}
			if got&must != must || got&^(must|may) != 0 {
				t.Errorf("interest %v: Select number %d reports %v, want %v and at most %v", interest, i+1, got, must, must|may)
			}
		}
		t.unregister(fd)
	}
}

// nextEvents returns the events that Select(0) reports for key, the only
// registered one.
func nextEvents(t *T, key *selectors.SelectorKey) (events selectors.Event) {
	t.Helper()
	for _, entry := range t.mustSelect(0) {
		if entry.Key != key {
			t.Fatalf("Select reports fd %d (%p), want only key %p", entry.Key.FD, entry.Key, key)
		}
		events |= entry.Events
	}
	return events
}

// states are the rows that are the same on all systems.
var states = []state{
	{"PairIdle", 0, func(t *T) int { a, _ := t.pair(); return a }, w, 0},
	{"PairData", 0, func(t *T) int { a, b := t.pair(); t.write(b, "x"); return a }, r | w, 0},
	{"PairFull", 0, func(t *T) int { a, _ := t.pair(); t.fill(a); return a }, 0, 0},
	{"PairPeerClosed", 0, func(t *T) int { a, b := t.pair(); t.close(b); return a }, r | w | rc | hu, 0},
	{"PairDataPeerClosed", 0, func(t *T) int { a, b := t.pair(); t.write(b, "x"); t.close(b); return a }, r | w | rc | hu, 0},
	{"PairPeerShutWrite", 0, func(t *T) int { a, b := t.pair(); t.shutdownWrite(b); return a }, r | w | rc, 0},

	{"PipeReadEmpty", anyFile, func(t *T) int { a, _ := t.pipe(); return a }, 0, 0},
	{"PipeReadData", anyFile, func(t *T) int { a, b := t.pipe(); t.write(b, "x"); return a }, r, 0},
	{"PipeReadDataWriterClosed", anyFile, func(t *T) int { a, b := t.pipe(); t.write(b, "x"); t.close(b); return a }, r | hu, 0},
	{"PipeReadEmptyWriterClosed", anyFile, func(t *T) int { a, b := t.pipe(); t.close(b); return a }, r | hu, 0},
	{"PipeWriteEmpty", anyFile, func(t *T) int { _, b := t.pipe(); return b }, w, 0},
	{"PipeWriteFull", anyFile, func(t *T) int { _, b := t.pipe(); t.fill(b); return b }, 0, 0},

	{"TCPIdle", 0, func(t *T) int { a, _ := t.tcp(); return a }, w, 0},
	{"TCPData", 0, func(t *T) int { a, b := t.tcp(); t.write(b, "x"); t.waitPoll(a, readable); return a }, r | w, 0},
	{"TCPPeerShutWrite", 0, func(t *T) int {
		a, b := t.tcp()
		t.shutdownWrite(b)
		t.waitPoll(a, readable)
		return a
	}, r | w | rc, 0},
	{"TCPPeerClosed", 0, func(t *T) int { a, b := t.tcp(); t.close(b); t.waitPoll(a, readable); return a }, r | w | rc, 0},
	{"TCPListening", 0, func(t *T) int { l, _ := t.listen(); return l }, 0, 0},
	{"TCPListeningQueued", 0, func(t *T) int {
		l, address := t.listen()
		t.connect(t.newSocket(stream), address)
		t.waitPoll(l, readable)
		return l
	}, r, 0},

	{"UDPIdle", 0, func(t *T) int { a, _ := t.boundSocket(datagram); return a }, w, 0},
	{"UDPData", 0, func(t *T) int {
		a, address := t.boundSocket(datagram)
		t.sendTo(a, "x", address)
		t.waitPoll(a, readable)
		return a
	}, r | w, 0},
}
