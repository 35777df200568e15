package looptest_test

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/looptest"
	"goselectors/selectors"

	"github.com/google/go-cmp/cmp"
)

const (
	read  = selectors.EventRead
	write = selectors.EventWrite
)

func TestClock(t *testing.T) {
	c := looptest.NewClock()
	for _, step := range []struct{ by, want time.Duration }{
		{0, 0},
		{time.Second, time.Second},
		{-time.Second, time.Second}, // never backwards
		{math.MinInt64, time.Second},
		{0, time.Second},
		{time.Hour, time.Hour + time.Second},
		{math.MaxInt64, math.MaxInt64},
		{1, math.MaxInt64},
		{-1, math.MaxInt64},
	} {
		if c.Advance(step.by); c.Now() != step.want {
			t.Fatalf("Advance(%d): the clock shows %d, want %d", step.by, c.Now(), step.want)
		}
	}
}

func TestClockFromManyGoroutines(t *testing.T) {
	c := looptest.NewClock()
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			last := c.Now()
			for range 1000 {
				c.Advance(1)
				if now := c.Now(); now <= last {
					t.Errorf("%d after %d", now, last)
				} else {
					last = now
				}
			}
		}()
	}
	wg.Wait()
	if c.Now() != 4000 {
		t.Errorf("the clock shows %d, want 4000", c.Now())
	}
}

func TestFeatures(t *testing.T) {
	var all selectors.Feature
	for _, f := range []selectors.Feature{
		selectors.FeatureEdgeTriggered, selectors.FeatureExclusive, selectors.FeaturePriority, selectors.FeatureReadClosed,
		selectors.FeatureHangup, selectors.FeatureInvalid, selectors.FeatureAnyFile,
	} {
		all |= f
	}
	sel, _ := newSelector(t)
	if got := sel.Features(); got != all {
		t.Errorf("it has %v, want %v", got, all)
	}
}

func newSelector(t *testing.T) (*looptest.Selector, *looptest.Clock) {
	t.Helper()
	clock := looptest.NewClock()
	sel := looptest.NewSelector(clock)
	t.Cleanup(func() {
		if err := sel.Close(); err != nil {
			t.Error(err)
		}
	})
	return sel, clock
}

