package eventloop

import (
	"errors"

	"goselectors/selectors"
)

// A direction is reading or writing.
type direction uint8

const (
	reading direction = iota
	writing
	numDirections
)

func (d direction) interest() selectors.Event {
	if d == reading {
		return selectors.EventRead
	}
	return selectors.EventWrite
}

// eventsOf returns what a report says about the direction: zero if nothing. A
// hang-up, an error and a closed descriptor concern both directions. The end of the
// peer's data is EventRead anyway.
func (d direction) eventsOf(events selectors.Event) selectors.Event {
	const both = selectors.EventHangup | selectors.EventError | selectors.EventInvalid
	if events&(d.interest()|both) == 0 {
		return 0
	}
	return events&^(selectors.EventRead|selectors.EventWrite) | events&d.interest()
}

// A watcher is a function that a direction of a file calls.
type watcher struct {
	fn           Callback
	fileobj      any     // as given with fn: two watchers of a file may name it differently
	number       uint64  // counts the watchers of the loop from 1 in the order in which they were added
	registeredAt uintptr // program counter of the call; 0 if not recorded
}

// A Waiter is a function that [Loop.OnceReadable] or [Loop.OnceWritable] will call
// once. A nil Waiter is one that was called.
type Waiter struct {
	watcher
	loop       *Loop
	file       *fileWatchers // nil: called, cancelled, or the file was unregistered
	direction  direction
	prev, next *Waiter // in the side's list
}

// A side holds the watchers of one direction.
type side struct {
	permanent   watcher // of AddReader or AddWriter; its fn is nil if there is none
	first, last *Waiter // in the order of the calls
}

func (s *side) isEmpty() bool { return s.permanent.fn == nil && s.first == nil }

// A fileWatchers is the data of the key of a file that has readers, writers or
// waiters. The two sides share the key and nothing else: a change of one leaves
// what was found for the other alone.
//
// The key has the interest that sides asks for. Only between a call of a watcher
// and the end of the dispatch may it be larger, because most waiters are followed
// by another one of the same direction.
type fileWatchers struct {
	sides    [numDirections]side
	fileobj  any
	fd       int
	number   any             // fd, converted once, because the conversion allocates
	interest selectors.Event // of the key
	invalid  bool            // the watchers were told that the file is closed
}

// interestOfSides computes the interest that the key must have.
func (w *fileWatchers) interestOfSides() (events selectors.Event) {
	for d := range numDirections {
		if !w.sides[d].isEmpty() {
			events |= d.interest()
		}
	}
	return events
}

// A watchersDispatch is the report of one file that is being dispatched to its
// watchers. A panic leaves it as it is, and the loop goes on with it.
type watchersDispatch struct {
	file          *fileWatchers // nil: none
	events        selectors.Event
	limit         uint64    // watchers with a larger number were added after the report
	direction     direction // that is called
	permanentDone bool      // the permanent watcher of the direction has had its turn
}

// watching is the part of a loop that serves readers, writers and waiters.
type watching struct {
	dispatch           watchersDispatch  // of the ready file that is running
	invalidFiles       []selectors.Ready // closed files, to be reported in the next turn
	hasWatchers        bool              // AddReader or one of its kind was called
	spareWatchers      *fileWatchers     // for the next file
	lastWatcher        uint64            // number of the last watcher
	watchersBeforeTurn uint64            // lastWatcher when the turn began
}

// next returns the next watcher to call, and its kind in a Panic. It removes
// waiters from the file.
func (d *watchersDispatch) next() (x watcher, kind string) {
	for d.direction < numDirections {
		if d.direction.eventsOf(d.events) != 0 {
			side := &d.file.sides[d.direction]
			if !d.permanentDone {
				d.permanentDone = true
				if x := side.permanent; x.fn != nil && x.number <= d.limit {
					return x, "file"
				}
			}
			if waiter := side.first; waiter != nil && waiter.number <= d.limit {
				x, waiter.watcher = waiter.watcher, watcher{}
				waiter.remove()
				return x, "waiter"
			}
		}
		d.direction++
		d.permanentDone = false
	}
	return watcher{}, ""
}

// runWatchers calls the watchers of a ready file.
func (l *Loop) runWatchers(w *fileWatchers, events selectors.Event) {
	limit := l.watchersBeforeTurn
	if events&selectors.EventInvalid != 0 { // it is reported once, so all must hear of it
		if w.invalid {
			return
		}
		w.invalid, limit = true, l.lastWatcher
	}
	l.dispatch = watchersDispatch{file: w, events: events, limit: limit}
	l.continueDispatch()
}

