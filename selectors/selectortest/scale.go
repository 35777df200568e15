package selectortest

import (
	"errors"
	"os"
	"testing"
	"time"

	"goselectors/selectors"
)

// Files that never make anyone wait: regular files, directories, /dev/null.
var alwaysReadyRules = []rule{
	{"EveryTime", anyFile, func(t *T) {
		for _, fd := range []int{t.regular(), t.openFile(t.TempDir(), os.O_RDONLY), t.openFile("/dev/null", os.O_RDWR)} {
			key := t.register(fd, r|w, nil)
			for _, timeout := range []time.Duration{0, -1, time.Hour} {
				t.same(t.selects(timeout), is(key, r|w))
			}
			t.fails(second(t.s.Register(fd, r, nil)), "the second Register", selectors.ErrRegistered)
			t.ready(is(t.modify(fd, r, nil), r))
			t.ready(is(t.modify(fd, w, nil), w))
			t.ready(is(t.modify(fd, w, "data only"), w))
			t.unregister(fd)
			t.silent()
		}
	}},

	{"DoesNotStarveOthers", anyFile, func(t *T) {
		file := t.register(t.regular(), r, "file")
		a, b := t.pair()
		key := t.register(a, r, "socket")
		t.ready(is(file, r))
		for range 3 {
			t.write(b, "x")
			t.ready(is(file, r), is(key, r))
			t.read(a, "x")
			t.ready(is(file, r))
		}
	}},

	{"Several", anyFile, func(t *T) {
		var want []selectors.Ready
		for i := range 5 {
			want = append(want, is(t.register(t.regular(), w, i), w))
		}
		for len(want) > 0 {
			t.ready(want...)
			middle := len(want) / 2
			t.unregister(want[middle].Key.FD)
			want = append(want[:middle], want[middle+1:]...)
		}
		t.silent()
	}},

	{"OneShot", anyFile, func(t *T) {
		fd := t.regular()
		key := t.register(fd, r|oneShot, nil)
		for range 3 {
			t.ready(is(key, r))
			t.silent()
			key = t.modify(fd, r|oneShot, nil)
		}
		t.ready(is(t.modify(fd, r, nil), r))
	}},

	{"EdgeOnce", anyFile | edges, func(t *T) {
		fd := t.regular()
		key := t.register(fd, r|edge, nil)
		for range 3 {
			t.ready(is(key, r))
			t.silent()
			key = t.modify(fd, r|edge, nil)
		}
	}},

	{"NeverForPriority", anyFile | selectors.FeaturePriority, func(t *T) {
		fd := t.regular()
		t.register(fd, p, nil)
		t.silent()
		t.sleeps()
		t.ready(is(t.modify(fd, p|r, nil), r))
		t.modify(fd, p, nil)
		t.silent()
	}},

	{"RegisterDuringSelect", anyFile, func(t *T) {
		fd := t.regular()
		waits := t.begin(t.s, -1)
		key := t.register(fd, r, nil)
		t.returnsWith(waits, is(key, r))
		t.modify(fd, r|oneShot, nil)
		t.selects(0)
		waits = t.begin(t.s, -1)
		key = t.modify(fd, r|oneShot, nil)
		t.returnsWith(waits, is(key, r))
	}},

	{"NumberBecomesSocket", anyFile, func(t *T) {
		number := t.move(t.regular())
		t.register(number, r|w, "file")
		a, b := t.pair()
		t.place(a, number)
		key := t.register(number, r, "socket")
		t.silent()
		t.stays(key, b)

		t.place(t.regular(), number)
		key = t.register(number, w, "file again")
		t.ready(is(key, w))

		t.place(a, number)
		t.stays(t.modify(number, r, "modified to the socket"), b)
		if n := t.s.Len(); n != 1 {
			t.Errorf("Len is %d, want 1", n)
		}
	}},

	{"ClosedFile", anyFile, func(t *T) {
		number := t.move(t.regular())
		key := t.register(number, r|w, nil)
		t.ready(is(key, r|w))
		t.close(number)
		if batch := t.selects(0); t.has&selectors.FeatureInvalid != 0 {
			t.same(batch, is(key, er|iv))
		}
		t.unregister(number)
		t.silent()
	}},
}

