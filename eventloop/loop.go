package eventloop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"goselectors/selectors"
)

// A Callback is what the loop calls when a file is ready, with the file object
// that was registered and what it is ready for. It runs on the loop's
// goroutine and holds up everything else there while it runs, so it should
// neither block nor compute for long: see [Loop.Do].
type Callback func(fileobj any, events selectors.Event)

// A Loop waits for events and calls back. [New] makes one.
//
// It belongs to one goroutine at a time: the one that is in Run or RunOnce, or
// whichever prepares it before that. Its methods must be called from there,
// which is where callbacks run, but for Post, Do, Stop, Close and Stats, which
// any goroutine may call at any time. [WithDebug] finds those who do otherwise.
type Loop struct {
	sel   selectors.Selector
	clock func() time.Duration
	options

	// What is to be run, in this order, and how far that is. All of it is
	// gathered before any of it is run, and what a callback adds is for the
	// next turn.
	soon  queue[task]
	batch queue[selectors.Ready]
	due   queue[int32] // slots of timers
	posts queue[task]

	next    []task // CallSoon: for the next turn
	timers  timers
	now     time.Duration            // the time of this turn, once somebody has asked; else unasked
	turning bool                     // between enter and leave, for the loop\'s own goroutine
	ran     uint64                   // callbacks, in all
	before  uint64                   // and before this turn
	changed bool                     // a file was registered, modified or unregistered in this turn
	shared  bool                     // others have the selector, and may change it without our knowing
	strays  []*selectors.SelectorKey // ready, without a callback

	asleep    atomic.Bool // in Select, or about to be, and nobody has woken it
	stopping  atomic.Bool
	closing   atomic.Bool
	cancelled *atomic.Bool // the context of Run has ended
	posted    atomic.Bool  // incoming is not empty

	mu       sync.Mutex // guards what follows
	running  bool
	closed   bool   // and the selector is, too
	incoming []task // Post: from any goroutine
	signals  map[*SignalHandler]struct{}

	working atomic.Int64 // work that Do has begun and whose end was not run
	stats   counters
	observer
}

const unasked = time.Duration(math.MinInt64)

// New makes a loop, on [selectors.NewDefaultSelector] unless WithSelector gives
// it another. Close it in the end.
func New(opts ...Option) (*Loop, error) {
	l := &Loop{options: newOptions(opts), now: unasked, cancelled: new(atomic.Bool), signals: make(map[*SignalHandler]struct{})}
	l.sel, l.shared, l.clock = l.selector, l.selector != nil, l.options.clock
	if l.sel == nil {
		var err error
		if l.sel, err = selectors.NewDefaultSelector(); err != nil {
			return nil, err
		}
	}
	if l.clock == nil {
		l.clock = sinceStart
	}
	l.observer.init(l)
	return l, nil
}

var start = time.Now()

// sinceStart is the monotonic clock.
func sinceStart() time.Duration { return time.Since(start) }

// turn is one round of the loop, and all there is to it. It has grown out of
//
//	events, err := sel.Select(timeout)
//	for _, ready := range events {
//		ready.Key.Data.(Callback)(ready.Key.FileObj, ready.Events)
//	}
//
// and the rest of this package hangs off it. The numbers are those of the
// package documentation.
func (l *Loop) turn(timeout time.Duration) error {
	if !l.behind() { // nothing is left over from a turn that a panic ended
		wait := l.patience(timeout)                              // 1
		events, err := l.sel.SelectInto(l.batch.items[:0], wait) // 2
		l.awake()
		if err != nil {
			return err
		}
		l.batch.items = events // 3
		l.gather()             // 4, 5
	}
	return l.run() // 6
}

// awake is what follows on Select.
func (l *Loop) awake() {
	if l.asleep.Load() {
		l.asleep.Store(false)
	}
	l.now = unasked
	l.stats.own.turns++
}

// patience is how long Select may wait: until the next timer, not longer than
// timeout, and not at all if there is something to do.
func (l *Loop) patience(timeout time.Duration) time.Duration {
	if len(l.next) > 0 || timeout == 0 {
		return 0
	}
	if when, ok := l.timers.first(); ok {
		wait := max(later(when, -l.clock()), 0)
		if timeout < 0 || wait < timeout {
			timeout = wait
		}
		if timeout == 0 {
			return 0
		}
	}
	if l.wanted() {
		return 0
	}
	// Who wants to wake the loop says what for and then looks at asleep; the
	// loop sets asleep and then looks what there is. One of them sees the other.
	l.asleep.Store(true)
	if l.wanted() {
		l.asleep.Store(false)
		return 0
	}
	return timeout
}

// wanted reports whether other goroutines want something of the loop.
func (l *Loop) wanted() bool {
	return l.posted.Load() || l.stopping.Load() || l.closing.Load() || l.cancelled.Load()
}

