//go:build unix

package selectors_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"
)

// A fakeFacility records its calls, and reports what the test gives it.
type fakeFacility struct {
	mu     sync.Mutex
	waits  int              // calls of Wait
	last   uint64           // the last token that a method got
	tokens map[int]uint64   // of the watched descriptors
	calls  []string         // since the last check
	fail   map[string]error // the next error of a method
	kept   int              // a descriptor that the kernel may have a registration of
	report []fakeReport     // of the next Wait
	wake   chan struct{}
}

type fakeReport struct {
	token uint64
	ready selectors.Event
}

func newFakeFacility() *fakeFacility {
	return &fakeFacility{tokens: map[int]uint64{}, fail: map[string]error{}, wake: make(chan struct{}, 1)}
}

// call records a call, with its interest, and returns the error it should have.
func (f *fakeFacility) call(name string, events selectors.Event) error {
	what := name
	if events != 0 {
		what += " " + events.String()
	}
	f.calls = append(f.calls, what)
	err := f.fail[name]
	delete(f.fail, name)
	return err
}

func (f *fakeFacility) Add(fd int, events selectors.Event, token uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, watched := f.tokens[fd]; watched {
		f.call("watched already", 0)
	}
	f.last = token
	err := f.call("add", events)
	if err == nil {
		f.tokens[fd] = token
	}
	return err
}

func (f *fakeFacility) Modify(fd int, events selectors.Event, token uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, watched := f.tokens[fd]; !watched && f.kept != fd {
		f.call("not watched", 0)
	}
	f.last = token
	err := f.call("modify", events)
	if err == nil {
		f.tokens[fd] = token
	}
	return err
}

func (f *fakeFacility) Remove(fd int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("remove", 0)
	delete(f.tokens, fd)
}

func (f *fakeFacility) Wait(timeout time.Duration, report func(token uint64, ready selectors.Event)) error {
	f.mu.Lock()
	f.waits++
	err, reports := f.fail["wait"], f.report
	delete(f.fail, "wait")
	f.report = nil
	f.mu.Unlock()
	for _, r := range reports {
		report(r.token, r.ready)
	}
	if len(reports) > 0 || err != nil {
		return err
	}
	var limit <-chan time.Time
	if timeout >= 0 {
		limit = time.After(timeout)
	}
	select {
	case <-f.wake:
	case <-limit:
	}
	return nil
}

func (f *fakeFacility) Wake() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return f.call("wake", 0)
}

func (f *fakeFacility) Close() error { return f.call("close", 0) }

// wantCalls compares the calls since the last check.
func (f *fakeFacility) wantCalls(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls of the facility: -want +got\n%s", diff)
	}
	f.calls = nil
}

// facilityTraits are those of the fake facility in most tests.
var facilityTraits = selectors.FacilityTraits{
	Name:     "fake",
	Features: selectors.FeaturePriority | selectors.FeatureReadClosed | selectors.FeatureHangup | selectors.FeatureInvalid | selectors.FeatureAnyFile,
	Live:     true,
}

const (
	evRead  = selectors.EventRead
	evWrite = selectors.EventWrite
	evPri   = selectors.EventPriority
	evHup   = selectors.EventHangup
	evError = selectors.EventError
)

// A facilityTest is a selector on a fake facility, and a pipe.
type facilityTest struct {
	*testing.T
	f  *fakeFacility
	s  selectors.Selector
	fd int
}

// newFacilityTest registers the pipe for events, if that is not 0.
func newFacilityTest(t *testing.T, traits selectors.FacilityTraits, events selectors.Event) *facilityTest {
	t.Helper()
	f := newFakeFacility()
	s := selectors.NewSelector(f, traits)
	t.Cleanup(func() { s.Close() })
	fd, _ := fdtest.Pipe(t)
	if events != 0 {
		if _, err := s.Register(fd, events, nil); err != nil {
			t.Fatal(err)
		}
		f.calls = nil
	}
	return &facilityTest{t, f, s, fd}
}

// give makes the next Wait report events of the pipe, one call for each.
func (t *facilityTest) give(events ...selectors.Event) {
	for _, ready := range events {
		t.f.report = append(t.f.report, fakeReport{t.f.tokens[t.fd], ready})
	}
}

// wantSelect compares what Select(0) reports with want.
func (t *facilityTest) wantSelect(want selectors.Event) {
	t.Helper()
	batch, err := t.s.Select(0)
	var got selectors.Event
	for _, r := range batch {
		got |= r.Events
	}
	if err != nil || got != want || len(batch) > 1 {
		t.Errorf("Select reported %v, %v, want %v", batch, err, want)
	}
}

