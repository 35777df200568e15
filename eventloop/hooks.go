package eventloop

// A TurnHook is a pair of functions that the loop calls in each turn: see
// [Loop.OnTurn]. A nil TurnHook is one that was stopped.
type TurnHook struct {
	loop          *Loop
	before, after func()
	registeredAt  uintptr // program counter of the call of OnTurn; 0 if not recorded
	inTurn        bool    // its before was called in this turn, and after is due
	stopped       bool
}

// turnHooks is the part of a loop that calls the functions of OnTurn.
type turnHooks struct {
	hooks       []*TurnHook      // in the order of OnTurn
	beginning   bool             // beginTurn has not called all functions before
	beforeHooks queue[*TurnHook] // of this turn
	afterHooks  queue[*TurnHook]
}

// OnTurn makes the loop call before at the beginning of each turn, and after at its
// end, as libuv does with its prepare and check handles. One of them may be nil.
// OnTurn is for the loop's goroutine.
//
// before runs before the loop computes how long it waits. What it schedules counts:
// after CallSoon, Post or Stop the turn does not wait, and a timer shortens the
// wait. A function of CallSoon and the files that are ready then run in the same
// turn. after runs when all callbacks of the turn have run; what it schedules runs
// in the next turn. Each is called once a turn, in the order of the calls of
// OnTurn, and each before is followed by its after, unless the hook is stopped or
// the loop is closed. A turn that a panic has ended continues in the next Run
// without another before.
//
// Hooks are for those who combine the loop with another one (before looks into the
// other's queue and schedules what is in it) and for work that is done once for all
// callbacks of a turn (after writes what they have collected). They do not keep a
// loop alive (see Alive) and do not count as callbacks.
func (l *Loop) OnTurn(before, after func()) (*TurnHook, error) {
	if err := l.checkCall("on turn", before == nil && after == nil); err != nil {
		return nil, err
	}
	h := &TurnHook{loop: l, before: before, after: after, registeredAt: l.callSite()}
	l.hooks = append(l.hooks, h)
	return h, nil
}

// Stop removes the hook and reports whether it was active. Neither of its functions
// is called any more, also not in this turn. It is for the loop's goroutine.
func (h *TurnHook) Stop() bool {
	if h == nil || h.loop == nil || !h.loop.callAllowed("stop a turn hook") || h.stopped {
		return false
	}
	h.stopped = true
	l := h.loop
	for i, other := range l.hooks {
		if other == h {
			l.hooks = append(l.hooks[:i:i], l.hooks[i+1:]...)
			break
		}
	}
	return true
}

// beginTurn calls the functions before of a new turn, or those that are left of it
// after a panic.
func (l *Loop) beginTurn() {
	l.turnTime = timeNotRead
	if !l.beginning {
		l.beginning = true
		l.beforeHooks.items = append(l.beforeHooks.items, l.hooks...)
	}
	l.guard((*Loop).runBeforeHooks)
	l.beginning = false
	for _, h := range l.hooks {
		if h.inTurn { // not if another hook has added it
			l.afterHooks.items = append(l.afterHooks.items, h)
		}
	}
}

func (l *Loop) runBeforeHooks() {
	drain(l, &l.beforeHooks, (*Loop).runBeforeHook)
}

func (l *Loop) runBeforeHook(h *TurnHook) {
	h.inTurn = true
	l.runHook(h, h.before)
}

func (l *Loop) runAfterHooks() { drain(l, &l.afterHooks, (*Loop).runAfterHook) }

func (l *Loop) runAfterHook(h *TurnHook) {
	h.inTurn = false
	l.runHook(h, h.after)
}

func (l *Loop) runHook(h *TurnHook, fn func()) {
	if fn == nil || h.stopped {
		return
	}
	if l.observing {
		l.beginCallback(callbackOrigin{kind: "hook", fn: fn, registeredAt: h.registeredAt, fd: -1})
	}
	fn()
	if l.observing {
		l.endCallback()
	}
}
