package main

import (
	"errors"
	"iter"
	"net"
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
	resume func()              // continues the task
}

// scheduler holds the tasks that have not ended. The loop does the rest: it
// resumes a task when the event that the task waits for has happened.
type scheduler struct {
	loop  *eventloop.Loop
	tasks map[*task]func() // the function cancels the task
}

// spawn starts a task in the next turn, like asyncio's create_task.
func (s *scheduler) spawn(run func(*task)) {
	t := &task{scheduler: s}
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		run(t)
		delete(s.tasks, t)
	})
	t.resume = func() { next() }
	s.tasks[t] = stop
	s.loop.CallSoon(t.resume)
}

// cancel makes every task return errCancelled from where it waits. The deferred
// calls of the task run then, as in any function.
func (s *scheduler) cancel() {
	for t, stop := range s.tasks {
		stop()
		delete(s.tasks, t) // a task that never started does not do it itself
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

// waitReady waits until a file is ready. This is where await meets the selector:
// the callback of the key resumes the task. The registration is one-shot; a task
// that waits for the same file again enables it again.
func (t *task) waitReady(file any, events selectors.Event) error {
	_, err := t.loop.Replace(file, events|selectors.OneShot, func(any, selectors.Event) { t.resume() })
	if err != nil {
		return err
	}
	return t.suspend()
}

// sleep waits for a duration. Other tasks run meanwhile.
func (t *task) sleep(d time.Duration) error {
	if _, err := t.loop.CallLater(d, t.resume); err != nil {
		return err
	}
	return t.suspend()
}

// The methods below use waitReady: try, wait, try again.

func (t *task) accept(listener net.Listener) (net.Conn, error) {
	for {
		conn, err := selectors.TryAccept(listener)
		if err != selectors.ErrWouldBlock {
			return conn, err
		}
		if err := t.waitReady(listener, selectors.EventRead); err != nil {
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
		if err := t.waitReady(conn, selectors.EventRead); err != nil {
			return 0, err
		}
	}
}

func (t *task) write(conn net.Conn, p []byte) error {
	for len(p) > 0 {
		n, err := selectors.TryWrite(conn, p)
		p = p[n:]
		if err == selectors.ErrWouldBlock {
			err = t.waitReady(conn, selectors.EventWrite)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close unregisters and closes a connection.
func (t *task) close(conn net.Conn) {
	t.loop.Unregister(conn)
	conn.Close()
}
