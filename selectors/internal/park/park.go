// Package park waits until one pollable descriptor, an epoll set, has something
// to report. It knows two ways: to park the goroutine in Go's runtime poller, and
// to block a thread in the kernel; a policy chooses between them.
//
//	gate_linux.go    parking: the set, the gate and the runtime poller
//	policy.go        the choice: sleep lengths in, decision out; no system calls
//	waiter_linux.go  the Waiter, which puts them together with a waker and a timer
//
// The package knows nothing of what is in the set: it sees it through the
// interface [Set]. docs/waiting.md has the reasons and the figures.
package park

import "time"

// A Set is the descriptor that a Waiter waits for.
type Set interface {
	// Poll harvests events without waiting and returns how many there are.
	Poll() (int, error)

	// Block harvests events and waits for them in the kernel, for at most
	// timeout, or without a limit if that is negative.
	Block(timeout time.Duration) (int, error)

	// HasUserEvents reports whether the last Poll or Block found an event of a
	// descriptor that the Waiter did not add.
	HasUserEvents() bool

	// Watch adds a descriptor of the Waiter's, for reading and edge-triggered,
	// so that it need not be read to fall silent.
	Watch(fd int) error
}

// A Strategy is how a Waiter sleeps.
type Strategy uint8

const (
	Adaptive Strategy = iota // block for short sleeps, park for others: see policy
	Blocking                 // always block
	Parking                  // always park
)
