//go:build linux

package comparetest_test

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
)

// A modelSelector is the contract of a selector, as far as the model covers it.
type modelSelector struct {
	env       *modelEnv
	features  selectors.Feature
	stateless bool // the kernel keeps no interest set: each call passes the numbers
	kqueue    bool // the kernel does not watch a pipe without readers for writing
	keys      map[string]*modelKey
}

// A modelKey is a registration.
type modelKey struct {
	events        selectors.Event
	file          modelFile   // what the number referred to at Register or Modify
	identity      any         // of that file, for comparisons by Register
	alwaysReady   bool        // not watched by the kernel, as the file was always ready at registration
	laterFiles    []modelFile // that the number has referred to since; nil is no file
	disabled      bool        // was reported with OneShot, or was reported closed
	invalid       bool        // was reported with EventInvalid
	mute          muteState
	reportedHints selectors.Event
	changesThen   int // modelEnv.changes at the last report of hints alone
}

// A muteState is what follows a report of hints alone.
type muteState int

const (
	notMuted muteState = iota
	checked            // hints alone were reported: the next Select reports an error that is still there
	muted              // hints alone last: only changes are reported
)

// replaced reports whether the number has referred to another file, or to none,
// since the registration.
func (k *modelKey) replaced() bool { return len(k.laterFiles) > 0 }

// alwaysReady reports whether a file is always ready and for that reason not
// watched by the kernel.
func (s *modelSelector) alwaysReady(f modelFile) bool { return !s.stateless && f.identity() == "null" }

func (s *modelSelector) newKey(events selectors.Event, f modelFile) *modelKey {
	k := &modelKey{events: events, file: f, identity: f.identity(), alwaysReady: s.alwaysReady(f)}
	if end, ok := f.(modelWriteEnd); ok && s.kqueue && end.readers == 0 && events&selectors.EventWrite != 0 {
		k.alwaysReady = true
	}
	return k
}

func (s *modelSelector) expect(op operation, got result) result {
	switch op.verb {
	case "wake":
		return result{text: "ok"}
	case "select":
		return result{batch: s.selectNow(got.batch)}
	case "keys":
		list := report{}
		for name, k := range s.keys {
			list[name] = k.events
		}
		return result{batch: list}
	case "unregister":
		if s.keys[op.args[0]] == nil {
			return result{text: errorText(selectors.ErrNotRegistered)}
		}
		delete(s.keys, op.args[0])
		return result{text: "ok"}
	}
	events, err := parseEvents(op.args[1])
	if err == nil {
		err = s.checkInterest(events)
	}
	if err == nil && op.verb == "register" {
		err = s.register(op.args[0], events, got.text == "ok")
	} else if err == nil {
		err = s.modify(op.args[0], events)
	}
	return result{text: errorText(err)}
}

func (s *modelSelector) checkInterest(events selectors.Event) error {
	const interest = selectors.EventRead | selectors.EventWrite | selectors.EventPriority | selectors.EventReadClosed
	switch {
	case events&^(interest|selectors.OneShot) != 0 || events&interest == 0:
		return selectors.ErrInvalidEvents
	case events&selectors.EventReadClosed != 0 && s.features&selectors.FeatureReadClosed == 0,
		events&selectors.EventPriority != 0 && s.features&selectors.FeaturePriority == 0:
		return errors.ErrUnsupported
	}
	return nil
}

// register succeeds if there is no key or the number refers to another file than
// the key's. poll and select compare the results of fstat(2); epoll has the file
// itself in its set. succeeded is the observed outcome.
func (s *modelSelector) register(name string, events selectors.Event, succeeded bool) error {
	file, old := s.env.files[name], s.keys[name]
	if file == nil {
		return unix.EBADF
	}
	if old != nil {
		switch {
		case s.stateless:
			if !old.invalid && old.identity == file.identity() {
				return selectors.ErrRegistered
			}
		case s.alwaysReady(file):
			if s.alwaysReady(old.file) {
				return selectors.ErrRegistered
			}
		case old.file == file:
			// If the file was closed and came back, the set may not have it
			// any more.
			if !old.replaced() || !succeeded {
				return selectors.ErrRegistered
			}
		case old.identity == file.identity() && !succeeded:
			// An orphaned registration of this file, which has its number
			// back: the file is in the set, and fstat(2) cannot distinguish
			// two anonymous files.
			return selectors.ErrRegistered
		}
	}
	s.keys[name] = s.newKey(events, file)
	return nil
}

// modify calls the kernel only if something changes.
func (s *modelSelector) modify(name string, events selectors.Event) error {
	k, file := s.keys[name], s.env.files[name]
	switch {
	case k == nil:
		return selectors.ErrNotRegistered
	case events == k.events && !k.disabled:
		return nil
	case file == nil:
		return unix.EBADF
	}
	s.keys[name] = s.newKey(events, file)
	return nil
}

