package selectortest

import (
	"math"
	"math/bits"
	"slices"

	"goselectors/selectors"
)

// registerRules check what Register does and which calls fail.
var registerRules = []rule{
	{"KeyHasArguments", 0, func(t *T) {
		a, _ := t.pair()
		data := &struct{}{}
		key := t.register(a, r|w, data)
		if key.FileObj != any(a) || key.FD != a || key.Events != r|w || key.Data != any(data) {
			t.Errorf("Register returned key %+v, want file object and fd %d, events %v, data %p", *key, a, r|w, data)
		}
		t.wantKey(a, key)
		t.wantLen(1)
	}},

	{"KeyHasModes", oneShotFeature, func(t *T) {
		a, _ := t.pair()
		if key := t.register(a, r|oneShot, nil); key.Events != r|oneShot {
			t.Errorf("key.Events = %v, want %v", key.Events, r|oneShot)
		}
	}},

	{"ReportHasKey", 0, func(t *T) {
		a, _ := t.pair()
		t.wantReady(report(t.register(a, w, "data"), w))
	}},

	{"AnyData", 0, func(t *T) {
		for _, data := range []any{nil, 0, "s", []int{1}, map[string]int{}, func() {}} {
			a, _ := t.pair()
			key := t.register(a, w, data)
			t.wantReady(report(key, w))
			t.modify(a, r, data)
			t.unregister(a)
		}
	}},

	{"TwiceReturnsErrRegistered", 0, func(t *T) {
		a, b := t.pair()
		obj := &fdPointer{uintptr(a)}
		key := t.register(obj, r, "first")
		for _, fileobj := range []any{obj, a, uintptr(a), &fdPointer{uintptr(a)}} {
			_, err := t.s.Register(fileobj, r|w, "second")
			t.wantError(err, "Register of a registered descriptor", selectors.ErrRegistered)
		}
		t.wantLen(1)
		t.wantStillReported(key, b)
	}},

	{"ObjectWithRegisteredNumber", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		_, err := t.s.Register(&fdPointer{uintptr(a)}, r, nil)
		t.wantError(err, "Register of an object with a registered descriptor", selectors.ErrRegistered)
		t.wantStillReported(key, b)
	}},

	{"DuplicatesAreSeparateKeys", 0, func(t *T) {
		a, b := t.pair()
		other := t.dup(a, 0)
		first, second := t.register(a, r, "first"), t.register(other, r, "second")
		t.write(b, "x")
		t.wantReady(report(first, r), report(second, r))
		t.unregister(a)
		t.wantReady(report(second, r))
	}},

	{"NotOpenReturnsEBADF", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		c, _ := t.pair()
		c = t.moveHigh(c)
		t.close(c)
		notOpen := []any{c, uintptr(c), math.MaxInt32, uintptr(math.MaxInt32 + 1), ^uintptr(0) - 1}
		if bits.UintSize == 64 {
			// Truncated to a C int, these numbers equal a. They must be refused.
			const overflow = 1 << (bits.UintSize / 2)
			notOpen = append(notOpen, a+overflow, uintptr(a)+overflow)
		}
		for _, fd := range notOpen {
			if _, err := t.s.Register(fd, r, nil); !isTooLarge(err) {
				t.wantError(err, "Register of a number that is not open", badFD)
			}
			if _, err := t.s.Key(fd); err == nil {
				t.Errorf("Key(%v) succeeded after Register had failed, want an error", fd)
			}
		}
		t.wantLen(1)
		t.wantStillReported(key, b)
	}},

	{"AgainAfterUnregister", 0, func(t *T) {
		a, b := t.pair()
		old := t.register(a, r, "old")
		t.unregister(a)
		key := t.register(a, r, "new")
		if key == old {
			t.Error("Register returned the old key, want a new one")
		}
		t.wantStillReported(key, b)
	}},

	{"RepeatedRegisterUnregister", 0, func(t *T) {
		a, b := t.pair()
		for range 1000 {
			t.register(a, r|w, nil)
			t.unregister(a)
		}
		t.wantStillReported(t.register(a, r, nil), b)
	}},

	{"UnregisterEachAfterMessage", 0, func(t *T) {
		// One message to each socket, which is unregistered after reading it.
		peers := map[*selectors.SelectorKey]int{}
		for i := range 12 {
			a, b := t.pair()
			peers[t.register(a, r, i)] = b
		}
		for key, peer := range peers {
			t.write(peer, "ping")
			t.wantReady(report(key, r))
			t.read(key.FD, "ping")
			t.unregister(key.FD)
		}
		t.wantNothing()
	}},
}

