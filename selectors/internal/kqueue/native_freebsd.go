package kqueue

import "golang.org/x/sys/unix"

const (
	FilterUrgent = 0 // does not exist
	FilterUser   = unix.EVFILT_USER
	NoteOOB      = 0
	NoteTrigger  = unix.NOTE_TRIGGER
	Receipt      = unix.EV_RECEIPT
)

// Native is the dialect of this system.
var Native = Dialect{Name: "kqueue", Receipts: true, FIFOEnd: true, UserEvents: true}

// IsNamedPipe is asked only where a named pipe does not report its end.
func IsNamedPipe(*unix.Stat_t) bool { return false }
