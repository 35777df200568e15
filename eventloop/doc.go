// Package eventloop runs callbacks when files are ready, timers expire, signals
// arrive, or other goroutines ask for it: what asyncio's event loop is to
// Python and libuv to C, on package selectors.
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
// It has grown out of three lines:
//
//	events, err := sel.Select(timeout)
//	for _, ready := range events {
//		ready.Key.Data.(Callback)(ready.Key.FileObj, ready.Events)
//	}
//
// and still is that: the callback of a file is the data of its key, so any
// selector will do ([WithSelector]), and a key that was registered with the
// selector directly is called back like any other.
//
// # The turn
//
// A loop runs in turns. Each one
//
//  1. finds out how long it may wait: until the next timer, and not at all if
//     something is scheduled;
//  2. waits, in Select;
//  3. collects what is ready,
//  4. the timers that are due, by deadline and then by order of scheduling,
//  5. and what other goroutines have posted;
//  6. and calls exactly that: first what [Loop.CallSoon] scheduled in the turn
//     before, then files, timers, posts.
//
// What these callbacks schedule is for the next turn, and each turn looks at
// the files, so nothing can starve anything else. A callback that removes or
// changes the registration of a file stops what was to be called for it in the
// same turn, also if the number of its descriptor has a new file by then.
//
// # Goroutines
//
// A loop belongs to one goroutine, that which runs it, and callbacks run there,
// one at a time: they need no locks among themselves. [Loop.Post], [Loop.Do],
// [Loop.Stop], [Loop.Close] and [Loop.Stats] may be called from any goroutine,
// everything else only from the loop's own, or before it runs. [WithDebug]
// finds violations.
//
// On epoll an idle loop has no thread: hundreds of them are fine. Poll and
// select keep one each.
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
// What is different from asyncio: timers with one deadline are called in order;
// Stop works from any goroutine; a callback for reading and writing is one; a
// panic ends Run unless there is a handler, and what was to run behind it runs
// when the loop is run again.
//
// Package looptest, below this one, has a virtual clock and a scripted selector
// for tests of programs that use a loop.
package eventloop
