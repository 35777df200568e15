package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/lessontest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

// TestAll: whatever there is says what it has to say, over every backend.
func TestAll(t *testing.T) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		lesson := lessontest.Start(t, "-tick", "100ms", "-backend", backend)
		dir := filepath.Dir(lesson.Until(`inotify +touch (\S+)$`)[1])
		pid, _ := strconv.Atoi(lesson.Until(`signal +kill -USR1 (\d+)$`)[1])
		udp := lesson.Until(`udp +echo hello \| nc -u -w1 (\S+) (\d+)$`)
		tcp := lesson.Until(`tcp +nc (\S+) (\d+)$`)
		lesson.Until(`fd \d+ is \*net.TCPListener$`)

		lesson.Until(`timerfd +expired, [1-9]\d* times`)
		lesson.Until(`eventfd +a goroutine adds 42$`)
		lesson.Until(`pidfd +the child ended: exit status 7$`)

		name := filepath.Join(dir, "news")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		lesson.Until(`inotify +news was created$`)
		os.Remove(name)
		lesson.Until(`inotify +news was deleted$`)

		if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		lesson.Until(`signal +user defined signal 1$`)

		conn, err := net.Dial("udp", net.JoinHostPort(udp[1], udp[2]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		for _, datagram := range []string{"hello", "", "again"} {
			fmt.Fprint(conn, datagram)
			lesson.Until(fmt.Sprintf(`udp +datagram %q$`, datagram))
		}

		client := lessontest.Dial(t, net.JoinHostPort(tcp[1], tcp[2]))
		lesson.Until(`tcp +a client$`)
		fmt.Fprintln(client, "hello, loop")
		lesson.Until(`tcp +"hello, loop"$`)
		client.Close()
		lesson.Until(`tcp +has gone$`)

		fmt.Fprintln(lesson.Stdin, "echo $((6*7)) on $(tty)")
		lesson.Until(`stdin +"echo .*\\n", to the shell$`)
		lesson.Until(`pty .*42 on /dev/pts/\d+\\r\\n`)
		fmt.Fprintln(lesson.Stdin, "exit")
		lesson.Until(`pty +the shell has gone$`)

		lesson.Stdin.Close()
		lesson.Until(`stdin +has ended$`)
		lesson.Until("bye$")
		all := lesson.End()
		for _, once := range []string{"tcp       has gone", "shell has gone", "has ended", "the child ended", "was created", "adds 42"} {
			if n := strings.Count(all, once); n != 1 {
				t.Errorf("says %d times that %s", n, once)
			}
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("the directory is left: %v", err)
		}
	})
}

// TestInterrupt: nothing keeps it from ending, and it sleeps meanwhile.
func TestInterrupt(t *testing.T) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		lesson := lessontest.Start(t, "-tick", "1h", "-backend", backend)
		lesson.Until("the child ended")
		const idle = 500 * time.Millisecond
		time.Sleep(idle)
		lesson.Interrupt()
		if cpu := lesson.CPU(); cpu > idle/2 {
			t.Errorf("%v of processor time in %v of idleness", cpu, idle)
		}
	})
}

func TestBadUse(t *testing.T) {
	lessontest.BadUse(t, "06-anyfd", []string{"-backend", "telepathy"}, []string{"-tick", "0"})
}
