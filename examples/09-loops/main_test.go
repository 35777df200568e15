package main

import (
	"runtime"
	"strconv"
	"testing"

	"goselectors/examples/internal/lessontest"
	"goselectors/selectors"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

func needsSelector(t *testing.T) {
	t.Helper()
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
}

func TestEcho(t *testing.T) {
	needsSelector(t)
	server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-loops", "3")
	addr := server.Addr()
	lessontest.Echo(t, addr)
	lessontest.Idle(t, server, addr)
}

// TestStream: the group of package stream serves the same.
func TestStream(t *testing.T) {
	if runtime.GOOS == "windows" || len(selectors.Backends()) == 0 {
		t.Skip("package stream is for Unix")
	}
	server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-loops", "2", "-work", "16", "-stream")
	addr := server.Addr()
	lessontest.Echo(t, addr)
	driver := lessontest.Start(t, "-drive", addr)
	if rate, _ := strconv.Atoi(driver.Until(`16 clients, (\d+) answers a second$`)[1]); rate == 0 {
		t.Error("no answers")
	}
	driver.End()
	server.Signal()
	server.Until("bye$")
	server.End()
}

// TestSpread: each loop gets its share of the clients and answers them itself.
func TestSpread(t *testing.T) {
	needsSelector(t)
	server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-loops", "3", "-work", "1")
	addr := server.Addr()
	for i := range 6 {
		conn := lessontest.Dial(t, addr)
		for range 1 + i%3 {
			lessontest.Says(t, conn, "hello")
		}
	}
	server.Signal()
	for i := range 3 {
		line := server.Until(`loop (\d) served (\d+) clients, (\d+) answers$`)
		if want := strconv.Itoa(2 * (1 + i)); line[1] != strconv.Itoa(i) || line[2] != "2" || line[3] != want {
			t.Errorf("%q; want 2 clients and %s answers", line[0], want)
		}
	}
	server.Until("bye$")
	server.End()
}

func TestDrive(t *testing.T) {
	needsSelector(t)
	server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-loops", "2", "-work", "16")
	driver := lessontest.Start(t, "-drive", server.Addr())
	if rate, _ := strconv.Atoi(driver.Until(`16 clients, (\d+) answers a second$`)[1]); rate == 0 {
		t.Error("no answers")
	}
	driver.End()
	server.Signal()
	for i := range 2 {
		if line := server.Until(`loop (\d) served 8 clients, (\d+) answers$`); line[1] != strconv.Itoa(i) || line[2] == "0" {
			t.Errorf("%q; want 8 clients and some answers for loop %d", line[0], i)
		}
	}
	server.Until("bye$")
	server.End()
}

func TestTooManyClients(t *testing.T) {
	needsSelector(t)
	lessontest.TooManyClients(t, "too many open files", []string{"-loops", "1"})
}

func TestBadUse(t *testing.T) {
	lessontest.BadUse(t, "09-loops", []string{"-loops", "0"}, []string{"-loops", "65"}, []string{"-work", "-1"})
}
