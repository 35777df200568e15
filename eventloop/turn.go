package eventloop

import (
	"errors"
	"fmt"
	"time"

	"goselectors/selectors"
)

// turn runs one turn of the loop. In essence it is
//
//	events, err := sel.Select(timeout)
//	for _, ready := range events {
//		ready.Key.Data.(Callback)(ready.Key.FileObj, ready.Events)
//	}
//
// The numbers are the steps in the package documentation.
func (l *Loop) turn(timeout time.Duration) error {
	if !l.hasLeftover() { // otherwise a panic ended the last turn: run the rest of it
		if l.beginning || len(l.hooks) > 0 {
			l.beginTurn()
		}
		wait := l.selectTimeout(timeout)                         // 1
		events, err := l.sel.SelectInto(l.ready.items[:0], wait) // 2
		l.afterSelect()
		if err != nil {
			l.guard((*Loop).runAfterHooks)
			return err
		}
		l.ready.items = events // 3
		l.collectDue()         // 4, 5
	}
	return l.run() // 6
}

// afterSelect updates the loop's state when Select has returned.
func (l *Loop) afterSelect() {
	if l.asleep.Load() {
		l.asleep.Store(false)
	}
	l.turnTime = timeNotRead
	l.stats.unpublished.turns++
}

// selectTimeout returns how long Select may wait: until the next timer, at most
// timeout, and zero if there is something to run already.
func (l *Loop) selectTimeout(timeout time.Duration) time.Duration {
	if len(l.nextTurn) > 0 || len(l.invalidFiles) > 0 || timeout == 0 {
		return 0
	}
	if deadline, ok := l.timers.nextDeadline(); ok {
		wait := max(addClamped(deadline, -l.clock()), 0)
		if timeout < 0 || wait < timeout {
			timeout = wait
		}
		if timeout == 0 {
			return 0
		}
	}
	if l.hasExternalWork() {
		return 0
	}
	// A goroutine that wakes the loop first publishes its request and then reads
	// asleep. The loop first sets asleep and then reads the requests. So at
	// least one of them sees the other, and no wake is lost.
	l.asleep.Store(true)
	if l.hasExternalWork() {
		l.asleep.Store(false)
		return 0
	}
	return timeout
}

// hasExternalWork reports whether another goroutine has made a request.
func (l *Loop) hasExternalWork() bool {
	return l.hasPosts.Load() || l.stopping.Load() || l.closing.Load() || l.cancelled.Load()
}

// wakeIfAsleep wakes the loop if it sleeps: at most once for each sleep, however
// many goroutines call it.
func (l *Loop) wakeIfAsleep() {
	if l.asleep.Load() && l.asleep.CompareAndSwap(true, false) {
		l.stats.wakes.Add(1)
		if l.sel.Wake() != nil {
			l.asleep.Store(true) // the next request tries again
		}
	}
}

// collectDue collects the callbacks of this turn other than those of ready keys.
func (l *Loop) collectDue() {
	l.callbacksBeforeTurn, l.filesChanged = l.callbacksRun, false
	l.watchersBeforeTurn = l.lastWatcher
	if len(l.invalidFiles) > 0 {
		l.ready.items = append(l.ready.items, l.invalidFiles...)
		clear(l.invalidFiles)
		l.invalidFiles = l.invalidFiles[:0]
	}
	l.scheduled.items, l.nextTurn = l.nextTurn, l.scheduled.items[:0]
	if len(l.timers.heap) > 0 {
		l.dueTimers.items = l.timers.popDue(l.Now(), l.dueTimers.items[:0])
	}
	if l.hasPosts.Load() {
		l.mu.Lock()
		l.posts.items, l.incoming = l.incoming, l.posts.items[:0]
		l.hasPosts.Store(false)
		l.mu.Unlock()
	}
}

// hasLeftover reports whether callbacks or hooks of the last turn have not run yet.
func (l *Loop) hasLeftover() bool { return l.hasCallbacks() || l.afterHooks.hasMore() }

// hasCallbacks reports whether callbacks of this turn have not run yet.
func (l *Loop) hasCallbacks() bool {
	return l.dispatch.file != nil || l.scheduled.hasMore() || l.ready.hasMore() || l.dueTimers.hasMore() || l.posts.hasMore()
}

// run runs the collected callbacks in order.
func (l *Loop) run() error {
	l.guard((*Loop).runAll)
	l.stats.publish(l.callbacksRun)
	if len(l.withoutCallback) > 0 {
		return l.noCallbackError()
	}
	return nil
}

// guard calls run, and calls it again after each panic if there is a panic handler.
func (l *Loop) guard(run func(*Loop)) {
	if l.panicHandler == nil {
		run(l)
		return
	}
	for !l.runUntilPanic(run) {
	}
}

