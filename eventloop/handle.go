package eventloop

import "sync/atomic"

// A Handle is a function scheduled by [Loop.Schedule] or [Loop.PostHandle], which
// can be cancelled: asyncio's Handle. A nil Handle is one whose function has run.
type Handle struct {
	loop  *Loop
	fn    func()
	state atomic.Uint32
}

// States of a Handle. The zero Handle has run.
const (
	handleRun       uint32 = iota // or running
	handleScheduled               // fn belongs to whoever changes this state
	handleCancelled
)

// Schedule is CallSoon with a Handle. Both share one order. Like CallSoon it is for
// the loop's goroutine.
func (l *Loop) Schedule(fn func()) (*Handle, error) {
	if err := l.checkCall("schedule", fn == nil); err != nil {
		return nil, err
	}
	h := newHandle(l, fn)
	l.schedule(task{h.run, "soon", l.callSite()})
	return h, nil
}

// PostHandle is Post with a Handle. Both share one order. Any goroutine may call it.
func (l *Loop) PostHandle(fn func()) (*Handle, error) {
	if err := l.checkPost("post", fn == nil); err != nil {
		return nil, err
	}
	h := newHandle(l, fn)
	if err := l.postTask(task{h.run, "post", l.callSite()}); err != nil {
		return nil, err
	}
	return h, nil
}

func newHandle(l *Loop, fn func()) *Handle {
	h := &Handle{loop: l, fn: fn}
	h.state.Store(handleScheduled)
	return h
}

// Cancel keeps the function from running and reports whether it did: it is false
// if the function has been started, or Cancel was called before. The loop then holds
// no reference to the function. Any goroutine may call Cancel. Elsewhere than on the
// loop's goroutine false may mean that the function is running at the moment.
func (h *Handle) Cancel() bool {
	if h == nil || !h.state.CompareAndSwap(handleScheduled, handleCancelled) {
		return false
	}
	h.fn = nil
	return true
}

// run is the task of the handle.
func (h *Handle) run() {
	if !h.state.CompareAndSwap(handleScheduled, handleRun) {
		h.loop.callbacksRun-- // nothing has run
		return
	}
	fn := h.fn
	h.fn = nil
	h.loop.standsFor(fn)
	fn()
}
