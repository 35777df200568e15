// Package wake has the means by which a goroutine ends another one's wait in the
// kernel: an eventfd on Linux, a pipe on other Unix systems, a socket on
// Windows, and an event of a kqueue's own where there is EVFILT_USER.
//
// A Waker has a descriptor that a wait watches beside the user's:
//
//	Open() error
//	FD() int       the descriptor; it is readable from Wake to Drain
//	Wake() error   any goroutine may call it, any number of times
//	Drain()        makes FD unreadable again
//	Close() error
//
// Descriptors are non-blocking and closed on exec.
package wake
