// Package eventloop is an event loop on top of package selectors. It calls
// functions when files are ready, when timers expire, when signals arrive and
// when other goroutines post work. It does for Go what asyncio's event loop
// does for Python and libuv for C.
//
//	loop, err := eventloop.New()
//	…
//	loop.Register(conn, selectors.EventRead, func(fileobj any, events selectors.Event) {
//		n, err := selectors.TryRead(fileobj, buf)
//		…
//	})
//	loop.CallLater(time.Second, func() { fmt.Println("a second later") })
//	err = loop.Run(ctx)
//
// The core of a loop is this:
//
//	events, err := sel.Select(timeout)
//	for _, ready := range events {
//		ready.Key.Data.(Callback)(ready.Key.FileObj, ready.Events)
//	}
//
// The callback of a file is the data of its key. Therefore any selector can be
// used ([WithSelector]), and keys registered directly with the selector are
// dispatched too.
//
// # Develop with WithDebug
//
// A loop belongs to the goroutine that runs it. A call from a wrong goroutine
// is a data race, and it is not checked unless the loop has [WithDebug]. Use
// [WithDebug] in development and in tests: such a call then returns
// [ErrWrongGoroutine], or is logged if the method returns no error. [WithDebug]
// also logs slow callbacks, and what is still registered at Close.
//
// # Goroutines
//
//	goroutine                               calls
//	any, at any time                        Post, PostHandle, Handle.Cancel, Do,
//	                                        DoResult, Stop, Close, Stats, ReadClock
//	any, but one at a time                  Run, RunOnce (else ErrRunning)
//	the loop's: in callbacks, or in the     all other methods of Loop, and those
//	one goroutine that uses the loop        of Timer, Waiter, SignalHandler and
//	while it does not run                   TurnHook
//
// Callbacks run on the loop's goroutine, one at a time, so they need no locks
// among themselves. A callback must not block: nothing else runs meanwhile. Use
// [Loop.Do] for blocking or long work.
//
// # The turn
//
// A loop runs in turns. Each turn has six steps; the functions of [Loop.OnTurn]
// run before the first and after the last:
//
//  1. Compute the timeout: until the next timer, or zero if a callback is
//     already scheduled.
//  2. Wait in Select.
//  3. Collect the ready keys.
//  4. Collect the due timers, by deadline and then by order of scheduling.
//  5. Collect the posts.
//  6. Run exactly these callbacks: first those that [Loop.CallSoon] and
//     [Loop.Schedule] scheduled before the turn (and posts made before that call,
//     which keep their order), then files, timers and posts.
//
// What these callbacks schedule runs in the next turn. Every turn polls the
// files, so no source of callbacks can starve another. A callback that
// unregisters or modifies a file also cancels the pending callback of that file
// in the same turn. This holds even if the descriptor's number belongs to a new
// file by then.
//
// # Files
//
// There are two ways to watch a file. [Loop.Register] has one callback for all
// events, and a [selectors.Event] mask with its modes. [Loop.AddReader],
// [Loop.AddWriter], [Loop.OnceReadable] and [Loop.OnceWritable] are for readers and
// writers that know nothing of each other, such as two tasks on one connection, or
// three that accept on one listener. A file is watched in one of the two ways.
//
// # Panics
//
// The panic of a callback ends Run, with its stack, or goes to the function of
// [WithPanicHandler], with what the callback was for: see [Panic]. runtime.Goexit
// in a callback ends Run and its goroutine in either case. The panic counts as the
// end of the callback, and this is what it leaves behind:
//
//	the callback of           afterwards
//	a file (Register,         stays registered and is called again while the file is
//	AddReader, AddWriter)     ready; one with OneShot is disabled as after any call
//	OnceReadable and the      over; the other waiters of the file are still called
//	like of it
//	CallLater, CallAt         over; Timer.Reset starts it again
//	Every                     stays active; the next call is at the next multiple of
//	                          the interval
//	CallSoon, Schedule,       over
//	Post, PostHandle
//	OnSignal                  stays active
//	work of Do                done is not called; the loop panics with a *WorkPanic
//	work of DoResult          done gets the *WorkPanic
//	done of Do and DoResult   over
//	OnTurn                    stays active; after is called even if before has
//	                          panicked
//
// The callbacks of the turn that have not run yet run next: in the same turn if there
// is a panic handler, otherwise first of all in the next Run or RunOnce, which does
// not wait for that. None is lost and none runs twice. If the panic handler panics
// itself, that ends Run as without a handler. What the callback had changed before
// it panicked stays changed.
//
// # Misuse
//
// One rule holds for all that this package exports. A wrong argument or receiver is
// an error of the shape "eventloop: operation: cause", or does nothing if the method
// returns no error; it never panics inside the package and never changes the loop.
//
//	nil or zero Loop                  ErrInvalidLoop; false, zero or nothing where
//	                                  there is no error
//	closed Loop                       ErrClosed; likewise
//	nil function or FileHandler       ErrNilCallback
//	nil option, nil in an option      as if it were not given; a nil pointer in
//	                                  WithSelector is ErrNilSelector
//	nil context                       as context.Background
//	nil or zero Timer, Handle,        as one that was stopped: false, or zero
//	Waiter, SignalHandler, TurnHook
//	durations                         clamped; negative ones count as zero, except
//	                                  that Every refuses them (ErrInvalidInterval)
//	                                  and RunOnce waits without limit
//	file objects and interests        the error of the selector, unchanged
//
// # Threads
//
// An idle loop on epoll holds no thread, so hundreds of loops are cheap. With
// poll and select each waiting loop holds one thread.
//
// # From asyncio and libuv
//
//	asyncio                                  libuv                    here
//	loop.add_reader, add_writer              –                        AddReader, AddWriter
//	loop.remove_reader, remove_writer        –                        RemoveReader, RemoveWriter
//	–                                        uv_poll_start            Register, Replace
//	–                                        uv_poll_stop             Unregister
//	loop.sock_recv, sock_accept (the wait)   –                        OnceReadable, OnceWritable
//	loop.call_soon                           –                        CallSoon, Schedule
//	loop.call_soon_threadsafe                uv_async_send            Post, PostHandle
//	loop.call_later                          uv_timer_start           CallLater
//	loop.call_at                             –                        CallAt
//	loop.time                                uv_hrtime                ReadClock
//	–                                        uv_now, uv_update_time   Now
//	–                                        uv_timer_start, repeat   Every
//	handle.cancel                            uv_timer_stop            Timer.Stop, Handle.Cancel
//	loop.run_in_executor                     uv_queue_work            Do, DoResult
//	loop.set_default_executor                UV_THREADPOOL_SIZE       WithWorkers
//	–                                        uv_prepare_t, uv_check_t OnTurn
//	loop.add_signal_handler                  uv_signal_start          OnSignal
//	loop.run_forever                         –                        Run
//	–                                        uv_run                   RunOnce, Alive
//	loop.stop                                uv_stop                  Stop
//	loop.close                               uv_loop_close            Close
//	loop.set_exception_handler               –                        WithPanicHandler
//	loop.set_debug, slow_callback_duration   –                        WithDebug, WithSlowCallback
//
// Differences from asyncio:
//   - Timers with equal deadlines run in the order of scheduling.
//   - Stop may be called from any goroutine.
//   - With Register one callback serves both reading and writing.
//   - Any number of functions can wait for one file.
//   - A panic ends Run unless there is a panic handler. The rest of the turn
//     runs when the loop is run again.
//
// Package looptest has a virtual clock and a scripted selector for tests of
// programs that use a loop.
package eventloop
