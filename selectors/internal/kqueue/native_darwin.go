package kqueue

import "golang.org/x/sys/unix"

const (
	FilterUrgent = unix.EVFILT_EXCEPT
	FilterUser   = unix.EVFILT_USER
	NoteOOB      = unix.NOTE_OOB
	NoteTrigger  = unix.NOTE_TRIGGER
	Receipt      = unix.EV_RECEIPT
)

// Native is the dialect of this system.
var Native = Dialect{Name: "kqueue", UrgentFilter: true, Receipts: true, UserEvents: true}

// IsNamedPipe tells a pipe in a file system from one of pipe(2), which has no
// device number.
func IsNamedPipe(st *unix.Stat_t) bool { return st.Dev != 0 }
