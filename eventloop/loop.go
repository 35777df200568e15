package eventloop

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"goselectors/selectors"
)

// A Callback is called when a file is ready. Its arguments are the registered
// file object and the events the file is ready for. It runs on the loop's
// goroutine. Nothing else runs there meanwhile, so a callback should neither
// block nor compute for long: see [Loop.Do].
type Callback func(fileobj any, events selectors.Event)

// A FileHandler is called when a file is ready, as a [Callback] is. An object that
// handles its own file implements it: the loop then needs no closure to reach the
// object. [Loop.RegisterHandler] registers it.
type FileHandler interface {
	FileReady(fileobj any, events selectors.Event)
}

// A Loop waits for events and runs callbacks. [New] returns one.
//
// A loop belongs to one goroutine at a time: the one in Run or RunOnce or, while
// the loop does not run, the one that uses it. Post, Do, Stop, Close and Stats
// may be called from any goroutine at any time. All other methods must be called
// from the loop's goroutine, where callbacks run; only a loop with [WithDebug]
// checks this.
type Loop struct {
	sel   selectors.Selector
	clock func() time.Duration
	options

	// The callbacks of the current turn, in the order in which the queues run.
	// All are collected before the first one runs. What a callback schedules
	// runs in the next turn.
	scheduled queue[task]
	ready     queue[selectors.Ready]
	dueTimers queue[int32] // slots in timers
	posts     queue[task]

	nextTurn            []task // scheduled by CallSoon for the next turn
	timers              timerHeap
	turnTime            time.Duration            // Now in this turn; timeNotRead until the first call
	inRun               bool                     // between beginRun and endRun; for the loop's goroutine only
	callbacksRun        uint64                   // since New
	callbacksBeforeTurn uint64                   // callbacksRun when the turn began
	filesChanged        bool                     // a file was registered, modified or unregistered in this turn
	selectorShared      bool                     // other code has the selector and may change it unseen
	withoutCallback     []*selectors.SelectorKey // ready keys of this turn that have no callback

	asleep    atomic.Bool // in Select or about to call it, and not woken yet
	stopping  atomic.Bool
	closing   atomic.Bool
	cancelled *atomic.Bool // the context of the current Run has ended
	hasPosts  atomic.Bool  // incoming is not empty

	mu       sync.Mutex // guards the fields below, up to signals
	running  bool
	closed   bool   // tearDown was called, or is about to be
	incoming []task // from Post
	signals  map[*SignalHandler]struct{}

	pendingWork atomic.Int64 // calls of Do whose completion has not run yet
	stats       counters
	observer
	turnHooks
	watching
	work workQueue // guarded by mu
}

const timeNotRead = time.Duration(math.MinInt64)

// New returns a loop on [selectors.NewDefaultSelector], or on the selector of
// WithSelector. The caller should close it. A loop that is dropped without Close and
// that does not run is collected in the end, with its signal handlers and its
// selector, unless work of Do keeps it alive.
func New(opts ...Option) (*Loop, error) {
	l := &Loop{
		options:   newOptions(opts),
		turnTime:  timeNotRead,
		cancelled: new(atomic.Bool),
		signals:   make(map[*SignalHandler]struct{}),
	}
	l.sel, l.selectorShared, l.clock = l.selector, l.selector != nil, l.options.clock
	switch {
	case l.sel == nil:
		var err error
		if l.sel, err = selectors.NewDefaultSelector(); err != nil {
			return nil, err
		}
	case isNil(l.sel):
		return nil, opError("new", ErrNilSelector)
	}
	if l.clock == nil {
		l.clock = sinceProcessStart
	}
	l.observer.init(l)
	return l, nil
}

var processStart = time.Now()

// sinceProcessStart is the default clock. It is monotonic.
func sinceProcessStart() time.Duration { return time.Since(processStart) }

