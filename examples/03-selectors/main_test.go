package main

import (
	"testing"

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

func TestDefaultBackend(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	server := lessontest.Start(t, "-addr", "127.0.0.1:0")
	lessontest.Says(t, lessontest.Dial(t, server.Addr()), "hello")
	server.Interrupt()
}

func TestTooManyClients(t *testing.T) { lessontest.TooManyClients(t, "too many open files", nil) }

func TestBadUse(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	lessontest.BadUse(t, "03-selectors", []string{"-backend", "telepathy"})
}
