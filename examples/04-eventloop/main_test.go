package main

import (
	"io"
	"testing"
	"time"

	"goselectors/examples/internal/lessontest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

func TestEcho(t *testing.T) {
	lessontest.CheckEchoBackends(t)
}

// TestIdle requires that an idle client is disconnected, not too early, and that
// an active client stays connected.
func TestIdle(t *testing.T) {
	lessontest.NeedsBackend(t)
	const idle = 600 * time.Millisecond
	server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-idle", idle.String())
	addr := server.Addr()
	start := time.Now()
	silent, active := lessontest.Dial(t, addr), lessontest.Dial(t, addr)
	for range 20 {
		lessontest.CheckEcho(t, active, "hello")
		time.Sleep(idle / 10)
	}
	answer, err := io.ReadAll(silent)
	if string(answer) != "idle for too long, closing\n" || err != nil {
		t.Errorf("a silent client got %q, %v", answer, err)
	}
	lessontest.CheckEcho(t, active, "hello again")
	last := time.Now()
	if answer, err := io.ReadAll(active); len(answer) == 0 || err != nil || time.Since(last) < idle/2 {
		t.Errorf("after it became idle, the client got %q, %v, after %v", answer, err, time.Since(last))
	}
	if time.Since(start) < idle {
		t.Errorf("both clients were disconnected after %v", time.Since(start))
	}
	server.Interrupt()
}

// TestInterrupt requires that the signal callback sees the number of clients.
func TestInterrupt(t *testing.T) {
	lessontest.NeedsBackend(t)
	server := lessontest.Start(t, "-addr", "127.0.0.1:0")
	addr := server.Addr()
	for range 3 {
		lessontest.CheckEcho(t, lessontest.Dial(t, addr), "hello")
	}
	left := lessontest.Dial(t, addr)
	left.CloseWrite()
	if answer, err := io.ReadAll(left); len(answer) > 0 || err != nil {
		t.Errorf("a client that left without writing got %q, %v", answer, err)
	}
	server.SendInterrupt()
	server.WaitLine("interrupted, with 3 clients$")
	server.WaitLine("bye$")
	server.WaitEnd()
}

func TestTooManyClients(t *testing.T) { lessontest.CheckTooManyClients(t) }

func TestUsage(t *testing.T) {
	lessontest.NeedsBackend(t)
	lessontest.CheckUsage(t, "04-eventloop", []string{"-backend", "nosuchbackend"}, []string{"-idle", "0"}, []string{"-idle", "long"})
}
