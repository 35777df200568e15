package selectors

import "golang.org/x/sys/unix"

const (
	filterUrgent = unix.EVFILT_EXCEPT
	filterUser   = unix.EVFILT_USER
	noteOOB      = unix.NOTE_OOB
	noteTrigger  = unix.NOTE_TRIGGER
	evReceipt    = unix.EV_RECEIPT
)

type kqueueWaker = userWaker

var native = dialect{urgent: true, receipt: true, fifoEnd: true}

func isNamedPipe(*unix.Stat_t) bool { return false } // it does not matter
