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
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-backend", backend)
		addr := server.Addr()
		lessontest.Echo(t, addr)
		lessontest.Idle(t, server, addr)
	})
}

// TestInterrupt: the tasks that wait are cancelled, and clean up.
func TestInterrupt(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	server := lessontest.Start(t, "-addr", "127.0.0.1:0")
	addr := server.Addr()
	open := lessontest.Dial(t, addr)
	for range 2 {
		lessontest.Says(t, lessontest.Dial(t, addr), "hello")
	}
	lessontest.Says(t, open, "hello")
	server.Signal()
	server.Until(`cancels 4 tasks$`)
	if answer, err := io.ReadAll(open); len(answer) > 0 || err != nil {
		t.Errorf("a client reads %q, %v after the end", answer, err)
	}
	server.Until("bye$")
	server.End()
}

func TestTooManyClients(t *testing.T) { lessontest.TooManyClients(t, "too many open files", nil) }

// TestTasks: tasks take turns where they wait, are resumed where they stopped,
// and what is cancelled cleans up.
func TestTasks(t *testing.T) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		t.Setenv(selectors.BackendEnv, backend)
		loop, err := eventloop.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { loop.Close() })
		s := &scheduler{loop: loop, tasks: make(map[*task]func())}
		var order []string
		note := func(format string, args ...any) { order = append(order, fmt.Sprintf(format, args...)) }

		for _, name := range []string{"a", "b"} {
			s.spawn(func(t *task) {
				for i := range 3 {
					note("%s%d", name, i)
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
			defer note("gone")
			for {
				if err := t.ready(r, selectors.EventRead); err != nil {
					note("%v", err)
					return
				}
				n, err := r.Read(make([]byte, 8))
				note("%d %v", n, err)
			}
		})
		deadline := time.Now().Add(lessontest.Patience)
		until := func(done func() bool) {
			t.Helper()
			for !done() {
				if time.Now().After(deadline) {
					t.Fatalf("waited in vain; so far: %v", order)
				}
				if _, err := loop.RunOnce(10 * time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
		}
		until(func() bool { return len(s.tasks) == 1 })
		for range 2 {
			before := len(order)
			w.Write([]byte("hi"))
			until(func() bool { return len(order) > before })
		}
		s.cancel()
		got, want := strings.Join(order, ", "), "a0, b0, a1, b1, a2, b2, 2 <nil>, 2 <nil>, cancelled, gone"
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if len(s.tasks) != 0 {
			t.Errorf("%d tasks are left after cancel", len(s.tasks))
		}
	})
}

func TestBadUse(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	lessontest.BadUse(t, "08-await", []string{"-backend", "telepathy"})
}
