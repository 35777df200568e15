package selectortest

import (
	"goselectors/selectors"
)

const (
	edgeFeature    = selectors.FeatureEdgeTriggered
	oneShotFeature = selectors.FeatureOneShot
)

// modesRules check how the registration modes report readiness:
// level-triggered, edge-triggered, one-shot and exclusive.
var modesRules = []rule{
	{"LevelRepeats", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		t.write(b, "xyz")
		for _, data := range "xyz" {
			t.wantReady(report(key, r))
			t.wantReady(report(key, r))
			t.read(a, string(data))
		}
		t.wantNothing()
		t.write(b, "x")
		t.wantReady(report(key, r))
	}},

	{"LevelReadAndWrite", 0, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		key := t.register(a, r|w, nil)
		for range 3 {
			t.wantReady(report(key, r|w)) // in one entry
		}
		t.read(a, "x")
		t.wantReady(report(key, w))
	}},

	{"EdgeReportsOnce", edgeFeature, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|edge, nil)
		t.wantNothing()
		t.write(b, "xy")
		t.wantReady(report(key, r))
		t.wantNothing()
		t.read(a, "x")
		t.wantNothing() // y is unread, but no new data has arrived
		t.wantNoSpin()
		t.write(b, "z")
		t.wantReady(report(key, r))
		t.read(a, "yz")
		t.wantNothing()
	}},

	{"EdgeReadyBeforeRegister", edgeFeature, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		t.wantReady(report(t.register(a, r|edge, nil), r))
		t.wantNothing()
	}},

	{"EdgeReportsEachWrite", edgeFeature, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|edge, nil)
		for range 3 {
			t.write(b, "x")
			t.wantReady(report(key, r))
			t.wantNothing()
		}
	}},

	{"EdgeWrite", edgeFeature, func(t *T) {
		a, b := t.pair()
		key := t.register(a, w|edge, nil)
		t.wantReady(report(key, w))
		t.wantNothing()
		t.fill(a)
		t.wantNothing()
		t.drain(b)
		t.wantReady(report(key, w))
		t.wantNothing()
	}},

	{"OneShotReportsOnce", oneShotFeature, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|oneShot, nil)
		t.wantNothing()
		t.write(b, "xy")
		t.wantReady(report(key, r))
		t.wantNothing()
		t.write(b, "z")
		t.wantNothing()
		t.read(a, "xyz")
		t.write(b, "x")
		t.wantNothing()
		t.close(b)
		t.wantNothing() // no hang-up either
		t.wantNoSpin()
		t.wantKey(a, key)
		t.unregister(a)
	}},

	{"OneShotReadAndWrite", oneShotFeature, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|w|oneShot, nil)
		t.wantReady(report(key, w))
		t.write(b, "x")
		t.wantNothing()
		t.wantReady(report(t.modify(a, r|w|oneShot, nil), r|w))
		t.wantNothing()
	}},

	{"OneShotDoesNotAffectOthers", oneShotFeature, func(t *T) {
		a, b := t.pair()
		oneShotKey, levelKey := t.register(a, w|oneShot, "one-shot"), t.register(b, w, "level")
		t.wantReady(report(oneShotKey, w), report(levelKey, w))
		t.wantReady(report(levelKey, w))
		oneShotKey = t.modify(a, w|oneShot, "modified")
		t.wantReady(report(oneShotKey, w), report(levelKey, w))
		t.wantReady(report(levelKey, w))
	}},

	{"OneShotRegisterAfterUnregister", oneShotFeature, func(t *T) {
		a, _ := t.pair()
		for range 3 {
			t.wantReady(report(t.register(a, w|oneShot, nil), w))
			t.wantNothing()
			t.unregister(a)
		}
	}},

	{"OneShotRegisterTwice", oneShotFeature, func(t *T) {
		a, _ := t.pair()
		t.wantReady(report(t.register(a, w|oneShot, nil), w))
		_, err := t.s.Register(a, w, nil)
		t.wantError(err, "Register of a key that was reported", selectors.ErrRegistered)
		t.wantNothing()
	}},

	{"EdgeAndOneShot", edgeFeature | oneShotFeature, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|edge|oneShot, nil)
		t.write(b, "x")
		t.wantReady(report(key, r))
		t.write(b, "y")
		t.wantNothing()
		t.wantReady(report(t.modify(a, r|edge|oneShot, nil), r))
		t.wantNothing()
	}},

	{"SwitchModes", 0, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		t.register(a, r, nil)
		for range 2 {
			levelKey := t.modify(a, r, "level")
			t.wantReady(report(levelKey, r))
			t.wantReady(report(levelKey, r))
			if t.features&oneShotFeature != 0 {
				oneShotKey := t.modify(a, r|oneShot, "one-shot")
				t.wantReady(report(oneShotKey, r))
				t.wantNothing()
			}
			if t.features&edgeFeature != 0 {
				edgeKey := t.modify(a, r|edge, "edge")
				t.wantReady(report(edgeKey, r))
				t.wantNothing()
			}
		}
		levelKey := t.modify(a, r, "level")
		t.wantReady(report(levelKey, r))
		t.read(a, "x")
		t.wantStillReported(levelKey, b)
	}},

	{"ExclusiveInOneSelector", selectors.FeatureExclusive, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|excl, nil)
		t.wantStillReported(key, b)
		t.unregister(a)
		t.wantStillReported(t.register(a, r, nil), b)
	}},
}

