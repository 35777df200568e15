package selectortest

import (
	"goselectors/selectors"
)

// What Modify changes, and what it leaves.
var modifyRules = []rule{
	{"Events", 0, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		t.register(a, r, nil)
		for _, events := range []selectors.Event{w, r, r | w, w, r | w, r} {
			key := t.modify(a, events, nil)
			if key.Events != events {
				t.Errorf("the key has events %v, want %v", key.Events, events)
			}
			t.ready(is(key, events))
		}
		if n := t.s.Len(); n != 1 {
			t.Errorf("Len is %d, want 1", n)
		}
	}},

	{"BeforeItIsSeen", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, w, nil)
		key := t.modify(a, r, nil) // was ready to be written all along
		t.silent()
		t.stays(key, b)
	}},

	{"DataOnly", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, r, "old")
		for _, data := range []any{"new", nil, []int{1}} {
			key := t.modify(a, r, data)
			if key.Events != r || key.FD != a || key.FileObj != any(a) {
				t.Errorf("the key is %+v", *key)
			}
			t.stays(key, b)
		}
	}},

	{"DataOnlyLosesNothing", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, r, "old")
		t.write(b, "x")
		t.ready(is(t.modify(a, r, "new"), r))
	}},

	{"IsAtomic", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, "old")
		for _, bad := range []selectors.Event{0, 1 << 9, r | hu, edge} {
			_, err := t.s.Modify(a, bad, "new")
			t.fails(err, "Modify with "+bad.String(), selectors.ErrInvalidEvents)
			t.stays(key, b)
		}
	}},

	{"ClosedIsEBADF", 0, func(t *T) {
		a, _ := t.pair()
		a = t.move(a)
		key := t.register(a, r, nil)
		t.close(a)
		_, err := t.s.Modify(a, w, nil)
		t.fails(err, "Modify of a number that was closed", badFD)
		if got, err := t.s.Key(a); err != nil || got != key {
			t.Errorf("Key is %v, %v; want the key that was", got, err)
		}
		t.unregister(a)
	}},

	{"ArmsTheFileOfTheNumber", 0, func(t *T) {
		a, b := t.pair()
		c, d := t.pair()
		a = t.move(a)
		t.register(a, r, "old")
		t.place(c, a) // closes what was a
		t.write(d, "x")
		key := t.modify(a, r|w, "new")
		t.ready(is(key, r|w))
		t.read(a, "x")
		t.close(b) // the old file is not watched any more
		t.stays(t.modify(a, r, nil), d)
	}},

	{"OneShotArmsAgain", 0, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		key := t.register(a, r|oneShot, 0)
		for i := range 3 {
			t.ready(is(key, r))
			t.silent()
			key = t.modify(a, r|oneShot, i) // no other events: still it arms
		}
		t.ready(is(key, r))
	}},

	{"EdgeArmsAgain", selectors.FeatureEdgeTriggered, func(t *T) {
		a, b := t.pair()
		t.write(b, "x")
		key := t.register(a, r|edge, nil)
		for range 3 {
			t.ready(is(key, r))
			t.silent()
			key = t.modify(a, r|edge, nil)
		}
		t.ready(is(key, r))
	}},

	{"Exclusive", selectors.FeatureExclusive, func(t *T) {
		a, b := t.pair()
		t.register(a, r|excl, nil)
		t.ready(is(t.modify(a, w|excl, nil), w))
		t.ready(is(t.modify(a, w, nil), w))
		key := t.modify(a, r|excl, nil)
		t.silent()
		t.stays(key, b)
		_, err := t.s.Modify(a, r|excl|oneShot, nil)
		t.fails(err, "Modify with Exclusive|OneShot", selectors.ErrInvalidEvents)
		t.stays(key, b)
	}},
}

// What Unregister ends, and when it works.
var unregisterRules = []rule{
	{"ReturnsTheKey", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		if got := t.unregister(a); got != key {
			t.Errorf("Unregister returned %v, want the key %v", got, key)
		}
		t.write(b, "x")
		t.silent()
		if n := t.s.Len(); n != 0 {
			t.Errorf("Len is %d, want 0", n)
		}
	}},

	{"TwiceIsErrNotRegistered", 0, func(t *T) {
		a, _ := t.pair()
		t.register(a, r, nil)
		t.unregister(a)
		_, err := t.s.Unregister(a)
		t.fails(err, "the second Unregister", selectors.ErrNotRegistered)
	}},

	{"LeavesTheFileOpen", 0, func(t *T) {
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
		a = t.move(a)
		gone := t.register(a, r|w, nil)
		t.close(a, b)
		if got := t.unregister(a); got != gone {
			t.Errorf("Unregister returned %v, want the key %v", got, gone)
		}
		t.stays(key, peer)
	}},

	{"AfterCloseAndReuse", 0, func(t *T) {
		a, _ := t.pair()
		a = t.move(a)
		t.register(a, r|w, nil)
		c, d := t.pair()
		t.place(c, a) // closes what was a
		t.unregister(a)
		t.write(d, "x")
		t.silent()
		key := t.register(a, r, nil)
		t.ready(is(key, r))
		t.read(a, "x")
		t.stays(key, d)
	}},

	{"AfterCloseOfTheObject", 0, func(t *T) {
		other, peer := t.pair()
		key := t.register(other, r, "other")
		for _, byNumber := range []bool{false, true} {
			f, _ := t.socketFile()
			gone := t.register(f, r, nil)
			name := any(f)
			if byNumber {
				name = gone.FD
			}
			t.ok(f.Close(), "close")
			if got := t.unregister(name); got != gone {
				t.Errorf("Unregister returned %v, want the key %v", got, gone)
			}
		}
		t.stays(key, peer)
	}},

	{"InTheMiddle", 0, func(t *T) {
		// Backends with arrays fill the gap with another entry.
		type end struct {
			key  *selectors.SelectorKey
			peer int
		}
		var ends []end
		for i := range 7 {
			a, b := t.pair()
			ends = append(ends, end{t.register(a, r, i), b})
		}
		for len(ends) > 0 {
			gone := ends[len(ends)/2]
			ends = append(ends[:len(ends)/2], ends[len(ends)/2+1:]...)
			t.unregister(gone.key.FD)
			t.write(gone.peer, "x")
			for _, e := range ends {
				t.stays(e.key, e.peer)
			}
		}
		t.silent()
	}},

	{"OfOneInTheBatch", 0, func(t *T) {
		a, b := t.pair()
		first, second := t.register(a, w, "first"), t.register(b, w, "second")
		t.ready(is(first, w), is(second, w))
		t.unregister(a)
		t.ready(is(second, w))
	}},
}
