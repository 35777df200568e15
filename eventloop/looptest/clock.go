package looptest

import (
	"math"
	"sync/atomic"
	"time"
)

// A Clock is a virtual clock. Only Advance and the selectors made with the
// clock move it. Its methods may be called from any goroutine.
type Clock struct{ now atomic.Int64 }

// NewClock returns a clock that shows zero.
func NewClock() *Clock { return new(Clock) }

// Now returns the virtual time since the clock was made. The method value is
// the argument of [eventloop.WithClock].
func (c *Clock) Now() time.Duration { return time.Duration(c.now.Load()) }

// Advance moves the clock forward by d. The clock never goes backwards: Advance
// does nothing if d is zero or negative. The clock stops at math.MaxInt64.
func (c *Clock) Advance(d time.Duration) {
	for {
		now := c.Now()
		if c.tryMove(now, addClamped(now, d)) {
			return
		}
	}
}

// advanceTo moves the clock forward to when. It does nothing if the clock shows
// when or later.
func (c *Clock) advanceTo(when time.Duration) {
	for {
		if c.tryMove(c.Now(), when) {
			return
		}
	}
}

// tryMove moves the clock from one time to a later one. It returns false if
// another goroutine has moved the clock since from was read.
func (c *Clock) tryMove(from, to time.Duration) bool {
	return to <= from || c.now.CompareAndSwap(int64(from), int64(to))
}

// addClamped returns now + d, at most math.MaxInt64. now is not negative.
func addClamped(now, d time.Duration) time.Duration {
	if d > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + d
}
