package channels

import (
	"sync"

	"goselectors/eventloop"
)

// A Sender sends values from a loop to a channel. Its methods are for the loop's
// goroutine, except Stop.
type Sender[T any] struct {
	loop    *eventloop.Loop
	ch      chan<- T
	limit   int
	drained func()
	stop    chan struct{}
	once    sync.Once

	queue   []T
	sending bool // a goroutine sends values; the others wait in queue
	paused  bool // Send has returned false
	closing bool
}

// NewSender returns a Sender that asks for a pause when limit values wait, and calls
// drained, which may be nil, when the pause is over.
func NewSender[T any](loop *eventloop.Loop, ch chan<- T, limit int, drained func()) *Sender[T] {
	return &Sender[T]{loop: loop, ch: ch, limit: limit, drained: drained, stop: make(chan struct{})}
}

// Send sends v, or queues it if the channel is full, and never waits. It reports whether
// the caller may go on. If not, it should send nothing until drained is called. There is
// no goroutine while the channel takes all values.
func (s *Sender[T]) Send(v T) (more bool) {
	if !s.sending {
		select {
		case s.ch <- v:
			return true
		default:
		}
	}
	s.queue = append(s.queue, v)
	s.start()
	s.paused = len(s.queue) >= s.limit
	return !s.paused
}

// start gives the queue to a goroutine, unless one has values already.
func (s *Sender[T]) start() {
	if s.sending || len(s.queue) == 0 {
		return
	}
	batch := s.queue
	s.queue, s.sending = nil, true
	go func() {
		for _, v := range batch {
			select {
			case s.ch <- v:
			case <-s.stop:
				return
			}
		}
		s.loop.Post(s.sent)
	}()
}

func (s *Sender[T]) sent() {
	s.sending = false
	s.start()
	if s.closing && !s.sending {
		close(s.ch)
	}
	if paused := s.paused; paused {
		if s.paused = false; s.drained != nil {
			s.drained()
		}
	}
}

// Close closes the channel when all values have been sent. Send must not be called any
// more.
func (s *Sender[T]) Close() {
	if s.closing = true; !s.sending {
		close(s.ch)
	}
}

// Stop drops what has not been sent. The channel stays open. It has to be called before
// the loop is closed while values wait. Any goroutine may call Stop.
func (s *Sender[T]) Stop() { s.once.Do(func() { close(s.stop) }) }
