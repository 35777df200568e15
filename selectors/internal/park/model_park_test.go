package park_test

// setTimer is Waiter.setTimer. It leaves a timer alone that goes off in time.
func (m *model) setTimer(s *state) {
	switch {
	case s.timer == timerInTime:
	case s.timer == timerTooLate && m.has(timerTooLateKept):
	case s.timer == timerPassed && m.has(timerPassedKept):
	default:
		s.resetTimer()
		s.timer = timerInTime
	}
}

// parkSteps are Waiter.park around gate.wait.
func (m *model) parkSteps(all []step) {
	all[parkTimer] = step{Name: "park: setTimer", Private: infinite, Do: func(s *state) {
		s.timedOut, s.failed = false, false
		if s.finite {
			m.setTimer(s)
		}
	}}
	all[setParked] = step{Name: "park: parked.Store(true)", Do: func(s *state) { s.parked = true }}
	all[clearParked] = step{Name: "park: parked.Store(false)", Do: func(s *state) {
		s.parked = m.has(parkedKept)
		if s.failed {
			s.selectPC = m.afterPark(s)
		}
	}}
	all[pollParked] = step{Name: "park: epoll_wait(set, 0)", Do: func(s *state) { s.found = s.waitSet() }}
	all[disarmParked] = m.harvested(m.afterPark)
}

// afterPark is what Sleep does when park has returned: parkChecked tries again
// after a limit, and adapt goes on with a park without one.
func (m *model) afterPark(s *state) uint8 {
	switch {
	case s.limit == noLimit:
		return clearAsleep
	case s.timedOut && s.found == 0 && m.either(): // not starved, and not the last check
		s.limit = limitAhead
		if s.finite && s.timeUp {
			return adaptWakes
		}
		return parkTimer
	case s.found == 0:
		return adaptWakes
	}
	return clearAsleep
}

// gateSteps are gate.wait, RawConn.Read and gate.checkNow.
func (m *model) gateSteps(all []step) {
	all[markForLimit] = step{Name: "wait: mustSetDeadline.Store(true)", Private: unlimited, Do: func(s *state) {
		s.mustSetDeadline = s.mustSetDeadline || s.limit != noLimit
	}}
	all[swapMark] = step{Name: "wait: mustSetDeadline.Swap(false)", Do: func(s *state) {
		if !s.mustSetDeadline {
			s.selectPC = checkAfterReset
		}
		s.mustSetDeadline = false
	}}
	all[setDeadline] = step{Name: "wait: SetReadDeadline(deadline)", Do: func(s *state) {
		s.use()
		s.rd = []uint8{noLimit: rdNone, limitAhead: rdAhead, limitPassed: rdPast}[s.limit]
	}}
	all[checkAfterReset] = step{Name: "wait: wakes.Load", Do: func(s *state) {
		if s.wakes != 0 && !m.has(noCheckAfterReset) {
			s.selectPC = clearParked
		}
	}}
	all[reset] = step{Name: "Read: pollReset", Do: func(s *state) {
		if s.rd == rdPast {
			s.selectPC = markExpired
			return
		}
		s.rgReady = false
	}}
	all[checkNow] = step{Name: "checkNow: armed, asking.Load", Private: m.without("Register"), Do: func(s *state) {
		if s.armed && (s.asking == asks || m.has(armedAfterDetach)) {
			s.selectPC = m.armedGate()
		}
	}}
	all[nest] = step{Name: "checkNow: Nest: mu.Lock, classifyNew, forbidden.Load", Private: m.without("Register"),
		When: func(s *state) bool { return !s.mu },
		Do: func(s *state) {
			s.mu = !m.has(nestWithoutLock)
			if s.failed = s.forbidden; !s.unclassified || m.has(nestWithoutClassify) {
				s.selectPC = arm
				return
			}
			s.removeFromGate()
			s.unclassified, s.forbidden, s.failed, s.asking = false, true, true, asksNot
		}}
	copy(all[nestWake:], m.interrupt(func(s *state) *uint8 { return &s.selectPC }, nestWake, arm, wakeInternal))
	all[arm] = step{Name: "checkNow: Nest: arm: epoll_ctl(gate, MOD or ADD, EPOLLIN); mu.Unlock",
		Do: func(s *state) {
			s.mu = s.mu && m.has(nestWithoutLock)
			if !s.failed && m.shortage && m.either() {
				s.attached, s.armed, s.retry, s.failed = false, false, true, true
			}
			if s.failed {
				s.selectPC = markAfterRead
				return
			}
			s.ctlGate(true)
			s.attached, s.armed, s.asking = true, true, asks
			s.selectPC = m.armedGate()
		}}
	all[pollGate] = step{Name: "checkNow: epoll_wait(gate, 0) begins", Do: func(s *state) { s.beginWaitGate() }}
	all[pollGateEnd] = step{Name: "checkNow: epoll_wait(gate, 0) ends", Do: func(s *state) {
		if s.selectPC = wait; s.waitGate() {
			s.armed, s.selectPC = false, endAsking
		}
	}}
	all[wait] = step{Name: "Read: pollWait",
		When: func(s *state) bool { return s.rgReady || s.rd == rdPast },
		Do: func(s *state) {
			if s.rgReady && (s.rd != rdPast || m.either()) {
				s.rgReady = false
				s.selectPC = pollGate
				return
			}
			s.selectPC = markExpired
		}}
	all[endAsking] = step{Name: "checkNow: asking.Store(asksMaybe)", Private: m.without("Register"), Do: func(s *state) {
		if s.asking = asksMaybe; m.has(oneHarvest) {
			s.asking = asksNot
		}
	}}
	all[markAfterRead] = step{Name: "wait: mustSetDeadline.Store(true)", Private: unlimited, Do: func(s *state) {
		s.mustSetDeadline = s.mustSetDeadline || s.limit != noLimit
		s.selectPC = clearParked
	}}
	all[markExpired] = step{Name: "wait: mustSetDeadline.Store(true)", Do: func(s *state) {
		if s.limit != noLimit || !m.has(deadlineKept) {
			s.mustSetDeadline = true
		}
		s.selectPC = swapMark
		if s.limit == limitPassed {
			s.timedOut, s.selectPC = true, clearParked
		}
	}}
}

// armedGate is where checkNow goes on with an armed gate.
func (m *model) armedGate() uint8 {
	if m.has(noPollOfGate) {
		return wait
	}
	return pollGate
}
