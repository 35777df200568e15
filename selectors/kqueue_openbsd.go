package selectors

import "golang.org/x/sys/unix"

const (
	filterUrgent = unix.EVFILT_EXCEPT // since OpenBSD 6.8
	noteOOB      = unix.NOTE_OOB
	evReceipt    = unix.EV_RECEIPT
)

type kqueueWaker = pipeWaker

var native = dialect{urgent: true, receipt: true, fifoEnd: true}

func isNamedPipe(*unix.Stat_t) bool { return false } // it does not matter
