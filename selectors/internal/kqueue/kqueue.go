//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && simkqueue)

// Package kqueue is the kevent(2) call: of the real kernels and, with the build
// tag simkqueue, of a simulation on Linux that tests use. Both have
//
//	Queue    Open, Call and Close
//	Event    one change or one event
//	Native   the Dialect of this system
//	IsPlainFile, IsTerminal, IsNamedPipe, about a descriptor
//
// and the constants of kevent(2), without their prefixes.
package kqueue

// A Dialect holds what differs between the systems that have a kqueue.
type Dialect struct {
	Name         string // of the backend: "kqueue"
	UrgentFilter bool   // there is a filter for urgent data, EVFILT_EXCEPT with NOTE_OOB
	Receipts     bool   // there is EV_RECEIPT
	FIFOEnd      bool   // a named pipe reports that its last writer has gone
	UserEvents   bool   // there is EVFILT_USER
}
