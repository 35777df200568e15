//go:build unix

package eventloop_test

// The cases of other suites that concern a loop, by their names.
//
// asyncio (test_events, test_base_events, test_selector_events, test_unix_events):
//
//	test_call_soon, test_call_soon_threadsafe,
//	  test__run_once_schedule_handle                   TestTurn/*/order, /additions_wait_for_the_next_turn, TestPost
//	test_call_soon_threadsafe_same_thread              TestTurn/*/CallSoon_and_Post_share_one_order
//	test_call_later_negative_delays                    TestBadInput/*/intervals_and_delays
//	test_call_later, test_time_and_call_at,
//	  test__run_once, *_cancelled_event_cleanup,
//	  test_timeout_rounding                            the tests of timers; TestTurn/*/select_timeout
//	HandleTests, TimerTests                            there are no handles but timers
//	test_write_to_self_*, test_read_from_self_*        the selector's wake: package selectors
//	test_add_reader*, test_remove_reader*, *_writer*,
//	  test_reader_callback, test_writer_callback       TestAsyncioReaderAndWriter
//	test_remove_fds_after_closing,
//	  test_add_fds_after_closing, test_close*          TestClose
//	test_process_events_read_cancelled                 TestSameBatch
//	test_single_selecter_event_callback_after_stopping TestAsyncioNoLeftOver
//	test_run_forever_pre_stopped                       TestRun/*/Stop_before_Run
//	test_run_until_complete_nesting, RunningLoopTests  TestRun/*/nested_calls, /Run_of_another_loop_in_a_callback: different loops may nest
//	test_close_running_event_loop                      TestClose/*/in_a_callback: allowed
//	test_add_signal_handler, test_signal_handling_*,
//	  SelectorEventLoopSignalTests                     TestOnSignal, TestSignalDefaultReturns
//	test_default_exc_handler_*, test_set_exc_handler_*,
//	  test_callback_with_exception                     TestPanicPropagates, TestPanicHandler
//	test_check_thread, test_log_slow_callbacks         TestWrongGoroutine, TestSlowCallback
//	test_call_soon_non_callable                        TestBadInput/*/nil_callback
//	test_run_in_executor*                              TestDo
//	test_accept_connection_*, pty, pipe transports,
//	  _ensure_fd_no_transport                          package stream; readiness of ptys and pipes: package selectors
//
// libevent (test/regress.c and the test-* programs):
//
//	loopexit*, loopbreak, bad_reentrant                TestRun
//	free_active_base                                   TestClose, TestSameBatchOther/*/close
//	nonpersist_readd                                   TestSameBatch/*/register_again
//	active_later                                       TestLibeventActiveLater
//	many_events                                        TestLibeventManyEvents
//	event_closed_fd_poll                               TestLibeventClosedFD
//	dup_fd                                             TestLibuvClosedFDEvents
//	del_notify, del_timeout_notify                     TestLibeventDelNotify
//	del_wait                                           does not apply: Unregister is for the loop's goroutine; other goroutines use Post
//	test-changelist                                    TestLibeventChangelist
//	priorities, priority_active_inversion              there are no priorities
//	persistent_timeout_jump, common_timeout,
//	  event_remove_timeout, heap/randomized            the tests of timers
//	event_timeout_lost                                 TestTurn/*/order: a file and a timer are both called
//	fork, et_mix_error, watch/callback_ordering        do not apply: no fork; one key a file; no prepare and check
//
// libuv (test/):
//
//	watcher_cross_stop                                 TestLibuvWatcherCrossStop
//	poll_duplex, poll_unidirectional                   TestLibuvPollDuplex
//	poll_close, poll_multiple_handles                  TestClose, TestBadInput/*/registered_twice
//	closed_fd_events                                   TestLibuvClosedFDEvents
//	timer*, loop_update_time                           the tests of timers
//	loop_stop, loop_stop_before_run                    TestRun (asyncio's rule: one turn)
//	loop_alive, active, run_once, run_nowait           TestRun/*/while_alive, /RunOnce
//	loop_close                                         TestClose: nothing is busy
//	loop_backend_timeout                               TestTurn/*/select_timeout
//	idle_starvation, idle_check                        TestTurn/*/no_starvation
//	callback_stack                                     TestLibuvCallbackStack
//	close_order, loop_handles, ref*, embed, fork_*     do not apply: no close callbacks, no handles, no references
//	async, threadpool*                                 TestPost, TestNoPostIsLost, TestDo
//	signal_*                                           TestOnSignal
//	metrics_*                                          TestStats
//	eintr_handling                                     TestLibuvEINTR
//	emfile                                             TestLibuvEMFILE
//	poll_oob, poll_bad_fdtype, poll_nested_*           package selectors