// interrupt wakes the loop if it sleeps: one wake a sleep, however many ask.
func (l *Loop) interrupt() {
	if l.asleep.Load() && l.asleep.CompareAndSwap(true, false) {
		l.stats.wakes.Add(1)
		l.sel.Wake() // an error means that it is closed
	}
}

// gather collects what this turn is to run beside the ready keys.
func (l *Loop) gather() {
	l.before, l.changed = l.ran, false
	l.soon.items, l.next = l.next, l.soon.items[:0]
	if len(l.timers.heap) > 0 {
		l.due.items = l.timers.expire(l.Now(), l.due.items[:0])
	}
	if l.posted.Load() {
		l.mu.Lock()
		l.posts.items, l.incoming = l.incoming, l.posts.items[:0]
		l.posted.Store(false)
		l.mu.Unlock()
	}
}

// behind reports whether the last turn is not over.
func (l *Loop) behind() bool {
	return l.soon.left() || l.batch.left() || l.due.left() || l.posts.left()
}

// run runs what has been gathered, in order.
func (l *Loop) run() error {
	if l.panics == nil {
		l.runAll()
	} else {
		for !l.runGuarded() {
		}
	}
	l.stats.publish(l.ran)
	if len(l.strays) > 0 {
		return l.stray()
	}
	return nil
}

func (l *Loop) runAll() {
	if l.soon.left() {
		drain(l, &l.soon, (*Loop).runTask)
	}
	if l.batch.left() {
		drain(l, &l.batch, (*Loop).runReady)
	}
	if l.due.left() {
		drain(l, &l.due, (*Loop).runTimer)
	}
	if l.posts.left() {
		drain(l, &l.posts, (*Loop).runTask)
	}
}

func (l *Loop) runReady(ready selectors.Ready) {
	callback, ok := callbackOf(ready.Key)
	if !ok {
		l.strays = append(l.strays, ready.Key)
		return
	}
	if (l.changed || l.shared && l.ran > l.before) && !l.registered(ready.Key) {
		return // an earlier callback of this turn has removed or replaced it
	}
	l.ran++
	if l.observing {
		l.begin("file", l.sites[ready.Key], callback, ready.Key.FD)
	}
	callback(ready.Key.FileObj, ready.Events)
	if l.observing {
		l.end()
	}
}

func (l *Loop) runTask(t task) {
	l.ran++
	if l.observing {
		l.begin(t.kind, t.site, t.fn, -1)
	}
	t.fn()
	if l.observing {
		l.end()
	}
}

// A task is a function that is to be called.
type task struct {
	fn   func()
	kind string
	site uintptr // where it was scheduled, if that is being observed
}

// A queue is what is to be run of one kind, in order.
type queue[T any] struct {
	items []T
	next  int
}

func (q *queue[T]) left() bool { return q.next < len(q.items) }

// drain runs a queue, or what is left of it. It moves on before each call, and
// empties the queue before the last one, so that after a panic the next turn
// goes on behind the one that panicked.
func drain[T any](l *Loop, q *queue[T], run func(*Loop, T)) {
	for q.next < len(q.items) {
		if l.closing.Load() {
			return
		}
		item := q.items[q.next]
		if q.next++; q.next == len(q.items) {
			q.empty()
		}
		run(l, item)
	}
}

func (q *queue[T]) empty() {
	if cap(q.items) > many && len(q.items) < many/8 {
		q.items = nil // that was a burst
	}
	clear(q.items) // let go of what they refer to
	q.items, q.next = q.items[:0], 0
}

// callbackOf is what is to be called for a key.
func callbackOf(key *selectors.SelectorKey) (Callback, bool) {
	switch callback := key.Data.(type) {
	case Callback:
		return callback, callback != nil
	case func(any, selectors.Event):
		return callback, callback != nil
	}
	return nil, false
}

// registered reports whether a key is the one of its file now.
func (l *Loop) registered(key *selectors.SelectorKey) bool {
	now, err := l.sel.Key(key.FileObj)
	if err != nil { // a file object that cannot be compared, and is closed
		now, err = l.sel.Key(key.FD)
	}
	return err == nil && now == key
}

// stray makes an error of the ready keys that have no callback.
func (l *Loop) stray() error {
	var errs []error
	for _, key := range l.strays {
		errs = append(errs, fmt.Errorf("%w: descriptor %d has %T", ErrNoCallback, key.FD, key.Data))
	}
	l.strays = nil
	return fail("run", errors.Join(errs...))
}

