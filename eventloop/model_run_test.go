package eventloop

// Program counters of the goroutine in Run.
const (
	runBegin uint8 = iota

	// selectTimeout
	runNextTurn
	runFirstPosts
	runFirstStopping
	runFirstClosing
	runFirstCancelled
	runAsleep
	runPosts
	runStopping
	runClosingLoad
	runCancelled
	runClearAsleep
	runSelect

	// afterSelect, collectDue
	runAwakeLoad
	runAwakeStore
	runHasPosts
	runTake
	runTakeRest

	// run, CallSoon
	runDrain
	runCallback
	runSoon
	runSoonMove

	// Run, endRun
	runClosing
	runStopped
	runContext
	runEndStop
	runEndAsleep
	runEnd
	runTearDown
	runReturn
	runEnded
	runSteps
)

// runSteps are the steps of a goroutine that calls Run until it returns ErrClosed.
func (m *loopModel) runSteps() []loopStep {
	all := make([]loopStep, runSteps)
	m.timeoutSteps(all)
	m.collectSteps(all)
	m.callbackSteps(all)
	m.endSteps(all)
	return all
}

// requests are the four steps of hasExternalWork. On true it goes on at found.
func (m *loopModel) requests(all []loopStep, first, found, next uint8) {
	for i, request := range []struct {
		name string
		flag func(s *loopState) bool
	}{
		{"hasPosts", func(s *loopState) bool { return s.hasPosts }},
		{"stopping", func(s *loopState) bool { return s.stopping }},
		{"closing", func(s *loopState) bool { return s.closing }},
		{"cancelled", func(s *loopState) bool { return s.cancelled }},
	} {
		last := i == 3
		all[int(first)+i] = loopStep{Name: "hasExternalWork: " + request.name + ".Load", Do: func(s *loopState) {
			switch {
			case request.flag(s):
				s.zeroTimeout = true
				s.runPC = found
			case last:
				s.runPC = next
			}
		}}
	}
}

// timeoutSteps are beginRun, selectTimeout and SelectInto.
func (m *loopModel) timeoutSteps(all []loopStep) {
	all[runBegin] = loopStep{Name: "beginRun: mu.Lock, closing.Load, running = true", Do: func(s *loopState) {
		if s.closing {
			s.runPC = runEnded
			return
		}
		s.running = true
		if m.has(stopClearedLate) {
			s.stopping = false
		}
	}}
	all[runNextTurn] = loopStep{Name: "selectTimeout: nextTurn", Private: always, Do: func(s *loopState) {
		if s.zeroTimeout = s.nextTurn.n > 0; s.zeroTimeout {
			s.runPC = runSelect
		}
	}}
	m.requests(all, runFirstPosts, runSelect, runAsleep)
	all[runAsleep] = loopStep{Name: "selectTimeout: asleep.Store(true)", Do: func(s *loopState) {
		if s.wakes = 0; m.has(asleepAfterCheck) {
			return
		}
		if s.asleep = true; m.has(noSecondCheck) {
			s.runPC = runSelect
		}
	}}
	m.requests(all, runPosts, runClearAsleep, runSelect)
	all[runClearAsleep] = loopStep{Name: "selectTimeout: asleep.Store(false)", Do: func(s *loopState) { s.asleep = false }}
	all[runSelect] = loopStep{Name: "SelectInto",
		When: func(s *loopState) bool {
			return s.zeroTimeout || s.wakePending || s.fileReady || s.tornDown > 0
		},
		Do: func(s *loopState) { s.wakePending, s.fileReady, s.zeroTimeout = false, false, false }}
	if last := all[runCancelled].Do; m.has(asleepAfterCheck) {
		all[runCancelled].Do = func(s *loopState) { last(s); s.asleep = s.runPC == runSelect }
	}
}

func always(*loopState) bool { return true }

