package kqueue

import "golang.org/x/sys/unix"

const (
	FilterUrgent = unix.EVFILT_EXCEPT // since OpenBSD 6.8
	FilterUser   = 0                  // does not exist
	NoteOOB      = unix.NOTE_OOB
	NoteTrigger  = 0
	Receipt      = unix.EV_RECEIPT
)

// Native is the dialect of this system.
var Native = Dialect{Name: "kqueue", UrgentFilter: true, Receipts: true, FIFOEnd: true}

// IsNamedPipe is asked only where a named pipe does not report its end.
func IsNamedPipe(*unix.Stat_t) bool { return false }
