package looptest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/looptest"
	"goselectors/selectors"
)

// A server drops a connection that is idle for a minute. The client sends data
// twice.
func Example() {
	loop, clock, sel := looptest.New()
	defer loop.Close()
	sel.Once(20*time.Second, "client", selectors.EventRead)
	sel.Once(70*time.Second, "client", selectors.EventRead)

	idle, _ := loop.CallLater(time.Minute, func() {
		fmt.Println(clock.Now(), "dropped")
		loop.Unregister("client")
	})
	loop.Register("client", selectors.EventRead, func(any, selectors.Event) {
		fmt.Println(clock.Now(), "read")
		idle.Reset(time.Minute)
	})
	for loop.Alive() {
		loop.RunOnce(-1)
	}
	// Output:
	// 20s read
	// 1m10s read
	// 2m10s dropped
}

// The test makes the loop itself, from a clock and a selector.
func ExampleNewSelector() {
	clock := looptest.NewClock()
	sel := looptest.NewSelector(clock)
	loop, err := eventloop.New(eventloop.WithSelector(sel), eventloop.WithClock(clock.Now))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()

	loop.CallLater(time.Hour, func() {})
	loop.RunOnce(10 * time.Second)
	loop.RunOnce(-1)
	fmt.Println(sel.Timeouts(), clock.Now())
	// Output:
	// [10s 59m50s] 1h0m0s
}

// The callback does not read the data at first, so the file stays ready until
// Clear.
func ExampleSelector_At() {
	loop, _, sel := looptest.New()
	defer loop.Close()
	sel.At(time.Second, "client", selectors.EventRead)

	reads := 0
	loop.Register("client", selectors.EventRead, func(any, selectors.Event) {
		if reads++; reads == 3 {
			sel.Clear("client", selectors.EventRead) // all data is read
		}
	})
	for range 5 {
		loop.RunOnce(time.Second)
	}
	fmt.Println(reads, "reads")
	// Output:
	// 3 reads
}

// A program that would hang gets an error.
func ExampleSelector_SetStuckAfter() {
	loop, _, sel := looptest.New()
	defer loop.Close()
	sel.SetStuckAfter(time.Millisecond)
	loop.Register("client", selectors.EventRead, func(any, selectors.Event) {})
	err := loop.Run(context.Background())
	fmt.Println(errors.Is(err, looptest.ErrStuck))
	// Output:
	// true
}
