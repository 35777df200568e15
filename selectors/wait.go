package selectors

import (
	"slices"
	"time"

	"goselectors/selectors/internal/sys"
)

const (
	// maxSleep is the longest timeout passed to a kernel. A longer wait is
	// divided, so that no backend has to handle overflow.
	maxSleep = 24 * time.Hour

	// recheckInterval is the time between two checks of the entries that mute
	// removed from the kernel's set.
	recheckInterval = 100 * time.Millisecond
)

// Select implements [Selector].
func (c *core) Select(timeout time.Duration) ([]Ready, error) {
	return c.SelectInto(nil, timeout)
}

// SelectInto implements [Selector].
func (c *core) SelectInto(dst []Ready, timeout time.Duration) ([]Ready, error) {
	return c.selectUntil(nil, dst, timeout)
}

// selectUntil is what all forms of Select call. If ended is not nil, each round
// calls it and returns its error if there is one. interrupt starts a new round.
func (c *core) selectUntil(ended func() error, dst []Ready, timeout time.Duration) ([]Ready, error) {
	if !c.selecting.TryLock() {
		return dst, c.fail("select", -1, ErrConcurrentSelect)
	}
	if ended != nil {
		defer c.selecting.Unlock() // ended is user code, which may panic
		return c.selectLocked(ended, dst, timeout)
	}
	dst, err := c.selectLocked(nil, dst, timeout)
	c.selecting.Unlock() // not deferred, for speed: no user code has run
	return dst, err
}

func (c *core) selectLocked(ended func() error, dst []Ready, timeout time.Duration) ([]Ready, error) {
	given := len(dst)
	limit := timeLimit{timeout: timeout}
	for {
		// Clear the wakes before checking the state that their senders changed.
		woken := c.takeWakes()
		if c.dirty.Load() {
			if err := c.prepare(); err != nil {
				return dst, err
			}
		}
		if c.mutedCount.Load() != 0 {
			c.recheckMuted()
		}
		if c.repairAt.Load() != 0 {
			c.retryRepair()
		}
		if ended != nil {
			if err := ended(); err != nil {
				return dst, err
			}
		}

		mayWait := timeout != 0 && !woken && !c.hasReady()
		var n int
		var err error
		switch {
		case c.pollIsCheap || !mayWait:
			n, err = c.backend.poll()
		case c.scansAll && c.pollFirst.should():
			n, err = c.backend.poll()
			c.pollFirst.record(n > 0)
		}
		timeIsUp := timeout == 0
		if n == 0 && err == nil && mayWait {
			left := limit.remaining()
			if timeIsUp = left == 0; !timeIsUp {
				n, err = c.sleep(left)
				woken = c.takeWakes()
			}
		}
		refused := err != nil && sys.IsShortage(err)
		switch {
		case refused:
			c.counters.shortages.Add(1)
		case err != nil:
			return dst, c.fail("select", -1, err)
		}
		if n > 0 || c.hasReady() {
			if dst, err = c.collect(dst, n); err != nil {
				return dst[:given], err
			}
		}
		if len(dst) > given || woken || timeIsUp || (n > 0 || refused) && limit.remaining() == 0 {
			if c.closed.Load() {
				return dst[:given], c.fail("select", -1, ErrClosed)
			}
			return dst, nil
		}
		if refused || n > 0 && c.repairAt.Load() != 0 {
			c.pause(limit.remaining())
		}
	}
}

// A timeLimit computes how much of a timeout is left. It reads the clock when
// it is first asked.
type timeLimit struct {
	timeout  time.Duration
	deadline time.Duration // 0: not set yet
}

// remaining returns a negative duration for no limit.
func (l *timeLimit) remaining() time.Duration {
	if l.timeout <= 0 {
		return l.timeout
	}
	at := sys.Now()
	if l.deadline == 0 {
		l.deadline = at + l.timeout
		if l.deadline < at { // overflow: more than 292 years, as good as no limit
			l.timeout = -1
			return l.timeout
		}
	}
	return max(l.deadline-at, 0)
}

// pollFirst decides whether to poll before sleeping, on backends whose kernel
// checks every descriptor. If nothing is ready, the sleep checks all of them again.
// If something is ready, the poll saves much: a call with a timeout adds the
// caller to the wait queue of every file up to the first one that is ready. So a
// Select polls first as long as something is ready each time. After a poll that
// found nothing, it skips the poll in the next Selects: about twice as many each
// time, up to 63.
type pollFirst struct{ skip, backoff uint8 }