// Run runs the loop until Stop, which makes it return nil, until ctx ends, with
// ctx.Err(), or until Close, with [ErrClosed]. It finishes the turn first, but
// for Close: then no further callback is called. An error of the selector ends
// it too. After anything but Close it can be run again.
//
// A callback that panics, panics out of Run, with its own stack, unless there
// is a handler ([WithPanicHandler]). What was to run behind it runs when the
// loop is run again.
//
// Run in a callback, or in a second goroutine, is [ErrRunning].
func (l *Loop) Run(ctx context.Context) (err error) {
	if err := l.enter("run"); err != nil {
		return err
	}
	defer func() { err = l.leave(err) }()
	if ctx == nil {
		ctx = context.Background()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if ctx.Done() != nil {
		cancelled, never := new(atomic.Bool), l.cancelled // for this Run alone
		l.cancelled = cancelled
		stop := context.AfterFunc(ctx, func() {
			cancelled.Store(true)
			l.interrupt()
		})
		defer func() {
			stop()
			l.cancelled = never // the function may be running yet
		}()
	}
	for {
		if err := l.turn(-1); err != nil {
			return err
		}
		switch {
		case l.closing.Load():
			return nil // leave says the rest
		case l.stopping.Load():
			return nil
		case l.cancelled.Load():
			return ctx.Err()
		}
	}
}

// RunOnce runs one turn of the loop: it waits until something happens, for at
// most timeout (zero: not at all; negative: as long as it takes), runs what is
// ready, and returns how many callbacks that were. None may mean that the time
// is up, or that somebody woke the loop.
//
//	for l.Alive() {
//		l.RunOnce(-1)
//	}
//
// is what uv_run does by default.
func (l *Loop) RunOnce(timeout time.Duration) (ran int, err error) {
	if err := l.enter("run"); err != nil {
		return 0, err
	}
	was := l.ran
	defer func() { ran, err = int(l.ran-was), l.leave(err) }()
	return 0, l.turn(timeout)
}

func (l *Loop) enter(op string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing.Load():
		return fail(op, ErrClosed)
	case l.running:
		return fail(op, ErrRunning)
	}
	l.running, l.turning = true, true
	l.home()
	return nil
}

// leave ends a run, and does what Close left to it.
func (l *Loop) leave(err error) error {
	l.stopping.Store(false)
	l.asleep.Store(false)
	l.now, l.turning = unasked, false
	l.mu.Lock()
	l.running = false
	closing := l.closing.Load()
	last := closing && !l.closed
	l.closed = l.closed || last
	l.mu.Unlock()
	if last {
		err = errors.Join(err, l.tearDown())
	}
	if closing && err == nil {
		err = fail("run", ErrClosed)
	}
	return err
}

// Stop makes Run return when the turn that goes on has ended; what was to run
// in that turn still runs. If the loop is not running, the next Run does one
// turn without waiting, as asyncio's loop does. Any goroutine may call it.
func (l *Loop) Stop() {
	l.stopping.Store(true)
	l.interrupt()
}

// Close ends the loop: no callback is called any more, but the one that runs;
// whatever was scheduled or posted is dropped, signals go back to what they
// were, and the selector is closed. The files that were registered stay open.
//
// Any goroutine may call it, and callbacks. While the loop runs, Close returns
// at once and Run, or RunOnce, does the rest on its way out. It is fine to call
// it twice. With [WithDebug] it logs what was still registered.
func (l *Loop) Close() error {
	l.mu.Lock()
	l.closing.Store(true)
	l.incoming = nil
	last := !l.running && !l.closed
	l.closed = l.closed || last
	l.mu.Unlock()
	l.interrupt()
	if last {
		return l.tearDown()
	}
	return nil
}

func (l *Loop) tearDown() error {
	l.mu.Lock()
	signals := l.signals
	l.signals = nil
	l.mu.Unlock()
	for h := range signals {
		h.end()
	}
	if l.debug {
		l.reportLeaks()
	}
	l.timers.clear()
	l.next, l.soon, l.batch, l.due, l.posts = nil, queue[task]{}, queue[selectors.Ready]{}, queue[int32]{}, queue[task]{}
	if err := l.sel.Close(); err != nil {
		return fail("close", err)
	}
	return nil
}

// Now is the loop's time: monotonic, since some moment before New. While the
// loop runs it is read once a turn and stands still while callbacks run, as
// libuv's does. That is what to compute deadlines for CallAt from.
func (l *Loop) Now() time.Duration {
	if !l.turning {
		return l.clock()
	}
	if l.now == unasked {
		l.now = l.clock()
	}
	return l.now
}

// Selector is what the loop waits with. Keys registered on it directly, with a
// [Callback] (or a function of that type) as data, are called back as well.
func (l *Loop) Selector() selectors.Selector {
	l.shared = true
	return l.sel
}

// Alive reports whether anything can still happen by itself: a file or a signal
// is registered, a timer runs, or something is scheduled, posted or at work.
// After Close it is false.
func (l *Loop) Alive() bool {
	if l.closing.Load() {
		return false
	}
	if len(l.next) > 0 || l.behind() || len(l.timers.heap) > 0 || l.posted.Load() || l.working.Load() > 0 {
		return true
	}
	l.mu.Lock()
	signals := len(l.signals)
	l.mu.Unlock()
	return signals > 0 || l.sel.Len() > 0
}
