//go:build unix

package eventloop_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"sync"
	"syscall"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// Print what is read from a pipe until its write end is closed.
func ExampleNew() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	buf := make([]byte, 64)
	_, err = loop.Register(r, selectors.EventRead, func(fileobj any, events selectors.Event) {
		n, err := selectors.TryRead(fileobj, buf)
		if n == 0 { // the other end is closed
			fmt.Println("end:", err)
			loop.Unregister(fileobj)
			loop.Stop()
			return
		}
		fmt.Printf("read: %s\n", buf[:n])
	})
	if err != nil {
		log.Fatal(err)
	}

	loop.CallSoon(func() { w.WriteString("hello") })
	loop.CallLater(time.Millisecond, func() { w.Close() })
	if err := loop.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// read: hello
	// end: EOF
}

// Goroutines post their results to the loop. The loop adds them up without a
// lock.
func ExampleLoop_Post() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()

	sum := 0 // only the loop's goroutine uses it
	var workers sync.WaitGroup
	for i := range 10 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			loop.Post(func() { sum += i })
		}()
	}
	go func() {
		workers.Wait()
		loop.Post(loop.Stop)
	}()
	loop.Run(context.Background())
	fmt.Println(sum)
	// Output: 45
}

// Timers run in the order of their deadlines. Timers with equal deadlines run in
// the order in which they were scheduled.
func ExampleLoop_CallLater() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()

	loop.CallLater(20*time.Millisecond, loop.Stop)
	loop.CallLater(10*time.Millisecond, func() { fmt.Println("second") })
	loop.CallLater(0, func() { fmt.Println("first") })
	stopped, _ := loop.CallLater(5*time.Millisecond, func() { fmt.Println("never printed") })
	stopped.Stop()
	loop.Run(context.Background())
	// Output:
	// first
	// second
}

// A repeating timer stops itself in its third call.
func ExampleLoop_Every() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()

	n := 0
	var ticker *eventloop.Timer
	ticker, err = loop.Every(time.Millisecond, func() {
		n++
		fmt.Println("tick", n)
		if n == 3 {
			ticker.Stop()
			loop.Stop()
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	loop.Run(context.Background())
	// Output:
	// tick 1
	// tick 2
	// tick 3
}

// Do runs a blocking call on its own goroutine. The loop continues to run other
// callbacks.
func ExampleLoop_Do() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()

	var content []byte
	loop.Do(func() {
		content, err = os.ReadFile("doc.go")
	}, func() {
		fmt.Println(len(content) > 0, err)
		loop.Stop()
	})
	loop.Run(context.Background())
	// Output: true <nil>
}

// Stop the loop when the process receives SIGTERM.
func ExampleLoop_OnSignal() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()

	_, err = loop.OnSignal(syscall.SIGTERM, func(sig os.Signal) {
		fmt.Println(sig)
		loop.Stop()
	})
	if err != nil {
		log.Fatal(err)
	}
	loop.CallSoon(func() { syscall.Kill(os.Getpid(), syscall.SIGTERM) }) // another process would send it
	loop.Run(context.Background())
	// Output: terminated
}

// Run turns until no callback is pending.
func ExampleLoop_RunOnce() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()

	loop.CallSoon(func() {
		fmt.Println("soon")
		loop.CallLater(time.Millisecond, func() { fmt.Println("later") })
	})
	for loop.Alive() {
		if _, err := loop.RunOnce(-1); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// soon
	// later
}
