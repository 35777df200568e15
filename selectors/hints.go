package selectors

import "goselectors/selectors/internal/sys"

// This file has what the core does with level-triggered keys that have only hints
// to report.

// isNews handles a level-triggered key that has only hints to report. The kernel
// would repeat them without end: poll(2) and epoll_ctl(2) report hang-ups and
// errors whatever the interest. So they are reported once, and again when they
// have gone away and come back.
//
// The wait that follows the report is a check. If it does not report the key, the
// hints have gone, and the next ones are news. If it does, the key is muted, and a
// hang-up is taken for the one that was reported before. An error may be a new
// one, because an application can take errors away, by SO_ERROR and MSG_ERRQUEUE.
// So it is reported again. A muted key that the kernel reports later has changed.
func (c *core) isNews(fd int, e *entry, hints hintSet) bool {
	if c.hintsAreEdges {
		return true
	}
	was := e.state & (muted | checked)
	known := hints&^e.reportedHints == 0
	e.reportedHints = hints
	e.state = e.state&^checked | hintsReported
	switch {
	case was == 0 && !c.muteRepeats:
		c.checkHints(fd, e)
	case was&muted == 0:
		if c.mute(fd, e); e.state&muted == 0 {
			return !known // an orphan, which the kernel repeats until a repair
		}
		if c.muteRepeats {
			c.checkHints(fd, e)
		}
	}
	return was == muted || !known || Event(hints)&EventError != 0
}

func (c *core) mute(fd int, e *entry) {
	e.state |= muted
	if !c.backend.mute(fd, e) {
		if len(c.muted) == 0 {
			c.lastRecheck = sys.Now()
		}
		c.muted = append(c.muted, fd)
		c.mutedCount.Store(int32(len(c.muted)))
	}
	c.markDirty()
}

// A checkedKey is a registration whose hints are to be checked.
type checkedKey struct {
	fd         int
	generation uint32
}

// checkHints makes the next poll or sleep a check: if it does not report the key,
// the reported hints have gone.
func (c *core) checkHints(fd int, e *entry) {
	e.state |= checked
	c.checks = append(c.checks, checkedKey{fd, e.generation})
	c.checksSince = c.waits
}

// takeChecks returns the keys that the last wait was to check.
func (c *core) takeChecks() []checkedKey {
	if len(c.checks) == 0 {
		return nil
	}
	checks := c.checks
	c.checks, c.oldChecks = c.oldChecks[:0], checks
	if c.waits > c.checksSince+1 { // an earlier wait did, which found nothing
		c.endChecks(checks)
		return nil
	}
	return checks
}

// endChecks forgets the hints of those keys that were to be checked and have not
// been reported.
func (c *core) endChecks(checks []checkedKey) {
	for _, k := range checks {
		if e := c.table.find(k.fd); e != nil && e.generation == k.generation && e.state&checked != 0 {
			e.state &^= checked | hintsReported
			e.reportedHints = 0
		}
	}
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
	if c.waits > c.checksSince {
		c.endChecks(c.checks)
		c.checks = c.checks[:0]
	}
	for _, fd := range c.muted {
		if e := c.table.find(fd); e != nil && e.state&muted != 0 {
			e.state &^= muted
			c.backend.unmute(fd, e)
			c.checkHints(fd, e)
		}
	}
	c.muted = c.muted[:0]
	c.mutedCount.Store(0)
	c.backend.prepare(c)
}
