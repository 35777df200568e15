package main

import (
	"cmp"
	"context"
	"fmt"

	"goselectors/eventloop/stream"
)

// stop ends the server. It waits until the answers in progress are complete or ctx
// ends.
func (s *httpServer) stop(ctx context.Context) error {
	err := s.group.Shutdown(ctx) // calls ShutdownRequested of each client
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("answers were cut at the end of the grace: %w", err)
	}
	return cmp.Or(err, s.root.Close())
}

// ShutdownRequested implements stream.ShutdownHandler. An idle connection is
// closed. Otherwise the client gets the response to the request that it has sent or
// is sending, with "Connection: close" if the response has not started yet.
func (c *client) ShutdownRequested(*stream.Conn) {
	c.finishing = true
	// A request may wait in the kernel. The loop reads it in its next turn, before
	// it calls timers.
	c.loop.CallLater(0, c.stopIfDone)
}

// stopIfDone closes the connection if it has no request to respond to.
func (c *client) stopIfDone() {
	switch {
	case c.responding || c.writePaused || c.lastResponse || len(c.unparsed) > 0:
	case c.bodyRemaining > 0 || c.conn.Unsent() > 0:
		c.lastResponse = true
		c.conn.CloseWrite() // see phaseLinger
		c.updateDeadline()
	default:
		c.conn.Close()
	}
}
