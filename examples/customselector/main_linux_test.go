package main

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/lessontest"
	"goselectors/selectors"
	"goselectors/selectors/selectortest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

// needAIO skips a test where the kernel has no asynchronous I/O, a sandbox forbids
// it, or no context is free.
func needAIO(t *testing.T) {
	t.Helper()
	a, err := newAIO()
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EAGAIN) {
		t.Skipf("no asynchronous I/O: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Wake(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("IOCB_CMD_POLL needs Linux 4.18")
	}
}

func TestConformance(t *testing.T) {
	needAIO(t)
	selectortest.Run(t, newSelector)
}

func TestEcho(t *testing.T) {
	needAIO(t)
	lessontest.CheckEchoServer(t)
}

// TestRefusedFile: a terminal uses two wait queues.
func TestRefusedFile(t *testing.T) {
	needAIO(t)
	s, err := newSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals: %v", err)
	}
	defer unix.Close(master)
	if _, err := s.Register(master, selectors.EventRead, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Register of a terminal: %v, want an error that is errors.ErrUnsupported", err)
	}
}

func TestUsage(t *testing.T) {
	lessontest.CheckUsage(t, "customselector", []string{"-backend", "poll"})
}
