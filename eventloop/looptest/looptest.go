// Package looptest has what tests of programs on package eventloop need in
// order not to sleep: a clock that stands still until it is told to move on,
// and a selector that reports what a script says. A test of an hour's timeouts
// takes microseconds, and goes the same way each time.
//
//	loop, clock, sel := looptest.New()
//	defer loop.Close()
//	sel.Once(3*time.Second, "client", selectors.EventRead)
//	loop.Register("client", selectors.EventRead, callback)
//	loop.RunOnce(-1) // calls back; clock.Now() is 3s
//
// Time passes where the loop would wait, to the next moment at which anything
// happens, and in a callback that calls [Clock.Advance], as one does that takes
// long. It does not wait for real goroutines, such as those of
// [eventloop.Loop.Do]: whenever a timer runs or the script goes on, that comes
// first, however little work they have. Only a loop that has nothing else to
// wait for waits for them.
package looptest

import "goselectors/eventloop"

// New makes a loop on a clock and a selector of its own. Options that name
// others are overruled. The test closes the loop.
func New(opts ...eventloop.Option) (*eventloop.Loop, *Clock, *Selector) {
	clock := NewClock()
	sel := NewSelector(clock)
	all := append([]eventloop.Option(nil), opts...)
	loop, err := eventloop.New(append(all, eventloop.WithSelector(sel), eventloop.WithClock(clock.Now))...)
	if err != nil {
		panic(err) // it has all that it needs
	}
	return loop, clock, sel
}