// keysRules check Key, Keys and Len, and how a key is looked up.
var keysRules = []rule{
	{"UnknownReturnsErrNotRegistered", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		c, d := t.pair()
		for _, unknown := range []any{c, uintptr(d), &fdPointer{uintptr(c)}, 1 << 20, math.MaxInt32, uintptr(math.MaxInt32 + 1)} {
			for name, call := range fileObjCalls(t.s, unknown) {
				if name != "Register" {
					t.wantError(call(), name+" of an object that is not registered", selectors.ErrNotRegistered)
				}
			}
		}
		t.wantStillReported(key, b)
	}},

	{"KeysIsAscendingSnapshot", 0, func(t *T) {
		var fds []int
		for range 10 {
			a, b := t.pair()
			fds = append(fds, b, a)
		}
		for _, fd := range fds {
			t.register(fd, w, nil)
		}
		keyFDs := func() (got []int) {
			for key := range t.s.Keys() {
				got = append(got, key.FD)
			}
			return got
		}
		slices.Sort(fds)
		if got := keyFDs(); !slices.Equal(got, fds) {
			t.Errorf("Keys yields %v, want %v", got, fds)
		}

		before := t.s.Keys()
		n := 0
		for key := range before {
			t.unregister(key.FD) // allowed during the iteration
			if n++; n == 5 {
				break
			}
		}
		if got := keyFDs(); !slices.Equal(got, fds[5:]) {
			t.Errorf("Keys yields %v, want %v", got, fds[5:])
		}
		t.wantLen(len(fds) - 5)
		n = 0
		for key := range before {
			if key.FD != fds[n] {
				t.Errorf("key %d of the old snapshot has fd %d, want %d", n, key.FD, fds[n])
			}
			n++
		}
		if n != len(fds) {
			t.Errorf("the old snapshot has %d keys, want %d", n, len(fds))
		}
	}},

	{"KeysAreImmutable", 0, func(t *T) {
		a, _ := t.pair()
		first := t.register(a, r, "first")
		saved := *first
		second := t.modify(a, w, "second")
		third := t.modify(a, w, "third")
		if first == second || second == third {
			t.Error("Modify returned the old key, want a new one")
		}
		if *first != saved || second.Data != any("second") || second.Events != w {
			t.Errorf("after two calls of Modify the keys are %+v and %+v, want %+v, and data %q with events %v", *first, *second, saved, "second", w)
		}
		t.wantUnregister(a, third)
	}},

	{"LookupByObjectOrNumber", 0, func(t *T) {
		a, b := t.pair()
		obj := &fdPointer{uintptr(a)}
		key := t.register(obj, r, nil)
		for _, name := range []any{obj, a, uintptr(a)} {
			t.wantKey(name, key)
		}
		key = t.modify(uintptr(a), r, "modified")
		if key.FileObj != any(obj) {
			t.Errorf("key.FileObj = %v after Modify by number, want %v as registered", key.FileObj, obj)
		}
		t.wantStillReported(key, b)
		t.wantUnregister(a, key)
		_, err := t.s.Key(obj)
		t.wantError(err, "Key of an object that was unregistered by number", selectors.ErrNotRegistered)
	}},
}
