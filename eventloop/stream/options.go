package stream

import (
	"net"
	"time"
)

// An Option configures a connection, or a listener and all connections that it
// accepts. A nil Option is ignored.
type Option func(*options)

// options is shared by all connections of a listener and never changes after
// newOptions.
type options struct {
	highWater, lowWater int // bytes in the write queue
	maxUnsent           int // bytes in the write queue; 0: no limit
	timeouts            [timeoutKinds]time.Duration
	reusePort           bool
	roundRobin          bool
	replaceStale        bool
	acceptError         func(error)
	keepAlive           net.KeepAliveConfig
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
	return func(o *options) { o.setWaterMarks(high, low) }
}

func (o *options) setWaterMarks(high, low int) {
	o.highWater = max(high, 0)
	o.lowWater = min(max(low, 0), o.highWater)
}

// WithMaxUnsent limits the write queue to n bytes. A write that exceeds the limit
// aborts the connection and returns an error that wraps [ErrTooMuchUnsent], which
// ConnectionLost gets too. It bounds the memory that a peer that does not read can
// take when the writer does not wait for ResumeWriting. Zero or less means no limit,
// which is the default.
func WithMaxUnsent(n int) Option { return func(o *options) { o.maxUnsent = max(n, 0) } }

// WithIdleTimeout calls [Conn.SetIdleTimeout] for every connection, just before
// ConnectionMade, unless it was called before.
func WithIdleTimeout(d time.Duration) Option { return withTimeout(idleTimeout, d) }

// WithReadTimeout is WithIdleTimeout for [Conn.SetReadTimeout].
func WithReadTimeout(d time.Duration) Option { return withTimeout(readTimeout, d) }

// WithWriteTimeout is WithIdleTimeout for [Conn.SetWriteTimeout].
func WithWriteTimeout(d time.Duration) Option { return withTimeout(writeTimeout, d) }

// WithFirstByteTimeout ends a connection with [ErrFirstByteTimeout] if no data is
// received within d after ConnectionMade. It is meant for servers whose clients
// speak first. The time does not count while reading is paused: it begins anew with
// ResumeReading.
func WithFirstByteTimeout(d time.Duration) Option { return withTimeout(firstByteTimeout, d) }

func withTimeout(kind timeoutKind, d time.Duration) Option {
	return func(o *options) { o.timeouts[kind] = max(d, 0) }
}

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

// WithKeepAlive turns TCP keep-alive on for the connections of Listen and Dial, if
// Enable is true. The other fields have the meaning and the defaults of package
// net: 0 is 15 s, 15 s and 9 probes, and a negative value leaves the system's value
// unchanged. A setting that the system does not have is left out: OpenBSD has none
// of the three. Unix sockets are not affected.
func WithKeepAlive(config net.KeepAliveConfig) Option {
	return func(o *options) { o.keepAlive = config }
}
