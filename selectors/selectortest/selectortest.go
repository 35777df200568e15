// Package selectortest is the conformance suite for implementations of
// [selectors.Selector]. Every backend of package selectors passes it.
//
// Run it from a test of the package that implements the selector:
//
//	func TestConformance(t *testing.T) {
//		selectortest.Run(t, func() (selectors.Selector, error) { return NewSelector() })
//	}
//
// [Run] checks the contract: the documentation of selectors.Selector, above all
// its list of duties. [RunAllocations] checks that Select allocates nothing, which
// the contract does not ask for.
//
// Each rule is a subtest named Group/Rule, so that -run selects rules by name:
//
//	go test -run 'TestConformance/Wake'                 the groups Wake and WakeWithFiles
//	go test -run 'TestConformance/^Wake$/DuringSelect'  one rule
//
// The rules use the exported interface and system calls only. They ask Features
// what to expect: a selector without [selectors.FeatureAnyFile] is tested with
// sockets only, and one without [selectors.FeatureInvalid] must not report closed
// descriptors. A rule that does not apply is skipped, with the reason.
//
// # Groups
//
//	Timeout, TimeoutWithFiles     how long Select waits
//	Wake, WakeWithFiles           Wake ends exactly one Select
//	Close, CloseWithFiles         Close, and every call after it
//	Context                       SelectContext
//	Register, Modify, Unregister  changes of registrations
//	Keys                          Key, Keys, Len
//	InvalidFileObj, FileObj       which file objects are refused and accepted
//	InvalidEvents, Errors         invalid interests, and the type of errors
//	Readiness                     what is reported for each state of a file
//	Modes                         level-triggered, edge-triggered, one-shot, exclusive
//	TwoSelectors                  one file in two selectors
//	OtherGoroutine                calls while another goroutine is in Select
//	Stale, ClosedDescriptor       descriptors closed or reused while registered
//	HintsOnly                     keys for which only hints are reported
//	AlwaysReady                   regular files, directories, /dev/null
//	Scale                         many files, high descriptor numbers
//	SelectInto                    use of dst
//	Process                       descriptors of the selector itself (Linux)
//	Allocations                   only by RunAllocations
//
// # Limits
//
// The suite finds false reports, lost events and busy loops, but cannot prove
// their absence. Most rules depend on the scheduler; run them also with the
// race detector and with GOMAXPROCS=1. Outside Linux the Readiness rules do not
// check which hints are reported. The rules do not measure speed.
//
// # Selectors that fail
//
// A method that panics fails the rule, with the stack, and the other rules go on.
// The method returns an error to the rule. An exception is a panic in a goroutine
// that the selector itself has started.
//
// A rule that exceeds its time limit fails, and its selectors are closed. If that
// does not end the rule either, it is left behind: its goroutines stay, and the
// other rules go on. A goroutine left behind in a busy loop can fail them.
//
// The rules change state of the process for short times: they fill the
// descriptor table, use high descriptor numbers, replace descriptor 0 and send
// SIGURG. Do not run other tests in parallel with them.
package selectortest

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"goselectors/selectors"
)

// The limits are variables for the tests of this package.
var (
	// ruleLimit is the time limit of one rule. Rules usually take milliseconds.
	ruleLimit = 20 * time.Second

	// closeLimit is the time a rule has to return after its selectors were
	// closed because it exceeded ruleLimit, and the time that a Close may take
	// at the end of a rule.
	closeLimit = 10 * time.Second

	// reportTimeout is how long a rule waits for an expected report.
	reportTimeout = 10 * time.Second
)

// quietTime is how long a rule waits to check that nothing is reported.
const quietTime = 2 * time.Millisecond

// Run runs every rule of the contract as a subtest of t. It calls newSelector at
// least once for each rule and closes every selector it gets.
func Run(t *testing.T, newSelector func() (selectors.Selector, error)) {
	t.Helper()
	runGroups(t, groups(), newSelector)
}

// RunAllocations runs the rules of the group Allocations as Run does: SelectInto
// with a dst that is large enough allocates nothing, whether it waits or reports.
// They are skipped in builds with the race detector, which allocates.
func RunAllocations(t *testing.T, newSelector func() (selectors.Selector, error)) {
	t.Helper()
	runGroups(t, []group{{"Allocations", allocationRules}}, newSelector)
}

func runGroups(t *testing.T, groups []group, newSelector func() (selectors.Selector, error)) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, tc := range g.rules {
				t.Run(tc.name, func(t *testing.T) { check(t, newSelector, tc) })
			}
		})
	}
}

// A group is the rules on one topic.
type group struct {
	name  string
	rules []rule
}

// A rule is one test of the contract. It gets a new selector and is skipped if
// the selector lacks a feature in need.
type rule struct {
	name string
	need selectors.Feature
	test func(t *T)
}

func groups() []group {
	return slices.Concat([]group{
		{"Timeout", timeoutRules},
		{"Wake", wakeRules},
		{"Close", closeRules},
		{"Context", contextRules},
		{"InvalidFileObj", invalidFileObjRules},
	}, systemGroups)
}

