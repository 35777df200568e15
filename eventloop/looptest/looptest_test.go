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
			t.Fatalf("after Advance(%d), Now() = %d, want %d", step.by, c.Now(), step.want)
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
					t.Errorf("Now() = %d after %d, want later", now, last)
				} else {
					last = now
				}
			}
		}()
	}
	wg.Wait()
	if c.Now() != 4000 {
		t.Errorf("Now() = %d, want 4000", c.Now())
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
		t.Errorf("Features() = %v, want %v", got, all)
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

// A report is one element of the batch of a Select.
type report struct {
	FileObj any
	Events  selectors.Event
}

func expectReports(t *testing.T, sel *looptest.Selector, timeout time.Duration, want ...report) {
	t.Helper()
	ready, err := sel.Select(timeout)
	if err != nil {
		t.Fatal(err)
	}
	var got []report
	for _, r := range ready {
		got = append(got, report{r.Key.FileObj, r.Events})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("Select(%v) (-want +got):\n%s", timeout, diff)
	}
}

func expectTime(t *testing.T, clock *looptest.Clock, want time.Duration) {
	t.Helper()
	if clock.Now() != want {
		t.Fatalf("clock.Now() = %v, want %v", clock.Now(), want)
	}
}

func TestSelectMovesTheClock(t *testing.T) {
	sel, clock := newSelector(t)
	register(t, sel, "a", read)
	register(t, sel, "b", read|write)
	sel.At(5*time.Second, "b", read)
	sel.At(2*time.Second, "a", read)
	sel.At(2*time.Second, "unregistered", read)

	expectReports(t, sel, 0)
	expectTime(t, clock, 0)
	expectReports(t, sel, time.Second) // the timeout comes first
	expectTime(t, clock, time.Second)
	expectReports(t, sel, time.Second, report{"a", read}) // timeout and step at the same time
	expectTime(t, clock, 2*time.Second)
	expectReports(t, sel, -1, report{"a", read}) // level-triggered: still ready
	expectTime(t, clock, 2*time.Second)
	sel.Clear("a", read)
	expectReports(t, sel, time.Hour, report{"b", read})
	expectTime(t, clock, 5*time.Second)
	sel.Clear("b", read)
	expectReports(t, sel, time.Hour)
	expectTime(t, clock, time.Hour+5*time.Second)
	expectReports(t, sel, math.MaxInt64)
	expectTime(t, clock, math.MaxInt64)
	expectReports(t, sel, math.MaxInt64)
	expectTime(t, clock, math.MaxInt64)

	want := []time.Duration{0, time.Second, time.Second, -1, time.Hour, time.Hour, math.MaxInt64, math.MaxInt64}
	if diff := cmp.Diff(want, sel.Timeouts()); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
}

// Events outside the interest are not reported until the interest includes them.
func TestEventsOutsideInterestAreKept(t *testing.T) {
	sel, clock := newSelector(t)
	register(t, sel, "a", write)
	sel.At(1, "a", read)
	sel.Once(2, "b", read)
	sel.At(3, "a", write)
	expectReports(t, sel, -1, report{"a", write})
	expectTime(t, clock, 3)
	register(t, sel, "b", read)
	expectReports(t, sel, -1, report{"a", write}, report{"b", read})
	if _, err := sel.Modify("a", read|write, nil); err != nil {
		t.Fatal(err)
	}
	expectReports(t, sel, -1, report{"a", read | write})
}

func TestReportOrderFollowsScript(t *testing.T) {
	sel, _ := newSelector(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		register(t, sel, name, read)
	}
	sel.At(9, "d", read)
	sel.At(7, "c", read)
	sel.At(9, "a", read)
	sel.At(9, "b", read)
	expectReports(t, sel, 8, report{"c", read})
	sel.Clear("c", read)
	sel.At(9, "c", read)
	expectReports(t, sel, 8, report{"d", read}, report{"a", read}, report{"b", read}, report{"c", read})
	sel.Clear("a", read)
	sel.At(0, "a", read) // at once
	expectReports(t, sel, 0, report{"d", read}, report{"b", read}, report{"c", read}, report{"a", read})
}

// Each step of a case changes the file and then calls Select(0) once for each
// wanted report.
func TestReports(t *testing.T) {
	const (
		hup, ioErr, rdhup, invalid = selectors.EventHangup, selectors.EventError, selectors.EventReadClosed, selectors.EventInvalid
		edge, oneShot, prio, none  = selectors.EdgeTriggered, selectors.OneShot, selectors.EventPriority, selectors.Event(0)
	)
	type sel = *looptest.Selector
	at := func(events selectors.Event) func(sel) { return func(s sel) { s.At(0, "f", events) } }
	once := func(events selectors.Event) func(sel) { return func(s sel) { s.Once(0, "f", events) } }
	clearEvents := func(events selectors.Event) func(sel) { return func(s sel) { s.Clear("f", events) } }
	modify := func(events selectors.Event) func(sel) { return func(s sel) { s.Modify("f", events, nil) } }
	reregister := func(s sel) {
		s.Unregister("f")
		s.Register("f", read, nil)
	}
	type step struct {
		do   func(sel)
		want []selectors.Event // one for each Select
	}
	type reports = []selectors.Event
	for _, test := range []struct {
		name     string
		interest selectors.Event
		steps    []step
	}{
		{"level", read, []step{{at(read), reports{read, read}}, {clearEvents(read), reports{none}}, {at(read), reports{read}}}},
		{"level, both", read | write, []step{{at(write), reports{write}}, {at(read), reports{read | write}}, {clearEvents(write), reports{read}}}},
		{"clear of an event that is not set", read, []step{{clearEvents(write), reports{none}}, {at(read), nil}, {clearEvents(write), reports{read}}}},
		{"once", read, []step{{once(read), reports{read, none}}, {once(read), reports{read, none}}}},
		{"once and level", read, []step{{at(read), nil}, {once(read), reports{read, read}}}},
		{"once, cleared before the report", read, []step{{once(read), nil}, {clearEvents(read), reports{none}}}},
		{"once, outside the interest", write, []step{{once(read), reports{none}}, {modify(read), reports{read, none}}}},
		{"priority", read | prio, []step{{at(prio), reports{prio}}, {at(read), reports{read | prio}}}},

		{"edge", read | edge, []step{{at(read), reports{read, none}}, {at(read), reports{read, none}}, {clearEvents(read), reports{none}}}},
		{"edge, re-armed by Modify", read | edge, []step{{at(read), reports{read, none}}, {modify(read | edge), reports{read, none}}, {modify(read), reports{read, read}}}},
		{"edge, once", read | edge, []step{{once(read), reports{read, none}}, {modify(read | edge), reports{none}}}},
		{"one-shot", read | oneShot, []step{{at(read), reports{read, none}}, {at(read), reports{none}}, {modify(read | oneShot), reports{read, none}}, {modify(read), reports{read, read}}}},
		{"one-shot, event outside the interest", write | oneShot, []step{{at(read), reports{none}}, {at(write), reports{write, none}}}},
		{"one-shot, registered again", read | oneShot, []step{{at(read), reports{read, none}}, {reregister, reports{read, read}}}},

		{"hang-up", read, []step{{at(hup), reports{read | hup, read | hup}}}},
		{"error", read | write, []step{{at(ioErr), reports{read | write | ioErr}}}},
		{"error once", read | write, []step{{once(ioErr), reports{read | write | ioErr, none}}}},
		{"half-close", read, []step{{at(rdhup), reports{read | rdhup}}}},
		{"half-close, in the interest", rdhup, []step{{at(rdhup), reports{rdhup, rdhup}}}},
		{"half-close, outside the interest", write, []step{{at(rdhup), reports{none}}, {at(write), reports{write}}}},
		{"hints alone are reported once", write, []step{
			{at(hup), reports{hup, none}},
			{at(ioErr), reports{write | hup | ioErr, write | hup | ioErr}},
		}},
		{"hints alone, scripted twice", write, []step{{at(hup), reports{hup, none}}, {at(hup), reports{none}}, {clearEvents(hup), reports{none}}, {at(hup), reports{hup, none}}}},
		{"hints alone, once", write | prio, []step{{once(hup), reports{hup, none}}, {once(hup), reports{hup, none}}}},
		{"hints alone, once and level", write | prio, []step{{at(hup), reports{hup, none}}, {once(hup), reports{none}}, {clearEvents(hup), reports{none}}, {once(hup), reports{hup, none}}}},
		{"hints alone, other event between", write, []step{{at(hup), reports{hup, none}}, {at(write), reports{write | hup}}, {clearEvents(write), reports{hup, none}}}},
		{"hints alone, edge", write | edge, []step{{at(hup), reports{hup, none}}, {at(hup), reports{hup, none}}}},
		{"invalid", read, []step{{at(read | invalid), reports{ioErr | invalid, none}}, {clearEvents(invalid), reports{none}}, {modify(read), reports{read}}}},
		{"invalid once", read, []step{{once(invalid), reports{ioErr | invalid, none}}, {modify(read), reports{none}}, {at(read), reports{read}}}},
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
		t.Errorf("FDs of the numbers 7 and 9 are %d and %d", k7.FD, ku.FD)
	}
	if ka.FD == kb.FD || ka.FD < 1<<20 || kb.FD < 1<<20 {
		t.Errorf("assigned numbers are %d and %d", ka.FD, kb.FD)
	}
	for _, fileobj := range []any{a, ka.FD, uintptr(ka.FD)} {
		if k, err := sel.Key(fileobj); k != ka || err != nil {
			t.Errorf("Key(%v) is %v, %v", fileobj, k, err)
		}
	}
	if k, err := sel.Key(object{"b"}); k != kb || err != nil { // equal values are one file object
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
		t.Errorf("the earlier snapshot has %d keys, want 4", n)
	}
	if again := register(t, sel, a, read); again.FD != ka.FD {
		t.Errorf("FD after registering again is %d, want %d", again.FD, ka.FD)
	}
}

// A number that is registered is not assigned to another file object.
func TestAssignedNumbersAreUnused(t *testing.T) {
	sel, _ := newSelector(t)
	first := register(t, sel, "a", read).FD
	register(t, sel, first+1, read)
	if b := register(t, sel, "b", read).FD; b != first+2 {
		t.Errorf("FD of b is %d, want %d", b, first+2)
	}
}

func TestErrors(t *testing.T) {
	sel, _ := newSelector(t)
	register(t, sel, "a", read)
	register(t, sel, 3, read)
	setErr := func(set func(any, selectors.Event, any) (*selectors.SelectorKey, error), fileobj any, events selectors.Event) error {
		_, err := set(fileobj, events, nil)
		return err
	}
	getErr := func(get func(any) (*selectors.SelectorKey, error), fileobj any) error {
		_, err := get(fileobj)
		return err
	}
	type errorTest struct {
		name string
		err  error
		op   string
		fd   int
		want error
	}
	tests := []errorTest{
		{"registered twice", setErr(sel.Register, 3, write), "register", 3, selectors.ErrRegistered},
		{"registered twice, as uintptr", setErr(sel.Register, uintptr(3), write), "register", 3, selectors.ErrRegistered},
		{"registered twice, object", setErr(sel.Register, "a", write), "register", 1 << 20, selectors.ErrRegistered},
		{"modify, number not registered", setErr(sel.Modify, 4, read), "modify", 4, selectors.ErrNotRegistered},
		{"modify, object not registered", setErr(sel.Modify, "b", read), "modify", -1, selectors.ErrNotRegistered},
		{"unregister, not registered", getErr(sel.Unregister, 4), "unregister", 4, selectors.ErrNotRegistered},
		{"key, not registered", getErr(sel.Key, "b"), "key", -1, selectors.ErrNotRegistered},
	}
	for _, events := range []selectors.Event{
		0, selectors.OneShot, selectors.EdgeTriggered | selectors.OneShot, selectors.EventHangup, read | selectors.EventError,
		read | selectors.EventInvalid, read | 1<<30,
		read | selectors.Exclusive | selectors.OneShot, selectors.EventPriority | selectors.Exclusive, selectors.EventReadClosed | selectors.Exclusive,
	} {
		tests = append(tests,
			errorTest{"register with " + events.String(), setErr(sel.Register, 5, events), "register", 5, selectors.ErrInvalidEvents},
			errorTest{"modify with " + events.String(), setErr(sel.Modify, 3, events), "modify", 3, selectors.ErrInvalidEvents})
	}
	for _, fileobj := range []any{nil, -1, math.MinInt, ^uintptr(0), (*os.File)(nil), (chan int)(nil), []int{1}, map[int]int{}, func() {}, [1]any{[]int{}}} {
		tests = append(tests,
			errorTest{"register", setErr(sel.Register, fileobj, read), "register", -1, selectors.ErrInvalidFileObj},
			errorTest{"modify", setErr(sel.Modify, fileobj, read), "modify", -1, selectors.ErrInvalidFileObj},
			errorTest{"unregister", getErr(sel.Unregister, fileobj), "unregister", -1, selectors.ErrInvalidFileObj},
			errorTest{"key", getErr(sel.Key, fileobj), "key", -1, selectors.ErrInvalidFileObj})
	}
	check := func(test errorTest) {
		t.Helper()
		var e *selectors.Error
		if !errors.Is(test.err, test.want) || !errors.As(test.err, &e) || e.Op != test.op || e.FD != test.fd || e.Backend != "looptest" {
			t.Errorf("%s: error %#v, want op %s, fd %d, %v", test.name, test.err, test.op, test.fd, test.want)
		}
	}
	for _, test := range tests {
		check(test)
	}
	if sel.Len() != 2 {
		t.Errorf("Len() = %d after failed calls, want 2", sel.Len())
	}
	for _, events := range []selectors.Event{read, write | selectors.OneShot, selectors.EventPriority | selectors.EdgeTriggered, selectors.EventReadClosed, read | write | selectors.Exclusive | selectors.EdgeTriggered} {
		if err := setErr(sel.Modify, 3, events); err != nil {
			t.Errorf("%v: %v", events, err)
		}
	}

	sel.At(0, 3, read)
	if err := sel.Close(); err != nil {
		t.Fatal(err)
	}
	_, selectErr := sel.Select(0)
	for _, test := range []errorTest{
		{"register", setErr(sel.Register, 8, read), "register", 8, selectors.ErrClosed},
		{"register of nil", setErr(sel.Register, nil, read), "register", -1, os.ErrClosed},
		{"modify", setErr(sel.Modify, 3, read), "modify", 3, selectors.ErrClosed},
		{"unregister", getErr(sel.Unregister, 3), "unregister", 3, selectors.ErrClosed},
		{"key", getErr(sel.Key, 3), "key", 3, selectors.ErrClosed},
		{"wake", sel.Wake(), "wake", -1, selectors.ErrClosed},
		{"select", selectErr, "select", -1, selectors.ErrClosed},
	} {
		test.name += " after Close"
		check(test)
	}
	sel.Clear(3, read)
	sel.At(0, 3, read)
	if n := len(slices.Collect(sel.Keys())); n != 0 || sel.Len() != 0 {
		t.Errorf("after Close there are %d keys and Len() = %d, want 0", n, sel.Len())
	}
	if err := sel.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestInvalidScriptPanics(t *testing.T) {
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
	register(t, sel, 1, read) // hangs if the lock is still held
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
	expectReports(t, sel, -1) // several wakes end one Select, and no time passes
	expectTime(t, clock, 0)
	expectReports(t, sel, -1, report{1, read})
	if err := sel.Wake(); err != nil {
		t.Fatal(err)
	}
	expectReports(t, sel, -1, report{1, read}) // a wake and a ready file
	sel.Clear(1, read)
	expectReports(t, sel, time.Second) // no wake is left
	expectTime(t, clock, 2*time.Second)
}

// A call from another goroutine ends a Select that blocks in real time.
func TestOtherGoroutineEndsBlockedSelect(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(sel *looptest.Selector)
		want []report
		err  error
	}{
		{"Wake", func(sel *looptest.Selector) { sel.Wake() }, nil, nil},
		{"At", func(sel *looptest.Selector) { sel.At(0, "f", read) }, []report{{"f", read}}, nil},
		{"At, in the future", func(sel *looptest.Selector) { sel.At(time.Hour, "f", read) }, []report{{"f", read}}, nil},
		{"Register", func(sel *looptest.Selector) { sel.Register("g", read, nil) }, []report{{"g", read}}, nil},
		{"Modify", func(sel *looptest.Selector) { sel.Modify("h", read, nil) }, []report{{"h", read}}, nil},
		{"Close", func(sel *looptest.Selector) { sel.Close() }, nil, selectors.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			sel, _ := newSelector(t)
			register(t, sel, "f", read)
			register(t, sel, "h", write)
			sel.At(0, "g", read)
			sel.At(0, "h", read)
			go func() {
				for len(sel.Timeouts()) == 0 { // Select has not started
					time.Sleep(time.Millisecond)
				}
				time.Sleep(2 * time.Millisecond)
				test.end(sel)
			}()
			ready, err := sel.Select(-1)
			var got []report
			for _, r := range ready {
				got = append(got, report{r.Key.FileObj, r.Events})
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

// A Select that would block forever fails.
func TestHangIsStuck(t *testing.T) {
	sel, clock := newSelector(t)
	sel.SetStuckAfter(10 * time.Millisecond)
	register(t, sel, 1, read)
	sel.At(1, 1, write) // outside the interest
	start := time.Now()
	ready, err := sel.Select(-1)
	if !errors.Is(err, looptest.ErrStuck) || len(ready) != 0 {
		t.Errorf("Select: %v, %v", ready, err)
	}
	var e *selectors.Error
	if !errors.As(err, &e) || e.Op != "select" {
		t.Errorf("%#v", err)
	}
	if elapsed := time.Since(start); elapsed < 10*time.Millisecond {
		t.Errorf("Select failed after %v, want at least 10ms", elapsed)
	}
	expectTime(t, clock, 1)
	expectReports(t, sel, time.Second) // the selector is still usable
	sel.At(0, 1, read)
	expectReports(t, sel, -1, report{1, read})
}

// A program that calls Select again and again without progress fails.
func TestSpinIsStuck(t *testing.T) {
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
			t.Errorf("Run failed after %d callbacks, want at least 900", calls)
		}
	})
	t.Run("timer", func(t *testing.T) {
		loop, _, sel := looptest.New()
		defer loop.Close()
		sel.SetStuckAfter(time.Millisecond)
		sel.At(time.Second, "f", read)
		if _, err := loop.Register("f", read, func(any, selectors.Event) { t.Error("callback of a file that is ready at 1s") }); err != nil {
			t.Fatal(err)
		}
		var reschedule func()
		reschedule = func() { loop.CallLater(0, reschedule) }
		reschedule()
		if err := loop.Run(t.Context()); !errors.Is(err, looptest.ErrStuck) {
			t.Errorf("Run: %v", err)
		}
	})
	t.Run("many calls in little real time", func(t *testing.T) {
		sel, _ := newSelector(t)
		for range 5000 {
			expectReports(t, sel, 0)
		}
	})
	// Progress between the calls prevents the error.
	for name, makeProgress := range map[string]func(sel *looptest.Selector, clock *looptest.Clock){
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
					makeProgress(sel, clock)
				}
				expectReports(t, sel, -1, report{"f", read})
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
		t.Error("loop.Selector() is not the returned selector")
	}
	if opts = opts[:3]; opts[2] != nil {
		t.Error("New wrote to the caller's slice")
	}
	var at []time.Duration
	loop.CallLater(time.Hour, func() { at = append(at, loop.Now(), clock.Now()) })
	loop.CallLater(2*time.Hour, loop.Stop)
	if err := loop.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{time.Hour, time.Hour}; !slices.Equal(at, want) {
		t.Errorf("loop and clock times in the callback are %v, want %v", at, want)
	}
	if diff := cmp.Diff([]time.Duration{time.Hour, time.Hour}, sel.Timeouts()); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
	if err := loop.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sel.Key(1); !errors.Is(err, selectors.ErrClosed) {
		t.Errorf("Key after the loop's Close: %v, want ErrClosed", err)
	}
}

// Callbacks posted by real goroutines run on a loop that has no timers and no script.
func TestPostFromRealGoroutines(t *testing.T) {
	loop, clock, _ := looptest.New()
	defer loop.Close()
	const goroutines, postsEach = 4, 100
	calls := 0
	for range goroutines {
		go func() {
			for range postsEach {
				loop.Post(func() {
					if calls++; calls == goroutines*postsEach {
						loop.Stop()
					}
				})
			}
		}()
	}
	if err := loop.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls != goroutines*postsEach {
		t.Errorf("%d calls, want %d", calls, goroutines*postsEach)
	}
	expectTime(t, clock, 0)
}
