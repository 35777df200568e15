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

// TestAll tests every source of events with every backend.
func TestAll(t *testing.T) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		lesson := lessontest.Start(t, "-tick", "100ms", "-backend", backend)
		dir := filepath.Dir(lesson.WaitLine(`inotify +touch (\S+)$`)[1])
		pid, _ := strconv.Atoi(lesson.WaitLine(`signal +kill -USR1 (\d+)$`)[1])
		udp := lesson.WaitLine(`udp +echo hello \| nc -u -w1 (\S+) (\d+)$`)
		tcp := lesson.WaitLine(`tcp +nc (\S+) (\d+)$`)
		lesson.WaitLine(`fd \d+ is \*net.TCPListener$`)

		lesson.WaitLine(`timerfd +expired [1-9]\d* times`)
		lesson.WaitLine(`eventfd +a goroutine added 42$`)
		lesson.WaitLine(`pidfd +the child ended: exit status 7$`)

		name := filepath.Join(dir, "newfile")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		lesson.WaitLine(`inotify +newfile was created$`)
		os.Remove(name)
		lesson.WaitLine(`inotify +newfile was deleted$`)

		if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		lesson.WaitLine(`signal +user defined signal 1$`)

		conn, err := net.Dial("udp", net.JoinHostPort(udp[1], udp[2]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		for _, datagram := range []string{"hello", "", "again"} {
			fmt.Fprint(conn, datagram)
			lesson.WaitLine(fmt.Sprintf(`udp +datagram %q$`, datagram))
		}

		client := lessontest.Dial(t, net.JoinHostPort(tcp[1], tcp[2]))
		lesson.WaitLine(`tcp +client connected$`)
		fmt.Fprintln(client, "hello, loop")
		lesson.WaitLine(`tcp +"hello, loop"$`)
		client.Close()
		lesson.WaitLine(`tcp +client disconnected$`)

		fmt.Fprintln(lesson.Stdin, "echo $((6*7)) on $(tty)")
		lesson.WaitLine(`stdin +"echo .*\\n", to the shell$`)
		lesson.WaitLine(`pty .*42 on /dev/pts/\d+\\r\\n`)
		fmt.Fprintln(lesson.Stdin, "exit")
		lesson.WaitLine(`pty +the shell ended$`)

		lesson.Stdin.Close()
		lesson.WaitLine(`stdin +end of input$`)
		lesson.WaitLine("bye$")
		output := lesson.WaitEnd()
		for _, once := range []string{"client disconnected", "the shell ended", "end of input", "the child ended", "was created", "added 42"} {
			if n := strings.Count(output, once); n != 1 {
				t.Errorf("printed %d times: %s", n, once)
			}
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("the directory still exists: %v", err)
		}
	})
}

// TestInterrupt requires that an interrupt ends the lesson, and that it uses
// little processor time before.
func TestInterrupt(t *testing.T) {
	lessontest.EachBackend(t, func(t *testing.T, backend string) {
		lesson := lessontest.Start(t, "-tick", "1h", "-backend", backend)
		lesson.WaitLine("the child ended")
		const idle = 500 * time.Millisecond
		time.Sleep(idle)
		lesson.Interrupt()
		if cpu := lesson.CPU(); cpu > idle/2 {
			t.Errorf("%v of processor time in %v without work", cpu, idle)
		}
	})
}

func TestUsage(t *testing.T) {
	lessontest.CheckUsage(t, "06-anyfd", []string{"-backend", "nosuchbackend"}, []string{"-tick", "0"})
}
