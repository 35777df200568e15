package stream

import (
	"context"
	"errors"
	"net"
	"slices"

	"goselectors/eventloop"
)

// Shutdown ends the listener and its connections gracefully. It returns at once;
// the steps follow on the loop, in later turns:
//
//  1. The connections that are waiting are accepted, and the listener is closed.
//     Connections that cannot be accepted, for lack of descriptors or because ctx
//     has ended, are reset by the kernel.
//  2. Each connection is told by ShutdownRequested. One whose handler is not a
//     [ShutdownHandler] is closed, which sends its queued data.
//  3. When ctx ends, the connections that are still open are aborted.
//  4. When ConnectionLost of the last connection has returned, done is called, once.
//     Its argument is nil, or ctx.Err() if connections were aborted because ctx had
//     ended. done may be nil.
//
// A connection that was detached has ended for the listener. Connections that
// handlers open meanwhile with Dial and Wrap do not belong to it. After Close,
// Shutdown does the steps from 2 on. A nil ctx never ends.
//
// Shutdown returns an error, and changes nothing, if the listener was shut down
// already ([net.ErrClosed]) or the loop is closed ([eventloop.ErrClosed]). If the loop
// is closed later, the steps end, and done is called by the Close, Abort or Detach
// that ends the last connection, if there is one. If the loop is stopped, the steps go
// on when it runs again.
func (l *Listener) Shutdown(ctx context.Context, done func(error)) error {
	if l.state == noListener || l.finish != nil {
		return opError("shutdown", l.name(), net.ErrClosed)
	}
	if ctx == nil {
		ctx = context.Background()
	}
	d := &drain{loop: l.loop, set: l.set, ctx: ctx, done: done}
	if err := l.finishAccepting(ctx, d.begin); err != nil {
		return opError("shutdown", l.name(), errors.Unwrap(err))
	}
	l.set.onEmpty = d.empty
	return nil
}

// A drain ends the connections of a set to which none is added any more.
//
//	state     event                         what happens
//	new       begin                         telling
//	telling   step                          each connection is told; then waiting
//	waiting   context ends                  aborting
//	aborting  step                          each connection is aborted; then waiting for ConnectionLost
//	any       the last connection has gone  finished, in the next turn: done is called
//
// Telling and aborting call functions of the user. If one panics, the step goes on
// with the next connection in the next turn.
type drain struct {
	loop *eventloop.Loop
	set  *connSet
	ctx  context.Context
	done func(error) // may be nil

	begun       bool
	queue       []*Conn     // of the current step
	act         func(*Conn) // tells or aborts a connection
	err         error       // for done
	stopContext func() bool // removes the callback from the context; nil before begin
	finished    bool
}

// begin starts the first step. It calls no function of the user.
func (d *drain) begin() {
	d.begun, d.set.onEmpty = true, d.empty
	d.act, d.queue = (*Conn).shutdownRequested, slices.Clone(d.set.conns)
	d.stopContext = context.AfterFunc(d.ctx, func() { d.loop.Post(d.expire) })
	d.loop.CallSoon(d.step) // a closed loop calls nothing any more
}

// step tells or aborts the connections of the queue.
func (d *drain) step() {
	defer func() {
		if len(d.queue) > 0 { // a function of the user has panicked
			d.loop.CallSoon(d.step)
		}
	}()
	if d.ctx.Err() != nil && d.err == nil {
		d.startAborting()
	}
	for len(d.queue) > 0 {
		c := d.queue[0]
		d.queue = d.queue[1:]
		if c.set == d.set { // it has not ended meanwhile
			d.act(c)
		}
	}
	d.finishIfEmpty()
}

// expire is called on the loop when the context has ended.
func (d *drain) expire() {
	if !d.finished && d.err == nil {
		d.step()
	}
}

// startAborting makes step abort the connections that are left.
func (d *drain) startAborting() {
	if len(d.set.conns) > 0 {
		d.err = d.ctx.Err()
		d.act, d.queue = (*Conn).Abort, slices.Clone(d.set.conns)
	}
}

// empty is called when the last connection has gone. Its ConnectionLost may be
// panicking, so done is called in the next turn.
func (d *drain) empty() {
	if d.loop.CallSoon(d.finishIfEmpty) != nil { // the loop is closed
		d.finish()
	}
}

func (d *drain) finishIfEmpty() {
	if d.begun && len(d.set.conns) == 0 {
		d.finish()
	}
}

func (d *drain) finish() {
	if d.finished {
		return
	}
	d.finished = true
	d.set.onEmpty = nil
	if d.stopContext != nil {
		d.stopContext()
	}
	if d.done != nil {
		d.done(d.err)
	}
}
