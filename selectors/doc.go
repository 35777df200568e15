// Package selectors waits for readiness of any file descriptor, over
// interchangeable kernel facilities: Python's selectors, for Go.
//
// Register the files to wait for, each with data of your own, and call Select in
// a loop:
//
//	sel, err := selectors.NewDefaultSelector()
//	…
//	sel.Register(conn, selectors.EventRead, Callback(onRead))
//	for {
//		events, err := sel.Select(-1)
//		…
//		for _, ready := range events {
//			ready.Key.Data.(Callback)(ready.Key.FileObj, ready.Events)
//		}
//	}
//
// [NewDefaultSelector] takes the best backend of the platform, [Backends] lists
// them, and each has a constructor of its own. All behave as the [Selector]
// interface says. What only some backends can do is a [Feature], and an error
// elsewhere. Package selectortest is the conformance suite for backends.
// Package eventloop has a complete loop with timers.
//
// # From Python
//
//	selectors.DefaultSelector()        NewDefaultSelector()
//	EVENT_READ, EVENT_WRITE            EventRead, EventWrite
//	sel.register(f, events, data)      sel.Register(f, events, data)
//	sel.modify(f, events, data)        sel.Modify(f, events, data)
//	sel.unregister(f)                  sel.Unregister(f)
//	sel.select(timeout)                sel.Select(timeout)
//	for key, mask in …                 for _, r := range …   r.Key, r.Events
//	sel.get_key(f), sel.get_map()      sel.Key(f), sel.Keys(), sel.Len()
//	key.fileobj, .fd, .events, .data   key.FileObj, .FD, .Events, .Data
//	KeyError                           ErrRegistered, ErrNotRegistered
//	ValueError                         ErrInvalidEvents, ErrInvalidFileObj
//	sel.close()                        sel.Close()
//
// What differs from Python:
//   - A timeout is a time.Duration. A negative one waits without a limit, as
//     Python's None does.
//   - Modify sets the data that it is given, also nil.
//   - After Close every method returns [ErrClosed].
//   - A registration made while another goroutine is in Select takes effect at
//     once, on every backend.
//   - The selector notices that a descriptor was closed and its number reused.
//   - Regular files are always ready; Python raises PermissionError on epoll.
//
// # Guarantees and hints
//
// Guaranteed: a batch holds every key that is ready, each once. A Select with a
// timeout returns early only with events or because of Wake. A level-triggered
// key is reported as long as it is ready.
//
// Readiness is about the past: another reader may have taken the data meanwhile.
// So use non-blocking calls: [TryRead], [TryWrite], [TryAccept].
//
// EventRead is reported if a read would return at once: because of data, the end
// of the file, a hang-up or an error. EventWrite is reported for room or an
// error. This is how Linux's own select(2) defines them (POLLIN_SET and
// POLLOUT_SET in fs/select.c), and it makes all backends agree.
//
// [EventHangup], [EventError], [EventInvalid], and [EventReadClosed] where it is
// not part of the interest, are hints: true when they are reported, but not
// every backend can report them. A key may have only hints to report, such as a
// hung-up pipe with an interest of EventPriority. The kernel would repeat them
// without end; the selector reports them once, and again when an event of the
// interest or another hint appears. Poll has to ask for that, which it does ten
// times a second.
//
// The order within a batch is not guaranteed. Poll and select start each batch
// behind the first entry of the last one, and epoll and kqueue rotate in the
// kernel, so a caller that takes only some entries of each batch starves no key.
//
// # Closed and duplicated descriptors
//
// Unregister a file before you close it. If that is forgotten:
//   - Poll and select report the key once, with EventError|EventInvalid. The
//     kernels of epoll, kqueue and event ports forget the descriptor and report
//     nothing.
//   - If the number comes back with another file, Register replaces the stale
//     key, and Unregister by the old object still finds the right one.
//   - If a duplicate (dup, or a child process) keeps the closed file open, epoll
//     goes on reporting it, and the registration can no longer be deleted
//     (epoll(7), Questions and answers). Such events are recognised by their
//     generation number and dropped, and the epoll set is replaced by a new one.
//
// After fork without exec, child and parent share an epoll set; what one removes
// is removed for both. A kqueue is not inherited at all. Do not use a selector in
// a forked child.
//
// # Waiting
//
// A waiting Select blocks a thread of the operating system, except on epoll. The
// epoll backend polls first. If it has to wait, it parks its goroutine in Go's
// runtime poller, which costs no thread, or blocks a thread for a short time
// where that is cheaper; it measures which. [WithBlockingWait] makes it always
// block. docs/waiting.md explains this and has the figures.
//
// # kqueue
//
// kqueue watches the two directions of a file separately, and reports the end and
// the error of a direction only with that direction. So hints come only together
// with an event of the interest, an EdgeTriggered key reports only the direction
// that has changed (epoll reports both), and the end of a pipe is EventHangup, or
// EventError for the writer, as elsewhere.
//
// A key is changed in one kevent call for both directions; if one fails the other
// is restored. EventPriority needs EVFILT_EXCEPT, and works for sockets. macOS
// refuses /dev/tty, and does not report to readers of a named pipe that its last
// writer has gone; Register of these is an error that wraps
// [errors.ErrUnsupported]. Select takes them.
//
// # Windows
//
// A descriptor is a SOCKET, as a number or in an object of package net. Files,
// pipes, consoles and closed sockets are refused with WSAENOTSOCK. Poll is
// WSAPoll, select is Winsock's; neither has a limit of 64. The end of what the
// peer sends is EventReadClosed; an aborted connection is EventHangup too.
//
// The system has no number for an open socket but its handle. To tell whether a
// handle that has a key belongs to another socket now, the selector compares the
// local port and the peer; if those are equal or not known yet it takes the
// socket for the old one. So register connections by object: their Close is
// noticed.
package selectors
