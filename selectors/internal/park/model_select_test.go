package park_test

// Program counters of the goroutine in Select.
const (
	selectCalled uint8 = iota

	// selectLocked
	takeLoad
	takeSwap
	prepare
	retryRepair
	ended
	poll
	disarm
	remaining

	// core.sleep, Waiter.Sleep, Waiter.adapt
	setAsleep
	checkWakes
	sleep
	block
	blockDisarm
	blockTimer
	blockForTimer
	blockForDisarm
	adaptWakes

	// Waiter.park, gate.wait, gate.checkNow
	parkTimer
	setParked
	markForLimit
	swapMark
	setDeadline
	checkAfterReset
	reset
	checkNow
	nest
	nestWake
	arm = nestWake + interruptSteps
)

const (
	pollGate = arm + 1 + iota
	pollGateEnd
	wait
	endAsking
	markAfterRead
	markExpired
	clearParked
	pollParked
	disarmParked

	// core.sleep, selectLocked
	clearAsleep
	takeLoadAgain
	takeSwapAgain
	collect
	repair
	replaced
	repaired
	again
	pause
	unlock
	read
	selectFailed
	selectSteps
)

// selectSteps are the steps of a goroutine that calls Select again and again, and
// reads the file when it is reported.
func (m *model) selectSteps() []step {
	all := make([]step, selectSteps)
	m.roundSteps(all)
	m.sleepSteps(all)
	m.parkSteps(all)
	m.gateSteps(all)
	m.resultSteps(all)
	m.repairSteps(all)
	return all
}

func infinite(s *state) bool  { return !s.finite }
func unlimited(s *state) bool { return s.limit == noLimit }

// without returns the condition that none of some processes takes part.
func (m *model) without(names ...string) func(*state) bool {
	return func(*state) bool { return !m.with(names...) }
}

// take returns the two steps of takeWakes; next is where they go on.
func (m *model) take(next uint8) (load, swap step) {
	load = step{Name: "takeWakes: wakes.Load", Do: func(s *state) {
		s.woken = s.wakes&wakeByUser != 0
		if s.wakes == 0 {
			s.selectPC = next
		}
	}}
	swap = step{Name: "takeWakes: wakes.Swap(0)", Do: func(s *state) {
		if !m.has(takeWithoutSwap) {
			s.woken = s.wakes&wakeByUser != 0
		}
		s.wakeDropped = s.wakes&wakeByUser != 0 && !s.woken
		s.wakes, s.selectPC = 0, next
	}}
	return load, swap
}

func (m *model) roundSteps(all []step) {
	all[selectCalled] = step{Name: "selectUntil: selecting.TryLock", Private: m.without("Close"), Do: func(s *state) {
		if s.selecting {
			s.selectPC = selectFailed
			return
		}
		s.selecting, s.timeUp, s.reported = true, false, false
		s.finite = m.timeouts == "finite" || m.timeouts == "any" && m.either()
		switch { // the new timeout may end before a timer that is set, or after it
		case s.timer != timerPassed && s.finite && m.either():
			s.timer = timerTooLate
		case s.timer != timerPassed:
			s.timer = timerInTime
		}
	}}
	all[takeLoad], all[takeSwap] = m.take(prepare)
	all[prepare] = step{Name: "selectLocked: dirty.Load, prepare", Private: m.without("Register", "Close"),
		When: func(s *state) bool { return !s.dirty || !s.mu },
		Do: func(s *state) {
			if s.dirty && s.closed {
				s.selectPC, s.selecting = selectFailed, false
				return
			}
			s.dirty = false
		}}
	all[retryRepair] = step{Name: "retryRepair: repairAt.Load, mu.Lock", Private: func(s *state) bool { return !s.repairPending },
		When: func(s *state) bool { return !s.repairPending || !s.mu },
		Do: func(s *state) {
			if s.repairPending && m.either() { // it is time
				s.mu, s.selectPC = true, repair
			}
		}}
	all[ended] = step{Name: "selectLocked: ended", Private: m.without("context"), Do: func(s *state) {
		if s.contextEnded {
			s.contextEnded, s.selectPC = false, unlock
		}
	}}
	all[poll] = step{Name: "poll: epoll_wait(set, 0)", Do: func(s *state) {
		s.found, s.slept, s.timeIsUp = s.waitSet(), false, false
		if m.has(takeWakesLate) { // again
			s.woken, s.wakes = s.woken || s.wakes&wakeByUser != 0, 0
		}
	}}
	all[disarm] = m.harvested(func(s *state) uint8 {
		if s.found != 0 || s.woken {
			return collect
		}
		return remaining
	})
	all[remaining] = step{Name: "selectLocked: limit.remaining", Private: infinite, Do: func(s *state) {
		if s.timeIsUp = s.finite && s.timeUp; s.timeIsUp {
			s.selectPC = collect
		}
	}}
}