func (p *pollFirst) should() bool {
	if p.skip > 0 {
		p.skip--
		return false
	}
	return true
}

func (p *pollFirst) record(foundSome bool) {
	if foundSome {
		p.backoff /= 2
	} else {
		p.backoff = min(2*p.backoff+1, 63)
		p.skip = p.backoff
	}
}

// takeWakes clears the pending wakes and reports whether Wake was among them.
func (c *core) takeWakes() bool {
	return c.wakes.Load() != 0 && c.wakes.Swap(0)&wakeByUser != 0
}

// prepare calls backend.prepare after changes of the set.
func (c *core) prepare() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() { // dirty stays set, so that every later Select ends here
		return c.fail("select", -1, ErrClosed)
	}
	c.dirty.Store(false)
	c.waitGeneration = c.generation
	c.backend.prepare(c)
	return nil
}

func (c *core) sleep(left time.Duration) (int, error) {
	if left > maxSleep {
		left = maxSleep
	}
	if c.mutedCount.Load() != 0 && (left < 0 || left > recheckInterval) {
		left = recheckInterval
	}
	left = c.untilRepair(left)
	c.asleep.Store(true)
	defer c.asleep.Store(false)
	if c.wakes.Load() != 0 {
		return 0, nil
	}
	return c.backend.sleep(left)
}

// collect makes Ready entries from what the kernel reported.
func (c *core) collect(dst []Ready, n int) ([]Ready, error) {
	c.mu.Lock()
	dst, err := c.collectLocked(dst, n)
	c.mu.Unlock()
	return dst, err
}

func (c *core) collectLocked(dst []Ready, n int) ([]Ready, error) {
	if c.closed.Load() {
		return dst, c.fail("select", -1, ErrClosed)
	}
	given := len(dst)
	if n > 0 {
		c.staleEvents = 0
		dst = c.backend.collect(c, dst)
		// Stale events are normal if the set has changed since the wait began.
		// If it has not, they come from registrations that cannot be deleted, and
		// the kernel would repeat them without end.
		if c.staleEvents > 0 && c.generation == c.waitGeneration {
			c.noteOrphans(c.staleEvents)
			c.tryRepair()
		}
		c.waitGeneration = c.generation
	}
	if len(c.alwaysReady) > 0 {
		dst = c.collectAlwaysReady(dst)
	}
	if c.mustRecheck.Load() {
		dst = c.collectRechecks(dst, given)
	}
	return dst, nil
}

// hasReady reports whether there may be keys to report whatever the kernel's set
// says.
func (c *core) hasReady() bool {
	return c.alwaysReadyCount.Load() != 0 || c.mustRecheck.Load()
}

// A recheck is a key that the next Select asks by itself, or reports as ready for
// its interest without asking. It is for files that tell their news only to the
// first who asks.
type recheck struct {
	fd     int
	report bool // something else than a wait has asked, so there may have been news
}

// recheckLater makes the next Select recheck a key.
func (c *core) recheckLater(fd int, report bool) {
	c.rechecks = append(c.rechecks, recheck{fd, report})
	c.mustRecheck.Store(true)
	c.interrupt(wakeInternal)
}

// collectRechecks reports the keys of recheckLater that are ready and not among
// dst[given:].
func (c *core) collectRechecks(dst []Ready, given int) []Ready {
	list := c.rechecks
	c.rechecks = nil // report may add to it
	for _, r := range list {
		e := c.table.find(r.fd)
		if e == nil || slices.ContainsFunc(dst[given:], func(ready Ready) bool { return ready.Key == e.key }) {
			continue
		}
		events := e.events & interestBits
		if !r.report {
			set := [...]sys.PollFD{sys.NewPollFD(r.fd, toPoll(e.events))}
			if n, err := sys.Poll(set[:], 0); n == 0 || err != nil {
				continue
			}
			if events = fromPoll(uint32(uint16(set[0].Revents))); events&EventInvalid != 0 {
				continue
			}
		}
		dst = c.report(dst, e, events)
	}
	c.mustRecheck.Store(len(c.rechecks) > 0)
	return dst
}

