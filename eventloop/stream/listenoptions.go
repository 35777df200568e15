package stream

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
// waits at most a second. A process without the option is not kept out: in the
// moment between its bind(2) and its listen(2), its socket looks stale.
func WithReplaceStaleSocket() Option { return func(o *options) { o.replaceStale = true } }