// twoSelectorsRules check one file that is registered in two selectors.
var twoSelectorsRules = []rule{
	{"Level", 0, func(t *T) {
		inTwoSelectors(t, r, func(s selectors.Selector, key *selectors.SelectorKey) {
			t.wantReadyOn(s, report(key, r))
			t.wantReadyOn(s, report(key, r))
		})
	}},

	{"Edge", edgeFeature, func(t *T) {
		inTwoSelectors(t, r|edge, func(s selectors.Selector, key *selectors.SelectorKey) {
			t.wantReadyOn(s, report(key, r))
			t.wantNothingOn(s)
		})
	}},

	{"OneShot", oneShotFeature, func(t *T) {
		inTwoSelectors(t, r|oneShot, func(s selectors.Selector, key *selectors.SelectorKey) {
			t.wantReadyOn(s, report(key, r))
			t.wantNothingOn(s)
		})
	}},

	{"Independent", 0, func(t *T) {
		a, b := t.pair()
		other := t.newTestSelector()
		key := t.register(a, r, nil)
		t.registerWith(other, a, w, nil)
		if _, err := other.Unregister(a); err != nil {
			t.Errorf("Unregister from the other selector: %v", err)
		}
		t.noError(other.Close(), "Close of the other selector")
		t.wantStillReported(key, b)
	}},

	{"BothWake", 0, func(t *T) { wantWakes(t, r, 2) }},
	{"EdgeBothWake", edgeFeature, func(t *T) { wantWakes(t, r|edge, 2) }},
	{"ExclusiveWakesOne", selectors.FeatureExclusive, func(t *T) { wantWakes(t, r|excl, 1) }},
}

// inTwoSelectors registers a file in two selectors, makes it readable and calls
// check for each selector.
func inTwoSelectors(t *T, events selectors.Event, check func(s selectors.Selector, key *selectors.SelectorKey)) {
	t.Helper()
	a, b := t.pair()
	other := t.newTestSelector()
	one, two := t.registerWith(t.s, a, events, "one"), t.registerWith(other, a, events, "two")
	t.write(b, "x")
	check(t.s, one)
	check(other, two)
}

// wantWakes checks that at least the given number of Selects return when two
// selectors wait for the same file and it becomes readable.
func wantWakes(t *T, events selectors.Event, atLeast int) {
	t.Helper()
	a, b := t.pair()
	type waiter struct {
		s   selectors.Selector
		key *selectors.SelectorKey
		*pendingSelect
	}
	var waiting []waiter
	for _, s := range []selectors.Selector{t.s, t.newTestSelector()} {
		key := t.registerWith(s, a, events, nil)
		waiting = append(waiting, waiter{s, key, t.startSelect(s, -1)})
	}
	t.write(b, "x")
	for range atLeast {
		var result selectResult
		var returned waiter
		select {
		case result = <-waiting[0].done:
			returned, waiting = waiting[0], waiting[1:]
		case result = <-waiting[len(waiting)-1].done:
			returned, waiting = waiting[len(waiting)-1], waiting[:len(waiting)-1]
		}
		t.noError(result.err, "the pending Select")
		t.wantBatch(result.batch, report(returned.key, r))
	}
	for _, remaining := range waiting {
		t.noError(remaining.s.Wake(), "Wake")
		t.noError(remaining.result().err, "the pending Select")
	}
}
