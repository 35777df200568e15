package eventloop

import (
	"math"
	"time"
)

// A Timer calls a function on the loop at its deadline. CallLater, CallAt and
// Every return timers. A nil or zero Timer is one that was stopped and cannot be
// reset. The methods are for the loop's goroutine.
type Timer struct {
	loop         *Loop
	fn           func()
	when         time.Duration
	interval     time.Duration // of Every; else zero
	registeredAt uintptr       // program counter of the call that scheduled it; 0 if not recorded
	slot         int32         // in the loop's timerHeap; noSlot while the timer is inactive
}

// CallLater calls fn once, d from now. If d is zero or negative, fn runs in the
// next turn. The delay counts from the current time of the clock, not from the
// beginning of the turn, and fn is never called early. Timers with equal
// deadlines run in the order of scheduling. The number of timers is not limited.
func (l *Loop) CallLater(d time.Duration, fn func()) (*Timer, error) {
	if err := l.checkCall("call later", fn == nil); err != nil {
		return nil, err
	}
	return l.newTimer(addClamped(l.clock(), d), 0, fn), nil
}

// CallAt calls fn once, at the loop's time when: see Now.
func (l *Loop) CallAt(when time.Duration, fn func()) (*Timer, error) {
	if err := l.checkCall("call at", fn == nil); err != nil {
		return nil, err
	}
	return l.newTimer(when, 0, fn), nil
}

// Every calls fn once per interval until the timer is stopped; the first call is
// one interval from now. The deadlines are multiples of the interval however
// long fn takes. Deadlines that are missed are skipped. An interval that is not
// positive is [ErrInvalidInterval].
func (l *Loop) Every(interval time.Duration, fn func()) (*Timer, error) {
	if err := l.checkCall("every", fn == nil); err != nil {
		return nil, err
	}
	if interval <= 0 {
		return nil, opError("every", ErrInvalidInterval)
	}
	return l.newTimer(addClamped(l.clock(), interval), interval, fn), nil
}

func (l *Loop) newTimer(when, interval time.Duration, fn func()) *Timer {
	t := &Timer{loop: l, fn: fn, when: when, interval: interval, registeredAt: l.callSite(), slot: noSlot}
	l.timers.start(t)
	return t
}

// addClamped returns t+d, clamped to the range of a Duration.
func addClamped(t, d time.Duration) time.Duration {
	switch sum := t + d; {
	case d > 0 && sum < t:
		return math.MaxInt64
	case d < 0 && sum > t:
		return math.MinInt64
	default:
		return sum
	}
}

// Stop ends the timer and reports whether it was active. The loop then holds no
// reference to it. Stop does nothing on a timer that has already been called
// (unless it is one of Every), was stopped before, or whose loop is closed.
func (t *Timer) Stop() bool {
	if t == nil || t.loop == nil || !t.loop.callAllowed("stop a timer") {
		return false
	}
	wasActive := t.Active()
	t.loop.timers.stop(t)
	return wasActive
}

// Reset schedules the timer for d from now, as CallLater does, and reports
// whether it was active. A timer that was called or stopped becomes active
// again. A timer of Every continues with its interval from the new deadline. If
// the loop is closed, Reset does nothing.
func (t *Timer) Reset(d time.Duration) bool {
	if t == nil || t.loop == nil || !t.loop.callAllowed("reset a timer") {
		return false
	}
	wasActive := t.Active()
	t.when = addClamped(t.loop.clock(), d)
	t.loop.timers.start(t)
	return wasActive
}

// Active reports whether the timer is still to be called.
func (t *Timer) Active() bool { return t != nil && t.loop != nil && t.slot != noSlot }

// When returns the loop's time of the next call, or that of the last call if
// the timer is not active. It is zero for a nil or zero Timer.
func (t *Timer) When() time.Duration {
	if t == nil {
		return 0
	}
	return t.when
}

// runTimer calls a due timer, unless it was stopped or reset since it became
// due.
func (l *Loop) runTimer(slot int32) {
	t := l.timers.takeDue(slot)
	if t == nil {
		return
	}
	lateness := uint64(l.Now() - t.when) // may exceed the range of a Duration
	l.stats.recordTimer(time.Duration(min(lateness, math.MaxInt64)))
	if t.interval > 0 {
		// The first future deadline that is a whole number of intervals after
		// this one.
		t.when = addClamped(l.Now()-time.Duration(lateness%uint64(t.interval)), t.interval)
		l.timers.start(t)
	}
	l.runTask(task{t.fn, "timer", t.registeredAt})
}