// continueDispatch calls the watchers that have not been called yet. It leaves
// l.dispatch as it is if one panics.
func (l *Loop) continueDispatch() {
	d := &l.dispatch
	for {
		if (l.filesChanged || l.selectorShared) && !l.ownsKey(d.file) || l.closing.Load() {
			*d = watchersDispatch{} // a callback has unregistered the file, or registered another one with its number
			return
		}
		x, kind := d.next()
		if x.fn == nil {
			break
		}
		l.callbacksRun++
		if l.observing {
			l.beginCallback(callbackOrigin{kind: kind, fn: x.fn, registeredAt: x.registeredAt, fd: d.file.fd, subject: x.fileobj})
		}
		x.fn(x.fileobj, d.direction.eventsOf(d.events))
		if l.observing {
			l.endCallback()
		}
	}
	w := d.file
	*d = watchersDispatch{}
	l.updateInterest(w)
}

// AddReader makes the loop call fn whenever fileobj can be read, until RemoveReader:
// it is asyncio's add_reader. A file that has a reader gets the new one instead.
//
// A file can have a reader, a writer (AddWriter), and any number of functions that
// wait once (OnceReadable, OnceWritable). They know nothing of each other: adding
// or removing one leaves the pending calls of the others alone. Each is called for
// its direction, with the file object and the events that concern it. An error, a
// hang-up and a descriptor that was closed concern both directions. When a file is
// ready, its reader is called first, then those that wait to read in the order of
// their calls, then its writer and those that wait to write. What is added during a
// turn is not called for what the turn has already found; the file is reported
// again in the next turn if it is still ready. Readiness is a hint: an earlier
// function may have read the data, so use [selectors.TryRead] and its kind.
//
// These registrations and those of Register exclude each other: a file that has
// one kind is [selectors.ErrRegistered] for the other, in Modify and Replace, too.
// Unregister removes all readers, writers and waiters of a file; call it (or remove
// them one by one) before closing the file. If the file was closed nevertheless and
// its number comes back as another file, the old registrations end when the new
// file is added.
func (l *Loop) AddReader(fileobj any, fn Callback) error {
	return l.setPermanent("add reader", reading, fileobj, fn)
}

// AddWriter is AddReader for writing: asyncio's add_writer.
func (l *Loop) AddWriter(fileobj any, fn Callback) error {
	return l.setPermanent("add writer", writing, fileobj, fn)
}

func (l *Loop) setPermanent(op string, d direction, fileobj any, fn Callback) error {
	if err := l.checkCall(op, fn == nil); err != nil {
		return err
	}
	w, err := l.watch(d, fileobj)
	if err != nil {
		return err
	}
	w.sides[d].permanent = l.newWatcher(fileobj, fn)
	return nil
}

func (l *Loop) newWatcher(fileobj any, fn Callback) watcher {
	l.lastWatcher++
	return watcher{fn, fileobj, l.lastWatcher, l.callSite()}
}

// RemoveReader removes the reader of a file, as asyncio's remove_reader does, and
// reports whether there was one. It is not called any more, not even for a
// readiness that this turn has already found. It also works after the file was
// closed.
func (l *Loop) RemoveReader(fileobj any) bool {
	return l.removePermanent("remove a reader", reading, fileobj)
}

// RemoveWriter removes the writer of a file, as RemoveReader does the reader.
func (l *Loop) RemoveWriter(fileobj any) bool {
	return l.removePermanent("remove a writer", writing, fileobj)
}

func (l *Loop) removePermanent(op string, d direction, fileobj any) bool {
	if !l.callAllowed(op) {
		return false
	}
	w := l.watchersOf(fileobj)
	if w == nil || w.sides[d].permanent.fn == nil {
		return false
	}
	w.sides[d].permanent = watcher{}
	l.updateInterest(w)
	return true
}

// OnceReadable makes the loop call fn once, when fileobj can be read. Any number of
// functions can wait for a file and a direction. All of them are called when it is
// ready, in the order of the calls, and one that finds nothing left to read waits
// again. AddReader has the rules for several functions on one file.
//
// The error is that of the selector if the file cannot be registered.
func (l *Loop) OnceReadable(fileobj any, fn Callback) (*Waiter, error) {
	return l.addWaiter("once readable", reading, fileobj, fn)
}

// OnceWritable is OnceReadable for writing.
func (l *Loop) OnceWritable(fileobj any, fn Callback) (*Waiter, error) {
	return l.addWaiter("once writable", writing, fileobj, fn)
}

func (l *Loop) addWaiter(op string, d direction, fileobj any, fn Callback) (*Waiter, error) {
	if err := l.checkCall(op, fn == nil); err != nil {
		return nil, err
	}
	w, err := l.watch(d, fileobj)
	if err != nil {
		return nil, err
	}
	side := &w.sides[d]
	waiter := &Waiter{watcher: l.newWatcher(fileobj, fn), loop: l, file: w, direction: d, prev: side.last}
	if side.last == nil {
		side.first = waiter
	} else {
		side.last.next = waiter
	}
	side.last = waiter
	return waiter, nil
}