// collectAlwaysReady reports the files that are always ready. It stops reporting
// those whose descriptor was closed.
func (c *core) collectAlwaysReady(dst []Ready) []Ready {
	for _, fd := range c.alwaysReady {
		e := c.table.find(fd)
		ready := e.events & (EventRead | EventWrite)
		if ready == 0 || e.state&disabled != 0 {
			continue
		}
		id, err := sys.FileID(fd)
		if stillOpen := err == nil && id == e.fileID; stillOpen {
			dst = append(dst, Ready{e.key, ready})
			if e.events&(OneShot|EdgeTriggered) == 0 {
				continue
			}
		}
		e.state |= disabled
		c.alwaysReadyCount.Add(-1)
	}
	return dst
}

// predatesWait reports whether an entry was registered before the last poll or
// sleep began. Backends whose kernel knows descriptors only by number use it, so
// that an event is not taken for one of a later registration of the same number.
func (c *core) predatesWait(e *entry) bool { return int32(e.generation-c.waitGeneration) <= 0 }

// reportCurrent is report for a descriptor of such a backend. It drops what was
// reported for an earlier registration or interest. If the file may not tell it
// again, the key is reported once instead.
func (c *core) reportCurrent(dst []Ready, fd int, events Event) []Ready {
	e := c.table.find(fd)
	switch {
	case e == nil:
	case c.predatesWait(e):
		return c.report(dst, e, events)
	case events&EventInvalid == 0 && sys.EffectOfAsking(fd) == sys.AskingTakesNews:
		c.recheckLater(fd, true)
	}
	return dst
}

// report appends the ready events of a descriptor: those of the interest, and the
// hints.
func (c *core) report(dst []Ready, e *entry, events Event) []Ready {
	events &= e.events | hintBits
	if e.state == 0 && events&e.events != 0 {
		return append(dst, Ready{e.key, events})
	}
	return c.reportUnusual(dst, e, events)
}

// reportUnusual is report for keys that are one-shot, muted, to be muted or
// closed.
func (c *core) reportUnusual(dst []Ready, e *entry, events Event) []Ready {
	fd := e.key.FD
	switch {
	case e.state&disabled != 0 || events == 0:
		if e.state&edgeWatched != 0 && events&e.events != 0 {
			e.nesting |= missedNews
		}
		return dst
	case events&EventInvalid != 0:
		c.backend.remove(fd, e)
		c.markDirty()
		e.state |= disabled | invalid
	case e.events&OneShot != 0:
		if !c.kernelOneShot {
			c.backend.remove(fd, e)
			c.markDirty()
		}
		e.state |= disabled
	case events&e.events != 0:
		if e.state&muted != 0 {
			c.backend.unmute(fd, e)
			c.markDirty()
		}
		e.state &^= muted | hintsReported
		e.reportedHints = 0
		if e.state&edgeWatched != 0 && e.events&EdgeTriggered == 0 {
			c.recheckLater(fd, false) // as long as it is ready
		}
	case e.events&EdgeTriggered == 0:
		// Only hints, and the kernel would repeat them without end: poll(2) and
		// epoll_ctl(2) report hang-ups and errors whatever the interest. Report
		// them once and wait for changes.
		if e.state&muted == 0 {
			c.mute(fd, e)
		}
		hints := hintSet(events)
		if hints&^e.reportedHints == 0 {
			return dst
		}
		e.reportedHints |= hints
		e.state |= hintsReported
	}
	return append(dst, Ready{e.key, events})
}

func (c *core) mute(fd int, e *entry) {
	e.state |= muted
	if !c.backend.mute(fd, e) {
		c.muted = append(c.muted, fd)
		c.mutedCount.Store(int32(len(c.muted)))
	}
	c.markDirty()
}

// recheckMuted puts back the entries that mute removed from the kernel's set, at
// most once in a recheckInterval.
func (c *core) recheckMuted() {
	at := sys.Now()
	if at-c.lastRecheck < recheckInterval {
		return
	}
	c.lastRecheck = at
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fd := range c.muted {
		if e := c.table.find(fd); e != nil && e.state&muted != 0 {
			e.state &^= muted
			c.backend.unmute(fd, e)
		}
	}
	c.muted = c.muted[:0]
	c.mutedCount.Store(0)
	c.backend.prepare(c)
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