// harvested is the second half of a poll of the set: epoll.harvested, Waiter.Disarm
// and gate.disarm. next returns the step that follows.
func (m *model) harvested(next func(s *state) uint8) step {
	isPrivate := func(s *state) bool { return s.found == 0 || !s.armed }
	return step{Name: "harvested: Disarm: epoll_ctl(gate, MOD, 0)", Private: isPrivate, Do: func(s *state) {
		if s.found != 0 && s.armed && !m.has(disarmNever) {
			s.use()
			if s.attached = s.inGate; s.inGate {
				s.ctlGate(false)
			}
			s.armed = m.has(disarmKeepsArmed)
			if m.has(disarmEndsAsking) {
				s.asking = asksNot
			}
		}
		s.selectPC = next(s)
	}}
}

func (m *model) sleepSteps(all []step) {
	all[setAsleep] = step{Name: "sleep: asleep.Store(true)", Do: func(s *state) { s.asleep, s.slept = true, true }}
	all[checkWakes] = step{Name: "sleep: wakes.Load", Do: func(s *state) {
		if s.wakes != 0 {
			s.selectPC = clearAsleep
		}
	}}
	if m.has(wakesBeforeAsleep) {
		all[setAsleep], all[checkWakes] = all[checkWakes], all[setAsleep]
	}
	all[sleep] = step{Name: "Waiter.Sleep: forbidden.Load", Private: m.without("Register"), Do: func(s *state) {
		s.limit, s.found = noLimit, 0
		switch {
		case s.forbidden, s.retry, m.strategy == "blocking":
			s.selectPC = block
		case m.strategy == "parking":
			s.selectPC = parkTimer
		default: // adapt
			s.selectPC = []uint8{blockTimer, parkTimer, adaptWakes}[m.Pick(3)]
			if s.selectPC == parkTimer {
				s.limit = limitAhead
			}
		}
	}}
	all[block] = step{Name: "Block: epoll_wait(set, timeout)",
		When: func(s *state) bool { return s.onSet != 0 || s.finite && s.timeUp },
		Do: func(s *state) {
			if s.found = s.waitSet(); s.found == 0 && !(s.finite && s.timeUp) {
				s.selectPC = block
			}
		}}
	all[blockDisarm] = m.harvested(func(*state) uint8 { return clearAsleep })
	all[blockTimer] = step{Name: "blockFor: setTimer", Do: m.setTimer}
	all[blockForTimer] = step{Name: "blockFor: epoll_wait(set, -1)",
		When: func(s *state) bool { return s.onSet != 0 },
		Do: func(s *state) {
			if s.found = s.waitSet(); s.found == 0 {
				s.selectPC = blockForTimer
			}
		}}
	all[blockForDisarm] = m.harvested(func(s *state) uint8 {
		if s.found&ofTheUser == 0 && m.either() { // half of the limit is over
			return adaptWakes
		}
		return clearAsleep
	})
	all[adaptWakes] = step{Name: "adapt: wakes.Load, timeout", Do: func(s *state) {
		s.limit = noLimit
		s.selectPC = parkTimer
		if s.wakes != 0 || s.finite && s.timeUp {
			s.selectPC = clearAsleep
		}
	}}
}