// Many files, and high numbers.
var scaleRules = []rule{
	{"ManyFiles", 0, func(t *T) {
		pairs := min(2000, (t.limit()-300)/2)
		type end struct {
			key  *selectors.SelectorKey
			peer int
		}
		var ends []end
		for i := range pairs {
			a, b := t.pair()
			key, err := t.s.Register(a, r, i)
			if tooLarge(err) {
				break
			}
			t.ok(err, "Register")
			ends = append(ends, end{key, b})
		}
		if len(ends) < 100 {
			t.Fatalf("only %d files could be registered", len(ends))
		}
		t.silent()

		// One among many.
		for _, e := range []end{ends[0], ends[len(ends)/2], ends[len(ends)-1]} {
			t.stays(e.key, e.peer)
		}

		// All in one batch, and again in the next: nobody starves.
		var all []selectors.Ready
		for _, e := range ends {
			t.write(e.peer, "x")
			all = append(all, is(e.key, r))
		}
		buf := make([]selectors.Ready, 0, 1)
		for range 3 {
			batch, err := t.s.SelectInto(buf[:0], 0)
			t.ok(err, "SelectInto")
			t.sound(batch)
			t.same(batch, all...)
			buf = batch
		}

		// Few again, and many once more.
		few := ends[:3]
		for _, e := range ends[3:] {
			t.unregister(e.key.FD)
		}
		t.ready(all[:3]...)
		t.ready(all[:3]...)
		if n := t.s.Len(); n != len(few) {
			t.Errorf("Len is %d, want %d", n, len(few))
		}
		for i, e := range ends[3:] {
			all[i+3] = is(t.register(e.key.FD, r, i+3), r)
		}
		t.ready(all...)
	}},

	{"HighNumbers", 0, func(t *T) {
		limit := t.limit()
		var want []selectors.Ready
		for _, least := range []int{62, 63, 64, 65, 127, 128, 255, 256, 511, 512, 1022, 1023, 1024, 1025, 2047, 2048, 4096, 10_000, limit / 2, limit - 1} {
			if least >= limit {
				continue
			}
			a, b := t.pair()
			high := t.dup(a, least)
			key, err := t.s.Register(high, r, high)
			if tooLarge(err) {
				continue
			}
			t.ok(err, "Register")
			t.write(b, "x")
			want = append(want, is(key, r))
			t.ready(want...)
		}
		if len(want) < 3 {
			t.Errorf("only %d numbers could be registered", len(want))
		}
		// Without the highest it still works, and with none too.
		for len(want) > 0 {
			last := len(want) - 1
			t.unregister(want[last].Key.FD)
			if want = want[:last]; last > 0 {
				t.ready(want...)
			}
		}
		t.silent()
	}},

	{"EveryReadyFileEveryTime", 0, func(t *T) {
		var all []selectors.Ready
		for i := range 40 {
			a, _ := t.pair()
			all = append(all, is(t.register(a, w, i), w))
		}
		for range 10 {
			t.ready(all...)
		}
	}},
}

// How SelectInto uses the slice that it is given.
var selectIntoRules = []rule{
	{"Appends", 0, func(t *T) {
		a, b := t.pair()
		one, two := t.register(a, w, "one"), t.register(b, w, "two")
		before := is(&selectors.SelectorKey{FD: -1}, r)
		for _, room := range []int{0, 1, 2, 10} {
			dst := append(make([]selectors.Ready, 0, 1+room), before)
			batch, err := t.s.SelectInto(dst, -1)
			t.ok(err, "SelectInto")
			if len(batch) != 3 || batch[0] != before {
				t.Fatalf("SelectInto returned %v, want what it was given and two more", show(batch))
			}
			t.same(batch[1:], is(one, w), is(two, w))
			if inPlace := &batch[0] == &dst[0]; inPlace != (room >= 2) {
				t.Errorf("with room for %d more, in place: %v", room, inPlace)
			}
		}
	}},

	{"FreshSlices", 0, func(t *T) {
		a, _ := t.pair()
		t.register(a, w, nil)
		first := t.selects(0)
		key := t.modify(a, w, "modified")
		kept := first[0]
		t.ready(is(key, w))
		if first[0] != kept || first[0].Key == key {
			t.Error("a Select has written to the batch of the one before")
		}
	}},

	{"AllocatesNothing", 0, func(t *T) {
		t.noGarbage()
		for i := range 50 {
			a, b := t.pair()
			t.register(a, r|w, i)
			t.register(b, w|r, i)
		}
		if t.has&anyFile != 0 {
			t.register(t.regular(), r, nil)
		}
		buf := make([]selectors.Ready, 0, 200)
		var err error
		n := testing.AllocsPerRun(100, func() {
			for _, timeout := range []time.Duration{0, time.Hour, -1} {
				batch, failed := t.s.SelectInto(buf, timeout)
				if len(batch) < 100 {
					err = errors.Join(err, errors.New("SelectInto lost something"), failed)
				}
			}
		})
		if n != 0 || err != nil {
			t.Errorf("SelectInto allocates %v times, error %v", n, err)
		}
	}},

	{"SleepAllocatesNothing", 0, func(t *T) {
		t.noGarbage()
		a, _ := t.pair()
		t.register(a, r, nil)
		buf := make([]selectors.Ready, 0, 1)
		if n := testing.AllocsPerRun(20, func() { t.s.SelectInto(buf, 100*time.Microsecond) }); n != 0 {
			t.Errorf("SelectInto allocates %v times", n)
		}
	}},
}
