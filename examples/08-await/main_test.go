package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
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

// A testScheduler runs tasks on a loop that the test drives.
type testScheduler struct {
	*scheduler
	t        *testing.T
	deadline time.Time
	steps    []string // what the tasks have recorded
}

// eachScheduler runs a test with a scheduler on every backend. After the test the
// scheduler must have no task, and the loop no file.
func eachScheduler(t *testing.T, test func(s *testScheduler)) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		t.Setenv(selectors.BackendEnv, backend)
		loop, err := eventloop.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { loop.Close() })
		s := &testScheduler{scheduler: newScheduler(loop), t: t, deadline: time.Now().Add(lessontest.Timeout)}
		test(s)
		s.cancelAll()
		if len(s.tasks) != 0 || len(s.waits) != 0 {
			t.Errorf("after cancelAll %d tasks and %d files are left", len(s.tasks), len(s.waits))
		}
		s.runUntil("the loop has given back the files", func() bool { return loop.Selector().Len() == 0 })
	})
}

func (s *testScheduler) record(format string, args ...any) {
	s.steps = append(s.steps, fmt.Sprintf(format, args...))
}

func (s *testScheduler) runUntil(what string, done func() bool) {
	s.t.Helper()
	for !done() {
		if time.Now().After(s.deadline) {
			s.t.Fatalf("timeout waiting until %s; steps so far: %v", what, s.steps)
		}
		if _, err := s.loop.RunOnce(10 * time.Millisecond); err != nil {
			s.t.Fatal(err)
		}
	}
}

// runTasks runs the loop until n tasks are left.
func (s *testScheduler) runTasks(n int) {
	s.t.Helper()
	s.runUntil(fmt.Sprintf("%d tasks are left", n), func() bool { return len(s.tasks) == n })
}

// checkSteps compares the recorded steps, sorted if their order is not determined.
func (s *testScheduler) checkSteps(sorted bool, want ...string) {
	s.t.Helper()
	got := slices.Clone(s.steps)
	if sorted {
		slices.Sort(got)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("got  %q\nwant %q", got, want)
	}
}

// connect returns both ends of a TCP connection.
func (s *testScheduler) connect() (here, peer *net.TCPConn) {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	defer listener.Close()
	peer = lessontest.Dial(s.t, listener.Addr().String())
	conn, err := listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn), peer
}

// TestTasks requires that tasks alternate where they wait, that they continue
// where they stopped, and that deferred calls run when a task is cancelled.
func TestTasks(t *testing.T) {
	eachScheduler(t, func(s *testScheduler) {
		for _, name := range []string{"a", "b"} {
			s.spawn(func(t *task) {
				for i := range 3 {
					s.record("%s%d", name, i)
					t.sleep(0)
				}
			})
		}
		r, w, err := os.Pipe()
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { r.Close(); w.Close() })
		s.spawn(func(t *task) {
			defer s.record("deferred")
			for {
				if err := t.waitReady(t.loop.OnceReadable, r); err != nil {
					s.record("%v", err)
					return
				}
				n, err := r.Read(make([]byte, 8))
				s.record("read %d", n)
				if err != nil {
					s.record("%v", err)
				}
			}
		})
		s.runTasks(1)
		for range 2 {
			before := len(s.steps)
			w.Write([]byte("hi"))
			s.runUntil("the task has read", func() bool { return len(s.steps) > before })
		}
		s.cancelAll()
		s.checkSteps(false, "a0", "b0", "a1", "b1", "a2", "b2", "read 2", "read 2", "cancelled", "deferred")
	})
}

// TestReaderAndWriter requires that a task can read from a connection while
// another one waits until it can write to it, and the other way round.
func TestReaderAndWriter(t *testing.T) {
	const size = 16 << 20 // bytes, more than the kernel's buffers hold
	for _, readFirst := range []bool{true, false} {
		eachScheduler(t, func(s *testScheduler) {
			conn, peer := s.connect()
			reader := func(t *task) {
				n, err := t.read(conn, make([]byte, 8))
				s.record("read %d, %v", n, err)
			}
			writer := func(t *task) {
				s.record("written, %v", t.write(conn, make([]byte, size)))
			}
			first, second := reader, writer
			if !readFirst {
				first, second = writer, reader
			}
			s.spawn(first)
			for range 5 { // the first task waits when the second one comes
				s.loop.RunOnce(10 * time.Millisecond)
			}
			s.spawn(second)
			for range 5 {
				s.loop.RunOnce(10 * time.Millisecond)
			}
			io.WriteString(peer, "hi")
			s.runTasks(1)
			s.checkSteps(false, "read 2, <nil>")
			go io.CopyN(io.Discard, peer, size)
			s.runTasks(0)
			s.checkSteps(false, "read 2, <nil>", "written, <nil>")
		})
	}
}

// TestAcceptors requires that each of several tasks that wait for one listener
// gets a connection.
func TestAcceptors(t *testing.T) {
	eachScheduler(t, func(s *testScheduler) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { listener.Close() })
		const acceptors = 3
		for i := range acceptors {
			s.spawn(func(t *task) {
				conn, err := t.accept(listener)
				s.record("%d: %v", i, err)
				if err == nil {
					conn.Close()
				}
			})
		}
		for i := range acceptors {
			s.loop.RunOnce(10 * time.Millisecond)
			lessontest.Dial(s.t, listener.Addr().String())
			s.runTasks(acceptors - 1 - i)
		}
		s.checkSteps(true, "0: <nil>", "1: <nil>", "2: <nil>")
	})
}

// TestClosedFile requires that tasks that wait for a file are told when another task
// closes it.
func TestClosedFile(t *testing.T) {
	eachScheduler(t, func(s *testScheduler) {
		conn, _ := s.connect()
		for range 2 {
			s.spawn(func(t *task) {
				_, err := t.read(conn, make([]byte, 8))
				s.record("read: %v", err)
			})
		}
		s.spawn(func(t *task) { s.record("write: %v", t.write(conn, make([]byte, 64<<20))) })
		for range 5 {
			s.loop.RunOnce(10 * time.Millisecond)
		}
		s.spawn(func(t *task) { t.close(conn) })
		s.runTasks(0)
		closed := net.ErrClosed.Error()
		s.checkSteps(true, "read: "+closed, "read: "+closed, "write: "+closed)
	})
}

// TestCancelled requires that a cancelled task gives back its wait, and that tasks
// waiting for the same file go on.
func TestCancelled(t *testing.T) {
	eachScheduler(t, func(s *testScheduler) {
		conn, peer := s.connect()
		var tasks []*task
		for i := range 3 {
			tasks = append(tasks, s.spawn(func(t *task) {
				n, err := t.read(conn, make([]byte, 8))
				s.record("%d: %d, %v", i, n, err)
			}))
		}
		for range 3 {
			s.loop.RunOnce(10 * time.Millisecond)
		}
		tasks[0].cancel()
		io.WriteString(peer, "hi")
		s.runTasks(1)
		tasks[2].cancel()
		tasks[2].cancel() // has no effect
		s.checkSteps(true, "0: 0, cancelled", "1: 2, <nil>", "2: 0, cancelled")
	})
}

func TestUsage(t *testing.T) {
	lessontest.NeedsBackend(t)
	lessontest.CheckUsage(t, "08-await", []string{"-backend", "nosuchbackend"})
}