// T is the state of one running rule: the selector under test, and the
// descriptors and selectors to close at the end.
type T struct {
	*testing.T
	s           selectors.Selector // guarded, as all selectors that rules use
	features    selectors.Feature
	newSelector func() (selectors.Selector, error)
	system

	mu     sync.Mutex
	opened []selectors.Selector
	done   bool // the rule has ended for package testing
}

// check runs a rule with a new selector. The rule runs in a goroutine of its own,
// so that it can be left behind if it does not return.
func check(t *testing.T, newSelector func() (selectors.Selector, error), tc rule) {
	c := &T{T: t}
	c.newSelector = func() (s selectors.Selector, err error) {
		defer c.caught("the function that makes a selector", &err)
		if s, err = newSelector(); err == nil && s != nil {
			s = guarded{s, c}
		}
		return s, err
	}
	t.Cleanup(func() { // registered first, so it runs after all other cleanups
		c.mu.Lock()
		defer c.mu.Unlock()
		c.done = true
	})
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		var err error
		defer c.caught("the rule", &err)
		c.s = c.newTestSelector()
		c.features = c.s.Features()
		if missing := tc.need &^ c.features; missing != 0 {
			c.Skipf("the selector does not support %v", missing)
		}
		tc.test(c)
	}()
	select {
	case <-returned:
		return
	case <-time.After(ruleLimit):
	}
	c.closeOpened()
	select {
	case <-returned:
	case <-time.After(closeLimit):
		c.tryError(fmt.Sprintf("the rule has not returned %v after its selectors were closed; it is left behind", closeLimit))
	}
}

// closeOpened fails the rule because of its time limit and closes its selectors,
// which ends their waits.
func (t *T) closeOpened() {
	buf := make([]byte, 1<<20)
	t.tryError(fmt.Sprintf("the rule has not returned after %v; its selectors are closed now. All goroutines:\n\n%s",
		ruleLimit, buf[:runtime.Stack(buf, true)]))
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.opened {
		go s.Close()
	}
}

// newTestSelector returns a new selector and closes it at the end of the test.
func (t *T) newTestSelector() selectors.Selector {
	t.Helper()
	s, err := t.newSelector()
	if err != nil {
		t.Fatalf("new selector: %v", err)
	}
	if s == nil {
		t.Fatal("new selector: nil without an error")
	}
	t.mu.Lock()
	t.opened = append(t.opened, s)
	t.mu.Unlock()
	t.Cleanup(func() {
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Errorf("Close: %v", err)
			}
		case <-time.After(closeLimit):
			t.Errorf("Close has not returned after %v", closeLimit)
		}
	})
	return s
}

// noError stops the test if err is not nil. what names the operation.
func (t *T) noError(err error, what string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wantError checks that a call failed, and that its error matches every target.
func (t *T) wantError(err error, what string, targets ...error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want one that matches %q", what, targets)
		return
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: error %q, want one that matches %q", what, err, target)
		}
	}
}

// wantLen checks the number of registered files.
func (t *T) wantLen(want int) {
	t.Helper()
	if got := t.s.Len(); got != want {
		t.Errorf("Len() = %d, want %d", got, want)
	}
}

// mustSelect calls Select and checks the batch. An error stops the test.
func (t *T) mustSelect(timeout time.Duration) []selectors.Ready {
	t.Helper()
	return t.mustSelectOn(t.s, timeout)
}

// mustSelectOn is mustSelect for selector s.
func (t *T) mustSelectOn(s selectors.Selector, timeout time.Duration) []selectors.Ready {
	t.Helper()
	batch, err := s.Select(timeout)
	if err != nil {
		t.Fatalf("Select(%v): %v", timeout, err)
	}
	t.checkBatch(batch)
	return batch
}

const (
	interests = selectors.EventRead | selectors.EventWrite | selectors.EventPriority | selectors.EventReadClosed
	hints     = selectors.EventReadClosed | selectors.EventHangup | selectors.EventError | selectors.EventInvalid
)

// checkBatch checks the properties of every batch: each entry has a key and an
// event, no key appears twice, and each event is a hint or in the interest of its
// key.
func (t *T) checkBatch(batch []selectors.Ready) {
	t.Helper()
	reported := make(map[*selectors.SelectorKey]bool, len(batch))
	for _, entry := range batch {
		switch {
		case entry.Key == nil:
			t.Fatalf("an entry of the batch has no key: %v", formatBatch(batch))
		case reported[entry.Key]:
			t.Errorf("fd %d has two entries in one batch, want one: %v", entry.Key.FD, formatBatch(batch))
		case entry.Events == 0:
			t.Errorf("fd %d is in the batch without an event", entry.Key.FD)
		case entry.Events&^(interests|hints) != 0:
			t.Errorf("fd %d is reported with %v, which is not an event", entry.Key.FD, entry.Events&^(interests|hints))
		case entry.Events&^(entry.Key.Events|hints) != 0:
			t.Errorf("fd %d is reported with %v, want only events of its interest %v and hints", entry.Key.FD, entry.Events, entry.Key.Events)
		}
		reported[entry.Key] = true
	}
}

