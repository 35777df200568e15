package park_test

// interrupt is core.interrupt. Its first step has the number base, and next is
// the step that follows it.
func (m *model) interrupt(pc func(*state) *uint8, base, next uint8, bit uint8) []step {
	const (
		or = iota
		isAsleep
		lock
		isParked
		mark
		setDeadline
		write
		events
	)
	notify := m.notify()
	unlock := func(s *state) { s.wakeMu, *pc(s) = false, next }
	return []step{
		or: {Name: "interrupt: wakes.Or", Do: func(s *state) {
			if s.wakes != 0 && !s.wakeFailed {
				*pc(s) = next
			}
			s.wakes |= bit
		}},
		isAsleep: {Name: "interrupt: asleep.Load", Do: func(s *state) {
			if !s.asleep {
				*pc(s) = next
			}
		}},
		lock: {Name: "interrupt: wakeMu.Lock, asleep.Load", When: func(s *state) bool { return !s.wakeMu }, Do: func(s *state) {
			if s.wakeMu = true; !s.asleep && !m.has(wakeWithoutSecondLook) {
				unlock(s)
			}
		}},
		isParked: {Name: "Waiter.Wake: parked.Load", Do: func(s *state) {
			if !s.parked && !m.has(wakeOnlyGate) {
				*pc(s) = base + write
			}
		}},
		mark: {Name: "gate.wake: mustSetDeadline.Store(true)", Do: func(s *state) { s.mustSetDeadline = true }},
		setDeadline: {Name: "gate.wake: SetReadDeadline(pastDeadline); wakeMu.Unlock", Do: func(s *state) {
			s.use()
			s.rd = rdPast
			unlock(s)
		}},
		write: {Name: "waker.Wake: write to the eventfd; wakeFailed.Store", Do: func(s *state) {
			s.use()
			if s.wakeFailed = m.failing && m.either(); s.wakeFailed {
				unlock(s)
				return
			}
			s.becomes(itemWaker)
		}},
		events: {Name: notify.Name + "; wakeMu.Unlock", Private: notify.Private, Do: func(s *state) { notify.Do(s); unlock(s) }},
	}
}

// interruptSteps is the number of steps of interrupt.
const interruptSteps = 8

// wakeSteps is Wake, called again and again.
func (m *model) wakeSteps(pc func(*state) *uint8) []step {
	if !m.with("Close") {
		steps := m.interrupt(pc, 0, 0, wakeByUser)
		steps[0].Optional = true
		return steps
	}
	return append([]step{
		{Name: "Wake: closed.Load", Optional: true, Do: func(s *state) {
			if s.closed {
				*pc(s) = 0
			}
		}},
	}, m.interrupt(pc, 1, 0, wakeByUser)...)
}

// contextSteps is the end of the context of one SelectContext.
func (m *model) contextSteps(pc func(*state) *uint8) []step {
	steps := append([]step{
		{Name: "the context ends", Optional: true, When: func(s *state) bool { return s.selecting },
			Do: func(s *state) { s.contextEnded = true }},
	}, m.interrupt(pc, 1, 1+interruptSteps, wakeInternal)...)
	return append(steps, step{Name: "the function of AfterFunc has returned", When: never, Do: nothing})
}

