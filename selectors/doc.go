// Package selectors waits for readiness of any file descriptor, over
// interchangeable kernel facilities: Python's selectors, for Go.
//
// Register what you wait for, with whatever you want back when it is ready,
// and call Select in a loop:
//
//	sel, err := selectors.NewDefaultSelector()
//	…
//	sel.Register(conn, selectors.EventRead, onRead)
//	for {
//		events, err := sel.Select(-1)
//		…
//		for _, ready := range events {
//			ready.Key.Data.(Callback)(ready.Key.FileObj, ready.Events)
//		}
//	}
//
// [NewDefaultSelector] takes the best backend of the platform, [Backends] lists
// them, and each has a constructor of its own. All of them behave as the
// [Selector] interface says, to the letter; what only some can do is asked with
// [Selector.Features] and is an error elsewhere, never silently something else.
// Package selectortest has the suite that holds a backend to it.
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
// Different on purpose: a timeout is a duration, and a negative one waits for
// ever (Python's None) where Python polls; Modify sets the data it is given,
// also nil; after Close every method says [ErrClosed]; a registration made
// while another goroutine is in Select counts at once, on every backend; a
// descriptor closed and reused behind the selector's back is noticed; regular
// files are always ready instead of PermissionError.
//
// # What is guaranteed, what is a hint
//
// Guaranteed: a batch holds every key that is ready, each once. Select ends
// early only with events or by Wake, and never before its time otherwise.
// Nothing that is ready for longer than a moment is missed; a level-triggered
// key is reported as long as it is ready.
//
// A readiness is about the past: somebody else may have read the data by the
// time you do, so use non-blocking calls ([TryRead], [TryWrite], [TryAccept]).
//
// EventRead is reported for what makes a read return at once, which is data,
// end of file, hang-up or an error; EventWrite for room or an error. This is
// the reading of Linux's own select(2) (POLLIN_SET and POLLOUT_SET in
// fs/select.c), and it makes all backends agree.
//
// [EventHangup], [EventError], [EventInvalid], and [EventReadClosed] where it
// was not asked for, are hints: true when they are told, but not every kernel
// facility tells them. A key that has only hints to tell, say a hung-up pipe of
// which only EventPriority was asked, is reported once and then again when
// something of its interest is ready or another hint appears: the kernel would
// repeat it without end. Poll has to look for that, and does so ten times a
// second.
//
// The order within a batch is not promised, but poll and select begin each
// batch behind the first entry of the last one, and epoll and kqueue go round
// in the kernel, so taking only some entries of each batch starves nobody.
//
// # Descriptors that are closed or shared
//
// Unregister before you close. Where that is forgotten:
//   - Poll and select report the key once, with EventError|EventInvalid.
//     The kernels of epoll, kqueue and event ports forget it and tell nobody.
//   - If the number comes back with another file, Register replaces the stale
//     key, and Unregister by the old object still finds the right one.
//   - If a duplicate (dup, or a child process) keeps the closed file open,
//     epoll goes on reporting it, and nobody can delete it any more (epoll(7),
//     Questions and answers). Such reports are recognised by a generation
//     number and dropped, and the epoll set is replaced by a fresh one.
//
// After fork without exec, child and parent share an epoll set; what one
// removes is removed for both. A kqueue is not inherited at all. Do not use a
// selector in a forked child.
//
// # kqueue
//
// kqueue watches the two directions of a file apart, and tells the end and the
// error of a direction only with that direction. So hints come only beside what
// was asked for, an EdgeTriggered key tells only of the direction in which
// something has changed (epoll tells of both), and the end of a pipe is
// EventHangup, or EventError to the writer, as it is elsewhere.
//
// A key is changed in one kevent call, both directions, and if one fails the
// other is put back. EventPriority is there where the kernel has EVFILT_EXCEPT,
// for sockets. macOS refuses /dev/tty, and does not tell readers of a named pipe
// that its last writer has gone; Register refuses these, with an error that is
// [errors.ErrUnsupported]: use select.
//
// # Windows
//
// A descriptor is a SOCKET there, as a number or in what package net makes of
// it; files, pipes and consoles are refused with WSAENOTSOCK, which is also what
// a socket is that was closed. Poll is WSAPoll, select Winsock's; neither has a
// limit of 64. The end of what the peer sends is EventReadClosed, an aborted
// connection EventHangup too.
//
// The system has no number for an open socket but its handle. So whether a
// number that has a key has come to another socket is told by local port and
// peer, and where those are the same or not known yet it is the old one:
// register connections by the object, whose Close is noticed.
//
// # How a wait waits
//
// All backends but epoll block a thread of the operating system while they wait.
// Poll and select, which ask every descriptor, ask without waiting for as long as
// there is something each time: that takes the kernel down to half as long.
//
// Epoll first asks without waiting. If it has to wait, it has two ways. It can
// park the goroutine: Go's runtime poller watches the epoll set, through a
// second one that is armed for each wait, so that a busy selector does not
// wake the runtime. That costs no thread, so a process can have hundreds of
// idle selectors. Or it can block in epoll_pwait2, which is cheaper for sleeps
// of a few microseconds, and better beside goroutines that keep all processors
// busy, because the runtime looks at its poller only when it has nothing else
// to run (golang/go#51651). The selector keeps count of how long its sleeps
// last in either way, uses the one that serves better, and tries the other now
// and then; in the whole process only as many block this way at a time as
// there are processors, or four.
//
// [WithBlockingWait] makes it block always, for a loop that has a thread to
// itself and peers that answer within microseconds, or that holds
// runtime.LockOSThread, where parking costs a thread switch.
//
// Medians of five rounds of 200 ms, or more in rows that starve or where a wait
// has two speeds, all from one run, on a virtual machine with two processors,
// Linux 6.18, Go 1.26; P is GOMAXPROCS. "armed" always parks, "nested" does so with
// the gate left open. Figures of a row move by a third and more between runs; to
// see your own:
// go test -v -run TestWaitTable ./selectors -wait.table -wait.rounds 5 -wait.time 200ms
//
//	                                            adaptive  blocking     armed    nested
//	ring of 100 pipes, ns an event         P=1       899       912       894       894
//	                                       P=2       886       886       882       887
//	ping-pong with a process, µs a round   P=1      18.1      14.0      68.1      65.5
//	                                       P=2      21.5      23.2      70.3      71.6
//	the same, CPU µs a round               P=1      9.15      7.31      28.2      27.9
//	                                       P=2      10.1      10.8      29.6      29.4
//	peer pauses 20 µs, CPU µs a round      P=1      13.1      15.0      30.4      21.8
//	                                       P=2      10.1      14.4      29.1      23.9
//	the same, wake-up p50, µs              P=1      3.80      3.63      51.7      48.7
//	                                       P=2      4.01      3.95      50.8      49.5
//	peer pauses 50 µs, CPU µs a round      P=1      15.5      28.1      12.4      14.9
//	                                       P=2      12.3      25.7      13.9      15.8
//	peer pauses 200 µs, CPU µs a round     P=1      15.7      96.3      12.5      11.8
//	                                       P=2      15.4      73.6      13.6      13.6
//	peer pauses 1 ms, CPU µs a round       P=1      16.2       109      16.5      13.8
//	                                       P=2      21.7       100      15.4      16.3
//	beside 4 channel pairs, rounds/s       P=1      2544      1400      7.16      5.89
//	                                       P=2     37011     36982      3614      2405
//	beside 1 CPU hog, rounds/s             P=1     20710     25441      49.2      49.3
//	                                       P=2     88208     91184     87834     86891
//	beside 2 CPU hogs, rounds/s            P=1     13649     15119      25.4      25.4
//	                                       P=2     65585     70258     20705     16516
//	beside 1 CPU hog, wake-up p50, µs      P=1      19.5      15.9     18180     18175
//	                                       P=2      22.4      25.9      18.2      20.2
//	beside bursts of exchanges, rounds/s   P=1     51453     63947     12003     11990
//	                                       P=2     44683     54214     22466     16919
//	Wake and an answer, µs a round         P=1      1.84       133      1.72      1.73
//	                                       P=2      2.26      58.4      2.09      2.04
//	sleeps of 10 ms, CPU ms a second       P=1      8.03      14.6      7.07      7.48
//	                                       P=2      6.37      14.6      6.74      6.95
//	threads for 100 idle selectors         P=2      1.00       100      1.00      1.00
//
// The adaptive wait neither starves as parking does nor pays for long sleeps as
// blocking does. It is within a third of the best of the others in each row but
// pauses of 1 ms with P=2, which fifteen rounds made 19.7 against 17.2. It has to
// find out first, though, which a short measurement shows: the first sleeps beside
// channel pairs with P=1 last 40 ms and more, and with a peer that pauses for 20 µs
// it takes some 100 ms until the kernel has both processes on one processor. Before
// that a wake-up takes 50 µs here, however one waits.
package selectors
