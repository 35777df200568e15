package main

import (
	"testing"

	"goselectors/examples/internal/lessontest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

func TestEcho(t *testing.T) {
	lessontest.CheckEchoBackends(t)
}

func TestDefaultBackend(t *testing.T) {
	lessontest.NeedsBackend(t)
	server := lessontest.Start(t, "-addr", "127.0.0.1:0")
	lessontest.CheckEcho(t, lessontest.Dial(t, server.Addr()), "hello")
	server.Interrupt()
}

func TestTooManyClients(t *testing.T) { lessontest.CheckTooManyClients(t) }

func TestUsage(t *testing.T) {
	lessontest.NeedsBackend(t)
	lessontest.CheckUsage(t, "03-selectors", []string{"-backend", "nosuchbackend"})
}