// registerSteps is the Register and Unregister of a file that keeps the set out of
// the gate, again and again. Unregister and its effects are one step: mu is held.
func (m *model) registerSteps(pc func(*state) *uint8) []step {
	const (
		lock = iota
		harvest
		forbid
		detach
		detached
		wake
		watch        = wake + interruptSteps
		registerDone = watch + 2
	)
	steps := []step{
		lock: {Name: "changeFD: mu.Lock, closed.Load; mayAsk: asking.Load", Optional: true,
			When: func(s *state) bool { return !s.mu && !s.closed },
			Do: func(s *state) {
				s.mu, s.unclassified = true, true
				switch {
				case m.limited || m.has(forbidWithoutDetach) || s.asking == asksNot:
					*pc(s) = watch
				case s.asking == asks:
					s.unclassified = false
					*pc(s) = forbid
				}
			}},
		harvest: {Name: "mayAsk: epoll_wait(gate, 0), asking.Store(asksNot)", Do: func(s *state) {
			s.beginWaitGate()
			s.waitGate()
			s.asking = asksNot
			*pc(s) = watch
		}},
		forbid: {Name: "Forbid: forbidden.Add(1)", Do: func(s *state) { s.forbidden = true }},
		detach: {Name: "detach: epoll_ctl(gate, DEL)", Do: func(s *state) { s.removeFromGate() }},
		detached: {Name: "detach: asking.Store(asksNot)", Do: func(s *state) {
			if s.asking = asksNot; m.has(detachWithoutWake) {
				*pc(s) = watch
			}
		}},
	}
	steps = append(steps, m.interrupt(pc, wake, watch, wakeInternal)...)
	return append(steps,
		step{Name: "watch: epoll_ctl(set, ADD); mu.Unlock", Do: func(s *state) {
			s.use()
			s.unclassified = s.unclassified && !m.limited
			switch {
			case !m.limited || !s.inGate:
				s.inSet |= itemNews
				s.mu, s.dirty = false, true
			case s.forbidden:
				s.registerFails = true
			default: // EINVAL
				*pc(s) = forbid
			}
		}},
		step{Name: "Unregister: mu.Lock, Permit, epoll_ctl(set, DEL), mu.Unlock", Optional: true,
			When: func(s *state) bool { return !s.mu && !s.closed },
			Do: func(s *state) {
				s.use()
				s.forbidden, s.unclassified, s.dirty = false, false, true
				s.inSet &^= itemNews
				s.onSet &^= itemNews
				s.ready &^= itemNews
				if *pc(s) = lock; m.coarse { // to bound the number of states
					*pc(s) = registerDone
				}
			}},
		step{Name: "the last Unregister has returned", When: never, Do: nothing})
}

func never(*state) bool { return false }
func nothing(*state)    {}

// closeDone is the program counter of a Close that has returned.
const closeDone = 1 + interruptSteps + 6

// closeSteps is Close.
func (m *model) closeSteps(pc func(*state) *uint8) []step {
	const (
		begin = iota
		wake
		outcome   = wake + interruptSteps
		selecting = outcome + 2
	)
	setClosed := func(s *state) { s.closed, s.dirty = true, true }
	free := func(lock *bool, lacks mutation) bool { return !*lock || m.has(lacks) }
	steps := []step{
		begin: {Name: "Close: mu.Lock, closed.Store(true), mu.Unlock", Optional: true,
			When: func(s *state) bool { return !s.mu },
			Do: func(s *state) {
				if !m.has(closeFlagsLate) {
					setClosed(s)
				}
				if m.has(closeWithoutWake) {
					*pc(s) = outcome
				}
			}},
	}
	end := m.interrupt(pc, wake, outcome, wakeInternal)
	if !m.has(closeRelies) {
		end[0] = step{Name: "Close: wakes.Or", Do: func(s *state) { s.wakes |= wakeInternal }}
	}
	return append(append(steps, end...),
		step{Name: "Close: the outcome of endSleep", Private: func(*state) bool { return !m.has(closeFlagsLate) }, Do: func(s *state) {
			if m.has(closeFlagsLate) {
				setClosed(s)
			}
			if !s.asleep || !s.wakeFailed {
				*pc(s) = selecting
			}
		}},
		step{Name: "Close: time.Sleep(pauseTime)", Progress: true, Do: func(s *state) { *pc(s) = wake }},
		step{Name: "Close: selecting.Lock", When: func(s *state) bool { return free(&s.selecting, closeWithoutSelecting) },
			Do: func(s *state) { s.selecting = true }},
		step{Name: "Close: wakeMu.Lock", When: func(s *state) bool { return free(&s.wakeMu, closeWithoutWakeMu) },
			Do: func(s *state) { s.wakeMu = true }},
		step{Name: "Close: backend.close", Do: func(s *state) { s.isClosed = true }},
		step{Name: "Close: wakeMu.Unlock, selecting.Unlock", Do: func(s *state) { s.wakeMu, s.selecting = false, false }},
		step{Name: "Close has returned", When: never, Do: nothing})
}
