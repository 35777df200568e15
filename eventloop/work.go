package eventloop

import (
	"fmt"
	"runtime/debug"
)

// Do runs work on a goroutine of its own and then done on the loop. It is asyncio's
// run_in_executor, for blocking calls and long computations. Any goroutine may
// call it; done may be nil. [DoResult] passes a result from work to done, and
// [WithWorkers] limits the goroutines.
//
// If work panics, the loop panics with a [*WorkPanic] instead of calling done. If
// work calls runtime.Goexit, done is called. If the loop is closed when work ends,
// done is dropped.
func (l *Loop) Do(work, done func()) error {
	if err := l.checkPost("do", work == nil); err != nil {
		return err
	}
	return l.startWork(&workItem{work: work, registeredAt: l.callSite(), finish: func(o workOutcome) {
		switch {
		case o.panicked != nil:
			l.standsFor(work)
			panic(o.panicked)
		case done != nil:
			l.standsFor(done)
			done()
		}
	}})
}

// DoResult is [Loop.Do] with a result: it runs work on a goroutine of its own and
// then calls done on the loop with what work has returned. Any goroutine may call
// it. A panic of work is an error of type [*WorkPanic], and a work that calls
// runtime.Goexit gives [ErrWorkExited]. So done is called exactly once, unless
// DoResult returns an error or the loop is closed before.
func DoResult[T any](l *Loop, work func() (T, error), done func(T, error)) error {
	if err := l.checkPost("do", work == nil || done == nil); err != nil {
		return err
	}
	var result T
	var err error
	return l.startWork(&workItem{work: func() { result, err = work() }, registeredAt: l.callSite(), finish: func(o workOutcome) {
		l.standsFor(done)
		var none T
		switch {
		case o.panicked != nil:
			done(none, o.panicked)
		case o.exited:
			done(none, opError("do", ErrWorkExited))
		default:
			done(result, err)
		}
	}})
}

// A workItem is a call of Do.
type workItem struct {
	work         func()            // runs on a goroutine of its own
	finish       func(workOutcome) // runs on the loop
	registeredAt uintptr           // program counter of the call; 0 if not recorded
	next         *workItem         // in a workQueue
}

// A workOutcome says how work has ended.
type workOutcome struct {
	exited   bool       // by runtime.Goexit
	panicked *WorkPanic // nil if it has not panicked
}

// A workQueue holds the work that waits for a goroutine of WithWorkers. Loop.mu
// guards it.
type workQueue struct {
	first, last *workItem
	queued      int
	running     int32
}

// startWork runs an item, or queues it if all workers are busy.
func (l *Loop) startWork(item *workItem) error {
	if l.closing.Load() {
		return opError("do", ErrClosed)
	}
	l.pendingWork.Add(1)
	if l.maxWorkers > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.closing.Load() { // Close has dropped the queue
			l.pendingWork.Add(-1)
			return opError("do", ErrClosed)
		}
		if l.work.running == l.maxWorkers {
			l.work.push(item)
			return nil
		}
		l.work.running++
	}
	go l.runWork(item)
	return nil
}

// runWork is the goroutine of an item.
func (l *Loop) runWork(item *workItem) {
	outcome := workOutcome{exited: true}
	defer func() { // also if work calls runtime.Goexit
		if v := recover(); v != nil {
			outcome = workOutcome{panicked: &WorkPanic{Value: v, Stack: debug.Stack()}}
		}
		l.postTask(task{func() {
			l.pendingWork.Add(-1)
			item.finish(outcome)
		}, "work", item.registeredAt})
		if l.maxWorkers > 0 {
			l.startQueuedWork()
		}
	}()
	item.work()
	outcome.exited = false
}

// startQueuedWork starts the next item of the queue in place of one that has ended.
func (l *Loop) startQueuedWork() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if item := l.work.pop(); item != nil {
		go l.runWork(item)
	} else {
		l.work.running--
	}
}

func (q *workQueue) push(item *workItem) {
	if q.first == nil {
		q.first = item
	} else {
		q.last.next = item
	}
	q.last = item
	q.queued++
}

func (q *workQueue) pop() *workItem {
	item := q.first
	if item != nil {
		q.first, item.next = item.next, nil
		q.queued--
	}
	return item
}

// clear drops the items that have not been started.
func (q *workQueue) clear() { q.first, q.last, q.queued = nil, nil, 0 }

// A WorkPanic is the panic of work given to Do or DoResult. The loop panics with
// it after Do, and DoResult gives it to done.
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