// collectSteps are afterSelect and collectDue.
func (m *loopModel) collectSteps(all []loopStep) {
	all[runAwakeLoad] = loopStep{Name: "afterSelect: asleep.Load", Do: func(s *loopState) {
		if !s.asleep || m.has(asleepKept) {
			s.runPC = runHasPosts
		}
	}}
	all[runAwakeStore] = loopStep{Name: "afterSelect: asleep.Store(false)", Do: func(s *loopState) { s.asleep = false }}
	all[runHasPosts] = loopStep{Name: "collectDue: hasPosts.Load", Do: func(s *loopState) {
		s.scheduled, s.nextTurn = s.nextTurn, taskQueue{}
		if !s.hasPosts {
			s.runPC = runDrain
		}
	}}
	all[runTake] = loopStep{Name: "collectDue: take incoming, hasPosts.Store(false)", Do: func(s *loopState) {
		switch s.posts = s.incoming; m.mutation {
		case flagClearedLate:
			s.incoming = taskQueue{}
		case takeWithoutLock:
			s.hasPosts = false
		default:
			s.incoming, s.hasPosts, s.runPC = taskQueue{}, false, runDrain
		}
	}}
	all[runTakeRest] = loopStep{Name: "collectDue: the rest of it", Do: func(s *loopState) { // in mutants
		if m.has(flagClearedLate) {
			s.hasPosts = false
		} else {
			s.incoming = taskQueue{}
		}
	}}
}

// callbackSteps are drain and the callbacks. Each may call CallSoon.
func (m *loopModel) callbackSteps(all []loopStep) {
	isEmpty := func(s *loopState) bool { return s.scheduled.n+s.posts.n == 0 }
	all[runDrain] = loopStep{Name: "drain: closing.Load", Private: isEmpty, Do: func(s *loopState) {
		if s.closing && !m.has(closingIgnored) || isEmpty(s) {
			s.runPC = runClosing
		}
	}}
	all[runCallback] = loopStep{Name: "the function runs", Do: func(s *loopState) {
		queue := &s.scheduled
		if queue.n == 0 {
			queue = &s.posts
		}
		item := queue.first()
		if item != s.ran+1 {
			s.wrong = outOfOrder
		}
		if s.closing {
			s.late++ // one may have been about to run
		}
		if s.late > 1 {
			s.wrong = ranAfterClose
		}
		if s.ran = item; item == s.work {
			s.pendingWork--
		}
		if s.called >= m.posts || m.Pick(2) == 0 {
			s.runPC = runDrain
		}
	}}
	all[runSoon] = loopStep{Name: "CallSoon: hasPosts.Load", Do: func(s *loopState) {
		if !s.hasPosts || m.has(soonOvertakes) {
			s.called++
			s.nextTurn.add(s.called)
			s.runPC = runDrain
		}
	}}
	all[runSoonMove] = loopStep{Name: "CallSoon: move incoming, hasPosts.Store(false)", Do: func(s *loopState) {
		s.called++
		s.nextTurn.add(s.incoming.items[:s.incoming.n]...)
		s.nextTurn.add(s.called)
		s.incoming, s.hasPosts, s.runPC = taskQueue{}, false, runDrain
	}}
}

// endSteps are the end of a turn in Run, and endRun.
func (m *loopModel) endSteps(all []loopStep) {
	all[runClosing] = loopStep{Name: "Run: closing.Load", Do: func(s *loopState) {
		if s.closing {
			s.runPC = runEndStop
		}
	}}
	all[runStopped] = loopStep{Name: "Run: stopping.Load", Do: func(s *loopState) {
		if s.stopping {
			s.runPC = runEndStop
		}
	}}
	all[runContext] = loopStep{Name: "Run: cancelled.Load", Do: func(s *loopState) {
		if !s.cancelled {
			s.runPC = runNextTurn
		}
	}}
	all[runEndStop] = loopStep{Name: "endRun: stopping.Store(false)", Do: func(s *loopState) {
		s.stopping = s.stopping && m.has(stopClearedLate)
	}}
	all[runEndAsleep] = loopStep{Name: "endRun: asleep.Store(false)", Do: func(s *loopState) {
		s.asleep, s.sawClosing = false, s.closing
	}}
	all[runEnd] = loopStep{Name: "endRun: running = false, closing.Load, closed = true", Do: func(s *loopState) {
		closing := s.closing
		if m.has(closingReadEarly) {
			closing = s.sawClosing
		}
		s.running, s.sawClosing = false, false
		s.endTearsDown = closing && !s.closed
		s.closed = s.closed || s.endTearsDown
	}}
	all[runTearDown] = loopStep{Name: "endRun: tearDown", Do: func(s *loopState) {
		if s.endTearsDown {
			s.tornDown++
			s.scheduled, s.posts, s.nextTurn = taskQueue{}, taskQueue{}, taskQueue{}
		}
	}}
	all[runReturn] = loopStep{Name: "Run returns", Do: func(s *loopState) {
		s.stopped, s.cancelled, s.runPC = false, false, runBegin
	}}
	all[runEnded] = loopStep{Name: "Run has returned ErrClosed", When: never}
}
