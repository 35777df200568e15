package stream

import "time"

// An Option adjusts connections, or the listener that makes them.
type Option func(*options)

// options are shared by all connections of a listener.
type options struct {
	high, low   int
	idle        time.Duration
	reusePort   bool
	acceptError func(error)
}

const (
	defaultHigh = 64 << 10 // asyncio's
	defaultLow  = defaultHigh / 4
)

var defaults = options{high: defaultHigh, low: defaultLow}

func newOptions(opts []Option) *options {
	if len(opts) == 0 {
		return &defaults
	}
	o := defaults
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	return &o
}

// WithWaterMarks says when Handler.PauseWriting and ResumeWriting are called:
// when more than high bytes wait to be sent, and when it is no more than low
// again. Without it these are 64 and 16 KiB. At 0, 0 writing pauses whenever
// the socket is full.
func WithWaterMarks(high, low int) Option {
	return func(o *options) {
		o.high = max(high, 0)
		o.low = min(max(low, 0), o.high)
	}
}

// WithIdleTimeout is SetIdleTimeout for every connection, from the beginning.
func WithIdleTimeout(d time.Duration) Option { return func(o *options) { o.idle = d } }

// WithReusePort lets several sockets listen at one address, in one process or
// several; the kernel spreads connections over them (SO_REUSEPORT). Where it
// does not spread them, Listen is errors.ErrUnsupported.
func WithReusePort() Option { return func(o *options) { o.reusePort = true } }

// WithAcceptError has report called when a listener has to stop accepting for a
// while, because the process is out of descriptors or the system of memory,
// once until it has accepted all who wait. Without it that is logged with package slog.
func WithAcceptError(report func(error)) Option { return func(o *options) { o.acceptError = report } }
