package selectors

import "golang.org/x/sys/unix"

const (
	filterUrgent = -1 // there is none; 0 is EVFILT_READ here
	noteOOB      = 0
	evReceipt    = 0 // not in every version
)

type kqueueWaker = pipeWaker

var native = dialect{fifoEnd: true}

func isNamedPipe(*unix.Stat_t) bool { return false } // it does not matter
