package eventloop

import (
	"log/slog"
	"math"
	"time"

	"goselectors/selectors"
)

// An Option configures a new loop.
type Option func(*options)

type options struct {
	selector      selectors.Selector
	clock         func() time.Duration
	panicHandler  func(Panic)
	slowThreshold time.Duration // zero: callbacks are not measured
	log           *slog.Logger
	debug         bool
	trace         bool
	maxWorkers    int32 // goroutines of Do at a time; zero: no limit
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
	if o.debug && o.slowThreshold == 0 {
		o.slowThreshold = 100 * time.Millisecond // asyncio's slow_callback_duration
	}
	return o
}

// WithSelector makes the loop wait with s. The loop owns s from then on: Close
// closes it. If s is nil the loop has the default selector.
func WithSelector(s selectors.Selector) Option { return func(o *options) { o.selector = s } }

// WithClock makes the loop read the time from now instead of the monotonic
// clock. The clock must never go backwards, and must advance while the selector
// waits: see package looptest. If now is nil the loop has the monotonic clock.
func WithClock(now func() time.Duration) Option { return func(o *options) { o.clock = now } }

// WithPanicHandler makes the loop recover the panics of callbacks. It calls
// handle on the loop's goroutine and continues with the next callback. Without
// it a panic ends Run. A panic of handle itself always ends Run.
func WithPanicHandler(handle func(Panic)) Option { return func(o *options) { o.panicHandler = handle } }

// WithSlowCallback makes the loop measure each callback. It logs a warning for
// each that takes threshold or longer, with the place where it was registered or
// scheduled. This costs about 100 ns for each callback, and the same for each
// scheduling.
func WithSlowCallback(threshold time.Duration) Option {
	return func(o *options) { o.slowThreshold = max(threshold, 1) }
}

// WithLogger makes the loop log to log instead of [slog.Default].
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithWorkers makes the loop run the work of Do and DoResult on at most n
// goroutines at a time, as asyncio's executor and libuv's thread pool do. Further
// work waits and is started in the order of the calls. Close drops work that has not
// been started. Without WithWorkers, or if n is not positive, there is no limit.
func WithWorkers(n int) Option {
	return func(o *options) { o.maxWorkers = int32(min(max(n, 0), math.MaxInt32)) }
}

// WithTrace makes each callback a region of the execution trace, named after
// its function, while runtime/trace is enabled.
func WithTrace() Option { return func(o *options) { o.trace = true } }

// WithDebug makes the loop check for mistakes. It is meant for development and
// tests:
//   - A call from a goroutine other than the loop's returns [ErrWrongGoroutine],
//     or is logged if the method returns no error. Without WithDebug such a call
//     is not checked.
//   - Callbacks that take 100 ms or longer (or the threshold of
//     WithSlowCallback) are logged.
//   - Close logs what was still registered.
//
// It costs about a microsecond for each call of a method.
func WithDebug() Option { return func(o *options) { o.debug = true } }
