package backendtest

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"
)

// EachBackend runs a test for every one of Backends. A backend that
// can wait in two ways (selectors.WithBlockingWait) runs it for each.
func EachBackend(t *testing.T, test func(t *testing.T, b selectors.Backend)) {
	t.Helper()
	for _, b := range Backends() {
		t.Run(b.Name, func(t *testing.T) { test(t, b) })
		if b.Features&selectors.FeatureParked != 0 {
			blocking := b
			blocking.Name += "/blocking"
			blocking.New = func(opts ...selectors.Option) (selectors.Selector, error) {
				return b.New(append(opts, selectors.WithBlockingWait())...)
			}
			t.Run(blocking.Name, func(t *testing.T) { test(t, blocking) })
		}
	}
}

// EachSelector is EachBackend with a new selector of the backend.
func EachSelector(t *testing.T, test func(t *testing.T, s selectors.Selector)) {
	t.Helper()
	EachBackend(t, func(t *testing.T, b selectors.Backend) { test(t, New(t, b)) })
}

// New returns a selector, which is closed at the end of the test. If the test
// hangs, the selector is closed after 40 s, which ends its Select; if the test
// hangs on, the process panics with the stacks of all goroutines.
func New(t testing.TB, b selectors.Backend, opts ...selectors.Option) selectors.Selector {
	t.Helper()
	const closeAfter, panicAfter = 40 * time.Second, 50 * time.Second
	s, err := b.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	closing := time.AfterFunc(closeAfter, func() {
		t.Error("the test hangs: closing its selector")
		s.Close()
	})
	panicking := time.AfterFunc(panicAfter, func() {
		debug.SetTraceback("all")
		panic("Close did not end a test that hangs")
	})
	t.Cleanup(func() {
		closing.Stop()
		s.Close()
		panicking.Stop()
	})
	return s
}

