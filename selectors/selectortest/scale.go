package selectortest

import (
	"os"
	"slices"
	"time"

	"goselectors/selectors"
)

// alwaysReadyRules check files that are always ready: regular files,
// directories, /dev/null.
var alwaysReadyRules = []rule{
	{"ReadyInEverySelect", anyFile, func(t *T) {
		for _, fd := range []int{t.regularFile(), t.openFile(t.TempDir(), os.O_RDONLY), t.openFile("/dev/null", os.O_RDWR)} {
			key := t.register(fd, r|w, nil)
			for _, timeout := range []time.Duration{0, -1, time.Hour} {
				t.wantBatch(t.mustSelect(timeout), report(key, r|w))
			}
			t.wantError(errorOf(t.s.Register(fd, r, nil)), "the second Register", selectors.ErrRegistered)
			t.wantReady(report(t.modify(fd, r, nil), r))
			t.wantReady(report(t.modify(fd, w, nil), w))
			t.wantReady(report(t.modify(fd, w, "data only"), w))
			t.unregister(fd)
			t.wantNothing()
		}
	}},

	{"DoesNotStarveOthers", anyFile, func(t *T) {
		file := t.register(t.regularFile(), r, "file")
		a, b := t.pair()
		key := t.register(a, r, "socket")
		t.wantReady(report(file, r))
		for range 3 {
			t.write(b, "x")
			t.wantReady(report(file, r), report(key, r))
			t.read(a, "x")
			t.wantReady(report(file, r))
		}
	}},

	{"SeveralFiles", anyFile, func(t *T) {
		var want []selectors.Ready
		for i := range 5 {
			want = append(want, report(t.register(t.regularFile(), w, i), w))
		}
		for len(want) > 0 {
			t.wantReady(want...)
			middle := len(want) / 2
			t.unregister(want[middle].Key.FD)
			want = slices.Delete(want, middle, middle+1)
		}
		t.wantNothing()
	}},

	{"OneShot", anyFile | oneShotFeature, func(t *T) {
		fd := t.regularFile()
		key := t.register(fd, r|oneShot, nil)
		for range 3 {
			t.wantReady(report(key, r))
			t.wantNothing()
			key = t.modify(fd, r|oneShot, nil)
		}
		t.wantReady(report(t.modify(fd, r, nil), r))
	}},

	{"EdgeReportsOnce", anyFile | edgeFeature, func(t *T) {
		fd := t.regularFile()
		key := t.register(fd, r|edge, nil)
		for range 3 {
			t.wantReady(report(key, r))
			t.wantNothing()
			key = t.modify(fd, r|edge, nil)
		}
	}},

	{"PriorityNeverReported", anyFile | selectors.FeaturePriority, func(t *T) {
		fd := t.regularFile()
		t.register(fd, p, nil)
		t.wantNothing()
		t.wantNoSpin()
		t.wantReady(report(t.modify(fd, p|r, nil), r))
		t.modify(fd, p, nil)
		t.wantNothing()
	}},

	{"RegisterDuringSelect", anyFile, func(t *T) {
		fd := t.regularFile()
		pending := t.startSelect(t.s, -1)
		key := t.register(fd, r, nil)
		t.wantResult(pending, report(key, r))
		if t.features&oneShotFeature == 0 {
			return
		}
		t.modify(fd, r|oneShot, nil)
		t.mustSelect(0)
		pending = t.startSelect(t.s, -1)
		key = t.modify(fd, r|oneShot, nil)
		t.wantResult(pending, report(key, r))
	}},

	{"SocketReusesNumber", anyFile, func(t *T) {
		number := t.moveHigh(t.regularFile())
		t.register(number, r|w, "file")
		a, b := t.pair()
		t.dupTo(a, number)
		key := t.register(number, r, "socket")
		t.wantNothing()
		t.wantStillReported(key, b)

		t.dupTo(t.regularFile(), number)
		key = t.register(number, w, "file again")
		t.wantReady(report(key, w))

		t.dupTo(a, number)
		t.wantStillReported(t.modify(number, r, "modified to the socket"), b)
		t.wantLen(1)
	}},

	{"ClosedFile", anyFile, func(t *T) {
		number := t.moveHigh(t.regularFile())
		key := t.register(number, r|w, nil)
		t.wantReady(report(key, r|w))
		t.close(number)
		if batch := t.mustSelect(0); t.features&selectors.FeatureInvalid != 0 {
			t.wantBatch(batch, report(key, er|iv))
		}
		t.unregister(number)
		t.wantNothing()
	}},
}

