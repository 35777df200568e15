//go:build !plan9

package eventloop

import (
	"os"
	"syscall"
)

// isCatchable reports whether a signal exists and a process can catch it. No
// system has signal numbers above 128, and Go supports numbers up to 64.
func isCatchable(sig os.Signal) bool {
	s, ok := sig.(syscall.Signal)
	return ok && s > 0 && s <= 64 && s != syscall.SIGKILL && !isStopSignal(s)
}
