package main

import (
	"io"
	"testing"
	"time"

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

// TestIdle: who says something stays, who does not is sent away, not too early.
func TestIdle(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	const idle = 600 * time.Millisecond
	server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-idle", idle.String())
	addr := server.Addr()
	start := time.Now()
	silent, talker := lessontest.Dial(t, addr), lessontest.Dial(t, addr)
	for range 20 {
		lessontest.Says(t, talker, "I live")
		time.Sleep(idle / 10)
	}
	answer, err := io.ReadAll(silent)
	if string(answer) != "good bye, silent one\n" || err != nil {
		t.Errorf("a silent client got %q, %v", answer, err)
	}
	lessontest.Says(t, talker, "and still do")
	last := time.Now()
	if answer, err := io.ReadAll(talker); len(answer) == 0 || err != nil || time.Since(last) < idle/2 {
		t.Errorf("when it falls silent it gets %q, %v, after %v", answer, err, time.Since(last))
	}
	if time.Since(start) < idle {
		t.Errorf("all over in %v", time.Since(start))
	}
	server.Interrupt()
}

// TestInterrupt: Ctrl-C is an event on the loop, which knows its clients.
func TestInterrupt(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	server := lessontest.Start(t, "-addr", "127.0.0.1:0")
	addr := server.Addr()
	for range 3 {
		lessontest.Says(t, lessontest.Dial(t, addr), "hello")
	}
	gone := lessontest.Dial(t, addr)
	gone.CloseWrite()
	if answer, err := io.ReadAll(gone); len(answer) > 0 || err != nil {
		t.Errorf("a client that says nothing and goes gets %q, %v", answer, err)
	}
	server.Signal()
	server.Until("interrupted, with 3 clients$")
	server.Until("bye$")
	server.End()
}

func TestTooManyClients(t *testing.T) { lessontest.TooManyClients(t, "too many open files", nil) }

func TestBadUse(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	lessontest.BadUse(t, "04-eventloop", []string{"-backend", "telepathy"}, []string{"-idle", "0"}, []string{"-idle", "long"})
}
