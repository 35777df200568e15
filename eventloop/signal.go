package eventloop

import (
	"os"
	"os/signal"
	"runtime"
	"sync"
	"weak"
)

// A SignalHandler is a registration made by [Loop.OnSignal].
type SignalHandler struct {
	loop    *Loop
	sig     os.Signal
	deliver task
	stopped bool // by Stop; for the loop's goroutine only
	*signalSource
}

// A signalSource receives a signal from package signal. Its goroutine does not keep
// the handler and the loop alive, so that a loop that is dropped without Close can
// be collected. That releases the source.
type signalSource struct {
	ch          chan os.Signal
	quit        chan struct{} // closed to end the goroutine
	releaseOnce sync.Once
}

// OnSignal makes the loop call fn each time the process receives sig. The
// default action of the signal is disabled. A signal may have several handlers,
// on one loop or on several; all are called. At least one call follows each
// signal, but signals that arrive faster than the loop runs may be merged, as in
// the kernel.
//
// A signal that does not exist or cannot be caught is [ErrInvalidSignal].
func (l *Loop) OnSignal(sig os.Signal, fn func(os.Signal)) (*SignalHandler, error) {
	if err := l.checkCall("on signal", fn == nil); err != nil {
		return nil, err
	}
	if !isCatchable(sig) {
		return nil, opError("on signal", ErrInvalidSignal)
	}
	// Package signal drops a signal if the channel is full. The channel is for this
	// handler and one signal only: if it is full, the loop still has deliveries of
	// that signal to run, so at least one call of fn follows the dropped one.
	source := &signalSource{ch: make(chan os.Signal, 64), quit: make(chan struct{})}
	h := &SignalHandler{loop: l, sig: sig, signalSource: source}
	h.deliver = task{func() {
		if !h.stopped {
			l.standsFor(fn)
			fn(sig)
		}
	}, "signal", l.callSite()}
	l.mu.Lock()
	if l.signals == nil {
		l.mu.Unlock()
		return nil, opError("on signal", ErrClosed)
	}
	l.signals[h] = struct{}{}
	signal.Notify(h.ch, sig) // under the lock, so that a concurrent Close stops it afterwards
	l.mu.Unlock()
	runtime.AddCleanup(h, (*signalSource).release, source)
	go source.receive(weak.Make(h))
	return h, nil
}

// receive posts each signal to the loop of the handler.
func (s *signalSource) receive(handler weak.Pointer[SignalHandler]) {
	for {
		select {
		case <-s.ch:
			if h := handler.Value(); h != nil {
				h.loop.postTask(h.deliver)
			}
		case <-s.quit:
			return
		}
	}
}

// Stop removes the handler. It is not called any more, not even for a signal
// that was already received. If it was the last handler of its signal in the
// process, the signal gets back its previous action. Stop reports whether the
// handler was active. It is for the loop's goroutine.
func (h *SignalHandler) Stop() bool {
	if h == nil || h.loop == nil || !h.loop.callAllowed("stop a signal handler") || h.stopped {
		return false
	}
	h.stopped = true
	l := h.loop
	l.mu.Lock()
	delete(l.signals, h)
	l.mu.Unlock()
	h.release()
	return true
}

// release stops the delivery and ends the goroutine.
func (s *signalSource) release() {
	s.releaseOnce.Do(func() {
		signal.Stop(s.ch)
		close(s.quit)
	})
}
