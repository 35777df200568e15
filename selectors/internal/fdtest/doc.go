// Package fdtest makes descriptors for tests: pipes, socket pairs, listeners,
// terminals. It does not import package selectors, so that the white-box tests
// of that package can use it too.
//
// Every descriptor that a helper returns is non-blocking, is closed at the end
// of the test, and has a number from FirstFD up, where only tests allocate. A
// test may therefore close a descriptor early and still use its number: no
// other goroutine of the process gets that number meanwhile.
//
// The helpers fail the test on an error. They are for the test's own goroutine.
package fdtest

import "time"

const (
	// Timeout bounds the wait for an event that must happen.
	Timeout = 10 * time.Second
	// QuietTime is how long a test waits to see that nothing happens.
	QuietTime = 20 * time.Millisecond
)
