// Package server holds what the server programs in examples repeat and do not
// teach beside what package cli has: the end of the program, and its loop.
package server

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/examples/internal/cli"
)

// A UsageError is an error in the command line.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Main parses the command line of a program and calls run, which serves until a
// signal ends it. The program name is also its directory in examples. Main
// exits with status 1 if run fails, and with status 2 and the usage if run
// returns a UsageError or the command line is wrong. An argument that is not a
// flag is wrong.
func Main(programName string, run func() error) {
	cli.Parse(programName)
	err := run()
	if errors.As(err, new(UsageError)) {
		cli.UsageError("%v", err)
	}
	cli.Check(err)
	cli.Printf("bye")
}

// Listening prints the address of the server.
func Listening(addr net.Addr) { cli.Printf("listening on %v", addr) }

// grace is how long connections may take to finish after a signal.
const grace = 5 * time.Second

// ListenAndRun serves TCP connections on addr until Ctrl-C or SIGTERM, and prints
// the address of the listener. After the signal it accepts no more connections,
// calls ShutdownRequested of the handlers that have it, closes the other
// connections, and waits until all have ended. It aborts them after the grace
// period, or on a second signal.
func ListenAndRun(loop *eventloop.Loop, addr string, newHandler func() stream.Handler) error {
	open := make(map[*stream.Conn]*handler)
	l, err := stream.Listen(loop, "tcp", addr, func() stream.Handler { return &handler{newHandler(), open, nil} })
	if err != nil {
		return err
	}
	defer l.Close()
	stopping := false
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		_, err := loop.OnSignal(sig, func(os.Signal) {
			if stopping {
				loop.Stop()
				return
			}
			stopping = true
			l.Close()
			shutdown(loop, open)
		})
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	Listening(l.Addr())
	return loop.Run(context.Background())
}

// A shutdownHandler is a handler that finishes its work before the connection is
// closed.
type shutdownHandler interface{ ShutdownRequested(c *stream.Conn) }

// shutdown ends the open connections and then the loop.
func shutdown(loop *eventloop.Loop, open map[*stream.Conn]*handler) {
	if len(open) == 0 {
		loop.Stop()
		return
	}
	for c, h := range open {
		h.onLastLost = loop.Stop
		if h, ok := h.Handler.(shutdownHandler); ok {
			h.ShutdownRequested(c)
		} else {
			c.Close()
		}
	}
	loop.CallLater(grace, func() {
		for c := range open {
			c.Abort()
		}
	})
}

// A handler keeps its connection in the set of open connections.
type handler struct {
	stream.Handler
	open       map[*stream.Conn]*handler
	onLastLost func() // nil until shutdown
}

func (h *handler) ConnectionMade(c *stream.Conn) {
	h.open[c] = h
	h.Handler.ConnectionMade(c)
}

func (h *handler) ConnectionLost(c *stream.Conn, err error) {
	delete(h.open, c)
	h.Handler.ConnectionLost(c, err)
	if len(h.open) == 0 && h.onLastLost != nil {
		h.onLastLost()
	}
}
