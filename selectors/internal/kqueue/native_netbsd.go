package kqueue

import "golang.org/x/sys/unix"

const (
	FilterUrgent = -1 // does not exist; 0 is EVFILT_READ here
	FilterUser   = -1 // since NetBSD 10
	NoteOOB      = 0
	NoteTrigger  = 0
	Receipt      = 0 // not in every version
)

// Native is the dialect of this system.
var Native = Dialect{Name: "kqueue", FIFOEnd: true}

// IsNamedPipe is asked only where a named pipe does not report its end.
func IsNamedPipe(*unix.Stat_t) bool { return false }
