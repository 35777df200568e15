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
// the address of the listener. After the signal it shuts the listener down: see
// [stream.Listener.Shutdown] and [stream.ShutdownHandler]. Connections that are open
// after the grace period are aborted; a second signal ends the loop at once.
func ListenAndRun(loop *eventloop.Loop, addr string, newHandler func() stream.Handler) error {
	l, err := stream.Listen(loop, "tcp", addr, newHandler)
	if err != nil {
		return err
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := func(os.Signal) {
		if l.Shutdown(ctx, func(error) { loop.Stop() }) != nil {
			loop.Stop() // it is the second signal
			return
		}
		loop.CallLater(grace, cancel)
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if _, err := loop.OnSignal(sig, stop); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	Listening(l.Addr())
	return loop.Run(context.Background())
}
