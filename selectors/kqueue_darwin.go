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

var native = dialect{urgent: true, receipt: true}

// isNamedPipe tells a pipe in a file system from one of pipe(2), which is on no
// device.
func isNamedPipe(st *unix.Stat_t) bool { return st.Dev != 0 }