// Cancel ends the wait and reports whether it did: it is false if the function was
// called, Cancel was called before, the file was unregistered or the loop is
// closed. Cancel is for the loop's goroutine.
func (x *Waiter) Cancel() bool {
	if x == nil || x.loop == nil || !x.loop.callAllowed("cancel a waiter") || x.file == nil {
		return false
	}
	w := x.file
	x.remove()
	if !x.loop.ownsKey(w) {
		return false
	}
	x.loop.updateInterest(w)
	return true
}

// remove takes a waiter out of the list of its side.
func (x *Waiter) remove() {
	side := &x.file.sides[x.direction]
	if x.prev == nil {
		side.first = x.next
	} else {
		x.prev.next = x.next
	}
	if x.next == nil {
		side.last = x.prev
	} else {
		x.next.prev = x.prev
	}
	x.file, x.prev, x.next = nil, nil, nil
}

// watchersOf returns the watchers of a file, or nil if it has none.
func (l *Loop) watchersOf(fileobj any) *fileWatchers {
	if !l.hasWatchers {
		return nil
	}
	key, err := l.sel.Key(fileobj)
	if err != nil {
		return nil
	}
	w, _ := key.Data.(*fileWatchers)
	return w
}

// watch returns the watchers of a file whose key has the interest of a direction.
// The caller adds a watcher to that direction.
func (l *Loop) watch(d direction, fileobj any) (*fileWatchers, error) {
	w := l.watchersOf(fileobj)
	if w == nil {
		return l.watchNew(d, fileobj)
	}
	_, isInt := fileobj.(int)
	_, isUintptr := fileobj.(uintptr)
	if isInt || isUintptr {
		// The number may have come back as that of another file since the last
		// call. Register replaces the key then.
		w, err := l.watchNew(d, fileobj)
		if !errors.Is(err, selectors.ErrRegistered) {
			return w, err
		}
		if w = l.watchersOf(fileobj); w.interest&d.interest() != 0 {
			return w, nil
		}
	}
	// Modify fails if the object was closed. The kernel is called only if the
	// interest changes.
	interest := w.interest | d.interest()
	switch _, err := l.sel.Modify(fileobj, interest, w); {
	case errors.Is(err, selectors.ErrNotRegistered): // the object has got another descriptor
		return l.watchNew(d, fileobj)
	case err != nil:
		return nil, err
	}
	w.interest = interest
	return w, nil
}

// watchNew registers a file that has no watchers.
func (l *Loop) watchNew(d direction, fileobj any) (*fileWatchers, error) {
	w := l.spareWatchers
	if w == nil {
		w = new(fileWatchers)
	}
	l.spareWatchers = nil
	w.fileobj, w.interest = fileobj, d.interest()
	key, err := l.sel.Register(fileobj, w.interest, w)
	if err != nil {
		w.fileobj, l.spareWatchers = nil, w
		return nil, err
	}
	w.fd, w.number = key.FD, key.FD
	l.hasWatchers, l.filesChanged = true, true
	return w, nil
}

// ownsKey reports whether the key of a descriptor still belongs to w. The file may
// have been closed and its number registered for another one, or other code may
// have changed the selector.
func (l *Loop) ownsKey(w *fileWatchers) bool {
	key, err := l.sel.Key(w.number)
	if err != nil {
		return false
	}
	current, _ := key.Data.(*fileWatchers)
	return current == w
}

// updateInterest gives the key of w the interest of the sides, after watchers were
// removed. While the watchers of the file are being called it does nothing:
// endDispatch does it.
func (l *Loop) updateInterest(w *fileWatchers) {
	if l.dispatch.file == w {
		return
	}
	interest := w.interestOfSides()
	if interest == w.interest {
		return
	}
	if interest != 0 {
		if _, err := l.sel.Modify(w.fileobj, interest, w); err == nil {
			w.interest = interest
			return
		}
		// The file was closed. Not every kernel will say so.
		if key, err := l.sel.Key(w.number); err == nil && !w.invalid {
			l.invalidFiles = append(l.invalidFiles, selectors.Ready{Key: key, Events: selectors.EventError | selectors.EventInvalid})
		}
		return
	}
	l.unregisterWatchers(w)
}

func (l *Loop) unregisterWatchers(w *fileWatchers) {
	l.sel.Unregister(w.number)
	w.interest = 0
}

// releaseIdleKey unregisters the file whose watchers are being called if it has
// none left, so that other methods find it unregistered already.
func (l *Loop) releaseIdleKey() {
	if w := l.dispatch.file; w != nil && w.interestOfSides() == 0 && l.ownsKey(w) {
		l.unregisterWatchers(w)
	}
}
