package stream

import (
	"time"

	"goselectors/eventloop"
)

// SetIdleTimeout ends the connection with [ErrIdle] when nothing moves for d: no
// data is received, and the peer accepts no data that was sent to it. Data that
// only fills the kernel's buffer does not count, where the kernel tells how much it
// holds (Linux, macOS, FreeBSD; elsewhere it counts). A peer that accepts data
// slowly keeps the connection alive. (On a Unix socket the kernel reports data as
// accepted in pieces of up to half the size of the send buffer, on Linux about
// 100 KiB.)
//
// For this timeout and the other ones: zero or less means none. A call replaces the
// earlier timeout and counts from now. The connection ends at the earliest after d,
// and on an idle loop at the latest after 5/4 d.
func (c *Conn) SetIdleTimeout(d time.Duration) { c.setTimeout(idleTimeout, d) }

// SetReadTimeout ends the connection with [ErrReadTimeout] when no data is received
// for d. The time does not count while reading is paused, and after the end of the
// peer's data. What the connection sends makes no difference.
func (c *Conn) SetReadTimeout(d time.Duration) { c.setTimeout(readTimeout, d) }

// SetWriteTimeout ends the connection with [ErrWriteTimeout] when data is queued
// (see Unsent and SendFile) and the peer accepts none for d.
func (c *Conn) SetWriteTimeout(d time.Duration) { c.setTimeout(writeTimeout, d) }

// timeoutKind is the index of a timeout in deadlines.limits.
type timeoutKind int

const (
	idleTimeout timeoutKind = iota
	readTimeout
	writeTimeout
	firstByteTimeout // removed by the first byte
	timeoutKinds
)

var timeoutErrors = [timeoutKinds]error{ErrIdle, ErrReadTimeout, ErrWriteTimeout, ErrFirstByteTimeout}

// deadlines ends a connection that makes no progress for too long. Progress is
// frequent, so it is only recorded. One timer checks the records.
type deadlines struct {
	timer    *eventloop.Timer
	limits   [timeoutKinds]time.Duration // 0: none
	since    [timeoutKinds]time.Duration // when the limit was set, or began to count
	lastRead time.Duration               // on the loop's clock, as the other times

	// The peer's progress in accepting data. A peer accepts data without an event
	// here. So while some is on its way, the timer checks several times per limit.
	lastAccepted time.Duration
	sent         int64 // bytes given to the kernel
	accepted     int64 // of these, at the last check
	watching     bool  // data is on its way: check soon
}

// setTimeouts sets the timeouts of the options when the connection is connected.
func (c *Conn) setTimeouts() {
	for kind, d := range c.opts.timeouts {
		if d > 0 && (c.deadlines == nil || c.deadlines.limits[kind] == 0) {
			c.setTimeout(timeoutKind(kind), d)
		}
	}
	if c.deadlines != nil && c.out != nil {
		c.deadlines.noteQueued(c) // the write timeout counts from now
	}
}

func (c *Conn) setTimeout(kind timeoutKind, d time.Duration) {
	if !c.alive() || d <= 0 && c.deadlines == nil {
		return
	}
	t := c.deadlines
	if t == nil {
		t = &deadlines{}
		timer, err := c.loop.CallLater(d, func() { t.check(c) })
		if err != nil { // the loop is closed: nothing expires any more
			return
		}
		t.timer, c.deadlines = timer, t
	}
	t.limits[kind], t.since[kind] = max(d, 0), c.loop.ReadClock()
	if t.limits == [timeoutKinds]time.Duration{} {
		c.stopTimeouts()
		return
	}
	t.noteAccepted(c, t.since[kind])
	t.schedule(c, t.since[kind])
}

func (c *Conn) stopTimeouts() {
	if c.deadlines != nil {
		c.deadlines.timer.Stop()
		c.deadlines = nil
	}
}

// noteRead records that data was received.
func (t *deadlines) noteRead(c *Conn) {
	t.lastRead = c.loop.ReadClock()
	t.limits[firstByteTimeout] = 0
}

// noteWrite records that n bytes were given to the kernel.
func (t *deadlines) noteWrite(c *Conn, n int) {
	t.sent += int64(n)
	if !t.watching {
		t.watch(c, c.loop.ReadClock())
	}
}

// noteQueued records that the queue is not empty any more.
func (t *deadlines) noteQueued(c *Conn) {
	now := c.loop.ReadClock()
	t.since[writeTimeout] = now
	if t.watching {
		t.schedule(c, now) // the timer may have been stopped: the write timeout counts only now
	} else {
		t.watch(c, now)
	}
}

// watch makes the timer check soon, because data is on its way. The peer gets the
// whole time to accept it.
func (t *deadlines) watch(c *Conn, now time.Duration) {
	t.watching, t.lastAccepted = true, now
	t.schedule(c, now)
}

// readingResumed makes the timeouts of reading count anew.
func (t *deadlines) readingResumed(c *Conn) {
	now := c.loop.ReadClock()
	t.since[readTimeout], t.since[firstByteTimeout] = now, now
	t.schedule(c, now)
}

// check is the timer's function.
func (t *deadlines) check(c *Conn) {
	now := c.loop.ReadClock()
	t.noteAccepted(c, now)
	for kind, limit := range t.limits {
		if limit > 0 && t.counts(c, timeoutKind(kind)) && now-t.start(timeoutKind(kind)) >= limit {
			if c.out != nil {
				resetOnClose(int(c.fd)) // the peer must not take the end for the end of the data
			}
			c.finish(timeoutErrors[kind])
			return
		}
	}
	t.schedule(c, now)
}

// noteAccepted looks how much data the peer has accepted.
func (t *deadlines) noteAccepted(c *Conn, now time.Duration) {
	held, ok := kernelUnsent(int(c.fd), c.kind)
	if !ok {
		held = 0
	}
	accepted := t.sent - int64(held)
	if accepted > t.accepted {
		t.lastAccepted = now
	}
	t.accepted = accepted // may be less than before: for a Unix socket, held includes an overhead
	t.watching = held > 0 || c.out != nil
}

// counts reports whether the time of a timeout counts in the state of the
// connection.
func (t *deadlines) counts(c *Conn, kind timeoutKind) bool {
	switch kind {
	case readTimeout, firstByteTimeout:
		return c.life < closing && c.reading == readOpen && !c.paused
	case writeTimeout:
		return c.out != nil && c.life != starting
	}
	return true
}

// start returns the time from which a timeout counts.
func (t *deadlines) start(kind timeoutKind) time.Duration {
	start := t.since[kind]
	if kind == idleTimeout || kind == readTimeout {
		start = max(start, t.lastRead)
	}
	if kind == idleTimeout || kind == writeTimeout {
		start = max(start, t.lastAccepted)
	}
	return start
}

// schedule sets the timer for the first timeout that can expire, or earlier if data
// is on its way.
func (t *deadlines) schedule(c *Conn, now time.Duration) {
	next := time.Duration(-1)
	for kind, limit := range t.limits {
		if limit == 0 || !t.counts(c, timeoutKind(kind)) {
			continue
		}
		left := limit - (now - t.start(timeoutKind(kind)))
		if t.watching && (kind == int(idleTimeout) || kind == int(writeTimeout)) {
			left = min(left, max(limit/8, time.Millisecond))
		}
		if left = max(left, 0); next < 0 || left < next {
			next = left
		}
	}
	if next < 0 {
		t.timer.Stop()
	} else {
		t.timer.Reset(next)
	}
}
