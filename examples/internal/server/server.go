// Package server holds what the server programs in examples repeat and do not
// teach beside what package cli has: the end of the program, and its loop.
package server

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"goselectors/eventloop"
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

// RunLoop prints the address of the server and runs its loop until Ctrl-C or
// SIGTERM.
func RunLoop(loop *eventloop.Loop, addr net.Addr) error {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		_, err := loop.OnSignal(sig, func(os.Signal) { loop.Stop() })
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	Listening(addr)
	return loop.Run(context.Background())
}
