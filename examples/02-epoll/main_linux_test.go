package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

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
			lessontest.Says(t, lessontest.Dial(t, addr), "still here?")
			const idle = time.Second
			time.Sleep(idle)
			server.Interrupt()
			if cpu := server.CPU(); cpu > 2*idle/3 {
				t.Errorf("%v of processor time, for few clients and %v of idleness", cpu, idle)
			}
		})
	}
}

// TestTooManyClients: out of descriptors, the server serves those it has and
// takes the others when some go.
func TestTooManyClients(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell to set the limit: ", err)
	}
	for _, args := range [][]string{nil, {"-edge"}} {
		server := lessontest.StartUnder(t, []string{sh, "-c", `ulimit -n 15 && exec "$0" "$@"`}, append(args, "-addr", "127.0.0.1:0")...)
		addr := server.Addr()
		first := lessontest.Dial(t, addr)
		lessontest.Says(t, first, "hello")
		var crowd []interface{ Close() error }
		for range 20 {
			crowd = append(crowd, lessontest.Dial(t, addr))
		}
		time.Sleep(100 * time.Millisecond) // so that it runs into the limit
		lessontest.Says(t, first, "still served?")
		late := lessontest.Dial(t, addr)
		for _, conn := range crowd {
			conn.Close()
		}
		lessontest.Says(t, late, "and me")
		server.Interrupt()
		if cpu := server.CPU(); cpu > time.Second {
			t.Errorf("%q: %v of processor time", args, cpu)
		}
	}
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
