// Package selectortest checks that a [selectors.Selector] keeps its contract.
//
// It is for everyone who writes one: the backends of package selectors pass
// it, all of them in one process, and so should any other.
//
//	func TestConformance(t *testing.T) {
//		selectortest.Run(t, func() (selectors.Selector, error) { return NewSelector() })
//	}
//
// A rule of the contract is a subtest, so that -run picks rules by name. The
// rules use the exported interface and system calls, nothing else, and ask
// Features what to expect: a selector without [selectors.FeatureAnyFile] sees
// sockets only, one without [selectors.FeatureInvalid] has to be silent about
// closed descriptors, and so on. What does not apply is skipped, with the
// reason.
//
// No rule holds up the others: one that is not done in time fails, and its
// selectors are closed under it. The rules are there to find false reports,
// lost ones and spinning; they cannot prove that there are none. Run them with
// the race detector and with GOMAXPROCS=1 too.
//
// The rules change process-wide state for moments: they fill the descriptor
// table, take numbers far up in it, put a socket on descriptor 0 and send the
// process SIGURG. Do not run anything in parallel with them.
package selectortest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"goselectors/selectors"
)

const (
	// ruleLimit is how long one rule may take. They take milliseconds.
	ruleLimit = 20 * time.Second

	// closeLimit is how long a rule may go on when its selectors have been
	// closed because its time was up.
	closeLimit = 10 * time.Second

	// patience is how long a report may take that has to come.
	patience = 10 * time.Second

	// moment is how long a rule waits to see that nothing happens.
	moment = 2 * time.Millisecond
)

// Run checks the selectors that newSelector makes. It makes many, and closes
// them all.
func Run(t *testing.T, newSelector func() (selectors.Selector, error)) {
	t.Helper()
	for _, g := range groups() {
		t.Run(g.name, func(t *testing.T) {
			for _, r := range g.rules {
				t.Run(r.name, func(t *testing.T) { check(t, newSelector, r) })
			}
		})
	}
}

// A group is the rules on one topic.
type group struct {
	name  string
	rules []rule
}

// A rule is one line of the contract: a test that gets a new selector, for
// selectors with the features it needs.
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
		{"NoFile", noFileRules},
	}, systemGroups)
}

// T is a rule's test: the selector to check and what it takes to do so.
type T struct {
	*testing.T
	s    selectors.Selector
	has  selectors.Feature
	make func() (selectors.Selector, error)
	system

	mu     sync.Mutex
	opened []selectors.Selector
	done   bool
}

// check runs a rule within its time.
func check(t *testing.T, newSelector func() (selectors.Selector, error), r rule) {
	c := &T{T: t, make: newSelector}
	dog := time.AfterFunc(ruleLimit, c.timeUp)
	t.Cleanup(func() { // runs last
		dog.Stop()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.done = true
	})
	c.s = c.open()
	c.has = c.s.Features()
	if missing := r.need &^ c.has; missing != 0 {
		t.Skipf("the selector does not have %v", missing)
	}
	r.test(c)
}

// timeUp fails the rule, and closes its selectors to set free who waits in
// one. If not even that ends the rule there is no way to go on: who hangs
// holds the test.
func (t *T) timeUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return
	}
	buf := make([]byte, 1<<20)
	stacks := buf[:runtime.Stack(buf, true)]
	t.Errorf("not done after %v; its selectors are closed now. All goroutines:\n\n%s", ruleLimit, stacks)
	name := t.Name()
	for _, s := range t.opened {
		go s.Close()
	}
	time.AfterFunc(closeLimit, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.done {
			panic(fmt.Sprintf("%s hangs, and Close does not end that. All goroutines:\n\n%s", name, stacks))
		}
	})
}

// open makes another selector, which is closed at the end of the test.
func (t *T) open() selectors.Selector {
	t.Helper()
	s, err := t.make()
	if err != nil {
		t.Fatalf("making a selector: %v", err)
	}
	if s == nil {
		t.Fatal("making a selector: nil without an error")
	}
	t.mu.Lock()
	t.opened = append(t.opened, s)
	t.mu.Unlock()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// ok fails the test unless what went well.
func (t *T) ok(err error, what string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// fails checks that a call failed, and that its error matches every target.
func (t *T) fails(err error, what string, targets ...error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %v", what, targets)
		return
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: error %q does not match %q", what, err, target)
		}
	}
}

// selects is one Select that must not fail.
func (t *T) selects(timeout time.Duration) []selectors.Ready {
	t.Helper()
	return t.selectsOn(t.s, timeout)
}

func (t *T) selectsOn(s selectors.Selector, timeout time.Duration) []selectors.Ready {
	t.Helper()
	batch, err := s.Select(timeout)
	if err != nil {
		t.Fatalf("Select(%v): %v", timeout, err)
	}
	t.sound(batch)
	return batch
}

