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
			server := lessontest.Start(t, append(c.args, "-addr", "127.0.0.1:0")...)
			addr := server.Addr()
			lessontest.Echo(t, addr)
			lessontest.Idle(t, server, addr)
		})
	}
}

func TestTooManyClients(t *testing.T) {
	lessontest.TooManyClients(t, "", nil)
	lessontest.TooManyClients(t, "", []string{"-edge"})
}

// TestExperiment: what the kernel does is the lesson, so all of it is demanded.
func TestExperiment(t *testing.T) {
	got := lessontest.Start(t, "-experiment").End()
	want := strings.TrimSpace(`
level-triggered, one read a turn
  10 written, 10 in the pipe
    epoll_wait: ready; read 4, 6 left
    epoll_wait: ready; read 4, 2 left
    epoll_wait: ready; read 2, 0 left
    epoll_wait: nothing, 0 in the pipe
  1 written, 1 in the pipe
    epoll_wait: ready; read 1, 0 left
    epoll_wait: nothing, 0 in the pipe
edge-triggered, one read a turn
  10 written, 10 in the pipe
    epoll_wait: ready; read 4, 6 left
    epoll_wait: nothing, 6 in the pipe
  1 written, 7 in the pipe
    epoll_wait: ready; read 4, 3 left
    epoll_wait: nothing, 3 in the pipe
  3 bytes wait for ever: they are old, and only news is told
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

func TestBadUse(t *testing.T) {
	lessontest.BadUse(t, "02-epoll", []string{"-addr", "localhost"}, []string{"-addr", "[::1]:0"}, []string{"-edge", "yes"})
}
