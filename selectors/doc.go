// Package selectors waits until file descriptors are ready. It is Python's
// selectors for Go: one interface over epoll, kqueue, event ports, poll and
// select.
//
// It is for programs that watch descriptors that package net does not handle, for
// those that keep very many idle connections, and for event loops. A program for
// which a goroutine for each connection works well does not need it. Package
// eventloop, on top of this one, has a complete loop with timers and signals.
//
//	sel, err := selectors.NewDefaultSelector()
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer sel.Close()
//	if _, err := sel.Register(conn, selectors.EventRead, onRead); err != nil {
//		log.Fatal(err)
//	}
//	for {
//		batch, err := sel.Select(-1)
//		if err != nil {
//			log.Fatal(err)
//		}
//		for _, ready := range batch {
//			ready.Key.Data.(func(selectors.Ready))(ready)
//		}
//	}
//
// Here onRead is a func(selectors.Ready). It reads with [TryRead], because a file
// may no longer be ready when the program reads it, and unregisters the file
// before it closes it.
//
// [NewDefaultSelector] returns a selector on the best backend of the platform,
// [Backends] lists all of them, and each has a constructor of its own. All follow
// the contract in the documentation of [Selector]. [Selector.Features] tells what
// a backend can do beyond that; to use what it cannot do is an error that wraps
// [errors.ErrUnsupported].
//
// [NewSelector] makes a selector of a kernel facility that this package does not
// have. Package selectortest is the conformance suite, for those selectors and for
// implementations of one's own, whose duties are listed at [Selector].
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
// Guaranteed: a batch holds every key that is ready, each once. A Select returns
// before its timeout only with events or because of Wake or Close. A
// level-triggered key is reported by every Select as long as it is ready.
//
// A file can stop being ready between the report and the read, because another
// process or goroutine has read the data. So use non-blocking calls: [TryRead],
// [TryWrite], [TryAccept].
//
// EventRead is reported if a read would return at once: because of data, the end
// of the file, a hang-up or an error. EventWrite is reported for room or an
// error. This is how Linux's own select(2) defines them (POLLIN_SET and
// POLLOUT_SET in fs/select.c), and it makes all backends agree.
//
// [EventHangup], [EventError], [EventInvalid], and [EventReadClosed] where it is
// not part of the interest, are hints: true when they are reported, but not
// every backend can report them.
//
// A level-triggered key may have only hints to report, such as a hung-up pipe with
// an interest of EventPriority. The kernel would repeat them without end. The
// selector reports them once, and again
//   - when an event of the interest or another hint appears;
//   - when they have gone away and come back. A hang-up that goes and comes back
//     between two Selects may count as one that lasts;
//   - if there is an error among them, which may be a new one: after a program has
//     taken an error away, by SO_ERROR or from the error queue (MSG_ERRQUEUE), the
//     next one is always reported.
//
// So an error that nobody takes away is reported more than once: up to twice on epoll,
// and on poll and event ports up to ten times a second. Those backends do not see
// a hint that has lasted for two Selects end or change at once, but ask for that
// ten times a second.
//
// The order within a batch is not guaranteed. Poll and select start each batch
// behind the first entry of the last one, and epoll and kqueue rotate in the
// kernel, so a caller that takes only some entries of each batch starves no key.
//
// # Closed and duplicated descriptors
//
// Unregister a file before you close it. If that is forgotten:
//   - Poll and select report the key once, with EventError|EventInvalid. Epoll,
//     kqueue and event ports drop the descriptor without a report.
//   - If the number comes back with another file, Register replaces the stale
//     key, and Unregister by the old object still finds the right one.
//   - While another goroutine is in Select on poll or select, a closed file stays
//     open in the kernel until that wait ends, because the wait holds a reference to
//     it (fs/select.c). The peer of a connection hears of the end only then.
//     Unregister makes the wait let go of the file. Or shut the connection down
//     before you close it (CloseWrite, shutdown(2)): the peer hears of that at once.
//   - If a duplicate (dup, or a child process) keeps the closed file open, epoll
//     goes on reporting the key, and the registration can no longer be deleted
//     (epoll(7), Questions and answers). After Unregister, or when Register has
//     replaced the key, such events are recognised by a generation number and
//     dropped, and the epoll set is replaced by a new one.
//
// After fork without exec, child and parent share an epoll set; what one removes
// is removed for both. A child does not inherit a kqueue. Do not use a selector in
// a forked child.
//
// # Shortages
//
// A lack of descriptors, memory or epoll watches (fs.epoll.max_user_watches), also by
// limits that are lowered at run time, ends no Select and loses no key:
//   - Register and Modify return the system's error, and nothing has changed.
//   - If the kernel refuses a waiting call, Select repeats it every 2 ms until the
//     timeout. Its batch may be empty then although keys are ready.
//   - If poll(2) refuses more keys than RLIMIT_NOFILE allows, Select asks in several
//     calls.
//   - If there is no descriptor for a new epoll set, or there are not enough watches
//     for all keys twice, the old set stays in use, and Select tries again after
//     10 ms, and then less and less often, up to every 5 s. Until then an orphan that
//     is ready keeps Select from waiting in the kernel: it asks every 2 ms.
//
// Select returns errors that do not pass, such as a seccomp filter that forbids the
// call. [Stats] counts orphans and shortages.
//
// # Waiting
//
// A waiting Select blocks a thread of the operating system, except on epoll. The
// epoll backend polls first. If it has to wait, it parks its goroutine in Go's
// runtime poller, which costs no thread, or blocks a thread for a short time
// where that is cheaper; it measures which. [WithBlockingWait] makes it always
// block; so do keys with [Exclusive] and keys of some unusual files. docs/waiting.md
// explains this and has the figures, docs/parking.md lists the files.
//
// # Platforms
//
// docs/platforms.md lists what each backend can do, how kqueue and Windows differ,
// and how each platform was tested. docs/recipes.md has recipes for descriptors of
// Linux that are not sockets.
package selectors
