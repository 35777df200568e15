package main

import (
	"net/http"
	"time"

	"goselectors/eventloop"
)

// timeLimits limit what clients can do to hold connections and memory.
type timeLimits struct {
	header   time.Duration // from the first byte of a request, or the connection, to the end of the header
	body     time.Duration // from the end of the header to the end of the body
	idle     time.Duration // between requests
	response time.Duration // without progress of the client in reading responses; see stream.WithWriteTimeout
}

// responseCheck is the time after which the end of a response is noticed, if it was
// queued.
const responseCheck = time.Second

// lingerTimeout limits the time between the last response and the end of the
// connection: see phaseLinger.
const lingerTimeout = 5 * time.Second

// A phase is what the server waits for. The zero value is not a phase.
type phase uint8

const (
	_ phase = iota

	// phaseHeader: the end of a request header. A deadline for each read would not
	// help: a client that sends a byte every few seconds would hold its connection
	// for ever. This attack is known as Slowloris.
	phaseHeader

	// phaseBody: the end of a request body.
	phaseBody

	// phaseIdle: the next request.
	phaseIdle

	// phaseResponse: the response in progress, or the client that has to read
	// responses. A response may be long and a client slow, so there is no limit here.
	// The client has to make progress: package stream sees to that.
	phaseResponse

	// phaseLinger: the end of the input, after the last response. If the connection
	// were closed while the client still sends, the kernel would reset it, and the
	// client could lose the response before it has read it.
	phaseLinger
)

// A deadline ends a phase that takes too long.
type deadline struct {
	phase phase
	at    time.Time        // end of the phase
	timer *eventloop.Timer // expires at the deadline or earlier

	requests   int // parsed
	ofRequests int // value of requests when the phase began
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// currentPhase returns what the server waits for.
func (c *client) currentPhase() phase {
	switch {
	case c.responding || c.conn.Unsent() > 0:
		return phaseResponse
	case c.lastResponse:
		return phaseLinger
	case c.bodyRemaining > 0:
		return phaseBody
	case len(c.unparsed) > 0 || c.deadline.requests == 0:
		return phaseHeader
	default:
		return phaseIdle
	}
}

// limit returns the longest duration of a phase.
func (c *client) limit(p phase) time.Duration {
	switch p {
	case phaseHeader:
		return c.limits.header
	case phaseBody:
		return c.limits.body
	case phaseIdle:
		return c.limits.idle
	case phaseResponse:
		return responseCheck
	default:
		return lingerTimeout
	}
}

// updateDeadline sets the deadline again if another phase has begun. Most requests
// only move the deadline of an idle connection. For this it is enough to record the
// time: the timer is set again when it expires too early.
func (c *client) updateDeadline() {
	d := &c.deadline
	p := c.currentPhase()
	if c.conn.Closed() || p == d.phase && d.requests == d.ofRequests {
		return
	}
	d.phase, d.ofRequests = p, d.requests
	c.setDeadline(time.Now().Add(c.limit(p)))
}

// setDeadline sets the deadline, and sets the timer if it would expire too late. It
// uses the clock and not the time of the turn: callbacks that ran before in this
// turn may have taken long.
func (c *client) setDeadline(at time.Time) {
	d := &c.deadline
	isEarlier := at.Before(d.at)
	d.at = at
	switch {
	case d.timer == nil:
		d.timer, _ = c.loop.CallLater(time.Until(at), c.deadlineReached)
	case isEarlier || !d.timer.Active():
		d.timer.Reset(time.Until(at))
	}
}

// deadlineReached is called by the timer.
func (c *client) deadlineReached() {
	d := &c.deadline
	if c.conn.Closed() {
		return // package stream sees to the rest
	}
	c.updateDeadline() // the last response may be sent now
	if left := time.Until(d.at); left > 0 {
		d.timer.Reset(left)
		return
	}
	switch {
	case d.phase == phaseResponse:
		c.setDeadline(time.Now().Add(responseCheck))
	case d.phase == phaseHeader && len(c.unparsed) > 0:
		c.refuse(&fault{http.StatusRequestTimeout, "the header is not complete in time"})
		c.serve(nil) // writes the response and ends the connection
	default:
		c.conn.Close()
	}
}
