package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A group is a loop that accepts, and workers that serve: each is a loop on a
// goroutine of its own, which Go runs on a core of its own if there is one.
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
			check(w.loop.Run(context.Background()))
		}()
	}
	g.listen()
	return g
}

func newLoop() *eventloop.Loop {
	loop, err := eventloop.New()
	check(err)
	return loop
}

func (g *group) listen() {
	_, err := g.Register(g.listener, selectors.EventRead, g.accept)
	check(err)
}

// accept hands the client to the next worker. It does not touch what is the
// worker's: it posts a function, and the worker's loop runs it. Post is the only
// place of this program where two goroutines meet.
func (g *group) accept(any, selectors.Event) {
	conn, err := selectors.TryAccept(g.listener)
	if err == selectors.ErrWouldBlock {
		return
	}
	if err != nil { // too many open files, most likely
		fmt.Fprintln(os.Stderr, "09-loops:", err)
		g.Unregister(g.listener)
		g.CallLater(100*time.Millisecond, g.listen)
		return
	}
	w := g.workers[g.accepted%len(g.workers)]
	g.accepted++
	check(w.loop.Post(func() { w.add(conn) }))
}

// end is called when the accepting loop has ended. Stop may be called from any
// goroutine; each worker finishes its turn.
func (g *group) end() {
	g.listener.Close()
	for _, w := range g.workers {
		w.loop.Stop()
	}
	g.running.Wait()
	for _, w := range g.workers { // what was theirs is ours now: they have ended
		for key := range w.loop.Selector().Keys() {
			key.FileObj.(net.Conn).Close()
		}
		w.loop.Close()
	}
	g.Close()
}
