package eventloop

import (
	"fmt"
	"runtime/debug"
)

// CallSoon schedules fn for the next turn. It runs before the files, timers and
// posts of that turn. Functions run in the order of the calls. CallSoon is for
// the loop's goroutine; other goroutines use Post.
func (l *Loop) CallSoon(fn func()) error {
	if err := l.checkCall("call soon", fn == nil); err != nil {
		return err
	}
	if l.hasPosts.Load() { // earlier posts run before fn: CallSoon and Post share one order
		l.mu.Lock()
		l.nextTurn = append(l.nextTurn, l.incoming...)
		clear(l.incoming)
		l.incoming = l.incoming[:0]
		l.hasPosts.Store(false)
		l.mu.Unlock()
	}
	l.nextTurn = append(l.nextTurn, task{fn, "soon", l.callSite()})
	return nil
}

// Post schedules fn to run on the loop. Any goroutine may call it: it is
// asyncio's call_soon_threadsafe. Posts run in the order of the calls. A
// sleeping loop is woken once, however many posts arrive. Each turn runs the
// posts that arrived before its callbacks began, so a posted function that posts
// again cannot starve other callbacks.
//
// After Close, Post returns [ErrClosed] and does not call fn. Posts that have
// not run at Close are dropped.
func (l *Loop) Post(fn func()) error {
	if fn == nil {
		return opError("post", ErrNilCallback)
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

// Do runs work on a new goroutine and then done on the loop. It is asyncio's
// run_in_executor, for blocking calls and long computations. Any goroutine may
// call it; done may be nil. If work panics, the loop panics with a [*WorkPanic]
// instead of calling done. If the loop is closed when work ends, done is
// dropped.
func (l *Loop) Do(work, done func()) error {
	if work == nil {
		return opError("do", ErrNilCallback)
	}
	if l.closing.Load() {
		return opError("do", ErrClosed)
	}
	site := l.callSite()
	l.pendingWork.Add(1)
	go func() {
		complete := func() {
			l.pendingWork.Add(-1)
			if done != nil {
				l.standsFor(done)
				done()
			}
		}
		defer func() { l.postTask(task{complete, "work", site}) }() // also if work calls runtime.Goexit
		defer func() {
			if v := recover(); v != nil {
				p := &WorkPanic{Value: v, Stack: debug.Stack()}
				complete = func() {
					l.pendingWork.Add(-1)
					l.standsFor(work)
					panic(p)
				}
			}
		}()
		work()
	}()
	return nil
}

// A WorkPanic is the value the loop panics with when work given to Do panics.
type WorkPanic struct {
	Value any    // the value work panicked with
	Stack []byte // the stack of work's goroutine
}

func (p *WorkPanic) Error() string { return fmt.Sprintf("%v\n\nin work at:\n%s", p.Value, p.Stack) }

// Unwrap returns the panic value if it is an error, and nil otherwise.
func (p *WorkPanic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}
