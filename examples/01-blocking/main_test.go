package main

import (
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"goselectors/examples/internal/lessontest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

// modes returns the values of -mode that this platform supports.
func modes(t *testing.T) []string {
	if _, err := exec.LookPath("cat"); err != nil || runtime.GOOS == "windows" {
		t.Log("cannot test -mode process: ", err)
		return []string{"goroutine"}
	}
	return []string{"goroutine", "process"}
}

func TestEcho(t *testing.T) {
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-mode", mode)
			addr := server.Addr()
			lessontest.CheckEchoClients(t, addr)
			open := lessontest.Dial(t, addr)
			lessontest.CheckEcho(t, open, "hello")
			server.Interrupt()
			if n, err := open.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("after the server ended read %d, %v; want the connection closed", n, err)
			}
		})
	}
}

func TestIdle(t *testing.T) {
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			lesson := lessontest.Start(t, "-addr", "127.0.0.1:0", "-mode", mode, "-idle", "20")
			lesson.WaitLine("^20 idle clients, one " + mode + " per client:$")
			if mode == "goroutine" {
				if n, _ := strconv.Atoi(lesson.WaitLine(`goroutines +(\d+) in total`)[1]); n < 20 || n > 40 {
					t.Errorf("%d goroutines for 20 clients", n)
				}
				lesson.WaitLine(`threads +\d+ in total`)
				lesson.WaitLine(`stacks +\d+ KB, \d+\.\d KB per client`)
				if kb, _ := strconv.ParseFloat(lesson.WaitLine(`heap +\d+ KB, (\d+\.\d) KB per client`)[1], 64); kb < 4 || kb > 20 {
					t.Errorf("%v KB of heap per client; the buffer alone has 4", kb)
				}
			} else {
				lesson.WaitLine(`processes +20 more`)
				if runtime.GOOS == "linux" {
					lesson.WaitLine(`memory +\d+ KB, \d+\.\d KB per client`)
				}
			}
			lesson.WaitLine("bye$")
			lesson.WaitEnd()
		})
	}
}

func TestTooManyClients(t *testing.T) { lessontest.CheckTooManyClients(t) }

func TestUsage(t *testing.T) {
	lessontest.CheckUsage(t, "01-blocking", []string{"-mode", "magic"}, []string{"-idle", "-1"}, []string{"-idle", "5000"}, []string{"-idle", "many"})
}
