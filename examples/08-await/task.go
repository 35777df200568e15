package main

import (
	"errors"
	"iter"
	"net"
	"slices"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// task is a coroutine: a function that can stop in the middle, let the loop run,
// and be resumed at the same place. iter.Pull makes a coroutine from a function:
// yield stops it and next resumes it. Both only switch from one stack to
// another. The loop runs one task at a time, so tasks need no locks.
type task struct {
	*scheduler
	yield  func(struct{}) bool // stops the task; returns false if it is cancelled
	resume func()              // continues the task; does nothing after its end
	cancel func()              // makes the task return errCancelled from where it waits
}

// scheduler holds the tasks that have not ended. The loop does the rest: it
// resumes a task when the event that the task waits for has happened.
type scheduler struct {
	loop  *eventloop.Loop
	tasks map[*task]bool
	waits map[any][]*wait // by file; for close
}

func newScheduler(loop *eventloop.Loop) *scheduler {
	return &scheduler{loop: loop, tasks: make(map[*task]bool), waits: make(map[any][]*wait)}
}

// spawn starts a task in the next turn, like asyncio's create_task.
func (s *scheduler) spawn(run func(*task)) *task {
	t := &task{scheduler: s}
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		run(t)
		delete(s.tasks, t)
	})
	t.resume = func() { next() }
	t.cancel = func() {
		stop()
		delete(s.tasks, t) // a task that never started does not do it itself
	}
	s.tasks[t] = true
	s.loop.CallSoon(t.resume)
	return t
}

// cancelAll cancels every task. The deferred calls of the tasks run then, as in
// any function.
func (s *scheduler) cancelAll() {
	for t := range s.tasks {
		t.cancel()
	}
}

var errCancelled = errors.New("cancelled")

// suspend stops the task. The caller must have arranged a call of resume.
func (t *task) suspend() error {
	if !t.yield(struct{}{}) {
		return errCancelled
	}
	return nil
}

// wait is a task that waits for a file.
type wait struct {
	*task
	closed bool // another task has closed the file
}

// onceFunc is the loop's OnceReadable or OnceWritable.
type onceFunc = func(any, eventloop.Callback) (*eventloop.Waiter, error)

// waitReady waits until a file is ready. This is where await meets the selector:
// the callback resumes the task. Any number of tasks may wait for one file, to read
// and to write. All of them are resumed when it is ready. The first ones may take all
// that there is; the others then try in vain and wait again.
func (t *task) waitReady(once onceFunc, file any) error {
	waiter, err := once(file, func(any, selectors.Event) { t.resume() })
	if err != nil {
		return err
	}
	w := &wait{task: t}
	t.waits[file] = append(t.waits[file], w)
	err = t.suspend()
	waiter.Cancel() // a cancelled task does not wait any more
	t.waits[file] = slices.DeleteFunc(t.waits[file], func(other *wait) bool { return other == w })
	if len(t.waits[file]) == 0 {
		delete(t.waits, file)
	}
	if w.closed && err == nil {
		err = net.ErrClosed
	}
	return err
}

// sleep waits for a duration. Other tasks run meanwhile.
func (t *task) sleep(d time.Duration) error {
	timer, err := t.loop.CallLater(d, t.resume)
	if err != nil {
		return err
	}
	defer timer.Stop() // if the task is cancelled
	return t.suspend()
}

// The methods below use waitReady: try, wait, try again.

func (t *task) accept(listener net.Listener) (net.Conn, error) {
	for {
		conn, err := selectors.TryAccept(listener)
		if err != selectors.ErrWouldBlock {
			return conn, err
		}
		if err := t.waitReady(t.loop.OnceReadable, listener); err != nil {
			return nil, err
		}
	}
}

func (t *task) read(conn net.Conn, p []byte) (int, error) {
	for {
		n, err := selectors.TryRead(conn, p)
		if err != selectors.ErrWouldBlock {
			return n, err
		}
		if err := t.waitReady(t.loop.OnceReadable, conn); err != nil {
			return 0, err
		}
	}
}

func (t *task) write(conn net.Conn, p []byte) error {
	for len(p) > 0 {
		n, err := selectors.TryWrite(conn, p)
		p = p[n:]
		if err == selectors.ErrWouldBlock {
			err = t.waitReady(t.loop.OnceWritable, conn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close unregisters and closes a connection. Tasks that wait for it get
// net.ErrClosed. Without close they would wait for ever: a file that was closed does
// not become ready.
func (t *task) close(conn net.Conn) {
	t.loop.Unregister(conn)
	conn.Close()
	for _, w := range t.waits[conn] {
		w.closed = true
		t.loop.CallSoon(w.resume)
	}
	delete(t.waits, conn)
}
