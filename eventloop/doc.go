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
//	any, at any time                        Post, Do, Stop, Close, Stats
//	any, but one at a time                  Run, RunOnce (else ErrRunning)
//	the loop's: in callbacks, or in the     all other methods of Loop, and those
//	one goroutine that uses the loop        of Timer and SignalHandler
//	while it does not run
//
// Callbacks run on the loop's goroutine, one at a time, so they need no locks
// among themselves. A callback must not block: nothing else runs meanwhile. Use
// [Loop.Do] for blocking or long work.
//
// # The turn
//
// A loop runs in turns. Each turn has six steps:
//
//  1. Compute the timeout: until the next timer, or zero if a callback is
//     already scheduled.
//  2. Wait in Select.
//  3. Collect the ready keys.
//  4. Collect the due timers, by deadline and then by order of scheduling.
//  5. Collect the posts.
//  6. Run exactly these callbacks: first those that [Loop.CallSoon] scheduled
//     before the turn (and posts made before that call, which keep their order),
//     then files, timers and posts.
//
// What these callbacks schedule runs in the next turn. Every turn polls the
// files, so no source of callbacks can starve another. A callback that
// unregisters or modifies a file also cancels the pending callback of that file
// in the same turn. This holds even if the descriptor's number belongs to a new
// file by then.
//
// # Threads
//
// An idle loop on epoll holds no thread, so hundreds of loops are cheap. With
// poll and select each waiting loop holds one thread.
//
// # From asyncio and libuv
//
//	asyncio                                  libuv                    here
//	loop.add_reader, add_writer              uv_poll_start            Register, Replace
//	loop.remove_reader, remove_writer        uv_poll_stop             Unregister
//	loop.call_soon                           –                        CallSoon
//	loop.call_soon_threadsafe                uv_async_send            Post
//	loop.call_later                          uv_timer_start           CallLater
//	loop.call_at, loop.time                  uv_now                   CallAt, Now
//	–                                        uv_timer_start, repeat   Every
//	handle.cancel                            uv_timer_stop            Timer.Stop
//	loop.run_in_executor                     uv_queue_work            Do
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
//   - One callback serves both reading and writing.
//   - A panic ends Run unless there is a panic handler. The rest of the turn
//     runs when the loop is run again.
//
// Package looptest has a virtual clock and a scripted selector for tests of
// programs that use a loop.
package eventloop
