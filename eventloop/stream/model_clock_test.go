//go:build linux

package stream_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"goselectors/eventloop/stream"
)

// A modelClock has the timeouts of a connection.
type modelClock struct {
	now    time.Duration
	limits [modelTimeouts]time.Duration
	since  [modelTimeouts]time.Duration // when the time began to count at the latest
	read   time.Duration                // when data was received last
	taken  time.Duration                // when the peer has taken data last
	maybe  time.Duration                // when it may have
}

const (
	idleLimit = iota
	readLimit
	writeLimit
	firstLimit
	modelTimeouts
)

var modelTimeoutErrors = [modelTimeouts]error{stream.ErrIdle, stream.ErrReadTimeout, stream.ErrWriteTimeout, stream.ErrFirstByteTimeout}

func (c *modelClock) set(kind int, d time.Duration) { c.limits[kind], c.since[kind] = d, c.now }

func (c *modelClock) received() { c.read, c.limits[firstLimit] = c.now, 0 }

func (c *modelClock) resumed() { c.since[readLimit], c.since[firstLimit] = c.now, c.now }

func (c *modelClock) queued(before, after int) {
	c.maybe = c.now
	if before == 0 && after > 0 {
		c.since[writeLimit] = c.now
	}
}

// peerTook records that the peer has read; all if nothing is left.
func (c *modelClock) peerTook(all bool) {
	if c.maybe = c.now; all {
		c.taken = c.now
	}
}

// counts reports whether the time of a limit counts.
func (c *modelClock) counts(m *connModel, kind int) bool {
	switch kind {
	case readLimit, firstLimit:
		return (m.life <= inConnected || m.life == inFailing) && !m.readEnd && !m.paused
	case writeLimit:
		return m.unsent > 0
	}
	return true
}

// span returns the earliest and the latest time at which a limit ends the
// connection.
func (c *modelClock) span(kind int) (earliest, latest time.Duration) {
	from := c.since[kind]
	if kind == idleLimit || kind == readLimit {
		from = max(from, c.read)
	}
	until := from
	if kind == idleLimit || kind == writeLimit {
		from, until = max(from, c.taken), max(from, c.maybe+c.limits[kind]/8+2*clockStep)
	}
	return from + c.limits[kind], until + c.limits[kind]*5/4 + 2*clockStep
}

// clockStep is how far the clock advances between two checks.
const clockStep = 10 * time.Millisecond

func (c *modelClock) mayExpire(m *connModel, err error) bool {
	kind := slices.IndexFunc(modelTimeoutErrors[:], func(want error) bool { return errors.Is(err, want) })
	if kind < 0 || c.limits[kind] == 0 || !c.counts(m, kind) || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	earliest, _ := c.span(kind)
	return c.now >= earliest
}

func (c *modelClock) anyExpired(m *connModel) bool {
	for kind, limit := range c.limits {
		if earliest, _ := c.span(kind); limit > 0 && c.counts(m, kind) && c.now >= earliest {
			return true
		}
	}
	return false
}

func (c *modelClock) overdue(m *connModel) error {
	for kind, limit := range c.limits {
		if _, latest := c.span(kind); limit > 0 && m.alive() && c.counts(m, kind) && c.now > latest {
			return fmt.Errorf("no %w at %v, the latest time is %v", modelTimeoutErrors[kind], c.now, latest)
		}
	}
	return nil
}