func (t *facilityTest) modify(events selectors.Event) {
	t.Helper()
	if _, err := t.s.Modify(t.fd, events, nil); err != nil {
		t.Fatal(err)
	}
}

// TestFacilityReports: what a Select makes of the reports of one Wait.
func TestFacilityReports(t *testing.T) {
	for _, test := range []struct {
		interest selectors.Event
		given    []selectors.Event
		want     selectors.Event
		then     string // the call that follows, if any
	}{
		{evRead, []selectors.Event{evRead}, evRead, ""},
		{evRead, []selectors.Event{evRead | evWrite | evPri}, evRead, ""},
		{evRead | evWrite, []selectors.Event{evRead, evWrite, evRead}, evRead | evWrite, ""}, // in one entry
		{evRead, []selectors.Event{evHup}, evRead | evHup, ""},
		{evRead, []selectors.Event{selectors.EventReadClosed}, evRead | selectors.EventReadClosed, ""},
		{evRead | evWrite, []selectors.Event{evError}, evRead | evWrite | evError, ""},
		{evWrite, []selectors.Event{evError, evHup}, evWrite | evError | evHup, ""},
		{evRead, []selectors.Event{evRead | selectors.EventInvalid}, evError | selectors.EventInvalid, "remove"},
		{evRead, nil, 0, ""},
		{evRead, []selectors.Event{0}, 0, ""},
		{evRead, []selectors.Event{evWrite}, 0, ""},
		{evRead | selectors.OneShot, []selectors.Event{evRead, evRead}, evRead, "remove"},
		{evPri, []selectors.Event{evHup}, evHup, ""},
	} {
		t.Run(fmt.Sprint(test.interest, test.given), func(t *testing.T) {
			ft := newFacilityTest(t, facilityTraits, test.interest)
			ft.give(test.given...)
			ft.wantSelect(test.want)
			var want []string
			if test.then != "" {
				want = []string{test.then}
			}
			ft.f.wantCalls(t, want...)
		})
	}
}

// TestFacilityMutes: a key that has only a hint to report, which the facility would
// repeat without end, is removed for a time when the hint lasts.
func TestFacilityMutes(t *testing.T) {
	ft := newFacilityTest(t, facilityTraits, evPri)
	ft.mute()
	ft.f.wantCalls(t, "remove")
}

func (t *facilityTest) mute() {
	t.Helper()
	t.give(evHup)
	t.wantSelect(evHup)
	t.give(evHup)
	t.wantSelect(0)
}

// TestFacilityCalls: the calls that follow from those of the selector.
func TestFacilityCalls(t *testing.T) {
	edge := facilityTraits
	edge.Features |= selectors.FeatureEdgeTriggered
	for _, test := range []struct {
		name   string
		traits selectors.FacilityTraits
		do     func(t *facilityTest)
		want   []string
	}{
		{"modify", facilityTraits, func(t *facilityTest) { t.modify(evWrite) }, []string{"modify Write"}},
		{"modify data only", facilityTraits, func(t *facilityTest) { t.modify(evRead) }, nil},
		{"modify to one-shot", facilityTraits, func(t *facilityTest) { t.modify(evRead | selectors.OneShot) }, []string{"modify Read"}},
		{"rearm one-shot", facilityTraits, func(t *facilityTest) {
			t.modify(evRead | selectors.OneShot)
			t.give(evRead)
			t.wantSelect(evRead)
			t.modify(evRead | selectors.OneShot)
		}, []string{"modify Read", "remove", "add Read"}},
		{"unregister", facilityTraits, func(t *facilityTest) { t.s.Unregister(t.fd) }, []string{"remove"}},
		{"unregister a disabled key", facilityTraits, func(t *facilityTest) {
			t.modify(evRead | selectors.OneShot)
			t.give(evRead)
			t.wantSelect(evRead)
			t.s.Unregister(t.fd)
		}, []string{"modify Read", "remove"}},
		{"kernel has dropped it", facilityTraits, func(t *facilityTest) {
			t.f.fail["modify"], t.f.kept = fmt.Errorf("kernel: %w", selectors.ErrNotRegistered), t.fd
			delete(t.f.tokens, t.fd)
			t.modify(evWrite)
		}, []string{"modify Write", "add Write"}},
		{"kernel has kept it", facilityTraits, func(t *facilityTest) {
			t.s.Unregister(t.fd)
			t.f.fail["add"], t.f.kept = fmt.Errorf("kernel: %w", selectors.ErrRegistered), t.fd
			t.s.Register(t.fd, evWrite, nil)
		}, []string{"remove", "add Write", "modify Write"}},
		{"another file has the number", facilityTraits, func(t *facilityTest) {
			other, _ := fdtest.Pipe(t)
			fdtest.Replace(t, t.fd, other)
			t.modify(evWrite)
			fdtest.Replace(t, t.fd, fdtest.Open(t, "/dev/null", 0))
			t.s.Register(t.fd, evRead, nil)
		}, []string{"remove", "add Write", "remove", "add Read"}},
		{"mute by edge", edge, func(t *facilityTest) {
			t.modify(evPri)
			t.give(evHup)
			t.wantSelect(evHup)
			t.give(evPri)
			t.wantSelect(evPri)
		}, []string{"modify Priority", "modify Priority|EdgeTriggered", "modify Priority"}},
		{"mute by removal", edge, func(t *facilityTest) {
			t.modify(evPri)
			t.f.fail["modify"] = syscall.ENOMEM
			t.give(evHup)
			t.wantSelect(evHup)
		}, []string{"modify Priority", "modify Priority|EdgeTriggered", "remove"}},
		{"close", facilityTraits, func(t *facilityTest) { t.s.Close(); t.s.Close() }, []string{"close"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ft := newFacilityTest(t, test.traits, evRead)
			test.do(ft)
			ft.f.wantCalls(t, test.want...)
		})
	}
}

