package looptest

import (
	"fmt"
	"slices"
	"time"

	"goselectors/selectors"
)

// A step is one line of the script.
type step struct {
	when   time.Duration
	file   *file
	events selectors.Event
	once   bool // events end when they are reported, not at Clear
}

// A file is a file object that was registered or scripted at least once.
type file struct {
	fd            int
	key           *selectors.SelectorKey // nil while the file is not registered
	untilCleared  selectors.Event        // events of At
	untilReported selectors.Event        // events of Once
	edgePending   bool                   // an EdgeTriggered file may be reported
	disabled      bool                   // a OneShot or EventInvalid was reported; Modify enables the file again
	reportedHints selectors.Event        // hints reported without an event of the interest
}

// reportable holds the events that Select can report.
const reportable = allInterests | selectors.EventHangup | selectors.EventError | selectors.EventInvalid

// At makes fileobj ready for events at the virtual time when, or at once if when
// has passed. It stays ready until Clear, like a socket with unread data under a
// level-triggered selector. Steps for the same time run in the order of the calls.
//
// The file need not be registered, neither at the call nor at the time of the
// step.
//
// As in a kernel, EventHangup and EventReadClosed make a file readable too, and
// EventError makes it readable and writable. EventInvalid is reported once,
// together with EventError; then nothing is reported for the file until Modify.
//
// At panics if fileobj is not a valid file object, or if events is zero or
// contains a bit that Select never reports.
func (s *Selector) At(when time.Duration, fileobj any, events selectors.Event) {
	s.schedule(when, fileobj, events, false)
}

// Once is like At, but each event ends when it is reported: the callback reads
// all the data. Events that are in no interest stay until they are reported or
// cleared.
func (s *Selector) Once(when time.Duration, fileobj any, events selectors.Event) {
	s.schedule(when, fileobj, events, true)
}

func (s *Selector) schedule(when time.Duration, fileobj any, events selectors.Event, once bool) {
	if events == 0 || events&^reportable != 0 {
		panic(fmt.Sprintf("looptest: cannot script events %v", events))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, _, err := s.lookup(fileobj, true)
	if err != nil {
		panic("looptest: " + err.Error())
	}
	i, _ := slices.BinarySearchFunc(s.script, when, func(s step, when time.Duration) int {
		if s.when <= when { // insert after the steps of the same time
			return -1
		}
		return 1
	})
	s.script = slices.Insert(s.script, i, step{when, f, events, once})
	s.runScript(s.clock.Now())
	s.signalChange()
}

// Clear ends the readiness of fileobj for events: the data has been read. Steps
// of the script that are still to come are not affected. Clear does nothing if
// the file is not ready or not known.
func (s *Selector) Clear(fileobj any, events selectors.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, _, err := s.lookup(fileobj, false)
	if err != nil || !f.isReady() {
		return
	}
	f.untilCleared &^= events
	f.untilReported &^= events
	f.reportedHints &^= events
	if !f.isReady() {
		i := slices.Index(s.ready, f)
		s.ready = slices.Delete(s.ready, i, i+1)
	}
	s.stalledSelects = 0
}

// runScript runs the steps up to now and removes them from the script.
func (s *Selector) runScript(now time.Duration) {
	done := 0
	for ; done < len(s.script) && s.script[done].when <= now; done++ {
		step := s.script[done]
		f := step.file
		if !f.isReady() {
			s.ready = append(s.ready, f)
		}
		if step.once {
			f.untilReported |= step.events
		} else {
			f.untilCleared |= step.events
		}
		f.edgePending = true
	}
	if done > 0 {
		s.script = slices.Delete(s.script, 0, done)
		s.stalledSelects = 0
	}
}

// isReady reports whether the file has events, of any interest.
func (f *file) isReady() bool { return f.untilCleared|f.untilReported != 0 }

// report returns the events to report for the file, or zero, and updates the
// file as reported.
func (f *file) report() selectors.Event {
	if f.key == nil || f.disabled {
		return 0
	}
	interest := f.key.Events
	if interest&selectors.EdgeTriggered != 0 && !f.edgePending {
		return 0
	}
	current := f.untilCleared | f.untilReported
	if current&selectors.EventInvalid != 0 {
		f.disabled = true
		f.untilReported &^= selectors.EventInvalid
		return selectors.EventError | selectors.EventInvalid
	}
	if current&(selectors.EventReadClosed|selectors.EventHangup|selectors.EventError) != 0 {
		current |= selectors.EventRead
	}
	if current&selectors.EventError != 0 {
		current |= selectors.EventWrite
	}
	hints := current & (selectors.EventHangup | selectors.EventError)
	if interest&selectors.EventRead != 0 {
		hints |= current & selectors.EventReadClosed
	}
	events := current&interest | hints
	switch {
	case events == 0:
		return 0
	case current&interest != 0:
		f.reportedHints = 0
	case interest&(selectors.EdgeTriggered|selectors.OneShot) != 0:
	case hints&^f.reportedHints == 0:
		return 0 // only hints that were reported before
	default:
		f.reportedHints |= hints
	}
	f.untilReported &^= events
	f.reportedHints &= f.untilCleared | f.untilReported // the others have gone, and are news when they come back
	f.edgePending = false
	f.disabled = interest&selectors.OneShot != 0
	return events
}
