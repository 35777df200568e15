//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
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

// DoResult passes what work has returned to done, on the loop.
func ExampleDoResult() {
	loop, err := eventloop.New(eventloop.WithWorkers(4))
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()

	eventloop.DoResult(loop, func() (int, error) {
		return strconv.Atoi("forty-two") // a long computation
	}, func(n int, err error) {
		fmt.Println(n, err)
		loop.Stop()
	})
	loop.Run(context.Background())
	// Output: 0 strconv.Atoi: parsing "forty-two": invalid syntax
}

// A reader and a writer of one connection, which know nothing of each other. The
// writer removes itself when it has sent all.
func ExampleLoop_AddReader() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		log.Fatal(err)
	}
	conn, peer := fds[0], fds[1]
	defer syscall.Close(conn)
	defer syscall.Close(peer)

	buf := make([]byte, 64)
	loop.AddReader(conn, func(fileobj any, _ selectors.Event) {
		n, err := selectors.TryRead(fileobj, buf)
		fmt.Printf("received %q %v\n", buf[:n], err)
		loop.Stop()
	})
	loop.AddWriter(conn, func(fileobj any, _ selectors.Event) {
		n, err := selectors.TryWrite(fileobj, []byte("ping"))
		fmt.Println("sent", n, err)
		loop.RemoveWriter(fileobj)
	})
	loop.AddReader(peer, func(fileobj any, _ selectors.Event) {
		selectors.TryRead(fileobj, buf)
		selectors.TryWrite(fileobj, []byte("pong"))
	})
	loop.Run(context.Background())
	// Output:
	// sent 4 <nil>
	// received "pong" <nil>
}

// Two functions wait for the same pipe. Both are called; the one that finds nothing
// waits again.
func ExampleLoop_OnceReadable() {
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
	defer w.Close()

	wait := func(name string) {
		var ready eventloop.Callback
		ready = func(fileobj any, _ selectors.Event) {
			var b [1]byte
			if _, err := selectors.TryRead(fileobj, b[:]); errors.Is(err, selectors.ErrWouldBlock) {
				loop.OnceReadable(fileobj, ready)
				return
			}
			fmt.Printf("%s has read %q\n", name, b)
			w.WriteString("b")
		}
		loop.OnceReadable(r, ready)
	}
	wait("first")
	wait("second")
	w.WriteString("a")
	for range 3 {
		loop.RunOnce(0)
	}
	// Output:
	// first has read "a"
	// second has read "b"
}

// Schedule is CallSoon with a Handle that cancels the call.
func ExampleLoop_Schedule() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()

	loop.Schedule(func() { fmt.Println("first") })
	second, _ := loop.Schedule(func() { fmt.Println("never printed") })
	loop.CallSoon(func() { fmt.Println("third") })
	fmt.Println("cancelled:", second.Cancel())
	loop.RunOnce(0)
	fmt.Println("cancelled again:", second.Cancel())
	// Output:
	// cancelled: true
	// first
	// third
	// cancelled again: false
}

// The callbacks of a turn collect what they have to say, and it is written once at
// the end of the turn.
func ExampleLoop_OnTurn() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()

	var lines []string
	loop.OnTurn(nil, func() {
		fmt.Println(strings.Join(lines, ", "))
		lines = lines[:0]
	})
	for _, name := range []string{"a", "b", "c"} {
		loop.CallSoon(func() { lines = append(lines, name) })
	}
	loop.RunOnce(0)
	// Output: a, b, c
}

// A session handles its own file, without a closure. A panic of its method says
// which session it was about.
func ExampleLoop_RegisterHandler() {
	loop, err := eventloop.New(eventloop.WithPanicHandler(func(p eventloop.Panic) {
		fmt.Println("panic:", p.Value, "about", p.Subject)
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()

	loop.RegisterHandler(r, selectors.EventRead, &session{loop: loop, user: "alice"})
	w.WriteString("x")
	loop.RunOnce(0)
	// Output: panic: no such command about session of alice
}

type session struct {
	loop *eventloop.Loop
	user string
}

func (s *session) String() string { return "session of " + s.user }

func (s *session) FileReady(fileobj any, events selectors.Event) {
	s.loop.SetSubject(s)
	panic("no such command")
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