func register(t *testing.T, sel *looptest.Selector, fileobj any, events selectors.Event) *selectors.SelectorKey {
	t.Helper()
	key, err := sel.Register(fileobj, events, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// told is what a Select reports, by file object, in order.
type told struct {
	FileObj any
	Events  selectors.Event
}

func expect(t *testing.T, sel *looptest.Selector, timeout time.Duration, want ...told) {
	t.Helper()
	ready, err := sel.Select(timeout)
	if err != nil {
		t.Fatal(err)
	}
	var got []told
	for _, r := range ready {
		got = append(got, told{r.Key.FileObj, r.Events})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("Select(%v) (-want +got):\n%s", timeout, diff)
	}
}

func expectTime(t *testing.T, clock *looptest.Clock, want time.Duration) {
	t.Helper()
	if clock.Now() != want {
		t.Fatalf("the clock shows %v, want %v", clock.Now(), want)
	}
}

func TestSelectMovesTheClock(t *testing.T) {
	sel, clock := newSelector(t)
	register(t, sel, "a", read)
	register(t, sel, "b", read|write)
	sel.At(5*time.Second, "b", read)
	sel.At(2*time.Second, "a", read)
	sel.At(2*time.Second, "nobody", read) // not registered

	expect(t, sel, 0)
	expectTime(t, clock, 0)
	expect(t, sel, time.Second) // the timeout comes first
	expectTime(t, clock, time.Second)
	expect(t, sel, time.Second, told{"a", read}) // both at a time
	expectTime(t, clock, 2*time.Second)
	expect(t, sel, -1, told{"a", read}) // still
	expectTime(t, clock, 2*time.Second)
	sel.Clear("a", read)
	expect(t, sel, time.Hour, told{"b", read})
	expectTime(t, clock, 5*time.Second)
	sel.Clear("b", read)
	expect(t, sel, time.Hour)
	expectTime(t, clock, time.Hour+5*time.Second)
	expect(t, sel, math.MaxInt64)
	expectTime(t, clock, math.MaxInt64)
	expect(t, sel, math.MaxInt64)
	expectTime(t, clock, math.MaxInt64)

	want := []time.Duration{0, time.Second, time.Second, -1, time.Hour, time.Hour, math.MaxInt64, math.MaxInt64}
	if diff := cmp.Diff(want, sel.Timeouts()); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
}

// What becomes ready while nobody waits for it is passed over, and found later.
func TestSelectPassesOverWhatNobodyWaitsFor(t *testing.T) {
	sel, clock := newSelector(t)
	register(t, sel, "a", write)
	sel.At(1, "a", read)
	sel.Once(2, "b", read)
	sel.At(3, "a", write)
	expect(t, sel, -1, told{"a", write})
	expectTime(t, clock, 3)
	register(t, sel, "b", read)
	expect(t, sel, -1, told{"a", write}, told{"b", read})
	if _, err := sel.Modify("a", read|write, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, sel, -1, told{"a", read | write})
}

func TestOrderIsThatOfTheScript(t *testing.T) {
	sel, _ := newSelector(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		register(t, sel, name, read)
	}
	sel.At(9, "d", read)
	sel.At(7, "c", read)
	sel.At(9, "a", read)
	sel.At(9, "b", read)
	expect(t, sel, 8, told{"c", read})
	sel.Clear("c", read)
	sel.At(9, "c", read)
	expect(t, sel, 8, told{"d", read}, told{"a", read}, told{"b", read}, told{"c", read})
	sel.Clear("a", read)
	sel.At(0, "a", read) // at once
	expect(t, sel, 0, told{"d", read}, told{"b", read}, told{"c", read}, told{"a", read})
}

// Each line: what happens to a file with this interest, and what Selects that do
// not wait report one after the other.
func TestReports(t *testing.T) {
	const (
		hup, bad, rdhup, invalid  = selectors.EventHangup, selectors.EventError, selectors.EventReadClosed, selectors.EventInvalid
		edge, oneShot, prio, none = selectors.EdgeTriggered, selectors.OneShot, selectors.EventPriority, selectors.Event(0)
	)
	type sel = *looptest.Selector
	at := func(events selectors.Event) func(sel) { return func(s sel) { s.At(0, "f", events) } }
	once := func(events selectors.Event) func(sel) { return func(s sel) { s.Once(0, "f", events) } }
	clear := func(events selectors.Event) func(sel) { return func(s sel) { s.Clear("f", events) } }
	modify := func(events selectors.Event) func(sel) { return func(s sel) { s.Modify("f", events, nil) } }
	again := func(s sel) {
		s.Unregister("f")
		s.Register("f", read, nil)
	}
	type step struct {
		do   func(sel)
		want []selectors.Event // of Selects, in turn
	}
	type reports = []selectors.Event
	for _, test := range []struct {
		name     string
		interest selectors.Event
		steps    []step
	}{
		{"level", read, []step{{at(read), reports{read, read}}, {clear(read), reports{none}}, {at(read), reports{read}}}},
		{"level, both", read | write, []step{{at(write), reports{write}}, {at(read), reports{read | write}}, {clear(write), reports{read}}}},
		{"clear of what is not there", read, []step{{clear(write), reports{none}}, {at(read), nil}, {clear(write), reports{read}}}},
		{"once", read, []step{{once(read), reports{read, none}}, {once(read), reports{read, none}}}},
		{"once over level", read, []step{{at(read), nil}, {once(read), reports{read, read}}}},
		{"once, cleared before", read, []step{{once(read), nil}, {clear(read), reports{none}}}},
		{"once, for another interest", write, []step{{once(read), reports{none}}, {modify(read), reports{read, none}}}},
		{"priority", read | prio, []step{{at(prio), reports{prio}}, {at(read), reports{read | prio}}}},

		{"edge", read | edge, []step{{at(read), reports{read, none}}, {at(read), reports{read, none}}, {clear(read), reports{none}}}},
		{"edge, modified", read | edge, []step{{at(read), reports{read, none}}, {modify(read | edge), reports{read, none}}, {modify(read), reports{read, read}}}},
		{"edge, once", read | edge, []step{{once(read), reports{read, none}}, {modify(read | edge), reports{none}}}},
		{"one-shot", read | oneShot, []step{{at(read), reports{read, none}}, {at(read), reports{none}}, {modify(read | oneShot), reports{read, none}}, {modify(read), reports{read, read}}}},
		{"one-shot, for nothing of its own", write | oneShot, []step{{at(read), reports{none}}, {at(write), reports{write, none}}}},
		{"registered anew", read | oneShot, []step{{at(read), reports{read, none}}, {again, reports{read, read}}}},

		{"hang-up", read, []step{{at(hup), reports{read | hup, read | hup}}}},
		{"error", read | write, []step{{at(bad), reports{read | write | bad}}}},
		{"error once", read | write, []step{{once(bad), reports{read | write | bad, none}}}},
		{"half-close", read, []step{{at(rdhup), reports{read | rdhup}}}},
		{"half-close, asked for", rdhup, []step{{at(rdhup), reports{rdhup, rdhup}}}},
		{"half-close, of no interest", write, []step{{at(rdhup), reports{none}}, {at(write), reports{write}}}},
		{"hints alone are told once", write, []step{
			{at(hup), reports{hup, none}},
			{at(bad), reports{write | hup | bad, write | hup | bad}},
		}},
		{"hints alone, again", write, []step{{at(hup), reports{hup, none}}, {at(hup), reports{none}}, {clear(hup), reports{none}}, {at(hup), reports{hup, none}}}},
		{"hints alone, with something between", write, []step{{at(hup), reports{hup, none}}, {at(write), reports{write | hup}}, {clear(write), reports{hup, none}}}},
		{"hints alone, to an edge", write | edge, []step{{at(hup), reports{hup, none}}, {at(hup), reports{hup, none}}}},
		{"invalid", read, []step{{at(read | invalid), reports{bad | invalid, none}}, {clear(invalid), reports{none}}, {modify(read), reports{read}}}},
		{"invalid once", read, []step{{once(invalid), reports{bad | invalid, none}}, {modify(read), reports{none}}, {at(read), reports{read}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sel, _ := newSelector(t)
			register(t, sel, "f", test.interest)
			for i, step := range test.steps {
				step.do(sel)
				for j, want := range step.want {
					ready, err := sel.Select(0)
					if err != nil {
						t.Fatal(err)
					}
					got := none
					if len(ready) > 0 {
						got = ready[0].Events
					}
					if got != want || len(ready) > 0 && got == none {
						t.Fatalf("step %d, Select %d: %v, want %v", i, j, got, want)
					}
				}
			}
		})
	}
}

func TestKeys(t *testing.T) {
	sel, _ := newSelector(t)
	type object struct{ name string }
	a, b := &object{"a"}, object{"b"}
	ka, kb, k7 := register(t, sel, a, read), register(t, sel, b, write), register(t, sel, 7, read|selectors.OneShot)
	ku := register(t, sel, uintptr(9), read)
	if k7.FD != 7 || ku.FD != 9 {
		t.Errorf("numbers became %d and %d", k7.FD, ku.FD)
	}
	if ka.FD == kb.FD || ka.FD < 1<<20 || kb.FD < 1<<20 {
		t.Errorf("made-up numbers %d and %d", ka.FD, kb.FD)
	}
	for _, fileobj := range []any{a, ka.FD, uintptr(ka.FD)} {
		if k, err := sel.Key(fileobj); k != ka || err != nil {
			t.Errorf("Key(%v) is %v, %v", fileobj, k, err)
		}
	}
	if k, err := sel.Key(object{"b"}); k != kb || err != nil { // an equal one is the same
		t.Errorf("Key of an equal object is %v, %v", k, err)
	}
	all := sel.Keys()
	if got, want := slices.Collect(all), []*selectors.SelectorKey{k7, ku, ka, kb}; !slices.Equal(got, want) {
		t.Errorf("Keys: %v, want %v", got, want)
	}
	kb2, err := sel.Modify(kb.FD, read, "data")
	if err != nil {
		t.Fatal(err)
	}
	if want := (&selectors.SelectorKey{FileObj: b, FD: kb.FD, Events: read, Data: "data"}); !cmp.Equal(kb2, want, cmp.AllowUnexported(object{})) {
		t.Errorf("Modify returns %v, want %v", kb2, want)
	}
	if k, err := sel.Unregister(9); k != ku || err != nil {
		t.Errorf("Unregister: %v, %v", k, err)
	}
	if k, err := sel.Unregister(a); k != ka || err != nil {
		t.Errorf("Unregister: %v, %v", k, err)
	}
	if sel.Len() != 2 {
		t.Errorf("Len is %d, want 2", sel.Len())
	}
	if got, want := slices.Collect(sel.Keys()), []*selectors.SelectorKey{k7, kb2}; !slices.Equal(got, want) {
		t.Errorf("Keys: %v, want %v", got, want)
	}
	if n := len(slices.Collect(all)); n != 4 {
		t.Errorf("the snapshot has %d keys now", n)
	}
	if again := register(t, sel, a, read); again.FD != ka.FD {
		t.Errorf("the number went from %d to %d", ka.FD, again.FD)
	}
}

// A number that was registered is not made up for something else.
func TestMadeUpNumbersAreFree(t *testing.T) {
	sel, _ := newSelector(t)
	first := register(t, sel, "a", read).FD
	register(t, sel, first+1, read)
	if b := register(t, sel, "b", read).FD; b != first+2 {
		t.Errorf("b is %d, want %d", b, first+2)
	}
}

func TestErrors(t *testing.T) {
	sel, _ := newSelector(t)
	register(t, sel, "a", read)
	register(t, sel, 3, read)
	set := func(set func(any, selectors.Event, any) (*selectors.SelectorKey, error), fileobj any, events selectors.Event) error {
		_, err := set(fileobj, events, nil)
		return err
	}
	get := func(get func(any) (*selectors.SelectorKey, error), fileobj any) error {
		_, err := get(fileobj)
		return err
	}
	type bad struct {
		name string
		err  error
		op   string
		fd   int
		want error
	}
	tests := []bad{
		{"again", set(sel.Register, 3, write), "register", 3, selectors.ErrRegistered},
		{"again, by the other kind of number", set(sel.Register, uintptr(3), write), "register", 3, selectors.ErrRegistered},
		{"again, an object", set(sel.Register, "a", write), "register", 1 << 20, selectors.ErrRegistered},
		{"modify of nothing", set(sel.Modify, 4, read), "modify", 4, selectors.ErrNotRegistered},
		{"modify of no object", set(sel.Modify, "b", read), "modify", -1, selectors.ErrNotRegistered},
		{"unregister of nothing", get(sel.Unregister, 4), "unregister", 4, selectors.ErrNotRegistered},
		{"key of nothing", get(sel.Key, "b"), "key", -1, selectors.ErrNotRegistered},
	}
	for _, events := range []selectors.Event{
		0, selectors.OneShot, selectors.EdgeTriggered | selectors.OneShot, selectors.EventHangup, read | selectors.EventError,
		read | selectors.EventInvalid, read | 1<<30,
		read | selectors.Exclusive | selectors.OneShot, selectors.EventPriority | selectors.Exclusive, selectors.EventReadClosed | selectors.Exclusive,
	} {
		tests = append(tests,
			bad{"register for " + events.String(), set(sel.Register, 5, events), "register", 5, selectors.ErrInvalidEvents},
			bad{"modify for " + events.String(), set(sel.Modify, 3, events), "modify", 3, selectors.ErrInvalidEvents})
	}
	for _, fileobj := range []any{nil, -1, math.MinInt, ^uintptr(0), (*os.File)(nil), (chan int)(nil), []int{1}, map[int]int{}, func() {}, [1]any{[]int{}}} {
		tests = append(tests,
			bad{"register", set(sel.Register, fileobj, read), "register", -1, selectors.ErrInvalidFileObj},
			bad{"modify", set(sel.Modify, fileobj, read), "modify", -1, selectors.ErrInvalidFileObj},
			bad{"unregister", get(sel.Unregister, fileobj), "unregister", -1, selectors.ErrInvalidFileObj},
			bad{"key", get(sel.Key, fileobj), "key", -1, selectors.ErrInvalidFileObj})
	}
	check := func(test bad) {
		t.Helper()
		var e *selectors.Error
		if !errors.Is(test.err, test.want) || !errors.As(test.err, &e) || e.Op != test.op || e.FD != test.fd || e.Backend != "looptest" {
			t.Errorf("%s: %#v, want %s of %d: %v", test.name, test.err, test.op, test.fd, test.want)
		}
	}
	for _, test := range tests {
		check(test)
	}
	if sel.Len() != 2 {
		t.Errorf("after errors alone there are %d keys, want 2", sel.Len())
	}
	for _, events := range []selectors.Event{read, write | selectors.OneShot, selectors.EventPriority | selectors.EdgeTriggered, selectors.EventReadClosed, read | write | selectors.Exclusive | selectors.EdgeTriggered} {
		if err := set(sel.Modify, 3, events); err != nil {
			t.Errorf("%v: %v", events, err)
		}
	}

	sel.At(0, 3, read)
	if err := sel.Close(); err != nil {
		t.Fatal(err)
	}
	_, selected := sel.Select(0)
	for _, test := range []bad{
		{"register", set(sel.Register, 8, read), "register", 8, selectors.ErrClosed},
		{"register of nil", set(sel.Register, nil, read), "register", -1, os.ErrClosed},
		{"modify", set(sel.Modify, 3, read), "modify", 3, selectors.ErrClosed},
		{"unregister", get(sel.Unregister, 3), "unregister", 3, selectors.ErrClosed},
		{"key", get(sel.Key, 3), "key", 3, selectors.ErrClosed},
		{"wake", sel.Wake(), "wake", -1, selectors.ErrClosed},
		{"select", selected, "select", -1, selectors.ErrClosed},
	} {
		test.name += " after Close"
		check(test)
	}
	sel.Clear(3, read)
	sel.At(0, 3, read)
	if n := len(slices.Collect(sel.Keys())); n != 0 || sel.Len() != 0 {
		t.Errorf("after Close there are %d keys, Len %d", n, sel.Len())
	}
	if err := sel.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

func TestBadScriptPanics(t *testing.T) {
	sel, _ := newSelector(t)
	for name, f := range map[string]func(){
		"no events":    func() { sel.At(0, 1, 0) },
		"a mode":       func() { sel.Once(0, 1, read|selectors.OneShot) },
		"nil":          func() { sel.At(0, nil, read) },
		"a bad number": func() { sel.Once(0, -1, read) },
	} {
		func() {
			defer func() {
				if v, ok := recover().(string); !ok || !strings.HasPrefix(v, "looptest: ") {
					t.Errorf("%s: %v", name, v)
				}
			}()
			f()
			t.Errorf("%s: no panic", name)
		}()
	}
	register(t, sel, 1, read) // and the lock is free
}

func TestSelectIntoAppends(t *testing.T) {
	sel, _ := newSelector(t)
	key := register(t, sel, 1, read)
	sel.At(0, 1, read)
	first := selectors.Ready{Key: &selectors.SelectorKey{FD: 99}, Events: write}
	dst := append(make([]selectors.Ready, 0, 2), first)
	got, err := sel.SelectInto(dst, -1)
	if err != nil || len(got) != 2 || got[0] != first || got[1] != (selectors.Ready{Key: key, Events: read}) || &got[0] != &dst[0] {
		t.Errorf("SelectInto: %v, %v", got, err)
	}
	sel.Close()
	if got, err = sel.SelectInto(dst, -1); len(got) != 1 || err == nil {
		t.Errorf("SelectInto after Close: %v, %v", got, err)
	}
}

func TestWake(t *testing.T) {
	sel, clock := newSelector(t)
	register(t, sel, 1, read)
	sel.At(time.Second, 1, read)
	for range 3 {
		if err := sel.Wake(); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, sel, -1) // all of them count as one, and no time passes
	expectTime(t, clock, 0)
	expect(t, sel, -1, told{1, read})
	if err := sel.Wake(); err != nil {
		t.Fatal(err)
	}
	expect(t, sel, -1, told{1, read}) // with what there is
	sel.Clear(1, read)
	expect(t, sel, time.Second) // and none is left
	expectTime(t, clock, 2*time.Second)
}

// What a real goroutine does to a Select that has nothing else to wait for.
func TestWaitIsEndedByOthers(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(sel *looptest.Selector)
		want []told
		err  error
	}{
		{"Wake", func(sel *looptest.Selector) { sel.Wake() }, nil, nil},
		{"At", func(sel *looptest.Selector) { sel.At(0, "f", read) }, []told{{"f", read}}, nil},
		{"At, in the future", func(sel *looptest.Selector) { sel.At(time.Hour, "f", read) }, []told{{"f", read}}, nil},
		{"Register", func(sel *looptest.Selector) { sel.Register("g", read, nil) }, []told{{"g", read}}, nil},
		{"Modify", func(sel *looptest.Selector) { sel.Modify("h", read, nil) }, []told{{"h", read}}, nil},
		{"Close", func(sel *looptest.Selector) { sel.Close() }, nil, selectors.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			sel, _ := newSelector(t)
			register(t, sel, "f", read)
			register(t, sel, "h", write)
			sel.At(0, "g", read)
			sel.At(0, "h", read)
			go func() {
				for len(sel.Timeouts()) == 0 { // not there yet
					time.Sleep(time.Millisecond)
				}
				time.Sleep(2 * time.Millisecond)
				test.end(sel)
			}()
			ready, err := sel.Select(-1)
			var got []told
			for _, r := range ready {
				got = append(got, told{r.Key.FileObj, r.Events})
			}
			if !errors.Is(err, test.err) {
				t.Fatalf("Select: %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConcurrentSelect(t *testing.T) {
	sel, _ := newSelector(t)
	done := make(chan error)
	go func() {
		_, err := sel.Select(-1)
		done <- err
	}()
	for len(sel.Timeouts()) == 0 {
		time.Sleep(time.Millisecond)
	}
	dst := make([]selectors.Ready, 1)
	if got, err := sel.SelectInto(dst, 0); !errors.Is(err, selectors.ErrConcurrentSelect) || len(got) != 1 {
		t.Errorf("a second Select: %v, %v", got, err)
	}
	sel.Wake()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A hang.
func TestStuck(t *testing.T) {
	sel, clock := newSelector(t)
	sel.SetStuckAfter(10 * time.Millisecond)
	register(t, sel, 1, read)
	sel.At(1, 1, write) // of no interest
	began := time.Now()
	ready, err := sel.Select(-1)
	if !errors.Is(err, looptest.ErrStuck) || len(ready) != 0 {
		t.Errorf("Select: %v, %v", ready, err)
	}
	var e *selectors.Error
	if !errors.As(err, &e) || e.Op != "select" {
		t.Errorf("%#v", err)
	}
	if took := time.Since(began); took < 10*time.Millisecond {
		t.Errorf("it gave up after %v", took)
	}
	expectTime(t, clock, 1)
	expect(t, sel, time.Second) // it is of use still
	sel.At(0, 1, read)
	expect(t, sel, -1, told{1, read})
}

// Spins: each is an error in the end.
func TestSpinning(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		loop, _, sel := looptest.New()
		defer loop.Close()
		sel.SetStuckAfter(time.Millisecond)
		sel.At(0, "f", read)
		calls := 0
		if _, err := loop.Register("f", read, func(any, selectors.Event) { calls++ }); err != nil {
			t.Fatal(err)
		}
		err := loop.Run(t.Context())
		if !errors.Is(err, looptest.ErrStuck) || !strings.Contains(err.Error(), "Clear") {
			t.Errorf("Run: %v", err)
		}
		if calls < 900 {
			t.Errorf("it gave up after %d calls", calls)
		}
	})
	t.Run("timer", func(t *testing.T) {
		loop, _, sel := looptest.New()
		defer loop.Close()
		sel.SetStuckAfter(time.Millisecond)
		sel.At(time.Second, "f", read)
		if _, err := loop.Register("f", read, func(any, selectors.Event) { t.Error("time has passed") }); err != nil {
			t.Fatal(err)
		}
		var again func()
		again = func() { loop.CallLater(0, again) }
		again()
		if err := loop.Run(t.Context()); !errors.Is(err, looptest.ErrStuck) {
			t.Errorf("Run: %v", err)
		}
	})
	t.Run("many calls, little time", func(t *testing.T) {
		sel, _ := newSelector(t)
		for range 5000 {
			expect(t, sel, 0)
		}
	})
	// Not a spin: something happens in between.
	for name, something := range map[string]func(sel *looptest.Selector, clock *looptest.Clock){
		"time":  func(_ *looptest.Selector, clock *looptest.Clock) { clock.Advance(1) },
		"wake":  func(sel *looptest.Selector, _ *looptest.Clock) { sel.Wake() },
		"at":    func(sel *looptest.Selector, _ *looptest.Clock) { sel.At(0, "g", read) },
		"clear": func(sel *looptest.Selector, _ *looptest.Clock) { sel.Clear("f", write) },
	} {
		t.Run(name, func(t *testing.T) {
			sel, clock := newSelector(t)
			sel.SetStuckAfter(time.Microsecond)
			sel.At(0, "f", read|write)
			register(t, sel, "f", read)
			for i := range 5000 {
				if i%500 == 0 {
					something(sel, clock)
				}
				expect(t, sel, -1, told{"f", read})
			}
		})
	}
}

func TestNew(t *testing.T) {
	other := looptest.NewSelector(looptest.NewClock())
	opts := make([]eventloop.Option, 2, 10)
	opts[0], opts[1] = eventloop.WithSelector(other), nil
	loop, clock, sel := looptest.New(opts...)
	if loop.Selector() != selectors.Selector(sel) {
		t.Error("the loop has another selector")
	}
	if opts = opts[:3]; opts[2] != nil {
		t.Error("the caller's options were written to")
	}
	var at []time.Duration
	loop.CallLater(time.Hour, func() { at = append(at, loop.Now(), clock.Now()) })
	loop.CallLater(2*time.Hour, loop.Stop)
	if err := loop.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{time.Hour, time.Hour}; !slices.Equal(at, want) {
		t.Errorf("called at %v, want %v", at, want)
	}
	if diff := cmp.Diff([]time.Duration{time.Hour, time.Hour}, sel.Timeouts()); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
	if err := loop.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sel.Key(1); !errors.Is(err, selectors.ErrClosed) {
		t.Errorf("the selector after the loop's Close: %v", err)
	}
}

// Posts of real goroutines reach a loop that has nothing else to do.
func TestPostFromRealGoroutines(t *testing.T) {
	loop, clock, _ := looptest.New()
	defer loop.Close()
	const goroutines, each = 4, 100
	calls := 0
	for range goroutines {
		go func() {
			for range each {
				loop.Post(func() {
					if calls++; calls == goroutines*each {
						loop.Stop()
					}
				})
			}
		}()
	}
	if err := loop.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls != goroutines*each {
		t.Errorf("%d calls", calls)
	}
	expectTime(t, clock, 0)
}
