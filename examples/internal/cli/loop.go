package cli

import (
	"os"
	"syscall"

	"goselectors/eventloop"
)

// StopOnInterrupt stops the loop on Ctrl-C and on SIGTERM. Lesson 4 shows how a
// loop handles signals.
func StopOnInterrupt(loop *eventloop.Loop) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		_, err := loop.OnSignal(sig, func(os.Signal) { loop.Stop() })
		Check(err)
	}
}