// Run runs the loop. It returns nil after Stop, ctx.Err() when ctx ends, and
// [ErrClosed] after Close. In the first two cases the current turn is finished
// first; after Close no further callback runs. An error of the selector also
// ends Run. After anything but Close the loop can be run again.
//
// The panic of a callback propagates out of Run with the callback's stack,
// unless there is a handler ([WithPanicHandler]). The rest of the turn runs when
// the loop is run again.
//
// Run returns [ErrRunning] in a callback of the loop, and on a second goroutine.
func (l *Loop) Run(ctx context.Context) (err error) {
	if err := l.beginRun("run"); err != nil {
		return err
	}
	defer func() { err = l.endRun(err) }()
	if ctx == nil {
		ctx = context.Background()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if ctx.Done() != nil {
		// A flag for this Run alone: the function may still be running when Run
		// returns, and must not end the next Run.
		cancelled, previous := new(atomic.Bool), l.cancelled
		l.cancelled = cancelled
		stop := context.AfterFunc(ctx, func() {
			cancelled.Store(true)
			l.wakeIfAsleep()
		})
		defer func() {
			stop()
			l.cancelled = previous
		}()
	}
	for {
		if err := l.turn(-1); err != nil {
			return err
		}
		switch {
		case l.closing.Load():
			return nil // endRun makes it ErrClosed
		case l.stopping.Load():
			return nil
		case l.cancelled.Load():
			return ctx.Err()
		}
	}
}

// RunOnce runs one turn of the loop and returns the number of callbacks that
// ran. It waits until an event happens, for at most timeout: zero does not wait,
// negative waits without limit. A result of zero means that the timeout has
// expired or that the loop was woken.
//
//	for l.Alive() {
//		l.RunOnce(-1)
//	}
//
// is what uv_run does by default.
func (l *Loop) RunOnce(timeout time.Duration) (ran int, err error) {
	if err := l.beginRun("run"); err != nil {
		return 0, err
	}
	before := l.callbacksRun
	defer func() { ran, err = int(l.callbacksRun-before), l.endRun(err) }()
	return 0, l.turn(timeout)
}

func (l *Loop) beginRun(op string) error {
	if l.isInvalid() {
		return opError(op, ErrInvalidLoop)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing.Load():
		return opError(op, ErrClosed)
	case l.running:
		return opError(op, ErrRunning)
	}
	l.running, l.inRun = true, true
	l.bindGoroutine()
	return nil
}

// endRun ends Run or RunOnce. If Close was called meanwhile it frees the loop's
// resources.
func (l *Loop) endRun(err error) error {
	l.stopping.Store(false)
	l.asleep.Store(false)
	l.turnTime, l.inRun = timeNotRead, false
	l.mu.Lock()
	l.running = false
	closing := l.closing.Load()
	mustTearDown := closing && !l.closed
	l.closed = l.closed || mustTearDown
	l.mu.Unlock()
	if mustTearDown {
		err = errors.Join(err, l.tearDown())
	}
	if closing && err == nil {
		err = opError("run", ErrClosed)
	}
	return err
}

// Stop makes Run return at the end of the current turn. The remaining callbacks
// of that turn still run. If the loop is not running, the next Run does one turn
// without waiting, as asyncio's loop does. Any goroutine may call Stop.
func (l *Loop) Stop() {
	if l.isInvalid() {
		return
	}
	l.stopping.Store(true)
	l.wakeIfAsleep()
}

// Close ends the loop. No callback starts after it, except one that the loop is
// about to call when another goroutine calls Close. Everything scheduled or posted
// is dropped, signals get back their previous behaviour, and the selector is
// closed. The registered files stay open.
//
// Any goroutine may call Close, including from a callback. While the loop runs,
// Close returns at once, and Run or RunOnce frees the resources before it
// returns. A second Close does nothing. With [WithDebug] Close logs what was
// still registered.
func (l *Loop) Close() error {
	if l.isInvalid() {
		return opError("close", ErrInvalidLoop)
	}
	l.mu.Lock()
	l.closing.Store(true)
	l.incoming = nil
	l.work.clear()
	mustTearDown := !l.running && !l.closed
	l.closed = l.closed || mustTearDown
	l.mu.Unlock()
	l.wakeIfAsleep()
	if mustTearDown {
		return l.tearDown()
	}
	return nil
}

// tearDown frees the loop's resources. It is called once, when the loop does not
// run any more.
func (l *Loop) tearDown() error {
	l.mu.Lock()
	signals := l.signals
	l.signals = nil
	l.mu.Unlock()
	for h := range signals {
		h.release()
	}
	if l.debug {
		l.reportLeaks()
	}
	l.timers.clear()
	l.dispatch, l.invalidFiles, l.spareWatchers = watchersDispatch{}, nil, nil
	l.hooks, l.beforeHooks, l.afterHooks = nil, queue[*TurnHook]{}, queue[*TurnHook]{}
	l.nextTurn, l.scheduled, l.ready, l.dueTimers, l.posts = nil, queue[task]{}, queue[selectors.Ready]{}, queue[int32]{}, queue[task]{}
	if err := l.sel.Close(); err != nil {
		return opError("close", err)
	}
	return nil
}

// Now returns the loop's time. It is monotonic, and counts from some moment
// before New. While the loop runs, the clock is read at most once a turn, and
// Now returns the same value to all callbacks of the turn, as libuv's uv_now
// does. Compute the deadlines for CallAt from it.
func (l *Loop) Now() time.Duration {
	if l == nil || !l.inRun {
		return l.ReadClock()
	}
	if l.turnTime == timeNotRead {
		l.turnTime = l.clock()
	}
	return l.turnTime
}

// ReadClock reads the clock now, also in the middle of a turn. Use it where time
// that passes within a turn counts: the deadline of an operation that an earlier
// callback of the turn may have delayed, or the time an answer took. It costs a
// read of the clock, about 50 ns. Any goroutine may call it, unless the function
// given to WithClock forbids that.
func (l *Loop) ReadClock() time.Duration {
	if l.isInvalid() {
		return 0
	}
	return l.clock()
}

// Selector returns the selector that the loop waits with. Keys registered
// directly with it are dispatched too, if their data is a [Callback], a function
// of that type, or a [FileHandler].
func (l *Loop) Selector() selectors.Selector {
	if l == nil {
		return nil
	}
	l.selectorShared = true
	return l.sel
}

// Alive reports whether the loop still has something to wait for or to run: a
// registered file or signal handler, an active timer, a scheduled or posted
// function, or unfinished work of Do. After Close it returns false.
func (l *Loop) Alive() bool {
	if l.isInvalid() || l.closing.Load() {
		return false
	}
	if len(l.nextTurn) > 0 || l.hasCallbacks() || len(l.timers.heap) > 0 || l.hasPosts.Load() || l.pendingWork.Load() > 0 {
		return true
	}
	l.mu.Lock()
	signals := len(l.signals)
	l.mu.Unlock()
	return signals > 0 || l.sel.Len() > 0
}

// Closed reports whether Close was called. Any goroutine may call it.
func (l *Loop) Closed() bool { return l.closing.Load() }
