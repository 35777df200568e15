package selectortest

import (
	"errors"

	"goselectors/selectors"
)

// invalidEventsRules check that Register and Modify refuse invalid interests, and
// interests that the selector does not support.
var invalidEventsRules = []rule{
	{"Zero", 0, func(t *T) { wantRefused(t, selectors.ErrInvalidEvents, 0) }},

	{"UnknownBits", 0, func(t *T) {
		wantRefused(t, selectors.ErrInvalidEvents, 1<<7, r|1<<7, r|w|1<<15, r|1<<19, 1<<31, r|1<<31, 999999)
	}},

	{"HintsInInterest", 0, func(t *T) {
		wantRefused(t, selectors.ErrInvalidEvents, hu, er, iv, r|hu, w|er, r|w|iv, r|hu|er|iv)
	}},

	{"ModesWithoutInterest", 0, func(t *T) {
		wantRefused(t, selectors.ErrInvalidEvents, edge, oneShot, excl, edge|oneShot, edge|excl, edge|oneShot|excl)
	}},

	{"InvalidExclusiveCombinations", 0, func(t *T) {
		wantRefused(t, selectors.ErrInvalidEvents, r|p|excl, r|rc|excl, r|oneShot|excl, w|edge|oneShot|excl, p|excl, rc|excl)
	}},

	{"Unsupported", 0, func(t *T) {
		for _, c := range []struct {
			feature selectors.Feature
			events  []selectors.Event
		}{
			{selectors.FeatureEdgeTriggered, []selectors.Event{r | edge}},
			{selectors.FeatureOneShot, []selectors.Event{r | oneShot, r | w | oneShot}},
			{selectors.FeatureEdgeTriggered | selectors.FeatureOneShot, []selectors.Event{w | edge | oneShot}},
			{selectors.FeatureExclusive, []selectors.Event{r | excl, r | w | excl}},
			{selectors.FeaturePriority, []selectors.Event{p, r | p}},
			{selectors.FeatureReadClosed, []selectors.Event{rc, r | rc}},
		} {
			if t.features&c.feature != c.feature {
				wantRefused(t, errors.ErrUnsupported, c.events...)
				continue
			}
			a, _ := t.pair()
			for _, events := range c.events {
				if key := t.register(a, events, nil); key.Events != events {
					t.Errorf("key.Events = %v, want %v", key.Events, events)
				}
				t.unregister(a)
			}
		}
	}},
}

// wantRefused checks that Register and Modify return an error that matches target
// for each of the interests, and that the failed calls change nothing.
func wantRefused(t *T, target error, interests ...selectors.Event) {
	t.Helper()
	a, b := t.pair()
	unregistered, _ := t.pair()
	key := t.register(a, r, nil)
	want := t.s.Len()
	for _, events := range interests {
		_, err := t.s.Register(unregistered, events, nil)
		t.wantError(err, "Register with "+events.String(), target)
		_, err = t.s.Key(unregistered)
		t.wantError(err, "Key after a failed Register", selectors.ErrNotRegistered)
		_, err = t.s.Modify(a, events, nil)
		t.wantError(err, "Modify with "+events.String(), target)
		t.wantLen(want)
		t.wantStillReported(key, b)
	}
	t.register(unregistered, r, nil) // a valid interest still works
}

// errorRules check the type and the fields of errors.
var errorRules = []rule{
	{"AreOfTypeError", 0, func(t *T) {
		a, _ := t.pair()
		unknown, _ := t.pair()
		t.register(a, r, nil)
		closed, _ := t.pair()
		closed = t.moveHigh(closed)
		t.close(closed)
		s := t.s
		register := func(fileobj any, events selectors.Event) error {
			_, err := s.Register(fileobj, events, nil)
			return err
		}
		for _, c := range []struct {
			op    string
			fd    int
			cause error
			err   error
		}{
			{"register", a, selectors.ErrRegistered, register(a, r)},
			{"register", unknown, selectors.ErrInvalidEvents, register(unknown, 0)},
			{"register", closed, badFD, register(closed, r)},
			{"register", -1, selectors.ErrInvalidFileObj, register(nil, r)},
			{"modify", unknown, selectors.ErrNotRegistered, errorOf(s.Modify(unknown, r, nil))},
			{"modify", a, selectors.ErrInvalidEvents, errorOf(s.Modify(a, 0, nil))},
			{"modify", -1, selectors.ErrInvalidFileObj, errorOf(s.Modify("", r, nil))},
			{"unregister", unknown, selectors.ErrNotRegistered, errorOf(s.Unregister(unknown))},
			{"unregister", -1, selectors.ErrInvalidFileObj, errorOf(s.Unregister(-1))},
			{"key", unknown, selectors.ErrNotRegistered, errorOf(s.Key(unknown))},
			{"key", -1, selectors.ErrInvalidFileObj, errorOf(s.Key(nil))},
			{"wake", -1, selectors.ErrClosed, func() error { s.Close(); return s.Wake() }()},
			{"select", -1, selectors.ErrClosed, errorOf(s.Select(0))},
			{"register", unknown, selectors.ErrClosed, register(unknown, r)},
		} {
			t.wantError(c.err, c.op, c.cause)
			var e *selectors.Error
			switch {
			case !errors.As(c.err, &e):
				t.Errorf("%s: error %v of type %T, want a *selectors.Error", c.op, c.err, c.err)
			case e.Op != c.op || e.FD != c.fd || e.Backend == "" || e.Error() == "":
				t.Errorf("%s: error %+v, want Op %q, FD %d, and the name of a backend", c.op, *e, c.op, c.fd)
			}
		}
	}},
}

// errorOf returns the error of a call with two results.
func errorOf[V any](_ V, err error) error { return err }