// selectNow returns what Select(0) must report. Where several results are valid,
// it returns the one in got.
func (s *modelSelector) selectNow(got report) report {
	want := report{}
	for name, k := range s.keys {
		if k.disabled {
			continue
		}
		if end, ok := k.file.(modelReadEnd); ok && s.kqueue && !k.replaced() && end.writers == 0 &&
			k.events&(selectors.EventRead|selectors.EventReadClosed|selectors.OneShot) == selectors.EventReadClosed|selectors.OneShot {
			k.disabled = true // fired for a hint that Features does not promise
			continue
		}
		var choices []selectors.Event // valid results; 0 is not reported
		now := s.env.files[name]
		switch {
		case s.stateless && now == nil:
			choices = append(choices, selectors.EventError|selectors.EventInvalid)
		case s.stateless:
			choices = append(choices, s.events(k, now))
		case k.alwaysReady:
			// The kernel does not watch it. The selector checks which file
			// the number refers to now.
			if k.events&(selectors.EventRead|selectors.EventWrite) != 0 && (now == nil || now.identity() != k.file.identity()) {
				k.disabled = true
				continue
			}
			choices = append(choices, s.events(k, k.file))
		case !k.replaced():
			choices = append(choices, s.events(k, k.file))
		default:
			// The number refers or referred to another file, and neither the
			// kernel nor the selector was notified. Until the key is replaced
			// or modified, it is not reported, or reported for any file that
			// the number has referred to and that a duplicate keeps open.
			choices = append(choices, 0)
			for _, f := range append(k.laterFiles, k.file) {
				if f != nil && s.env.refs[f] > 0 {
					choices = append(choices, s.events(k, f))
				}
			}
		}
		state := choices[0]
		for i, events := range choices {
			if !k.mustReport(events) {
				choices[i] = 0
				if k.mayReport(events, s.env.changes) {
					choices = append(choices, events)
				}
			}
		}
		if k.mute == muted && s.stateless {
			choices = append(choices, 0) // muted keys are rechecked every 100 ms only
		}
		events := choices[0]
		if slices.Contains(choices, got[name]) {
			events = got[name]
		}
		if events != 0 {
			want[name] = events
			k.setReported(events, s.env.changes)
		} else {
			k.setSilent(state, s.stateless)
		}
	}
	return want
}

// events returns what a selector can report of a file for a key.
func (s *modelSelector) events(k *modelKey, f modelFile) (events selectors.Event) {
	mask := f.mask()
	if s.alwaysReady(f) {
		return k.events & (selectors.EventRead | selectors.EventWrite)
	}
	for _, m := range []struct {
		mask  int16
		event selectors.Event
	}{
		{unix.POLLIN | unix.POLLHUP | unix.POLLERR, selectors.EventRead},
		{unix.POLLOUT | unix.POLLERR, selectors.EventWrite},
		{unix.POLLRDHUP, selectors.EventReadClosed},
		{unix.POLLHUP, selectors.EventHangup},
		{unix.POLLERR, selectors.EventError},
	} {
		if mask&m.mask != 0 {
			events |= m.event
		}
	}
	if k.events&(selectors.EventRead|selectors.EventReadClosed) == 0 {
		events &^= selectors.EventReadClosed // not part of the interest in the kernel
	}
	return reportableEvents(events&(k.events|backendtest.AllHints), s.features)
}

// mustReport reports whether events are to be reported: they have a bit of the
// interest, or a hint that was not reported before, or an error that may be a new
// one.
func (k *modelKey) mustReport(events selectors.Event) bool {
	return events&k.events != 0 || events&^k.reportedHints != 0 || k.mute == checked && events&selectors.EventError != 0
}

// mayReport reports whether events that need not be reported may be: an error, or
// a hang-up that may have gone and come back.
func (k *modelKey) mayReport(events selectors.Event, changes int) bool {
	return k.mute == muted && (events&selectors.EventError != 0 || events != 0 && changes != k.changesThen)
}

// setSilent is called when events, which the key has now, are not reported.
func (k *modelKey) setSilent(events selectors.Event, stateless bool) {
	switch {
	case events != 0 && k.mute == checked:
		k.mute, k.reportedHints = muted, events
	case events == 0 && stateless && k.mute == checked:
		k.mute, k.reportedHints = notMuted, 0
	case events == 0 && !stateless && k.mute != notMuted:
		k.mute, k.reportedHints = muted, 0 // the kernel reports changes only, and the next one is news
	}
}

func (k *modelKey) setReported(events selectors.Event, changes int) {
	switch {
	case events&selectors.EventInvalid != 0:
		k.disabled, k.invalid = true, true
	case k.events&selectors.OneShot != 0:
		k.disabled = true
	case events&k.events != 0:
		k.mute, k.reportedHints = notMuted, 0
	default:
		k.mute = min(k.mute+1, muted)
		k.reportedHints, k.changesThen = events&backendtest.AllHints, changes
	}
}
