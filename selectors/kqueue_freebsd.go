package selectors

import "golang.org/x/sys/unix"

const (
	filterUrgent = 0 // there is none
	filterUser   = unix.EVFILT_USER
	noteOOB      = 0
	noteTrigger  = unix.NOTE_TRIGGER
	evReceipt    = unix.EV_RECEIPT
)

type kqueueWaker = userWaker

var native = dialect{receipt: true, fifoEnd: true}

func isNamedPipe(*unix.Stat_t) bool { return false } // it does not matter
