package main

import (
	"errors"
	"iter"
	"net"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A task is a function that can stop in the middle, let the loop go on, and be
// resumed where it stopped: a coroutine. iter.Pull makes one of any function:
// what calls yield stops, and next resumes it. Both are plain switches from one
// stack to another. The loop runs one task at a time, so tasks need no locks.
type task struct {
	*scheduler
	yield  func(struct{}) bool // stop here; false if never to be resumed
	resume func()              // and go on
}

// A scheduler has the tasks that have not ended. The rest of it is the loop: it
// resumes a task when what the task waits for has come. That is all.
type scheduler struct {
	loop  *eventloop.Loop
	tasks map[*task]func() // and how to cancel them
}

// spawn starts a task in the next turn: asyncio's create_task.
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

// cancel makes all tasks return from where they wait, with errCancelled. They
// clean up on their way out, by defer, like any function.
func (s *scheduler) cancel() {
	for t, stop := range s.tasks {
		stop()
		delete(s.tasks, t) // one that never began cannot do it itself
	}
}

var errCancelled = errors.New("cancelled")

// pause stops the task. Whoever calls it has seen to resume being called.
func (t *task) pause() error {
	if !t.yield(struct{}{}) {
		return errCancelled
	}
	return nil
}

// ready waits until a file is ready: here await meets the selector. The key's
// callback is to resume the task. It is meant for once, and a task that waits
// for the same file again arms the key again.
func (t *task) ready(file any, events selectors.Event) error {
	_, err := t.loop.Replace(file, events|selectors.OneShot, func(any, selectors.Event) { t.resume() })
	if err != nil {
		return err
	}
	return t.pause()
}

// sleep waits for a time, and lets everybody else go on.
func (t *task) sleep(d time.Duration) error {
	if _, err := t.loop.CallLater(d, t.resume); err != nil {
		return err
	}
	return t.pause()
}

// What follows is written on top of ready: try, wait, try again.

func (t *task) accept(listener net.Listener) (net.Conn, error) {
	for {
		conn, err := selectors.TryAccept(listener)
		if err != selectors.ErrWouldBlock {
			return conn, err
		}
		if err := t.ready(listener, selectors.EventRead); err != nil {
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
		if err := t.ready(conn, selectors.EventRead); err != nil {
			return 0, err
		}
	}
}

func (t *task) write(conn net.Conn, p []byte) error {
	for len(p) > 0 {
		n, err := selectors.TryWrite(conn, p)
		p = p[n:]
		if err == selectors.ErrWouldBlock {
			err = t.ready(conn, selectors.EventWrite)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close closes a file that the task may have waited for.
func (t *task) close(conn net.Conn) {
	t.loop.Unregister(conn)
	conn.Close()
}
