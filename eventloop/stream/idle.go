package stream

import (
	"time"

	"goselectors/eventloop"
)

// SetIdleTimeout ends the connection with [ErrIdle] when no data is read or sent
// for d. With d <= 0 the connection has no idle timeout. Data that waits because
// the peer does not read, or because of PauseReading, does not count as
// activity. A call replaces the earlier timeout and restarts the timer.
func (c *Conn) SetIdleTimeout(d time.Duration) {
	if c.idle != nil {
		c.idle.timer.Stop()
		c.idle = nil
	}
	if d <= 0 || c.state&ended != 0 {
		return
	}
	t := &idleTimer{limit: d}
	t.noteActivity(c)
	var err error
	if t.timer, err = c.loop.CallLater(d, func() { t.expire(c) }); err == nil {
		c.idle = t
	}
}

// An idleTimer ends a connection without activity. Activity can be frequent, so
// it only records the time. The timer is set again when it expires.
type idleTimer struct {
	timer        *eventloop.Timer
	limit        time.Duration
	lastActivity time.Duration // in the loop's time
}

func (t *idleTimer) noteActivity(c *Conn) { t.lastActivity = c.loop.Now() }

func (t *idleTimer) expire(c *Conn) {
	if left := t.lastActivity + t.limit - c.loop.Now(); left > 0 {
		t.timer.Reset(left)
		return
	}
	if c.state&closing != 0 {
		resetOnClose(int(c.fd)) // the peer does not read the queued data
	}
	c.finish(ErrIdle)
}