// Register registers a file object. The test is skipped if events has
// EventPriority and the selector does not support it.
func Register(t testing.TB, s selectors.Selector, fileobj any, events selectors.Event) *selectors.SelectorKey {
	t.Helper()
	skipPriority(t, s, events)
	key, err := s.Register(fileobj, events, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Modify changes the interest of a key; it skips like Register.
func Modify(t testing.TB, s selectors.Selector, fileobj any, events selectors.Event) *selectors.SelectorKey {
	t.Helper()
	skipPriority(t, s, events)
	key, err := s.Modify(fileobj, events, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func skipPriority(t testing.TB, s selectors.Selector, events selectors.Event) {
	t.Helper()
	if events&selectors.EventPriority != 0 {
		Need(t, s, selectors.FeaturePriority)
	}
}

// Need skips the test if a selector or a backend lacks a feature.
func Need(t testing.TB, s interface{ Features() selectors.Feature }, need selectors.Feature) {
	t.Helper()
	if missing := need &^ s.Features(); missing != 0 {
		t.Skipf("this backend does not have %v", missing)
	}
}

// Unregister unregisters a file object.
func Unregister(t testing.TB, s selectors.Selector, fileobj any) *selectors.SelectorKey {
	t.Helper()
	key, err := s.Unregister(fileobj)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A Batch is what a Select reported, by descriptor.
type Batch map[int]selectors.Event

func (b Batch) String() string {
	var s []string
	for _, fd := range slices.Sorted(maps.Keys(b)) {
		s = append(s, fmt.Sprintf("%d:%v", fd, b[fd]))
	}
	return "{" + strings.Join(s, " ") + "}"
}

// AllHints are the events that a selector may report without being asked.
const AllHints = selectors.EventReadClosed | selectors.EventHangup | selectors.EventError | selectors.EventInvalid

// Select calls Select and checks what holds of every batch; see NewBatch.
func Select(t testing.TB, s selectors.Selector, timeout time.Duration) Batch {
	t.Helper()
	ready, err := s.Select(timeout)
	if err != nil {
		t.Fatal(err)
	}
	return NewBatch(t, ready)
}

// NewBatch converts the result of a Select. It checks that no mask is empty, that
// masks have only the interest and hints, and that no key is in it twice.
func NewBatch(t testing.TB, ready []selectors.Ready) Batch {
	t.Helper()
	const interest = selectors.EventRead | selectors.EventWrite | selectors.EventPriority | selectors.EventReadClosed
	got := Batch{}
	for _, r := range ready {
		if r.Events == 0 || r.Events&^(r.Key.Events&interest|AllHints) != 0 {
			t.Errorf("fd %d: events %v reported for interest %v", r.Key.FD, r.Events, r.Key.Events)
		}
		if _, duplicate := got[r.Key.FD]; duplicate {
			t.Errorf("fd %d is twice in one batch", r.Key.FD)
		}
		got[r.Key.FD] = r.Events
	}
	return got
}

// Interests returns a batch without the hints that are not part of a key's
// interest. A key that has only such hints stays in the batch, with 0.
func (b Batch) Interests(t testing.TB, s selectors.Selector) Batch {
	t.Helper()
	out := Batch{}
	for fd, events := range b {
		key, err := s.Key(fd)
		if err != nil {
			t.Fatalf("fd %d was reported: %v", fd, err)
		}
		out[fd] = events & key.Events
	}
	return out
}

// Guaranteed returns a batch without the hints that Features does not promise.
// A selector may report those, but need not.
func (b Batch) Guaranteed(s selectors.Selector) Batch {
	out := Batch{}
	for fd, events := range b {
		if events&selectors.EventInvalid == 0 {
			events &^= AllHints &^ SupportedHints(s, AllHints)
		}
		if events != 0 {
			out[fd] = events
		}
	}
	return out
}

// SupportedHints returns those of some hints that Features promises.
func SupportedHints(s selectors.Selector, events selectors.Event) selectors.Event {
	for _, hint := range []struct {
		feature selectors.Feature
		events  selectors.Event
	}{
		{selectors.FeatureReadClosed, selectors.EventReadClosed},
		{selectors.FeatureHangup, selectors.EventHangup | selectors.EventError},
		{selectors.FeatureInvalid, selectors.EventInvalid},
	} {
		if s.Features()&hint.feature == 0 {
			events &^= hint.events
		}
	}
	return events
}

// Expect selects and compares the interests of the batch with want. It waits,
// unless want is empty.
func Expect(t testing.TB, s selectors.Selector, want Batch) {
	t.Helper()
	timeout := fdtest.Timeout
	if len(want) == 0 {
		timeout = 0
	}
	if got := Select(t, s, timeout).Interests(t, s); !maps.Equal(got, want) {
		t.Fatalf("Select reported %v, want %v", got, want)
	}
}

// ExpectWithHints waits for a batch and compares the interests and the
// guaranteed hints with want.
func ExpectWithHints(t testing.TB, s selectors.Selector, want Batch) {
	t.Helper()
	if got := Select(t, s, fdtest.Timeout).Guaranteed(s); !maps.Equal(got, want) {
		t.Fatalf("Select reported %v, want %v", got, want)
	}
}

// ExpectNothing checks that nothing is reported, now and for fdtest.QuietTime.
func ExpectNothing(t testing.TB, s selectors.Selector) {
	t.Helper()
	for _, timeout := range []time.Duration{0, fdtest.QuietTime, 0} {
		if got := Select(t, s, timeout); len(got) != 0 {
			t.Fatalf("Select(%v) reported %v, want nothing", timeout, got)
		}
	}
}

// ExpectWoken checks that a wake-up ends the next Select, which reports nothing.
func ExpectWoken(t testing.TB, s selectors.Selector) {
	t.Helper()
	start := time.Now()
	if got := Select(t, s, fdtest.Timeout); len(got) != 0 || time.Since(start) >= fdtest.Timeout {
		t.Fatalf("Select reported %v after %v, want a wake-up", got, time.Since(start))
	}
}

// ExpectTimeout checks that a Select reports nothing and takes at least its
// timeout.
func ExpectTimeout(t testing.TB, s selectors.Selector, timeout time.Duration) {
	t.Helper()
	start := time.Now()
	if got := Select(t, s, timeout); len(got) != 0 {
		t.Fatalf("Select(%v) reported %v, want nothing", timeout, got)
	}
	if took := time.Since(start); took < timeout {
		t.Fatalf("Select(%v) returned after %v", timeout, took)
	}
}

// ExpectError checks that err is a *selectors.Error and matches every error of
// want.
func ExpectError(t testing.TB, err error, want ...error) {
	t.Helper()
	var e *selectors.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *selectors.Error", err, err)
	}
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Fatalf("error %v, want one that is %v", err, w)
		}
	}
}

// A Result is what a Select in another goroutine returned, and how long it took.
type Result struct {
	Ready []selectors.Ready
	Err   error
	Took  time.Duration
}

// StartSelect calls Select in another goroutine and gives it time to block.
func StartSelect(s selectors.Selector, timeout time.Duration) <-chan Result {
	return Start(func() ([]selectors.Ready, error) { return s.Select(timeout) })
}

// Start is StartSelect for another way to select.
func Start(sel func() ([]selectors.Ready, error)) <-chan Result {
	c := make(chan Result, 1)
	go func() {
		start := time.Now()
		ready, err := sel()
		c <- Result{ready, err, time.Since(start)}
	}()
	time.Sleep(fdtest.QuietTime)
	return c
}

// Await returns the result of a Select that must return.
func Await(t testing.TB, c <-chan Result) Result {
	t.Helper()
	select {
	case r := <-c:
		return r
	case <-time.After(fdtest.Timeout):
		t.Fatal("Select does not return")
		panic("unreachable")
	}
}

// AwaitWoken waits for a Select that a wake-up must have ended.
func AwaitWoken(t testing.TB, c <-chan Result) {
	t.Helper()
	if r := Await(t, c); r.Err != nil || len(r.Ready) != 0 || r.Took >= fdtest.Timeout {
		t.Fatalf("a woken Select returned %v, %v after %v", r.Ready, r.Err, r.Took)
	}
}

// AwaitBatch waits for a Select and compares what it reported, with hints.
func AwaitBatch(t testing.TB, c <-chan Result, want Batch) {
	t.Helper()
	r := Await(t, c)
	if got := NewBatch(t, r.Ready); r.Err != nil || !maps.Equal(got, want) {
		t.Fatalf("Select returned %v, %v, want %v", got, r.Err, want)
	}
}
