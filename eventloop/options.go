package eventloop

import (
	"log/slog"
	"time"

	"goselectors/selectors"
)

// An Option adjusts a new loop.
type Option func(*options)

type options struct {
	selector selectors.Selector
	clock    func() time.Duration
	panics   func(Panic)
	slow     time.Duration
	log      *slog.Logger
	debug    bool
	trace    bool
}

func newOptions(opts []Option) (o options) {
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	if o.log == nil {
		o.log = slog.Default()
	}
	if o.debug && o.slow == 0 {
		o.slow = 100 * time.Millisecond // as asyncio's slow_callback_duration
	}
	return o
}

// WithSelector makes the loop wait with s, which is the loop's from then on:
// Close closes it.
func WithSelector(s selectors.Selector) Option { return func(o *options) { o.selector = s } }

// WithClock makes the loop read the time from now instead of the monotonic
// clock. It must never go backwards, and pass while the selector waits: see
// package looptest.
func WithClock(now func() time.Duration) Option { return func(o *options) { o.clock = now } }

// WithPanicHandler has handle called, on the loop, when a callback panics, and
// the loop goes on with the next one. Without it the panic ends Run. A panic of
// the handler's own does so in any case.
func WithPanicHandler(handle func(Panic)) Option { return func(o *options) { o.panics = handle } }

// WithSlowCallback makes the loop measure how long each callback takes, and log
// a warning, with where it was registered or scheduled, if that is threshold or
// more. A loop does nothing else meanwhile. The measuring costs some 100 ns a
// callback, and as much for each that is scheduled.
func WithSlowCallback(threshold time.Duration) Option {
	return func(o *options) { o.slow = max(threshold, 1) }
}

// WithLogger makes the loop log to log instead of [slog.Default].
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithTrace makes each callback a region of the execution trace, named after
// its function, while runtime/trace is collecting one.
func WithTrace() Option { return func(o *options) { o.trace = true } }

// WithDebug looks for mistakes: a method called from another goroutine than the
// loop's is [ErrWrongGoroutine], or logged where it cannot return an error;
// callbacks that take 100 ms (or what WithSlowCallback says) are logged, and so
// is, at Close, what was still registered. It costs about a microsecond a call.
func WithDebug() Option { return func(o *options) { o.debug = true } }
