package stream

import "time"

// An Option configures a connection, or a listener and all connections that it
// accepts. A nil Option is ignored.
type Option func(*options)

// options is shared by all connections of a listener and never changes after
// newOptions.
type options struct {
	highWater, lowWater int // bytes in the write queue
	idleTimeout         time.Duration
	reusePort           bool
	roundRobin          bool
	replaceStale        bool
	acceptError         func(error)
}

const (
	defaultHighWater = 64 << 10 // as in asyncio
	defaultLowWater  = defaultHighWater / 4
)

var defaultOptions = options{highWater: defaultHighWater, lowWater: defaultLowWater}

func newOptions(opts []Option) *options {
	if len(opts) == 0 {
		return &defaultOptions
	}
	o := defaultOptions
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	return &o
}

// WithWaterMarks sets the limits of the write queue, in bytes. PauseWriting is
// called when more than high bytes are queued, and ResumeWriting when no more
// than low bytes are left. The defaults are 64 KiB and 16 KiB. Negative values
// count as 0, and low is at most high. If both are 0, writing pauses whenever
// the socket does not take all data at once.
func WithWaterMarks(high, low int) Option {
	return func(o *options) {
		o.highWater = max(high, 0)
		o.lowWater = min(max(low, 0), o.highWater)
	}
}

// WithIdleTimeout calls [Conn.SetIdleTimeout] for every connection, just before
// ConnectionMade.
func WithIdleTimeout(d time.Duration) Option { return func(o *options) { o.idleTimeout = d } }

// WithReusePort sets SO_REUSEPORT (SO_REUSEPORT_LB on FreeBSD), so that several
// sockets, of one process or several, can listen on one address and the kernel
// distributes connections over them. On systems that do not distribute them,
// and for Unix sockets, Listen returns [errors.ErrUnsupported].
func WithReusePort() Option { return func(o *options) { o.reusePort = true } }

// WithAcceptError sets a function to report accept errors. A listener that
// cannot accept, because the process has no descriptors left or the system has
// no memory, stops accepting and tries again later. It calls report on the
// loop once, and again only after it has accepted all waiting connections. If
// other code has closed the listener's socket or shut it down, the listener ends,
// and report gets an error that wraps [net.ErrClosed]. Without this option the error
// is logged with package log/slog.
func WithAcceptError(report func(error)) Option { return func(o *options) { o.acceptError = report } }
