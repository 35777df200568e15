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

// WithRoundRobin makes [Group.Listen] accept all connections on the first loop and
// assign them to the loops in turn, also where the kernel can distribute them. The
// kernel chooses a loop by a hash of the addresses, so with few connections some
// loops may get several and others none. With this option the numbers differ by at
// most one, for about 2 µs more per connection. It has no effect on the function
// [Listen].
func WithRoundRobin() Option { return func(o *options) { o.roundRobin = true } }

// WithReplaceStaleSocket makes Listen on network "unix" replace a socket file that
// a process has left behind. Without it Listen then fails with EADDRINUSE. A socket
// is stale if connect(2) is refused, because no process listens on it. Listen still
// fails with EADDRINUSE if the socket has an owner, which sees a connection that is
// closed at once, or if the file is not a socket. Such a file is never removed.
//
// Several processes may use the option for one path at the same moment: one of them
// gets it. They keep each other out with flock(2) on the directory, for which Listen
// waits at most a second, and which must be readable. A process without the option
// is not kept out: in the moment between its bind(2) and its listen(2), its socket
// looks stale.
func WithReplaceStaleSocket() Option { return func(o *options) { o.replaceStale = true } }

// WithAcceptError sets a function to report accept errors. A listener that
// cannot accept, because the process has no descriptors left or the system has
// no memory, stops accepting and tries again later. It calls report on the
// loop once, and again only after it has accepted all waiting connections. If
// other code has closed the listener's socket or shut it down, the listener ends,
// and report gets an error that wraps [net.ErrClosed]. Without this option the error
// is logged with package log/slog.
func WithAcceptError(report func(error)) Option { return func(o *options) { o.acceptError = report } }