// wantBatch checks that batch has exactly the entries of want, in any order.
func (t *T) wantBatch(batch []selectors.Ready, want ...selectors.Ready) {
	t.Helper()
	got := make(map[*selectors.SelectorKey]selectors.Event, len(batch))
	for _, entry := range batch {
		got[entry.Key] = entry.Events
	}
	equal := len(batch) == len(want)
	for _, entry := range want {
		if events, ok := got[entry.Key]; !ok || events != entry.Events {
			equal = false
		}
	}
	if !equal {
		t.Fatalf("got batch  %v\nwant batch %v", formatBatch(batch), formatBatch(want))
	}
}

// formatBatch formats descriptor, data and events of the first 20 entries.
func formatBatch(batch []selectors.Ready) string {
	if len(batch) == 0 {
		return "empty"
	}
	var entries []string
	for i, entry := range batch {
		if i == 20 {
			entries = append(entries, fmt.Sprintf("and %d more", len(batch)-i))
			break
		}
		if entry.Key == nil {
			entries = append(entries, fmt.Sprintf("no key: %v", entry.Events))
			continue
		}
		entries = append(entries, fmt.Sprintf("fd %d (%v): %v", entry.Key.FD, entry.Key.Data, entry.Events))
	}
	return strings.Join(entries, ", ")
}

// A pendingSelect is a Select that runs in another goroutine.
type pendingSelect struct{ done chan selectResult }

// A selectResult is the result of a pendingSelect.
type selectResult struct {
	batch   []selectors.Ready
	err     error
	elapsed time.Duration
}

// startSelect starts a Select in another goroutine and returns when the Select
// is waiting, as far as can be observed. No registered file may be ready.
func (t *T) startSelect(s selectors.Selector, timeout time.Duration) *pendingSelect {
	t.Helper()
	return t.startSelectFunc(s, func() ([]selectors.Ready, error) { return s.Select(timeout) })
}

// startSelectFunc is startSelect for a function that calls a method of s.
func (t *T) startSelectFunc(s selectors.Selector, selectOnce func() ([]selectors.Ready, error)) *pendingSelect {
	t.Helper()
	pending := &pendingSelect{make(chan selectResult, 1)}
	go func() {
		var result selectResult
		defer func() { pending.done <- result }()
		defer t.caught("the pending Select", &result.err)
		for {
			start := time.Now()
			batch, err := selectOnce()
			result = selectResult{batch, err, time.Since(start)}
			if !errors.Is(err, selectors.ErrConcurrentSelect) {
				return
			}
			runtime.Gosched() // the Select(0) below was running
		}
	}()
	// The Select is running once a second Select fails with ErrConcurrentSelect.
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		if batch, err := s.Select(0); errors.Is(err, selectors.ErrConcurrentSelect) {
			break
		} else if len(batch) != 0 {
			t.Fatalf("Select(0) reported %v, want an empty batch", formatBatch(batch))
		}
	}
	time.Sleep(quietTime)
	return pending
}

// result waits for the Select to return.
func (ps *pendingSelect) result() selectResult { return <-ps.done }

// wantBlocked checks that the Select has not returned.
func (t *T) wantBlocked(pending *pendingSelect) {
	t.Helper()
	select {
	case result := <-pending.done:
		t.Fatalf("the pending Select returned after %v: batch %v, error %v, want it to wait", result.elapsed, formatBatch(result.batch), result.err)
	case <-time.After(quietTime):
	}
}

// wantResult checks that the Select returns no error and exactly the entries of
// want, in any order.
func (t *T) wantResult(pending *pendingSelect, want ...selectors.Ready) {
	t.Helper()
	result := pending.result()
	t.noError(result.err, "the pending Select")
	t.checkBatch(result.batch)
	t.wantBatch(result.batch, want...)
}

// wantTimeout checks that Select reports nothing and does not return before its
// timeout, so no earlier Wake is pending.
func (t *T) wantTimeout(s selectors.Selector, timeout time.Duration) {
	t.Helper()
	start := time.Now()
	batch := t.mustSelectOn(s, timeout)
	elapsed := time.Since(start)
	if len(batch) != 0 {
		t.Fatalf("Select(%v) reported %v, want an empty batch", timeout, formatBatch(batch))
	}
	if elapsed < timeout {
		t.Errorf("Select(%v) returned an empty batch after %v, want at least the timeout", timeout, elapsed)
	}
}

// runConcurrently calls f(0) to f(n-1) in n goroutines and returns their errors.
func runConcurrently(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() {
				if r := recover(); r != nil {
					errs[i] = fmt.Errorf("%w: %v\n\n%s", errPanic, r, debug.Stack())
				}
			}()
			errs[i] = f(i)
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}
