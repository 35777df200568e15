package selectors

import (
	"time"

	"goselectors/selectors/internal/sys"
)

// This file has what the core does when the kernel refuses something for the
// moment, and when its set has to be made right.

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
