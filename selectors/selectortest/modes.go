package selectortest

import (
	"goselectors/selectors"
)

const edges = selectors.FeatureEdgeTriggered

// How what is ready is delivered.
var modesRules = []rule{
	{"LevelRepeats", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		t.write(b, "xyz")
		for _, data := range "xyz" {
			t.ready(is(key, r))
			t.ready(is(key, r))
			t.read(a, string(data))
		}
		t.silent()
		t.write(b, "x")
		t.ready(is(key, r))
	}},

	{"LevelBoth", 0, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		key := t.register(a, r|w, nil)
		for range 3 {
			t.ready(is(key, r|w)) // in one entry
		}
		t.read(a, "x")
		t.ready(is(key, w))
	}},

	{"EdgeOnce", edges, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|edge, nil)
		t.silent()
		t.write(b, "xy")
		t.ready(is(key, r))
		t.silent()
		t.read(a, "x")
		t.silent() // y is left, but nothing is new
		t.sleeps()
		t.write(b, "z")
		t.ready(is(key, r))
		t.read(a, "yz")
		t.silent()
	}},

	{"EdgeReadyBefore", edges, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		t.ready(is(t.register(a, r|edge, nil), r))
		t.silent()
	}},

	{"EdgeEveryWrite", edges, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|edge, nil)
		for range 3 {
			t.write(b, "x")
			t.ready(is(key, r))
			t.silent()
		}
	}},

	{"EdgeWrite", edges, func(t *T) {
		a, b := t.pair()
		key := t.register(a, w|edge, nil)
		t.ready(is(key, w))
		t.silent()
		t.fill(a)
		t.silent()
		t.drain(b)
		t.ready(is(key, w))
		t.silent()
	}},

	{"OneShotOnce", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|oneShot, nil)
		t.silent()
		t.write(b, "xy")
		t.ready(is(key, r))
		t.silent()
		t.write(b, "z")
		t.silent()
		t.read(a, "xyz")
		t.write(b, "x")
		t.silent()
		t.close(b)
		t.silent() // not even of a hang-up
		t.sleeps()
		if got, err := t.s.Key(a); err != nil || got != key {
			t.Errorf("Key is %v, %v; want the key: it has fired, but it is there", got, err)
		}
		t.unregister(a)
	}},

	{"OneShotIsOneForBoth", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|w|oneShot, nil)
		t.ready(is(key, w))
		t.write(b, "x")
		t.silent()
		t.ready(is(t.modify(a, r|w|oneShot, nil), r|w))
		t.silent()
	}},

	{"OneShotLeavesOthers", 0, func(t *T) {
		a, b := t.pair()
		once, level := t.register(a, w|oneShot, "once"), t.register(b, w, "level")
		t.ready(is(once, w), is(level, w))
		t.ready(is(level, w))
		once = t.modify(a, w|oneShot, "again")
		t.ready(is(once, w), is(level, w))
		t.ready(is(level, w))
	}},

	{"OneShotAgainAfterUnregister", 0, func(t *T) {
		a, _ := t.pair()
		for range 3 {
			t.ready(is(t.register(a, w|oneShot, nil), w))
			t.silent()
			t.unregister(a)
		}
	}},

	{"OneShotRegisterTwice", 0, func(t *T) {
		a, _ := t.pair()
		t.ready(is(t.register(a, w|oneShot, nil), w))
		_, err := t.s.Register(a, w, nil)
		t.fails(err, "Register of a key that has fired", selectors.ErrRegistered)
		t.silent()
	}},

	{"EdgeAndOneShot", edges, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|edge|oneShot, nil)
		t.write(b, "x")
		t.ready(is(key, r))
		t.write(b, "y")
		t.silent()
		t.ready(is(t.modify(a, r|edge|oneShot, nil), r))
		t.silent()
	}},

	{"Switch", 0, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		t.register(a, r, nil)
		for range 2 {
			level := t.modify(a, r, "level")
			t.ready(is(level, r))
			t.ready(is(level, r))
			once := t.modify(a, r|oneShot, "one-shot")
			t.ready(is(once, r))
			t.silent()
			if t.has&edges != 0 {
				change := t.modify(a, r|edge, "edge")
				t.ready(is(change, r))
				t.silent()
			}
		}
		level := t.modify(a, r, "level")
		t.ready(is(level, r))
		t.read(a, "x")
		t.stays(level, b)
	}},

	{"ExclusiveAlone", selectors.FeatureExclusive, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r|excl, nil)
		t.stays(key, b)
		t.unregister(a)
		t.stays(t.register(a, r, nil), b)
	}},
}

// One file in two selectors.
var twoSelectorsRules = []rule{
	{"Level", 0, func(t *T) {
		both(t, r, func(s selectors.Selector, key *selectors.SelectorKey) {
			t.readyOn(s, is(key, r))
			t.readyOn(s, is(key, r))
		})
	}},

	{"Edge", edges, func(t *T) {
		both(t, r|edge, func(s selectors.Selector, key *selectors.SelectorKey) {
			t.readyOn(s, is(key, r))
			t.silentOn(s)
		})
	}},

	{"OneShot", 0, func(t *T) {
		both(t, r|oneShot, func(s selectors.Selector, key *selectors.SelectorKey) {
			t.readyOn(s, is(key, r))
			t.silentOn(s)
		})
	}},

	{"AreIndependent", 0, func(t *T) {
		a, b := t.pair()
		other := t.open()
		key := t.register(a, r, nil)
		t.registerWith(other, a, w, nil)
		if _, err := other.Unregister(a); err != nil {
			t.Errorf("Unregister from the other selector: %v", err)
		}
		t.ok(other.Close(), "Close of the other selector")
		t.stays(key, b)
	}},

	{"BothWake", 0, func(t *T) { wakesSome(t, r, 2) }},
	{"EdgeBothWake", edges, func(t *T) { wakesSome(t, r|edge, 2) }},
	{"ExclusiveWakesOne", selectors.FeatureExclusive, func(t *T) { wakesSome(t, r|excl, 1) }},
}

// both registers a file in two selectors, makes it ready, and checks each.
func both(t *T, events selectors.Event, check func(s selectors.Selector, key *selectors.SelectorKey)) {
	t.Helper()
	a, b := t.pair()
	other := t.open()
	one, two := t.registerWith(t.s, a, events, "one"), t.registerWith(other, a, events, "two")
	t.write(b, "x")
	check(t.s, one)
	check(other, two)
}

// wakesSome checks that at least so many of two selectors that wait for the
// same file return when it gets ready.
func wakesSome(t *T, events selectors.Event, least int) {
	t.Helper()
	a, b := t.pair()
	type watch struct {
		s   selectors.Selector
		key *selectors.SelectorKey
		*waiting
	}
	var watches []watch
	for _, s := range []selectors.Selector{t.s, t.open()} {
		key := t.registerWith(s, a, events, nil)
		watches = append(watches, watch{s, key, t.begin(s, -1)})
	}
	t.write(b, "x")
	for range least {
		var done returned
		var first watch
		select {
		case done = <-watches[0].done:
			first, watches = watches[0], watches[1:]
		case done = <-watches[len(watches)-1].done:
			first, watches = watches[len(watches)-1], watches[:len(watches)-1]
		}
		t.ok(done.err, "the Select that waited")
		t.same(done.batch, is(first.key, r))
	}
	for _, last := range watches {
		t.ok(last.s.Wake(), "Wake")
		t.ok(last.returns().err, "the Select that waited")
	}
}
