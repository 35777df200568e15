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
	if c.backend == nil {
		return dst, c.fail("select", -1, ErrClosed)
	}
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
			c.waits++
			n, err = c.backend.poll()
		case c.scansAll && c.pollFirst.should():
			c.waits++
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
	c.waits++
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
	c.mayFollow = min(n, c.table.len) + len(c.alwaysReady)
	if n > 0 {
		c.staleEvents = 0
		checks := c.takeChecks()
		dst = c.backend.collect(c, dst)
		c.endChecks(checks)
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
			dst = c.append(dst, Ready{e.key, ready})
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

// append appends a report. It grows dst at most once in a batch, and only if dst
// has no room.
func (c *core) append(dst []Ready, r Ready) []Ready {
	if len(dst) == cap(dst) {
		dst = slices.Grow(dst, max(c.mayFollow, 1))
	}
	return append(dst, r)
}

// report appends the ready events of a descriptor: those of the interest, and the
// hints.
func (c *core) report(dst []Ready, e *entry, events Event) []Ready {
	events &= e.events | hintBits
	if e.state == 0 && events&e.events != 0 {
		return c.append(dst, Ready{e.key, events})
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
		e.state &^= muted | checked | hintsReported
		e.reportedHints = 0
		if e.state&edgeWatched != 0 && e.events&EdgeTriggered == 0 {
			c.recheckLater(fd, false) // as long as it is ready
		}
	case e.events&EdgeTriggered == 0:
		if !c.isNews(fd, e, hintSet(events)) {
			return dst
		}
	}
	return c.append(dst, Ready{e.key, events})
}
