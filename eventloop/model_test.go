package eventloop

import "goselectors/internal/explore"

// A model of the loop's state that goroutines share: the goroutine in Run, those
// that call Post, Stop, Close and Do, and the end of a context. explore_test.go
// explores it; docs/protocol.md explains it. The steps are the accesses of shared
// memory in loop.go, turn.go and tasks.go, in the order of the code. What a
// goroutine does while it holds mu is one step. The selector is a flag: Wake sets
// it, and Select returns and clears it.

// A loopMutation takes something out of the code. The model has at most one.
type loopMutation string

const (
	noSecondCheck      loopMutation = "the requests are not checked after asleep is set"
	asleepAfterCheck   loopMutation = "asleep is set after the last check of the requests"
	asleepKept         loopMutation = "asleep is not cleared when Select returns"
	wakeBeforePost     loopMutation = "Post wakes before it appends"
	flagClearedLate    loopMutation = "hasPosts is cleared after mu is released"
	flagKept           loopMutation = "hasPosts is set by the first post only"
	wakeKeepsAsleep    loopMutation = "a wake does not clear asleep"
	wakeWithoutSwap    loopMutation = "asleep is read and cleared in two steps"
	postWithoutClosing loopMutation = "Post reads closing before it takes mu"
	stopClearedLate    loopMutation = "stopping is cleared when Run begins"
	stopWithoutWake    loopMutation = "Stop does not wake"
	closeWithoutWake   loopMutation = "Close does not wake"
	cancelWithoutWake  loopMutation = "the end of the context does not wake"
	closingReadEarly   loopMutation = "endRun reads closing before it takes mu"
	closingIgnored     loopMutation = "closing is not read before each callback"
	closedIgnored      loopMutation = "Close does not read closed"
	soonOvertakes      loopMutation = "CallSoon leaves earlier posts behind"
	takeWithoutLock    loopMutation = "the posts are taken without mu"
	doUncounted        loopMutation = "Do counts its work when it ends"
)

// A taskQueue holds the numbers of posted functions, which count from 1.
type taskQueue struct {
	items [4]uint8
	n     uint8
}

func (q *taskQueue) add(items ...uint8) {
	for _, item := range items {
		q.items[q.n] = item
		q.n++
	}
}

func (q *taskQueue) first() uint8 {
	item := q.items[0]
	copy(q.items[:], q.items[1:])
	q.items[len(q.items)-1] = 0
	q.n--
	return item
}

// A loopState has the fields of Loop under their names, and what the goroutines
// keep for themselves. The functions given to Post and CallSoon are numbered in
// the order of the calls.
type loopState struct {
	runPC, postPC, doPC, stopPC, cancelPC, closePC, closeAgainPC, filePC uint8

	asleep, stopping, closing, cancelled, hasPosts bool
	running, closed                                bool
	incoming, scheduled, posts, nextTurn           taskQueue
	pendingWork                                    uint8

	wakePending, fileReady bool // in the selector
	zeroTimeout            bool // of Select
	sawClosing             bool // by Post or endRun, in mutants
	endTearsDown           bool // mustTearDown in endRun
	closeTearsDown         bool // in Close
	againTearsDown         bool // in the other Close

	called   uint8 // the number of the last function given to Post or CallSoon
	ran      uint8 // of the function that ran last
	work     uint8 // of the completion of Do
	wakes    uint8 // calls of sel.Wake that end this sleep
	late     uint8 // functions that ran after closing was set
	tornDown uint8
	stopped  bool   // Stop was called, and Run has not returned since
	wrong    string // what must not happen and has
}

type (
	loopStep    = explore.Step[loopState]
	loopProcess = explore.Process[loopState]
)

// A loopModel is a set of goroutines that share a loop.
type loopModel struct {
	explore.Choices
	posts    uint8 // functions given to Post and CallSoon, at most
	names    []string
	mutation loopMutation
}

func (m *loopModel) has(name loopMutation) bool { return m.mutation == name }

// callers are the processes besides Run.
func (m *loopModel) callers() map[string]loopProcess {
	process := func(pc func(*loopState) *uint8, steps func(pc func(*loopState) *uint8) []loopStep) loopProcess {
		return loopProcess{PC: pc, Steps: steps(pc)}
	}
	return map[string]loopProcess{
		"Post":   process(func(s *loopState) *uint8 { return &s.postPC }, m.postSteps),
		"Do":     process(func(s *loopState) *uint8 { return &s.doPC }, m.doSteps),
		"Stop":   process(func(s *loopState) *uint8 { return &s.stopPC }, m.stopSteps),
		"cancel": process(func(s *loopState) *uint8 { return &s.cancelPC }, m.cancelSteps),
		"Close": process(func(s *loopState) *uint8 { return &s.closePC }, func(pc func(*loopState) *uint8) []loopStep {
			return m.closeSteps(pc, func(s *loopState) *bool { return &s.closeTearsDown })
		}),
		"another Close": process(func(s *loopState) *uint8 { return &s.closeAgainPC }, func(pc func(*loopState) *uint8) []loopStep {
			return m.closeSteps(pc, func(s *loopState) *bool { return &s.againTearsDown })
		}),
		"file": process(func(s *loopState) *uint8 { return &s.filePC }, func(func(*loopState) *uint8) []loopStep {
			return []loopStep{{Name: "a file becomes ready", Optional: true, Do: func(s *loopState) { s.fileReady = true }}}
		}),
	}
}

