package eventloop

import (
	"sync/atomic"
	"time"

	"goselectors/selectors"
)

// Stats holds what a loop has counted since New.
type Stats struct {
	Turns      uint64 // turns of the loop
	Callbacks  uint64 // callbacks run, of all kinds
	Wakes      uint64 // wakes of a waiting loop by Post, Stop, Close or a context
	Timers     uint64 // timers run
	LateTimers uint64 // timers run LateAfter or more after their deadline

	// LatestTimer is the longest delay of a timer after its deadline.
	LatestTimer time.Duration

	// LongestCallback is the longest time a callback took. It is measured only
	// with WithSlowCallback or WithDebug.
	LongestCallback time.Duration

	// PendingWork is the number of calls of Do and DoResult whose work is queued or
	// running, or whose done has not been called yet; QueuedWork is the number of
	// those that wait for a goroutine (see WithWorkers). Both are current, and zero
	// after Close.
	PendingWork, QueuedWork int

	// Selector has the counters of the loop's selector, if it is one of package
	// selectors: shortages that it has survived.
	Selector selectors.Stats
}

// LateAfter is the delay from which on Stats counts a timer as late.
const LateAfter = 10 * time.Millisecond

// Stats returns the counters. Any goroutine may call it. The figures are about
// those of the end of the last turn; they are not one atomic snapshot.
func (l *Loop) Stats() Stats {
	if l.isInvalid() {
		return Stats{}
	}
	stats := Stats{
		Turns:           l.stats.turns.Load(),
		Callbacks:       l.stats.callbacks.Load(),
		Wakes:           l.stats.wakes.Load(),
		Timers:          l.stats.timers.Load(),
		LateTimers:      l.stats.lateTimers.Load(),
		LatestTimer:     time.Duration(l.stats.latestTimer.Load()),
		LongestCallback: time.Duration(l.stats.longestCallback.Load()),
	}
	l.mu.Lock()
	if !l.closing.Load() {
		stats.PendingWork, stats.QueuedWork = int(l.pendingWork.Load()), l.work.queued
	}
	l.mu.Unlock()
	if sel, ok := l.sel.(interface{ Stats() selectors.Stats }); ok {
		stats.Selector = sel.Stats()
	}
	return stats
}

// counters are written by the loop's goroutine, except wakes, and read by any
// goroutine. The loop counts in unpublished and stores the sums once a turn.
type counters struct {
	turns, callbacks, wakes, timers, lateTimers atomic.Uint64
	latestTimer, longestCallback                atomic.Int64 // nanoseconds

	unpublished struct { // for the loop's goroutine only
		turns, timers, lateTimers uint64
		latestTimer               time.Duration
	}
}

// recordTimer counts a timer that runs lateness after its deadline.
func (c *counters) recordTimer(lateness time.Duration) {
	c.unpublished.timers++
	if lateness >= LateAfter {
		c.unpublished.lateTimers++
	}
	c.unpublished.latestTimer = max(c.unpublished.latestTimer, lateness)
}

func (c *counters) publish(callbacks uint64) {
	c.turns.Store(c.unpublished.turns)
	c.callbacks.Store(callbacks)
	if c.unpublished.timers != c.timers.Load() {
		c.timers.Store(c.unpublished.timers)
		c.lateTimers.Store(c.unpublished.lateTimers)
		c.latestTimer.Store(int64(c.unpublished.latestTimer))
	}
}
