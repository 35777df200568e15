// Package server holds what the server programs in examples repeat and do not
// teach: the command line, messages, signals, and the exit status.
package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"syscall"

	"goselectors/eventloop"
)

var name = "server" // of the program; set by Main

// AddrFlag defines the flag -addr.
func AddrFlag(defaultAddr string) *string {
	return flag.String("addr", defaultAddr, "listen on `host:port`; port 0 means any free port")
}

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
	name = programName
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: go run ./examples/%s [flags]\n", name)
		flag.PrintDefaults()
	}
	flag.Parse()
	var err error
	if flag.NArg() > 0 {
		err = UsageError{fmt.Errorf("unexpected argument %q", flag.Arg(0))}
	} else {
		err = run()
	}
	if err == nil {
		fmt.Printf("%s: bye\n", name)
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	if errors.As(err, new(UsageError)) {
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(1)
}

// Listening prints the address of the server.
func Listening(addr net.Addr) { fmt.Printf("%s: listening on %v\n", name, addr) }

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
