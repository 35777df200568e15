package main

import (
	"context"
	"net"
	"sync"
	"time"

	"goselectors/eventloop"
	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

// group is one loop that accepts and several workers that serve. Each worker is
// a loop on its own goroutine, which Go can run on its own core.
type group struct {
	*eventloop.Loop
	listener net.Listener
	workers  []*worker
	running  sync.WaitGroup
	accepted int
}

func newGroup(listener net.Listener, n, work int) *group {
	g := &group{Loop: newLoop(), listener: listener}
	for range n {
		w := &worker{loop: newLoop(), work: make([]byte, work<<10)}
		g.workers = append(g.workers, w)
		g.running.Add(1)
		go func() {
			defer g.running.Done()
			cli.Check(w.loop.Run(context.Background()))
		}()
	}
	g.listen()
	return g
}

func newLoop() *eventloop.Loop {
	loop, err := eventloop.New()
	cli.Check(err)
	return loop
}

func (g *group) listen() {
	_, err := g.Register(g.listener, selectors.EventRead, g.accept)
	cli.Check(err)
}

// accept gives the client to the next worker. It runs on another goroutine than
// the worker, so it must not use the worker's fields. It posts a function, and
// the worker's loop calls it. Only Post crosses from one goroutine to another.
func (g *group) accept(any, selectors.Event) {
	conn, err := selectors.TryAccept(g.listener)
	if err == selectors.ErrWouldBlock {
		return
	}
	if err != nil {
		// Usually "too many open files": do not watch the listener for a while,
		// as in lesson 4.
		cli.Errorf("%v", err)
		g.Unregister(g.listener)
		_, err = g.CallLater(100*time.Millisecond, g.listen)
		cli.Check(err)
		return
	}
	w := g.workers[g.accepted%len(g.workers)]
	g.accepted++
	if err := w.loop.Post(func() { w.add(conn) }); err != nil {
		conn.Close()
		cli.Errorf("%v", err)
	}
}

// close ends the workers after the accepting loop has ended. Stop may be called
// from any goroutine; each worker finishes its turn.
func (g *group) close() {
	g.listener.Close()
	for _, w := range g.workers {
		w.loop.Stop()
	}
	g.running.Wait()
	for _, w := range g.workers { // their goroutines have ended, so this one may use their data
		for key := range w.loop.Selector().Keys() {
			key.FileObj.(net.Conn).Close()
		}
		w.loop.Close()
	}
	g.Close()
}
