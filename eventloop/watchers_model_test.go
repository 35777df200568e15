//go:build unix

package eventloop_test

import "fmt"

// A model of the readers, writers and waiters of files. It knows nothing of
// selectors and interests: watchers_random_test.go tells it what is done, and it
// says what each method must return and whether a call is one that must come now.

const (
	modelReading = iota
	modelWriting
)

// A modelWatcher is a function that was added. Numbers count from 1 in the order
// in which they were added.
type modelWatcher struct {
	number    int
	file      *modelFile
	direction int
	once      bool
	waiting   bool // not called, removed or cancelled
}

// A modelFile is a file, ready for each direction or not. Its number may be used
// again for another one.
type modelFile struct {
	name      string
	ready     [2]bool
	permanent [2]*modelWatcher
	waiters   [2][]*modelWatcher
}

// A modelReport is what the loop has found of a file in this turn.
type modelReport struct {
	file          *modelFile
	ready         [2]bool
	direction     int
	permanentDone bool
}

// A watchersModel is the state of a loop that has only such files.
type watchersModel struct {
	lastNumber int
	limit      int            // watchers with a larger number were added in this turn
	files      []*modelFile   // with their current contents
	reports    []*modelReport // of this turn, that are not dispatched
	current    *modelReport   // being dispatched
	unfinished bool           // a panic has ended the turn
}

// add adds a watcher and returns it.
func (m *watchersModel) add(f *modelFile, direction int, once bool) *modelWatcher {
	m.lastNumber++
	w := &modelWatcher{m.lastNumber, f, direction, once, true}
	if once {
		f.waiters[direction] = append(f.waiters[direction], w)
		return w
	}
	m.removePermanent(f, direction)
	f.permanent[direction] = w
	return w
}

func (m *watchersModel) removePermanent(f *modelFile, direction int) (was bool) {
	if w := f.permanent[direction]; w != nil {
		w.waiting, f.permanent[direction] = false, nil
		return true
	}
	return false
}

func (m *watchersModel) cancel(w *modelWatcher) (was bool) {
	if !w.waiting {
		return false
	}
	w.waiting = false
	waiters := &w.file.waiters[w.direction]
	for i, other := range *waiters {
		if other == w {
			*waiters = append((*waiters)[:i:i], (*waiters)[i+1:]...)
		}
	}
	return true
}

// isRegistered reports whether a file has watchers.
func (f *modelFile) isRegistered() bool {
	return f.permanent[0] != nil || f.permanent[1] != nil || len(f.waiters[0])+len(f.waiters[1]) > 0
}

// unregister removes all watchers of a file, and what was found for them.
func (m *watchersModel) unregister(f *modelFile) (was bool) {
	was = f.isRegistered()
	for direction := range 2 {
		m.removePermanent(f, direction)
		for len(f.waiters[direction]) > 0 {
			m.cancel(f.waiters[direction][0])
		}
	}
	return was
}

// beginTurn finds what is ready, unless a panic has ended the last turn.
func (m *watchersModel) beginTurn() {
	if m.unfinished {
		m.unfinished = false
		return
	}
	m.limit, m.reports, m.current = m.lastNumber, nil, nil
	for _, f := range m.files {
		var found [2]bool
		for direction := range 2 {
			found[direction] = f.ready[direction] && (f.permanent[direction] != nil || len(f.waiters[direction]) > 0)
		}
		if found != [2]bool{} {
			m.reports = append(m.reports, &modelReport{file: f, ready: found})
		}
	}
}

// next returns the watcher that a report must call next, or nil.
func (m *watchersModel) next(r *modelReport) *modelWatcher {
	for ; r.direction < 2; r.direction, r.permanentDone = r.direction+1, false {
		if !r.ready[r.direction] {
			continue
		}
		if w := r.file.permanent[r.direction]; !r.permanentDone && w != nil && w.number <= m.limit {
			return w
		}
		r.permanentDone = true
		if waiters := r.file.waiters[r.direction]; len(waiters) > 0 && waiters[0].number <= m.limit {
			return waiters[0]
		}
	}
	return nil
}

// call records that the loop calls w. The error says what it should have called.
func (m *watchersModel) call(w *modelWatcher) error {
	if m.current != nil {
		if want := m.next(m.current); want != nil && want != w {
			return fmt.Errorf("called %v, want %v", w, want)
		} else if want == nil {
			m.current = nil
		}
	}
	for i, r := range m.reports {
		if m.current == nil && r.file == w.file {
			m.current = r
			m.reports = append(m.reports[:i:i], m.reports[i+1:]...)
		}
	}
	if m.current == nil || m.next(m.current) != w {
		return fmt.Errorf("called %v, which must not be called now", w)
	}
	if w.once {
		m.cancel(w)
	} else {
		m.current.permanentDone = true
	}
	return nil
}

// endTurn checks that everything was called.
func (m *watchersModel) endTurn() error {
	for _, r := range append(m.reports, m.current) {
		if r != nil {
			if w := m.next(r); w != nil {
				return fmt.Errorf("the turn has not called %v", w)
			}
		}
	}
	return nil
}

func (w *modelWatcher) String() string {
	kind := [2][2]string{{"reader", "writer"}, {"read waiter", "write waiter"}}[map[bool]int{true: 1}[w.once]][w.direction]
	return fmt.Sprintf("%s %d of %s", kind, w.number, w.file.name)
}
