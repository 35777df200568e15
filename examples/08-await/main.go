// Lesson 8: from callbacks back to sequential code. The function echo below is
// nearly that of lesson 1, but it never blocks: only the loop waits. Other
// languages call this await: a function stops its caller, and the loop resumes
// the caller later. A small scheduler for that is in task.go.
//
//	go run ./examples/08-await
//	go run ./examples/08-await -backend poll
package main

import (
	"context"
	"net"
	"time"

	"goselectors/eventloop"
	"goselectors/examples/internal/cli"
)

// echo serves one client from beginning to end. Where it seems to wait, the task
// stops and other tasks run.
func echo(t *task, conn net.Conn) {
	defer t.close(conn)
	buf := make([]byte, 4096)
	for {
		n, err := t.read(conn, buf)
		if err != nil {
			return // the client disconnected, or the task is cancelled
		}
		if err := t.write(conn, buf[:n]); err != nil {
			return
		}
	}
}

// serve starts one task per client.
func serve(t *task, listener net.Listener) {
	for {
		conn, err := t.accept(listener)
		if err == errCancelled {
			return
		}
		if err != nil {
			// Usually "too many open files". The next accept would fail at once,
			// so wait until a client may have left.
			cli.Errorf("%v", err)
			if t.sleep(100*time.Millisecond) != nil {
				return
			}
			continue
		}
		t.spawn(func(t *task) { echo(t, conn) })
	}
}

func main() {
	addr := cli.AddrFlag("127.0.0.1:8080")
	cli.BackendFlag()
	cli.Parse("08-await")
	loop, err := eventloop.New()
	cli.Check(err)
	defer loop.Close()
	cli.StopOnInterrupt(loop)
	listener, err := net.Listen("tcp", *addr)
	cli.Check(err)
	s := newScheduler(loop)
	s.spawn(func(t *task) { serve(t, listener) })
	cli.Listening(listener.Addr(), "one task per client")
	cli.Check(loop.Run(context.Background()))
	cli.Printf("cancelling %d tasks", len(s.tasks))
	s.cancelAll()
	cli.Printf("bye")
}
