// Package cli holds what the programs in examples repeat and do not teach: flags,
// messages, and the exit on an error.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"

	"goselectors/selectors"
)

var name = "example" // of the program; set by Parse

// AddrFlag defines the flag -addr of a server.
func AddrFlag(defaultAddr string) *string {
	return flag.String("addr", defaultAddr, "listen on `host:port`; port 0 means any free port")
}

// BackendFlag defines the flag -backend. It sets the environment variable that
// selectors.NewDefaultSelector reads, so it also works for an event loop.
func BackendFlag() {
	var names []string
	for _, b := range selectors.Backends() {
		names = append(names, b.Name)
	}
	available := strings.Join(names, ", ")
	flag.Func("backend", "use the backend with this `name` instead of the best one; here: "+available, func(value string) error {
		for _, n := range names {
			if n == value {
				return os.Setenv(selectors.BackendEnv, value)
			}
		}
		return errors.New("unknown backend; available: " + available)
	})
}

// Parse parses the command line of the program with the given name, which is
// also its directory in examples. A wrong flag prints the usage and ends the
// program with exit status 2. So does an argument that is not a flag.
func Parse(programName string) {
	name = programName
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: go run ./examples/%s [flags]\n", name)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		UsageError("unexpected argument %q", flag.Arg(0))
	}
}

// UsageError prints what is wrong with the command line and the usage, and ends
// the program with exit status 2.
func UsageError(format string, args ...any) {
	Errorf(format, args...)
	flag.Usage()
	os.Exit(2)
}

// Listening prints the address of a server and a command to connect to it. The
// details are printed between the two; they may be empty.
func Listening(addr net.Addr, details string) {
	if details != "" {
		details = ", " + details
	}
	host, port, _ := net.SplitHostPort(addr.String())
	Printf("listening on %v%s; connect with: nc %s %s (or telnet)", addr, details, host, port)
}

// Printf prints a line that begins with the name of the program.
func Printf(format string, args ...any) {
	fmt.Printf(name+": "+format+"\n", args...)
}

// Errorf prints such a line to standard error.
func Errorf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, name+": "+format+"\n", args...)
}

// Check ends the program with exit status 1 if err is not nil.
func Check(err error) {
	if err != nil {
		Errorf("%v", err)
		os.Exit(1)
	}
}

// CheckOp is Check for the result of a named operation.
func CheckOp(op string, err error) {
	if err != nil {
		Check(fmt.Errorf("%s: %w", op, err))
	}
}

// Unsupported is the main function of a program on a platform that cannot run it.
func Unsupported(programName, reason string) {
	name = programName
	Check(errors.New(reason))
}
