// Package park waits until an epoll set has something to report. There are two
// methods: parking the goroutine in Go's runtime poller, and blocking a thread in
// the kernel. A policy chooses between them.
//
//	gate_linux.go    parking: the set, the gate and the runtime poller
//	policy.go        the choice: from the lengths of sleeps; no system calls
//	waiter_linux.go  the Waiter, which puts them together with a waker and a timer
//
// The package does not depend on the contents of the set: it uses the interface
// [Set]. docs/waiting.md has the reasons and the figures.
//
// While the goroutine is parked, the kernel asks the files in the set through two
// other sets. The owner of the set forbids that with Forbid as long as the set has
// a file for which it makes a difference. Sleeps block then. MayAsk tells whether
// the kernel may be doing it now; if not, it does not begin before the owner has
// been asked with Set.Nest.
//
// A wake is never lost. The caller sets its pending wakes before Wake, and a sleep
// does not begin while there are any. Wake then finds the sleep in one of two
// states. If the goroutine is not parked, it writes to the waker, which stays
// readable in the set until it is harvested, so that a wait that begins later
// ends at once. If the goroutine is parked, it sets a read deadline in the past
// on the gate. The park reads the pending wakes after each reset of that
// deadline, so a deadline that it erases is noticed.
package park

import "time"

// A Set is the epoll set that a Waiter waits for, as its owner implements it.
type Set interface {
	// Poll harvests events without waiting and returns how many there are.
	Poll() (int, error)

	// Block harvests events and waits for them in the kernel, for at most
	// timeout, or without a limit if that is negative.
	Block(timeout time.Duration) (int, error)

	// HasUserEvents reports whether the last Poll or Block found an event of a
	// descriptor that the Waiter did not add.
	HasUserEvents() bool

	// Nest calls f, which opens the gate or makes the kernel ask the files in the
	// set through it. No file is added to the set meanwhile, and before the call
	// the owner has called Forbid if it has to. Nest returns the error of f.
	Nest(f func() error) error

	// Watch adds a descriptor of the Waiter's, for reading and edge-triggered,
	// so that it is reported once for each change and need not be read.
	Watch(fd int) error
}

// A Strategy is how a Waiter sleeps.
type Strategy uint8

const (
	Adaptive Strategy = iota // block for short sleeps, park for others: see policy
	Blocking                 // always block
	Parking                  // always park
)
