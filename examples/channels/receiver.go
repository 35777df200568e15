// Package channels joins Go channels and a loop, in both directions, with back-pressure
// and without polling. It is meant to be copied.
//
// A loop cannot wait for a channel, because a channel has no descriptor. So a goroutine
// does that and tells the loop with Post. Post has no limit: a goroutine that only
// passes on what a fast producer sends fills the memory. So a Receiver takes no more
// values from its channel until the loop has handled the last ones, and a Sender tells
// its caller when to pause.
package channels

import (
	"sync"

	"goselectors/eventloop"
)

// batchSize is the number of values that a Receiver takes from its channel at once. It
// is also what one Receiver handles in a turn of the loop, so others have theirs.
const batchSize = 64

// A Receiver calls a function on a loop with the values of a channel. Its methods are
// for the loop's goroutine, except Stop.
type Receiver[T any] struct {
	loop   *eventloop.Loop
	handle func(T)
	closed func()
	more   chan struct{} // the loop lets the goroutine take the next batch
	stop   chan struct{}
	once   sync.Once

	batch   []T  // taken from the channel, not handled yet
	waiting bool // the goroutine waits for more
	ended   bool // the channel is closed
	paused  bool
}

// Receive makes the loop call handle with each value of ch, in order, and then closed,
// which may be nil, when ch is closed. Stop has to be called before the loop is closed,
// because the goroutine may wait for the loop.
func Receive[T any](loop *eventloop.Loop, ch <-chan T, handle func(T), closed func()) *Receiver[T] {
	r := &Receiver[T]{loop: loop, handle: handle, closed: closed, more: make(chan struct{}, 1), stop: make(chan struct{})}
	go r.receive(ch)
	return r
}

func (r *Receiver[T]) receive(ch <-chan T) {
	for open := true; open; {
		var batch []T
		batch, open = r.nextBatch(ch)
		select {
		case <-r.stop:
			return
		default:
		}
		if r.loop.Post(func() { r.take(batch, !open) }) != nil {
			return
		}
		select {
		case <-r.more:
		case <-r.stop:
			return
		}
	}
}

// nextBatch waits for a value and takes what else is there already. It reports whether
// the channel is open.
func (r *Receiver[T]) nextBatch(ch <-chan T) (batch []T, open bool) {
	select {
	case v, ok := <-ch:
		if !ok {
			return nil, false
		}
		batch = append(batch, v)
	case <-r.stop:
	}
	for len(batch) < batchSize {
		select {
		case v, ok := <-ch:
			if !ok {
				return batch, false
			}
			batch = append(batch, v)
		default:
			return batch, true
		}
	}
	return batch, true
}

func (r *Receiver[T]) take(batch []T, ended bool) {
	r.batch, r.ended, r.waiting = batch, ended, true
	r.run()
}

// run handles the batch. When all of it is handled, the goroutine may go on.
func (r *Receiver[T]) run() {
	for !r.paused && len(r.batch) > 0 {
		v := r.batch[0]
		r.batch = r.batch[1:]
		r.handle(v)
	}
	if r.paused || !r.waiting {
		return
	}
	r.waiting = false
	r.more <- struct{}{}
	if r.ended && r.closed != nil {
		r.closed()
	}
}

// Pause ends the calls until Resume. The channel gets full, and its senders wait.
func (r *Receiver[T]) Pause() { r.paused = true }

// Resume ends Pause. The next call comes in the next turn.
func (r *Receiver[T]) Resume() {
	r.paused = false
	r.loop.CallSoon(r.run)
}

// Stop ends the goroutine. Values that it has taken are still handled, unless the
// Receiver is paused. Any goroutine may call Stop.
func (r *Receiver[T]) Stop() { r.once.Do(func() { close(r.stop) }) }
