// Package looptest tests programs built on package eventloop without sleeping
// and without sockets. It has two parts:
//
//   - [Clock] is a virtual clock. The loop's timers run by it.
//   - [Selector] is a scripted selector. It implements [selectors.Selector]
//     without a kernel: the test writes a script that says which file becomes
//     ready, for which events, and at which virtual time.
//
// Where the loop would sleep, the selector moves the clock forward instead. A
// test of timeouts of an hour takes microseconds.
//
//	loop, clock, sel := looptest.New()
//	defer loop.Close()
//	sel.Once(3*time.Second, "client", selectors.EventRead)
//	loop.Register("client", selectors.EventRead, callback)
//	loop.RunOnce(-1) // runs callback; clock.Now() is 3s
//
// # Guarantees
//
// The clock moves only in Select, to the next step of the script or to the end
// of the timeout, whichever is earlier, and in [Clock.Advance]. A callback calls
// Advance to simulate slow work.
//
// A test that starts no goroutines runs in the same order each time: the clock
// never goes backwards, steps for the same time run in the order in which they
// were added, and Select reports files in the order in which they became ready.
//
// A Select blocks in real time only if it has no timeout, the script has no
// steps left and nothing is ready. It then waits for another goroutine, and
// fails with [ErrStuck] after 10 s: see [Selector.SetStuckAfter].
//
// The virtual clock does not wait for real goroutines, such as those of
// [eventloop.Loop.Do]. If a timer is set or the script has steps left, virtual
// time moves on before such a goroutine finishes, however short its work is.
//
// # Goroutines
//
// All methods of Clock and Selector may be called from any goroutine, but only
// one Select may run at a time. The methods of the loop keep the rules of package
// eventloop.
package looptest

import "goselectors/eventloop"

// New returns a loop with a new clock and a new selector. They replace any clock
// and selector set in opts; the other options are kept. The caller closes the
// loop, which closes the selector.
func New(opts ...eventloop.Option) (*eventloop.Loop, *Clock, *Selector) {
	clock := NewClock()
	sel := NewSelector(clock)
	allOpts := append([]eventloop.Option(nil), opts...)
	loop, err := eventloop.New(append(allOpts, eventloop.WithSelector(sel), eventloop.WithClock(clock.Now))...)
	if err != nil {
		panic(err) // New fails only if it has to make a selector and cannot
	}
	return loop, clock, sel
}
