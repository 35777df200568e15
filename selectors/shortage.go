package selectors

import (
	"sync/atomic"
	"time"

	"goselectors/selectors/internal/sys"
)

// Stats counts what a selector could not have for the moment, and what it did
// about it. All zero is normal.
//
// Every selector of this package has a method Stats. For a [Selector] that
// [NewDefaultSelector] has returned it is
//
//	sel.(interface{ Stats() selectors.Stats }).Stats()
type Stats struct {
	// Orphans counts stale registrations that were noticed: the kernel goes on
	// reporting a descriptor that was closed, because a duplicate keeps its file
	// open. Only epoll has them. Orphans that are never ready at the same time may
	// be counted as one.
	Orphans uint64

	// Repairs counts how often the kernel's set was made right again: a new set
	// without orphans has replaced it, or a registration that the kernel had
	// refused for the moment was made. RepairFailures counts attempts that failed.
	// Nothing changes then, and another attempt follows after 10 ms, and after
	// twice the time of the last one, up to 5 s.
	Repairs        uint64
	RepairFailures uint64

	// RepairPending tells whether such an attempt is due. Until it succeeds, a
	// Select in which only orphans are ready asks the kernel every 2 ms.
	RepairPending bool

	// Shortages counts the waiting system calls that the kernel refused for
	// lack of memory or descriptors, or because RLIMIT_NOFILE was lowered below
	// the number of keys. Select repeats them.
	Shortages uint64
}

// counters are the figures of Stats. They change in rare cases only.
type counters struct {
	orphans, repairs, repairFailures, shortages atomic.Uint64
}

// Stats returns the counters. Any goroutine may call it, also after Close. The
// figures are not one atomic snapshot.
func (c *core) Stats() Stats {
	return Stats{
		Orphans:        c.counters.orphans.Load(),
		Repairs:        c.counters.repairs.Load(),
		RepairFailures: c.counters.repairFailures.Load(),
		RepairPending:  c.repairAt.Load() != 0,
		Shortages:      c.counters.shortages.Load(),
	}
}

const (
	// pauseTime is the time between two attempts of a Select that cannot wait in
	// the kernel: the kernel refuses the call, or it would return at once with the
	// events of orphans. It bounds how late an event or a wake is noticed. Five
	// hundred calls a second take about a thousandth of a processor.
	pauseTime = 2 * time.Millisecond

	// firstRepairDelay is the time from a failed repair to the next attempt. A
	// descriptor is often free again when the other goroutines have run.
	firstRepairDelay = 10 * time.Millisecond

	// lastRepairDelay bounds the time between attempts. An attempt on epoll makes
	// two system calls for each key, some 20 ms for 20 000 keys, so that one every
	// five seconds takes less than a hundredth of a processor.
	lastRepairDelay = 5 * time.Second
)

// pause waits until a system call is worth repeating, for at most left, or without
// that limit if it is negative.
func (c *core) pause(left time.Duration) {
	d := pauseTime
	if left >= 0 {
		d = min(d, left)
	}
	if c.wakes.Load() == 0 {
		time.Sleep(d)
	}
}

// noteOrphans is called when a batch has events of so many orphans.
func (c *core) noteOrphans(n int) {
	if n > c.orphans {
		c.counters.orphans.Add(uint64(n - c.orphans))
		c.orphans = n
	}
}

// requestRepair makes Select call backend.repair. The caller holds mu.
func (c *core) requestRepair() {
	if c.repairAt.Load() == 0 {
		c.repairAt.Store(int64(max(sys.Now(), 1)))
	}
	c.interrupt(wakeInternal)
}

// tryRepair calls backend.repair, unless an attempt has failed a short time ago. It
// reports success. The caller holds mu and selecting.
func (c *core) tryRepair() bool {
	if c.repairAt.Load() > int64(sys.Now()) {
		return false
	}
	if c.backend.repair(c) != nil {
		c.counters.repairFailures.Add(1)
		c.repairDelay = min(max(2*c.repairDelay, firstRepairDelay), lastRepairDelay)
		c.repairAt.Store(int64(sys.Now() + c.repairDelay))
		return false
	}
	c.counters.repairs.Add(1)
	c.orphans, c.repairDelay = 0, 0
	c.repairAt.Store(0)
	return true
}

// retryRepair is called before each poll or sleep while a repair is pending.
func (c *core) retryRepair() {
	if c.repairAt.Load() > int64(sys.Now()) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed.Load() {
		c.tryRepair()
	}
}

// untilRepair bounds a sleep by the time of the next attempt to repair.
func (c *core) untilRepair(left time.Duration) time.Duration {
	at := time.Duration(c.repairAt.Load())
	if at == 0 {
		return left
	}
	if wait := max(at-sys.Now(), pauseTime); left < 0 || wait < left {
		return wait
	}
	return left
}
