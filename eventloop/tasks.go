package eventloop

import (
	"fmt"
	"runtime/debug"
)

// CallSoon has fn called in the next turn, before anything that becomes ready
// until then; what is called soon is called in the order of the calls. It is
// for the loop's own goroutine; others use Post.
func (l *Loop) CallSoon(fn func()) error {
	if err := l.check("call soon", fn == nil); err != nil {
		return err
	}
	if l.posted.Load() { // before fn: one order for both
		l.mu.Lock()
		l.next = append(l.next, l.incoming...)
		clear(l.incoming)
		l.incoming = l.incoming[:0]
		l.posted.Store(false)
		l.mu.Unlock()
	}
	l.next = append(l.next, task{fn, "soon", l.site()})
	return nil
}

// Post has fn called on the loop, from any goroutine: asyncio's
// call_soon_threadsafe. A loop that waits is woken, once, however many posts
// come together; one that is busy takes them in the course of its turns, in the
// order of the calls, each turn those that came before it ran them. So posting
// from a posted function keeps nothing else from running.
//
// After Close it is [ErrClosed] and fn is not called. What was posted before
// and has not run by then is dropped.
func (l *Loop) Post(fn func()) error {
	if fn == nil {
		return fail("post", ErrNilCallback)
	}
	return l.post(task{fn, "post", l.site()})
}

func (l *Loop) post(t task) error {
	l.mu.Lock()
	if l.closing.Load() {
		l.mu.Unlock()
		return fail("post", ErrClosed)
	}
	l.incoming = append(l.incoming, t)
	if len(l.incoming) == 1 {
		l.posted.Store(true)
	}
	l.mu.Unlock()
	l.interrupt()
	return nil
}

// Do runs work on a goroutine of its own and then done on the loop: asyncio's
// run_in_executor, for what blocks or takes long. Any goroutine may call it;
// done may be nil. If work panics, the panic goes on on the loop, in place of
// done, as a [*WorkPanic]. If the loop has been closed by then, done is dropped.
func (l *Loop) Do(work, done func()) error {
	if work == nil {
		return fail("do", ErrNilCallback)
	}
	if l.closing.Load() {
		return fail("do", ErrClosed)
	}
	site := l.site()
	l.working.Add(1)
	go func() {
		end := func() {
			l.working.Add(-1)
			if done != nil {
				l.calls(done)
				done()
			}
		}
		defer func() { l.post(task{end, "work", site}) }() // also if work calls runtime.Goexit
		defer func() {
			if v := recover(); v != nil {
				p := &WorkPanic{Value: v, Stack: debug.Stack()}
				end = func() {
					l.working.Add(-1)
					l.calls(work)
					panic(p)
				}
			}
		}()
		work()
	}()
	return nil
}

// A WorkPanic is what the loop panics with when work given to Do has panicked.
type WorkPanic struct {
	Value any    // what work panicked with
	Stack []byte // and where
}

func (p *WorkPanic) Error() string { return fmt.Sprintf("%v\n\nin work at:\n%s", p.Value, p.Stack) }

// Unwrap returns the value, if it is an error.
func (p *WorkPanic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}