func (l *Loop) runAll() {
	if l.dispatch.file != nil { // a watcher has panicked
		l.continueDispatch()
	}
	if l.scheduled.hasMore() {
		drain(l, &l.scheduled, (*Loop).runTask)
	}
	if l.ready.hasMore() {
		drain(l, &l.ready, (*Loop).runReady)
	}
	if l.dueTimers.hasMore() {
		drain(l, &l.dueTimers, (*Loop).runTimer)
	}
	if l.posts.hasMore() {
		drain(l, &l.posts, (*Loop).runTask)
	}
	if l.afterHooks.hasMore() {
		l.runAfterHooks()
	}
}

// runReady runs the callback of a ready key.
func (l *Loop) runReady(ready selectors.Ready) {
	key := ready.Key
	callback, ok := key.Data.(Callback)
	if !ok {
		if callback, ok = key.Data.(func(any, selectors.Event)); !ok {
			l.runHandler(ready)
			return
		}
	}
	if callback == nil {
		l.withoutCallback = append(l.withoutCallback, key)
		return
	}
	if l.isOutdated(key) {
		return
	}
	l.callbacksRun++
	if l.observing {
		l.beginFile(key, callback)
	}
	callback(key.FileObj, ready.Events)
	if l.observing {
		l.endCallback()
	}
}

// runHandler is runReady for a key whose data is not a function.
func (l *Loop) runHandler(ready selectors.Ready) {
	key := ready.Key
	if w, ok := key.Data.(*fileWatchers); ok {
		l.runWatchers(w, ready.Events)
		return
	}
	handler, ok := key.Data.(FileHandler)
	if !ok {
		l.withoutCallback = append(l.withoutCallback, key)
		return
	}
	if l.isOutdated(key) {
		return
	}
	l.callbacksRun++
	if l.observing {
		l.beginFile(key, handler)
	}
	handler.FileReady(key.FileObj, ready.Events)
	if l.observing {
		l.endCallback()
	}
}

// isOutdated reports whether an earlier callback of this turn has removed or
// replaced a ready key.
func (l *Loop) isOutdated(key *selectors.SelectorKey) bool {
	return (l.filesChanged || l.selectorShared && l.callbacksRun > l.callbacksBeforeTurn) && !l.isCurrentKey(key)
}

func (l *Loop) beginFile(key *selectors.SelectorKey, callback any) {
	l.beginCallback(callbackOrigin{kind: "file", fn: callback, registeredAt: l.filesRegisteredAt[key], fd: key.FD, subject: key.FileObj})
}

func (l *Loop) runTask(t task) {
	l.callbacksRun++
	if l.observing {
		l.beginCallback(callbackOrigin{kind: t.kind, fn: t.fn, registeredAt: t.registeredAt, fd: -1})
	}
	t.fn()
	if l.observing {
		l.endCallback()
	}
}

// A task is a function to call.
type task struct {
	fn           func()
	kind         string  // Panic.Kind
	registeredAt uintptr // program counter of the call that scheduled it; 0 if not recorded
}

// A queue holds the callbacks of one kind for the current turn, in order.
type queue[T any] struct {
	items []T
	next  int // index of the first item that has not run
}

func (q *queue[T]) hasMore() bool { return q.next < len(q.items) }

// drain runs the items of a queue that have not run yet. It advances the queue
// before each call, and clears it before the last one, so that after a panic
// the next turn continues with the item after the one that panicked.
func drain[T any](l *Loop, q *queue[T], run func(*Loop, T)) {
	for q.next < len(q.items) {
		if l.closing.Load() {
			return
		}
		item := q.items[q.next]
		if q.next++; q.next == len(q.items) {
			q.clear()
		}
		run(l, item)
	}
}

func (q *queue[T]) clear() {
	if cap(q.items) > shrinkAbove && len(q.items) < shrinkAbove/8 {
		q.items = nil // free the memory of an earlier burst
	}
	clear(q.items) // drop the references
	q.items, q.next = q.items[:0], 0
}

// isCurrentKey reports whether key is still the key of its file.
func (l *Loop) isCurrentKey(key *selectors.SelectorKey) bool {
	current, err := l.sel.Key(key.FileObj)
	if err != nil { // the file object is not comparable, and closed
		current, err = l.sel.Key(key.FD)
	}
	return err == nil && current == key
}

// noCallbackError returns an error that lists the ready keys without a callback,
// and forgets them.
func (l *Loop) noCallbackError() error {
	var errs []error
	for _, key := range l.withoutCallback {
		errs = append(errs, fmt.Errorf("%w: descriptor %d has %T", ErrNoCallback, key.FD, key.Data))
	}
	l.withoutCallback = nil
	return opError("run", errors.Join(errs...))
}