// resultSteps are what follows a sleep, or a poll that found something.
func (m *model) resultSteps(all []step) {
	all[clearAsleep] = step{Name: "sleep: asleep.Store(false)", Do: func(s *state) { s.asleep = false }}
	all[takeLoadAgain], all[takeSwapAgain] = m.take(collect)
	isPrivate := m.without("Register", "Close", "orphan")
	all[collect] = step{Name: "collect: mu.Lock",
		Private: func(s *state) bool { return s.found == 0 || isPrivate(s) },
		When:    func(s *state) bool { return s.found == 0 || !s.mu },
		Do: func(s *state) {
			switch {
			case s.found == 0:
				s.selectPC = again
			case s.closed:
				s.selectPC, s.selecting = selectFailed, false
			case s.found&itemOrphan != 0:
				s.mu = true // until repair has returned
			default:
				s.reported, s.selectPC = s.found&ofTheUser != 0, again
			}
		}}
	all[again] = step{Name: "selectLocked: closed.Load, or another round", Private: m.without("Close"), Do: func(s *state) {
		isOver := s.timeIsUp || s.found != 0 && s.finite && s.timeUp
		s.selectPC = unlock
		switch {
		case !s.reported && !s.woken && !isOver && s.found != 0 && s.repairPending:
			s.selectPC = pause
		case !s.reported && !s.woken && !isOver:
			s.selectPC = takeLoad
		case s.closed:
			s.selectPC, s.selecting = selectFailed, false
		}
	}}
	all[pause] = step{Name: "pause: time.Sleep", Progress: true, Do: func(s *state) { s.selectPC = takeLoad }}
	all[unlock] = step{Name: "selectUntil: selecting.Unlock", Private: m.without("Close"), Do: func(s *state) {
		s.selecting, s.finite, s.timeUp = false, false, false
	}}
	all[read] = step{Name: "the user reads the file", Private: func(s *state) bool { return !s.reported }, Do: func(s *state) {
		s.ready &^= s.found & itemFile
		s.selectPC = selectCalled
	}}
	all[selectFailed] = step{Name: "Select has returned an error", When: never, Do: nothing}
}

// repairSteps are epoll.repair, after a poll or at the start of a round. The set is
// replaced before the batch is reported or after it; that is the same here.
func (m *model) repairSteps(all []step) {
	all[repair] = step{Name: "repair: copyTo, dup3", Do: func(s *state) {
		if s.repairPending = m.failing && m.either(); s.repairPending {
			s.selectPC = repaired
			return
		}
		s.removeFromGate() // with the old set
		s.ready &^= itemOrphan
		s.inSet, s.onSet = 0, 0
		s.addToSet(itemFile)
		if !m.has(repairWithoutWaker) {
			s.addToSet(itemWaker)
		}
		if !m.has(repairWithoutTimer) {
			s.addToSet(itemTimer)
		}
	}}
	all[replaced] = step{Name: "SetReplaced: attached, armed = false; asking.Store(asksNot)",
		Private: m.without("Register"),
		Do: func(s *state) {
			if !m.has(repairWithoutGate) {
				s.attached, s.armed, s.asking = false, false, asksNot
			}
		}}
	all[repaired] = step{Name: "mu.Unlock", Do: func(s *state) {
		s.mu = false
		if s.selectPC = again; s.found == 0 {
			s.selectPC = ended
		}
		s.reported = s.found&itemFile != 0
	}}
}

// normalize forgets what the code does not read any more.
func normalize(s *state) {
	pc := s.selectPC
	if pc < checkNow || pc > wait {
		s.rgReady = false // pollReset clears it
	}
	if pc < parkTimer || pc > disarmParked {
		s.limit, s.timedOut, s.failed = noLimit, false, false
	}
	if pc < poll {
		s.found, s.slept, s.timeIsUp = 0, false, false
	}
	if pc >= parkTimer && pc <= pollParked || pc == adaptWakes {
		s.found = 0
	}
	if pc == selectCalled {
		s.reported, s.woken = false, false
	}
}
