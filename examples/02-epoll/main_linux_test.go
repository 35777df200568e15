package main

import (
	"strings"
	"testing"

	"goselectors/examples/internal/lessontest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

func TestEcho(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
	}{
		{"level-triggered", nil},
		{"edge-triggered", []string{"-edge"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lessontest.CheckEchoServer(t, c.args...)
		})
	}
}

func TestTooManyClients(t *testing.T) {
	lessontest.CheckTooManyClients(t)
	lessontest.CheckTooManyClients(t, "-edge")
}

// TestExperiment requires the exact output, because it shows what the kernel does.
func TestExperiment(t *testing.T) {
	got := lessontest.Start(t, "-experiment").WaitEnd()
	want := strings.TrimSpace(`
level-triggered, one read per epoll_wait
  10 written, 10 in the pipe
    epoll_wait: ready; read 4, 6 left
    epoll_wait: ready; read 4, 2 left
    epoll_wait: ready; read 2, 0 left
    epoll_wait: nothing, 0 in the pipe
  1 written, 1 in the pipe
    epoll_wait: ready; read 1, 0 left
    epoll_wait: nothing, 0 in the pipe
edge-triggered, one read per epoll_wait
  10 written, 10 in the pipe
    epoll_wait: ready; read 4, 6 left
    epoll_wait: nothing, 6 in the pipe
  1 written, 7 in the pipe
    epoll_wait: ready; read 4, 3 left
    epoll_wait: nothing, 3 in the pipe
  3 bytes are never reported: they arrived earlier, and epoll reports only new data
edge-triggered, reads until EAGAIN
  10 written, 10 in the pipe
    epoll_wait: ready; read 4, 6 left
    read 4, 2 left
    read 2, 0 left
    read: EAGAIN
    epoll_wait: nothing, 0 in the pipe
  1 written, 1 in the pipe
    epoll_wait: ready; read 1, 0 left
    read: EAGAIN
    epoll_wait: nothing, 0 in the pipe
`)
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestUsage(t *testing.T) {
	lessontest.CheckUsage(t, "02-epoll", []string{"-addr", "localhost"}, []string{"-addr", "[::1]:0"}, []string{"-edge", "yes"})
}
