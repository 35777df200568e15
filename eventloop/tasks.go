package eventloop

// CallSoon schedules fn for the next turn. It runs before the files, timers and
// posts of that turn. Functions run in the order of the calls. CallSoon is for
// the loop's goroutine; other goroutines use Post. Schedule is a CallSoon that can be
// cancelled.
func (l *Loop) CallSoon(fn func()) error {
	if err := l.checkCall("call soon", fn == nil); err != nil {
		return err
	}
	l.schedule(task{fn, "soon", l.callSite()})
	return nil
}

// schedule adds a task to the next turn.
func (l *Loop) schedule(t task) {
	if l.hasPosts.Load() { // earlier posts run before t: CallSoon and Post share one order
		l.mu.Lock()
		l.nextTurn = append(l.nextTurn, l.incoming...)
		clear(l.incoming)
		l.incoming = l.incoming[:0]
		l.hasPosts.Store(false)
		l.mu.Unlock()
	}
	l.nextTurn = append(l.nextTurn, t)
}

// Post schedules fn to run on the loop. Any goroutine may call it: it is
// asyncio's call_soon_threadsafe. Posts run in the order of the calls. A
// sleeping loop is woken once, however many posts arrive. Each turn runs the
// posts that arrived before its callbacks began, so a posted function that posts
// again cannot starve other callbacks.
//
// PostHandle is a Post that can be cancelled.
//
// After Close, Post returns [ErrClosed] and does not call fn. Posts that have
// not run at Close are dropped.
func (l *Loop) Post(fn func()) error {
	if fn == nil || l.isInvalid() {
		return l.checkPost("post", fn == nil)
	}
	return l.postTask(task{fn, "post", l.callSite()})
}

func (l *Loop) postTask(t task) error {
	l.mu.Lock()
	if l.closing.Load() {
		l.mu.Unlock()
		return opError("post", ErrClosed)
	}
	l.incoming = append(l.incoming, t)
	if len(l.incoming) == 1 {
		l.hasPosts.Store(true)
	}
	l.mu.Unlock()
	l.wakeIfAsleep()
	return nil
}
