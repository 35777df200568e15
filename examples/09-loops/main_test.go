package main

import (
	"runtime"
	"strconv"
	"testing"

	"goselectors/examples/internal/lessontest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

func TestEcho(t *testing.T) {
	lessontest.NeedsBackend(t)
	lessontest.CheckEchoServer(t, "-loops", "3")
}

// TestStream tests the server with the group of package stream.
func TestStream(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("package stream is for Unix")
	}
	lessontest.NeedsBackend(t)
	server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-loops", "2", "-work", "16", "-stream")
	addr := server.Addr()
	lessontest.CheckEchoClients(t, addr)
	drive(t, addr)
	server.SendInterrupt()
	server.WaitLine("bye$")
	server.WaitEnd()
}

// TestDistribution requires that each loop gets the same number of clients and
// answers them itself.
func TestDistribution(t *testing.T) {
	lessontest.NeedsBackend(t)
	server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-loops", "3", "-work", "1")
	addr := server.Addr()
	for i := range 6 {
		conn := lessontest.Dial(t, addr)
		for range 1 + i%3 {
			lessontest.CheckEcho(t, conn, "hello")
		}
	}
	server.SendInterrupt()
	for i := range 3 {
		line := server.WaitLine(`loop (\d) served (\d+) clients, (\d+) answers$`)
		if want := strconv.Itoa(2 * (1 + i)); line[1] != strconv.Itoa(i) || line[2] != "2" || line[3] != want {
			t.Errorf("%q; want 2 clients and %s answers", line[0], want)
		}
	}
	server.WaitLine("bye$")
	server.WaitEnd()
}

// drive runs the clients of the lesson for a second.
func drive(t *testing.T, addr string) {
	t.Helper()
	clients := lessontest.Start(t, "-drive", addr)
	if rate, _ := strconv.Atoi(clients.WaitLine(`16 clients, (\d+) answers per second$`)[1]); rate == 0 {
		t.Error("no answers")
	}
	clients.WaitEnd()
}

func TestDrive(t *testing.T) {
	lessontest.NeedsBackend(t)
	server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-loops", "2", "-work", "16")
	drive(t, server.Addr())
	server.SendInterrupt()
	for i := range 2 {
		if line := server.WaitLine(`loop (\d) served 8 clients, (\d+) answers$`); line[1] != strconv.Itoa(i) || line[2] == "0" {
			t.Errorf("%q; want 8 clients and some answers for loop %d", line[0], i)
		}
	}
	server.WaitLine("bye$")
	server.WaitEnd()
}

func TestTooManyClients(t *testing.T) {
	lessontest.NeedsBackend(t)
	lessontest.CheckTooManyClients(t, "-loops", "1")
}

func TestUsage(t *testing.T) {
	lessontest.CheckUsage(t, "09-loops", []string{"-loops", "0"}, []string{"-loops", "65"}, []string{"-work", "-1"})
}
