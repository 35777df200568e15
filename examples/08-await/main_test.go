package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/examples/internal/lessontest"
	"goselectors/selectors"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

func TestEcho(t *testing.T) {
	lessontest.CheckEchoBackends(t)
}

// TestInterrupt requires that waiting tasks are cancelled and close their
// connections.
func TestInterrupt(t *testing.T) {
	lessontest.NeedsBackend(t)
	server := lessontest.Start(t, "-addr", "127.0.0.1:0")
	addr := server.Addr()
	open := lessontest.Dial(t, addr)
	for range 2 {
		lessontest.CheckEcho(t, lessontest.Dial(t, addr), "hello")
	}
	lessontest.CheckEcho(t, open, "hello")
	server.SendInterrupt()
	server.WaitLine(`cancelling 4 tasks$`)
	if answer, err := io.ReadAll(open); len(answer) > 0 || err != nil {
		t.Errorf("after the end a client read %q, %v", answer, err)
	}
	server.WaitLine("bye$")
	server.WaitEnd()
}

func TestTooManyClients(t *testing.T) { lessontest.CheckTooManyClients(t) }

// TestTasks requires that tasks alternate where they wait, that they continue
// where they stopped, and that deferred calls run when a task is cancelled.
func TestTasks(t *testing.T) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		t.Setenv(selectors.BackendEnv, backend)
		loop, err := eventloop.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { loop.Close() })
		s := &scheduler{loop: loop, tasks: make(map[*task]func())}
		var steps []string
		record := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }

		for _, name := range []string{"a", "b"} {
			s.spawn(func(t *task) {
				for i := range 3 {
					record("%s%d", name, i)
					t.sleep(0)
				}
			})
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		s.spawn(func(t *task) {
			defer record("deferred")
			for {
				if err := t.waitReady(r, selectors.EventRead); err != nil {
					record("%v", err)
					return
				}
				n, err := r.Read(make([]byte, 8))
				record("read %d", n)
				if err != nil {
					record("%v", err)
				}
			}
		})
		deadline := time.Now().Add(lessontest.Timeout)
		runUntil := func(done func() bool) {
			t.Helper()
			for !done() {
				if time.Now().After(deadline) {
					t.Fatalf("timeout; steps so far: %v", steps)
				}
				if _, err := loop.RunOnce(10 * time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
		}
		runUntil(func() bool { return len(s.tasks) == 1 })
		for range 2 {
			before := len(steps)
			w.Write([]byte("hi"))
			runUntil(func() bool { return len(steps) > before })
		}
		s.cancel()
		got, want := strings.Join(steps, ", "), "a0, b0, a1, b1, a2, b2, read 2, read 2, cancelled, deferred"
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if len(s.tasks) != 0 {
			t.Errorf("%d tasks are left after cancel", len(s.tasks))
		}
	})
}

func TestUsage(t *testing.T) {
	lessontest.NeedsBackend(t)
	lessontest.CheckUsage(t, "08-await", []string{"-backend", "nosuchbackend"})
}