// TestFacilityStale: an event with the token of a registration that has ended or
// was modified is dropped.
func TestFacilityStale(t *testing.T) {
	ft := newFacilityTest(t, facilityTraits, evRead)
	old := ft.f.tokens[ft.fd]
	for name, change := range map[string]func(){
		"modified":         func() { ft.modify(evRead | evWrite); ft.modify(evRead) },
		"registered again": func() { ft.s.Unregister(ft.fd); ft.s.Register(ft.fd, evRead, nil) },
	} {
		change()
		ft.f.report = []fakeReport{{old, evRead}, {0, evRead}, {old + 1, evRead}}
		if batch, err := ft.s.Select(0); len(batch) != 0 || err != nil {
			t.Errorf("%s: Select reported %v, %v, want nothing", name, batch, err)
		}
		ft.give(evRead)
		ft.wantSelect(evRead)
		old = ft.f.tokens[ft.fd]
	}
	ft.s.Unregister(ft.fd)
	ft.f.report = []fakeReport{{old, evRead}}
	if batch, err := ft.s.Select(0); len(batch) != 0 || err != nil {
		t.Errorf("after Unregister Select reported %v, %v, want nothing", batch, err)
	}
}

// TestFacilityReportsTooMuch: a facility that reports what it should not watch has
// no effect.
func TestFacilityReportsTooMuch(t *testing.T) {
	ft := newFacilityTest(t, facilityTraits, evRead|selectors.OneShot)
	ft.give(evRead)
	ft.wantSelect(evRead)
	ft.f.report = []fakeReport{{ft.f.last, evRead}} // a one-shot that has fired
	ft.wantSelect(0)

	ft.f.fail["add"] = selectors.ErrAlwaysReady
	ft.modify(evRead)
	ft.f.report = []fakeReport{{ft.f.last, evRead}}
	ft.wantSelect(evRead)
	ft.wantSelect(evRead)
}

// TestFacilityWaitErrors: what was reported before an error is not lost, and
// neither is the error. EINTR is none.
func TestFacilityWaitErrors(t *testing.T) {
	ft := newFacilityTest(t, facilityTraits, evRead)
	ft.give(evRead)
	ft.f.fail["wait"] = syscall.EIO
	ft.wantSelect(evRead)
	if batch, err := ft.s.Select(0); len(batch) != 0 || !errors.Is(err, syscall.EIO) {
		t.Errorf("the next Select returned %v, %v, want EIO", batch, err)
	}
	ft.f.fail["wait"] = fmt.Errorf("wait: %w", syscall.EINTR)
	ft.wantSelect(0)
	ft.give(evRead)
	ft.wantSelect(evRead)
}

// TestFacilityChangeErrors: a change that fails has the facility's error, and the
// old registration stands.
func TestFacilityChangeErrors(t *testing.T) {
	ft := newFacilityTest(t, facilityTraits, evRead)
	other, _ := fdtest.Pipe(t)
	for _, test := range []struct {
		method, op string
		call       func() error
	}{
		{"add", "register", func() error { _, err := ft.s.Register(other, evRead, nil); return err }},
		{"modify", "modify", func() error { _, err := ft.s.Modify(ft.fd, evWrite, nil); return err }},
	} {
		ft.f.fail[test.method] = syscall.ENOMEM
		err := test.call()
		var e *selectors.Error
		if !errors.As(err, &e) || e.Op != test.op || e.Backend != "fake" || !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("%s: %v, want an Error of %s with ENOMEM", test.method, err, test.op)
		}
	}
	if n := ft.s.Len(); n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
	ft.give(evRead)
	ft.wantSelect(evRead)
}