const (
	interests = selectors.EventRead | selectors.EventWrite | selectors.EventPriority | selectors.EventReadClosed
	hints     = selectors.EventReadClosed | selectors.EventHangup | selectors.EventError | selectors.EventInvalid
)

// sound checks what holds for every batch.
func (t *T) sound(batch []selectors.Ready) {
	t.Helper()
	seen := make(map[*selectors.SelectorKey]bool, len(batch))
	for _, r := range batch {
		switch {
		case r.Key == nil:
			t.Fatalf("a batch with an entry without a key: %v", show(batch))
		case seen[r.Key]:
			t.Errorf("fd %d is twice in one batch: %v", r.Key.FD, show(batch))
		case r.Events == 0:
			t.Errorf("fd %d is in a batch with no event", r.Key.FD)
		case r.Events&^(interests|hints) != 0:
			t.Errorf("fd %d is reported with %v, which is no event", r.Key.FD, r.Events&^(interests|hints))
		case r.Events&^(r.Key.Events|hints) != 0:
			t.Errorf("fd %d is reported with %v, but only %v was asked for", r.Key.FD, r.Events, r.Key.Events)
		}
		seen[r.Key] = true
	}
}

// same checks that a batch is exactly want, in any order.
func (t *T) same(batch []selectors.Ready, want ...selectors.Ready) {
	t.Helper()
	got := make(map[*selectors.SelectorKey]selectors.Event, len(batch))
	for _, r := range batch {
		got[r.Key] = r.Events
	}
	equal := len(batch) == len(want)
	for _, w := range want {
		if events, reported := got[w.Key]; !reported || events != w.Events {
			equal = false
		}
	}
	if !equal {
		t.Fatalf("the batch is  %v\nwant it to be %v", show(batch), show(want))
	}
}

// show names the entries of a batch by descriptor and data.
func show(batch []selectors.Ready) string {
	if len(batch) == 0 {
		return "empty"
	}
	var entries []string
	for i, r := range batch {
		if i == 20 {
			entries = append(entries, fmt.Sprintf("and %d more", len(batch)-i))
			break
		}
		if r.Key == nil {
			entries = append(entries, fmt.Sprintf("no key: %v", r.Events))
			continue
		}
		entries = append(entries, fmt.Sprintf("fd %d (%v): %v", r.Key.FD, r.Key.Data, r.Events))
	}
	return strings.Join(entries, ", ")
}

// A waiting is a Select that goes on in a goroutine of its own.
type waiting struct{ done chan returned }

// returned is what came out of it.
type returned struct {
	batch []selectors.Ready
	err   error
	took  time.Duration
}

// begin starts a Select and returns when it waits, as far as one can tell.
// Nothing that is registered may be ready.
func (t *T) begin(s selectors.Selector, timeout time.Duration) *waiting {
	t.Helper()
	return t.beginWith(s, func() ([]selectors.Ready, error) { return s.Select(timeout) })
}

func (t *T) beginWith(s selectors.Selector, selects func() ([]selectors.Ready, error)) *waiting {
	t.Helper()
	w := &waiting{make(chan returned, 1)}
	go func() {
		for {
			from := time.Now()
			batch, err := selects()
			if errors.Is(err, selectors.ErrConcurrentSelect) {
				runtime.Gosched() // the Select below got in between
				continue
			}
			w.done <- returned{batch, err, time.Since(from)}
			return
		}
	}()
	// It is inside when a second one is refused.
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(100 * time.Microsecond) {
		if batch, err := s.Select(0); errors.Is(err, selectors.ErrConcurrentSelect) {
			break
		} else if len(batch) != 0 {
			t.Fatalf("nothing should be ready yet, but: %v", show(batch))
		}
	}
	time.Sleep(moment)
	return w
}

// returns waits for the Select to return.
func (w *waiting) returns() returned { return <-w.done }

// waits checks that the Select has not returned.
func (t *T) waits(w *waiting) {
	t.Helper()
	select {
	case r := <-w.done:
		t.Fatalf("Select returned after %v: %v, error %v; it should have waited", r.took, show(r.batch), r.err)
	case <-time.After(moment):
	}
}

// returnsWith checks that the Select returns without an error and with
// exactly want.
func (t *T) returnsWith(w *waiting, want ...selectors.Ready) {
	t.Helper()
	r := w.returns()
	t.ok(r.err, "the Select that waited")
	t.sound(r.batch)
	t.same(r.batch, want...)
}

// lasts checks that a Select with nothing to tell takes its full time: no Wake
// is left over, nothing is reported.
func (t *T) lasts(s selectors.Selector, timeout time.Duration) {
	t.Helper()
	from := time.Now()
	batch := t.selectsOn(s, timeout)
	took := time.Since(from)
	if len(batch) != 0 {
		t.Fatalf("the batch is %v, want nothing", show(batch))
	}
	if took < timeout {
		t.Errorf("Select(%v) returned after %v, with nothing: too early", timeout, took)
	}
}

// together runs f n times at once and returns the errors.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = f(i)
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}
