package eventloop

import (
	"os"
	"os/signal"
	"sync"
)

// A SignalHandler is a signal that a loop listens to.
type SignalHandler struct {
	loop *Loop
	sig  os.Signal
	ch   chan os.Signal
	stop chan struct{}
	once sync.Once
	gone bool // Stop was called; for the loop's goroutine
}

// OnSignal has fn called on the loop each time the process gets a signal, which
// then does not do what it does by default. Several handlers may listen to one
// signal, on one loop or on several; each is called. No signal is lost, but
// those that come faster than the loop runs may count as one, as they do with
// the kernel.
//
// A signal that cannot be caught, or is none, is [ErrInvalidSignal].
func (l *Loop) OnSignal(sig os.Signal, fn func(os.Signal)) (*SignalHandler, error) {
	if err := l.check("on signal", fn == nil); err != nil {
		return nil, err
	}
	if !catchable(sig) {
		return nil, fail("on signal", ErrInvalidSignal)
	}
	// Package signal does not wait for room: what it gives up on must be known
	// to come all the same, so the channel is this signal's alone.
	h := &SignalHandler{loop: l, sig: sig, ch: make(chan os.Signal, 64), stop: make(chan struct{})}
	l.mu.Lock()
	if l.signals == nil {
		l.mu.Unlock()
		return nil, fail("on signal", ErrClosed)
	}
	l.signals[h] = struct{}{}
	signal.Notify(h.ch, sig) // locked, so that Close on another goroutine ends it afterwards
	l.mu.Unlock()
	site := l.site()
	deliver := func() {
		if !h.gone {
			l.calls(fn)
			fn(sig)
		}
	}
	go func() {
		for {
			select {
			case <-h.ch:
				l.post(task{deliver, "signal", site})
			case <-h.stop:
				return
			}
		}
	}()
	return h, nil
}

// Stop ends the handler: it is not called any more, not even for a signal that
// is under way, and when it was the last one of its signal in the process, the
// signal does again what it did before. It reports whether there was anything
// to stop. It is for the loop's goroutine.
func (h *SignalHandler) Stop() bool {
	l := h.loop
	if !l.allows("stop a signal handler") || h.gone {
		return false
	}
	h.gone = true
	l.mu.Lock()
	delete(l.signals, h)
	l.mu.Unlock()
	h.end()
	return true
}

func (h *SignalHandler) end() {
	h.once.Do(func() {
		signal.Stop(h.ch)
		close(h.stop)
	})
}
