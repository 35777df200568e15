package selectortest

import (
	"slices"

	"goselectors/selectors"
)

// modifyRules check what Modify changes and what stays.
var modifyRules = []rule{
	{"Events", 0, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		t.register(a, r, nil)
		for _, events := range []selectors.Event{w, r, r | w, w, r | w, r} {
			key := t.modify(a, events, nil)
			if key.Events != events {
				t.Errorf("key.Events = %v, want %v", key.Events, events)
			}
			t.wantReady(report(key, events))
		}
		t.wantLen(1)
	}},

	{"BeforeSelect", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, w, nil)
		key := t.modify(a, r, nil) // a is writable all the time
		t.wantNothing()
		t.wantStillReported(key, b)
	}},

	{"DataOnly", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, r, "old")
		for _, data := range []any{"new", nil, []int{1}} {
			key := t.modify(a, r, data)
			if key.Events != r || key.FD != a || key.FileObj != any(a) {
				t.Errorf("Modify returned key %+v, want file object and fd %d, events %v", *key, a, r)
			}
			t.wantStillReported(key, b)
		}
	}},

	{"DataOnlyKeepsReadiness", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, r, "old")
		t.write(b, "x")
		t.wantReady(report(t.modify(a, r, "new"), r))
	}},

	{"FailureChangesNothing", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, "old")
		for _, invalid := range []selectors.Event{0, 1 << 9, r | hu, edge} {
			_, err := t.s.Modify(a, invalid, "new")
			t.wantError(err, "Modify with "+invalid.String(), selectors.ErrInvalidEvents)
			t.wantStillReported(key, b)
		}
	}},

	{"ClosedReturnsEBADF", 0, func(t *T) {
		a, _ := t.pair()
		a = t.moveHigh(a)
		key := t.register(a, r, nil)
		t.close(a)
		_, err := t.s.Modify(a, w, nil)
		t.wantError(err, "Modify of a closed descriptor", badFD)
		t.wantKey(a, key)
		t.unregister(a)
	}},

	{"WatchesFileThatReusesNumber", 0, func(t *T) {
		a, b := t.pair()
		c, d := t.pair()
		a = t.moveHigh(a)
		t.register(a, r, "old")
		t.dupTo(c, a) // closes the old file
		t.write(d, "x")
		key := t.modify(a, r|w, "new")
		t.wantReady(report(key, r|w))
		t.read(a, "x")
		t.close(b) // peer of the old file, which is no longer watched
		t.wantStillReported(t.modify(a, r, nil), d)
	}},

	{"RearmsOneShot", oneShotFeature, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		key := t.register(a, r|oneShot, 0)
		for i := range 3 {
			t.wantReady(report(key, r))
			t.wantNothing()
			key = t.modify(a, r|oneShot, i) // the same events arm it again
		}
		t.wantReady(report(key, r))
	}},

	{"RearmsEdge", selectors.FeatureEdgeTriggered, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		key := t.register(a, r|edge, nil)
		for range 3 {
			t.wantReady(report(key, r))
			t.wantNothing()
			key = t.modify(a, r|edge, nil)
		}
		t.wantReady(report(key, r))
	}},

	{"Exclusive", selectors.FeatureExclusive, func(t *T) {
		a, b := t.pair()
		t.register(a, r|excl, nil)
		t.wantReady(report(t.modify(a, w|excl, nil), w))
		t.wantReady(report(t.modify(a, w, nil), w))
		key := t.modify(a, r|excl, nil)
		t.wantNothing()
		t.wantStillReported(key, b)
		_, err := t.s.Modify(a, r|excl|oneShot, nil)
		t.wantError(err, "Modify with Exclusive|OneShot", selectors.ErrInvalidEvents)
		t.wantStillReported(key, b)
	}},
}

// unregisterRules check the effect of Unregister, also after the file was closed.
var unregisterRules = []rule{
	{"ReturnsKey", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		t.wantUnregister(a, key)
		t.write(b, "x")
		t.wantNothing()
		t.wantLen(0)
	}},

	{"TwiceReturnsErrNotRegistered", 0, func(t *T) {
		a, _ := t.pair()
		t.register(a, r, nil)
		t.unregister(a)
		_, err := t.s.Unregister(a)
		t.wantError(err, "the second Unregister", selectors.ErrNotRegistered)
	}},

	{"LeavesFileOpen", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, r, nil)
		t.unregister(a)
		t.write(b, "x")
		t.read(a, "x")
	}},

	{"AfterClose", 0, func(t *T) {
		other, peer := t.pair()
		key := t.register(other, r, "other")
		a, b := t.pair()
		a = t.moveHigh(a)
		closedKey := t.register(a, r|w, nil)
		t.close(a, b)
		t.wantUnregister(a, closedKey)
		t.wantStillReported(key, peer)
	}},

	{"AfterCloseAndReuse", 0, func(t *T) {
		a, _ := t.pair()
		a = t.moveHigh(a)
		t.register(a, r|w, nil)
		c, d := t.pair()
		t.dupTo(c, a) // closes the old file
		t.unregister(a)
		t.write(d, "x")
		t.wantNothing()
		key := t.register(a, r, nil)
		t.wantReady(report(key, r))
		t.read(a, "x")
		t.wantStillReported(key, d)
	}},

	{"AfterObjectClose", 0, func(t *T) {
		other, peer := t.pair()
		key := t.register(other, r, "other")
		for _, byNumber := range []bool{false, true} {
			f, _ := t.socketFile()
			closedKey := t.register(f, r, nil)
			name := any(f)
			if byNumber {
				name = closedKey.FD
			}
			t.noError(f.Close(), "close")
			t.wantUnregister(name, closedKey)
		}
		t.wantStillReported(key, peer)
	}},

	{"FromMiddleOfMany", 0, func(t *T) {
		// Backends that use an array move another entry into the gap.
		var registered []watched
		for i := range 7 {
			a, b := t.pair()
			registered = append(registered, watched{t.register(a, r, i), b})
		}
		for len(registered) > 0 {
			middle := len(registered) / 2
			removed := registered[middle]
			registered = slices.Delete(registered, middle, middle+1)
			t.unregister(removed.key.FD)
			t.write(removed.peer, "x")
			for _, remaining := range registered {
				t.wantStillReported(remaining.key, remaining.peer)
			}
		}
		t.wantNothing()
	}},

	{"OneOfLastBatch", 0, func(t *T) {
		a, b := t.pair()
		first, second := t.register(a, w, "first"), t.register(b, w, "second")
		t.wantReady(report(first, w), report(second, w))
		t.unregister(a)
		t.wantReady(report(second, w))
	}},
}