// TestFacilityReplaceFails: another file has the number of a key, and the facility
// cannot watch it. The key is still stale, and a later call watches the new file.
func TestFacilityReplaceFails(t *testing.T) {
	for name, first := range map[string]func(t *facilityTest) error{
		"register": func(t *facilityTest) error { _, err := t.s.Register(t.fd, evRead, nil); return err },
		"modify":   func(t *facilityTest) error { _, err := t.s.Modify(t.fd, evRead|evWrite, nil); return err },
	} {
		for then, second := range map[string]func(t *facilityTest) error{
			"register": func(t *facilityTest) error { _, err := t.s.Register(t.fd, evRead, nil); return err },
			"modify":   func(t *facilityTest) error { _, err := t.s.Modify(t.fd, evRead|evWrite, nil); return err },
		} {
			ft := newFacilityTest(t, facilityTraits, evRead)
			other, _ := fdtest.Pipe(t)
			fdtest.Replace(t, ft.fd, other)
			ft.f.fail["add"] = syscall.ENOMEM
			if err := first(ft); !errors.Is(err, syscall.ENOMEM) {
				t.Errorf("%s: %v, want ENOMEM", name, err)
			}
			if err := second(ft); err != nil {
				t.Errorf("%s after %s: %v", then, name, err)
			}
			ft.give(evRead)
			ft.wantSelect(evRead)
			if n := ft.s.Len(); n != 1 {
				t.Errorf("%d keys, want 1", n)
			}
			for _, call := range ft.f.calls {
				if strings.HasSuffix(call, "watched") || strings.HasPrefix(call, "watched") {
					t.Errorf("%s after %s: %s: %v", then, name, call, ft.f.calls)
				}
			}
		}
	}
}

// TestFacilityUnmuteFails: a muted key that could not be added again is added
// later, unless its descriptor was closed.
func TestFacilityUnmuteFails(t *testing.T) {
	for failure, want := range map[error][]string{
		syscall.ENOMEM: {"remove", "add Priority", "add Priority"},
		syscall.EBADF:  {"remove", "add Priority"},
	} {
		ft := newFacilityTest(t, facilityTraits, evPri)
		ft.mute()
		ft.f.fail["add"] = failure
		for deadline := time.Now().Add(fdtest.Timeout); len(ft.f.calls) < len(want) && time.Now().Before(deadline); {
			if _, err := ft.s.Select(10 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		ft.f.wantCalls(t, want...)
	}
}

// TestFacilityAlwaysReady: the selector reports what the facility refuses to watch
// because it is always ready.
func TestFacilityAlwaysReady(t *testing.T) {
	ft := newFacilityTest(t, facilityTraits, 0)
	ft.f.fail["add"] = fmt.Errorf("kernel: %w", selectors.ErrAlwaysReady)
	if _, err := ft.s.Register(ft.fd, evRead|evWrite, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ft.wantSelect(evRead | evWrite)
	}
	ft.f.fail["add"] = selectors.ErrAlwaysReady
	ft.modify(evRead)
	ft.wantSelect(evRead)
	ft.modify(evWrite) // now the facility watches it
	ft.wantSelect(0)
	ft.f.fail["modify"] = selectors.ErrAlwaysReady
	ft.modify(evRead)
	ft.wantSelect(evRead)
	ft.s.Unregister(ft.fd)
	ft.wantSelect(0)
	ft.f.wantCalls(t, "add Read|Write", "add Read", "add Write", "modify Read", "remove")
}

// TestFacilityLive: changes wake a wait that is under way only if they do not
// reach it by themselves.
func TestFacilityLive(t *testing.T) {
	for _, live := range []bool{true, false} {
		traits := facilityTraits
		traits.Live = live
		ft := newFacilityTest(t, traits, 0)
		done := make(chan error)
		go func() {
			_, err := ft.s.Select(-1)
			done <- err
		}()
		ft.awaitWaits(1)
		if _, err := ft.s.Register(ft.fd, evRead, nil); err != nil {
			t.Fatal(err)
		}
		want := []string{"add Read"}
		if !live {
			ft.awaitWaits(2)
			want = append(want, "wake")
		}
		if err := ft.s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, selectors.ErrClosed) {
			t.Errorf("Select returned %v, want ErrClosed", err)
		}
		ft.f.wantCalls(t, append(want, "wake", "close")...)
	}
}

// awaitWaits waits until Wait has been called n times.
func (t *facilityTest) awaitWaits(n int) {
	t.Helper()
	for deadline := time.Now().Add(fdtest.Timeout); ; time.Sleep(time.Millisecond) {
		t.f.mu.Lock()
		waits := t.f.waits
		t.f.mu.Unlock()
		if waits >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d calls of Wait, want %d", waits, n)
		}
	}
}
