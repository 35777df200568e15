package channels_test

import (
	"context"
	"fmt"
	"log"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/examples/channels"
	"goselectors/selectors"
)

const (
	timeout  = 20 * time.Second
	quiet    = 50 * time.Millisecond // time to wait for what must not happen
	capacity = 4                     // of the channels
	batch    = 64                    // values that a Receiver takes at once
)

// eachLoop runs a test on every backend. The test drives the loop. At its end no
// goroutine may be left.
func eachLoop(t *testing.T, test func(t *testing.T, loop *eventloop.Loop)) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sel, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			loop, err := eventloop.New(eventloop.WithSelector(sel))
			if err != nil {
				t.Fatal(err)
			}
			defer loop.Close()
			before := runtime.NumGoroutine()
			test(t, loop)
			for deadline := time.Now().Add(timeout); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d goroutines more than before", runtime.NumGoroutine()-before)
				}
			}
		})
	}
}

func runUntil(t *testing.T, loop *eventloop.Loop, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !done(); {
		if _, err := loop.RunOnce(10 * time.Millisecond); err != nil || time.Now().After(deadline) {
			t.Fatalf("%v or a timeout before: %s", err, what)
		}
	}
}

// produce sends 0, 1, … and closes the channel after count values, or when done is
// closed. It counts what it has sent.
func produce(ch chan<- int, count int, sent *atomic.Int64, done <-chan struct{}) {
	defer close(ch)
	for i := range count {
		select {
		case ch <- i:
			sent.Add(1)
		case <-done:
			return
		}
	}
}

// TestReceive requires that all values arrive in order, with one call at the end, and
// that a loop without values sleeps.
func TestReceive(t *testing.T) {
	for _, count := range []int{0, 1, batch, 10000} {
		eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
			ch := make(chan int, capacity)
			next, closed := 0, 0
			channels.Receive(loop, ch, func(v int) {
				if v != next || closed > 0 {
					t.Fatalf("got %d instead of %d, closed %d times", v, next, closed)
				}
				next++
			}, func() { closed++ })
			loop.RunOnce(quiet)
			if turns := loop.Stats().Turns; turns > 2 {
				t.Errorf("%d turns without a value", turns)
			}
			go produce(ch, count, new(atomic.Int64), nil)
			runUntil(t, loop, "the end", func() bool { return closed > 0 })
			if loop.RunOnce(quiet); next != count || closed != 1 {
				t.Errorf("%d values of %d, closed %d times", next, count, closed)
			}
		})
	}
}

// TestPause requires that a producer waits while the loop is busy or the Receiver is
// paused.
func TestPause(t *testing.T) {
	const count = 3000
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		ch := make(chan int, capacity)
		var sent atomic.Int64
		check := func(when string, handled int) {
			t.Helper()
			time.Sleep(quiet)
			if n := int(sent.Load()); n > handled+capacity+batch+1 {
				t.Errorf("%s: %d values were sent, %d handled", when, n, handled)
			}
		}
		done := make(chan struct{})
		defer close(done)
		go produce(ch, count, &sent, done)
		handled, ended := 0, false
		var r *channels.Receiver[int]
		r = channels.Receive(loop, ch, func(v int) {
			if v != handled {
				t.Fatalf("got %d instead of %d", v, handled)
			}
			if handled++; handled%1000 == 1 {
				r.Pause()
			}
		}, func() { ended = true })
		check("the loop has not run", 0)
		for pauses := range count / 1000 {
			runUntil(t, loop, "a pause", func() bool { return handled == 1000*pauses+1 })
			loop.RunOnce(quiet)
			check("paused", handled)
			r.Resume()
			r.Resume() // has no effect
		}
		runUntil(t, loop, "the end", func() bool { return ended })
		if handled != count {
			t.Errorf("%d values of %d", handled, count)
		}
	})
}

// TestStopReceiver requires that the goroutine ends in each state.
func TestStopReceiver(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		for _, values := range []int{0, 1, capacity} {
			for _, run := range []bool{false, true} {
				ch := make(chan int, capacity)
				for range values {
					ch <- 1
				}
				r := channels.Receive(loop, ch, func(int) {}, func() { t.Error("closed") })
				if run {
					loop.RunOnce(quiet)
				}
				r.Stop()
				r.Stop()
			}
		}
	})
}

// TestSend requires that all values arrive in order, and that the queue keeps to its
// limit if the caller pauses.
func TestSend(t *testing.T) {
	const count, limit = 5000, 10
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		ch := make(chan int, capacity)
		next, pauses := 0, 0
		var s *channels.Sender[int]
		send := func() {
			for next < count {
				next++
				if !s.Send(next - 1) {
					pauses++
					return
				}
			}
			s.Close()
		}
		s = channels.NewSender(loop, ch, limit, func() { send() })
		send()
		loop.RunOnce(quiet)
		// What the channel holds, what the goroutine has, and the queue.
		if most := capacity + 2*limit; next > most || pauses == 0 {
			t.Errorf("%d values before the first was received, want at most %d; %d pauses", next, most, pauses)
		}
		received := make(chan int)
		go func() {
			n := 0
			for v := range ch {
				if v != n {
					t.Errorf("got %d instead of %d", v, n)
				}
				n++
			}
			received <- n
		}()
		n := -1
		runUntil(t, loop, "the end", func() bool {
			select {
			case n = <-received:
				return true
			default:
				return false
			}
		})
		if n != count {
			t.Errorf("%d values of %d", n, count)
		}
	})
}

// TestStopSender requires that the goroutine ends although nobody receives.
func TestStopSender(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		s := channels.NewSender(loop, make(chan int), 1, nil)
		for range 3 {
			s.Send(1)
		}
		loop.RunOnce(quiet)
		s.Stop()
		s.Stop()
	})
}

// A loop squares numbers that it gets from one channel and sends them to another.
func Example() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	numbers, squares := make(chan int, 2), make(chan int, 2)

	var in *channels.Receiver[int]
	out := channels.NewSender(loop, squares, 2, func() { in.Resume() })
	in = channels.Receive(loop, numbers, func(n int) {
		if !out.Send(n * n) {
			in.Pause() // a slow consumer slows the producer down
		}
	}, out.Close)

	go produce(numbers, 8, new(atomic.Int64), nil)
	go func() {
		for n := range squares {
			fmt.Print(n, " ")
		}
		loop.Stop()
	}()
	if err := loop.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: 0 1 4 9 16 25 36 49
}