// wakeIfAsleep is the function of that name. Its first step has the number base.
func (m *loopModel) wakeIfAsleep(pc func(*loopState) *uint8, base int) []loopStep {
	end := uint8(base + 3)
	return []loopStep{
		{Name: "wakeIfAsleep: asleep.Load", Do: func(s *loopState) {
			if !s.asleep {
				*pc(s) = end
			}
		}},
		{Name: "wakeIfAsleep: asleep.CompareAndSwap", Do: func(s *loopState) {
			if !s.asleep && !m.has(wakeWithoutSwap) {
				*pc(s) = end
				return
			}
			s.asleep = s.asleep && m.has(wakeKeepsAsleep)
			if s.wakes++; s.wakes > 1 {
				s.wrong = wokenTwice
			}
			if s.runPC >= runHasPosts && s.runPC < runClosing {
				s.wrong = wokenBusy
			}
		}},
		{Name: "wakeIfAsleep: sel.Wake", Do: func(s *loopState) { s.wakePending = true }},
	}
}

// postTask is the function of that name.
func (m *loopModel) postTask(pc func(*loopState) *uint8, base int, accepted func(s *loopState)) (steps []loopStep) {
	if m.has(wakeBeforePost) {
		steps = m.wakeIfAsleep(pc, base)
	}
	if m.has(postWithoutClosing) {
		steps = append(steps, loopStep{Name: "postTask: closing.Load", Do: func(s *loopState) { s.sawClosing = s.closing }})
	}
	end := uint8(base + len(steps) + 1)
	if !m.has(wakeBeforePost) {
		end += 3
	}
	steps = append(steps, loopStep{Name: "postTask: append to incoming, hasPosts.Store(true)", Do: func(s *loopState) {
		if s.closing && !m.has(postWithoutClosing) || s.sawClosing {
			*pc(s) = end
			return
		}
		s.called++
		s.incoming.add(s.called)
		if s.incoming.n == 1 && !(m.has(flagKept) && s.called > 1) {
			s.hasPosts = true
		}
		accepted(s)
	}})
	if !m.has(wakeBeforePost) {
		steps = append(steps, m.wakeIfAsleep(pc, base+len(steps))...)
	}
	return steps
}

func (m *loopModel) postSteps(pc func(*loopState) *uint8) []loopStep {
	return append([]loopStep{
		{Name: "Post", Optional: true, When: func(s *loopState) bool { return s.called < m.posts }, Do: func(*loopState) {}},
	}, m.postTask(pc, 1, func(*loopState) {})...)
}

// doSteps is one call of Do.
func (m *loopModel) doSteps(pc func(*loopState) *uint8) []loopStep {
	count := func(s *loopState) { s.pendingWork++ }
	steps := []loopStep{
		{Name: "Do: closing.Load", Optional: true, Do: func(s *loopState) {
			if s.closing {
				*pc(s) = 0
			}
		}},
		{Name: "Do: pendingWork.Add(1)", Do: func(s *loopState) {
			if !m.has(doUncounted) {
				count(s)
			}
		}},
	}
	steps = append(steps, m.postTask(pc, doWorking, func(s *loopState) {
		s.work = s.called
		if m.has(doUncounted) {
			count(s)
		}
	})...)
	return append(steps, loopStep{Name: "work has ended", When: never})
}

// doWorking is the program counter of the goroutine that Do starts.
const doWorking = 2

func never(*loopState) bool { return false }

func (m *loopModel) stopSteps(pc func(*loopState) *uint8) []loopStep {
	steps := []loopStep{{Name: "Stop: stopping.Store(true)", Optional: true, Do: func(s *loopState) {
		if s.stopping, s.stopped = true, true; m.has(stopWithoutWake) {
			*pc(s) = 0
		}
	}}}
	return append(steps, m.wakeIfAsleep(pc, 1)...)
}

// cancelSteps is the end of the context of Run: the function given to AfterFunc.
func (m *loopModel) cancelSteps(pc func(*loopState) *uint8) []loopStep {
	steps := []loopStep{{Name: "the context ends: cancelled.Store(true)", Optional: true,
		When: func(s *loopState) bool { return s.runPC > runBegin && s.runPC < runEndStop },
		Do: func(s *loopState) {
			if s.cancelled = true; m.has(cancelWithoutWake) {
				*pc(s) = 0
			}
		}}}
	return append(steps, m.wakeIfAsleep(pc, 1)...)
}

func (m *loopModel) closeSteps(pc func(*loopState) *uint8, mustTearDown func(*loopState) *bool) []loopStep {
	steps := []loopStep{{Name: "Close: closing.Store(true), incoming = nil, closed = true", Optional: true, Do: func(s *loopState) {
		s.closing, s.incoming = true, taskQueue{}
		*mustTearDown(s) = !s.running && (!s.closed || m.has(closedIgnored))
		s.closed = s.closed || *mustTearDown(s)
		if m.has(closeWithoutWake) {
			*pc(s) = closeDone - 1
		}
	}}}
	steps = append(steps, m.wakeIfAsleep(pc, 1)...)
	return append(steps,
		loopStep{Name: "Close: tearDown", Do: func(s *loopState) {
			if *mustTearDown(s) {
				s.tornDown++
			}
		}},
		loopStep{Name: "Close has returned", When: never})
}

// closeDone is the program counter of a Close that has returned.
const closeDone = 5
