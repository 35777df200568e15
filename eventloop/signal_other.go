//go:build !plan9

package eventloop

import (
	"os"
	"syscall"
)

// catchable reports whether a signal exists and a process can catch it. No
// system numbers its signals beyond 128, and Go knows up to 64 of them.
func catchable(sig os.Signal) bool {
	s, ok := sig.(syscall.Signal)
	return ok && s > 0 && s <= 64 && s != syscall.SIGKILL && !unstoppable(s)
}