// scaleRules check many files and high descriptor numbers.
var scaleRules = []rule{
	{"ManyFiles", 0, func(t *T) {
		pairs := min(2000, (t.fdLimit()-300)/2)
		var files []watched
		for i := range pairs {
			a, b := t.pair()
			key, err := t.s.Register(a, r, i)
			if isTooLarge(err) {
				break
			}
			t.noError(err, "Register")
			files = append(files, watched{key, b})
		}
		if len(files) < 100 {
			t.Fatalf("%d files could be registered, want at least 100", len(files))
		}
		t.wantNothing()

		// One ready file among many.
		for _, f := range []watched{files[0], files[len(files)/2], files[len(files)-1]} {
			t.wantStillReported(f.key, f.peer)
		}

		// All files are ready. Each batch has all of them, so no key starves.
		var all []selectors.Ready
		for _, f := range files {
			t.write(f.peer, "x")
			all = append(all, report(f.key, r))
		}
		buf := make([]selectors.Ready, 0, 1)
		for range 3 {
			batch, err := t.s.SelectInto(buf[:0], 0)
			t.noError(err, "SelectInto")
			t.checkBatch(batch)
			t.wantBatch(batch, all...)
			buf = batch
		}

		// Unregister all but three, then register the others again.
		for _, f := range files[3:] {
			t.unregister(f.key.FD)
		}
		t.wantReady(all[:3]...)
		t.wantReady(all[:3]...)
		t.wantLen(3)
		for i, f := range files[3:] {
			all[i+3] = report(t.register(f.key.FD, r, i+3), r)
		}
		t.wantReady(all...)
	}},

	{"HighNumbers", 0, func(t *T) {
		limit := t.fdLimit()
		var want []selectors.Ready
		for _, lowest := range []int{62, 63, 64, 65, 127, 128, 255, 256, 511, 512, 1022, 1023, 1024, 1025, 2047, 2048, 4096, 10_000, limit / 2, limit - 1} {
			if lowest >= limit {
				continue
			}
			a, b := t.pair()
			high := t.dup(a, lowest)
			key, err := t.s.Register(high, r, high)
			if isTooLarge(err) {
				continue
			}
			t.noError(err, "Register")
			t.write(b, "x")
			want = append(want, report(key, r))
			t.wantReady(want...)
		}
		if len(want) < 3 {
			t.Errorf("%d numbers could be registered, want at least 3", len(want))
		}
		// Unregister from the highest number down.
		for len(want) > 0 {
			last := len(want) - 1
			t.unregister(want[last].Key.FD)
			if want = want[:last]; last > 0 {
				t.wantReady(want...)
			}
		}
		t.wantNothing()
	}},

	{"AllReadyFilesInEveryBatch", 0, func(t *T) {
		var all []selectors.Ready
		for i := range 40 {
			a, _ := t.pair()
			all = append(all, report(t.register(a, w, i), w))
		}
		for range 10 {
			t.wantReady(all...)
		}
	}},
}

// selectIntoRules check how SelectInto uses dst.
var selectIntoRules = []rule{
	{"Appends", 0, func(t *T) {
		a, b := t.pair()
		one, two := t.register(a, w, "one"), t.register(b, w, "two")
		before := report(&selectors.SelectorKey{FD: -1}, r)
		for _, spare := range []int{0, 1, 2, 10} {
			dst := append(make([]selectors.Ready, 0, 1+spare), before)
			batch, err := t.s.SelectInto(dst, -1)
			t.noError(err, "SelectInto")
			if len(batch) != 3 || batch[0] != before {
				t.Fatalf("batch of SelectInto: %v, want dst and two more entries", formatBatch(batch))
			}
			t.wantBatch(batch[1:], report(one, w), report(two, w))
			if inPlace := &batch[0] == &dst[0]; inPlace != (spare >= 2) {
				t.Errorf("with room for %d more entries, SelectInto used the array of dst: %v, want %v", spare, inPlace, spare >= 2)
			}
		}
	}},

	{"SelectReturnsNewSlice", 0, func(t *T) {
		a, _ := t.pair()
		t.register(a, w, nil)
		first := t.mustSelect(0)
		key := t.modify(a, w, "modified")
		saved := first[0]
		t.wantReady(report(key, w))
		if first[0] != saved || first[0].Key == key {
			t.Errorf("the second Select changed the batch of the first to %v, want %v", formatBatch(first[:1]), formatBatch([]selectors.Ready{saved}))
		}
	}},
}
