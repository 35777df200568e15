package looptest

import (
	"math"
	"sync/atomic"
	"time"
)

// A Clock is a virtual clock. It stands still but for Advance, and for the
// selectors that wait by it. Any goroutine may use it.
type Clock struct{ now atomic.Int64 }

// NewClock makes a clock that shows zero.
func NewClock() *Clock { return new(Clock) }

// Now is what the clock shows: see [eventloop.WithClock].
func (c *Clock) Now() time.Duration { return time.Duration(c.now.Load()) }

// Advance moves the clock on by d. It never goes backwards, so a d that is not
// positive does nothing, and stands still for good at math.MaxInt64.
func (c *Clock) Advance(d time.Duration) {
	for {
		now := c.Now()
		if c.move(now, after(now, d)) {
			return
		}
	}
}

// advanceTo moves the clock on to when, unless that is past.
func (c *Clock) advanceTo(when time.Duration) {
	for {
		if c.move(c.Now(), when) {
			return
		}
	}
}

// move sets the clock from one time to a later one. It is false if another
// goroutine was faster.
func (c *Clock) move(from, to time.Duration) bool {
	return to <= from || c.now.CompareAndSwap(int64(from), int64(to))
}

// after is d after now, or the end of time.
func after(now, d time.Duration) time.Duration {
	if d > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + d
}
