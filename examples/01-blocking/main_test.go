package main

import (
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"goselectors/examples/internal/lessontest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

// modes are what this platform can give each client.
func modes(t *testing.T) []string {
	if _, err := exec.LookPath("cat"); err != nil || runtime.GOOS == "windows" {
		t.Log("no processes that serve: ", err)
		return []string{"goroutine"}
	}
	return []string{"goroutine", "process"}
}

func TestEcho(t *testing.T) {
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			server := lessontest.Start(t, "-addr", "127.0.0.1:0", "-mode", mode)
			addr := server.Addr()
			lessontest.Echo(t, addr)
			open := lessontest.Dial(t, addr)
			lessontest.Says(t, open, "still here?")
			server.Interrupt()
			if n, err := open.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("after the server's end read %d, %v; want the connection closed", n, err)
			}
		})
	}
}

func TestIdle(t *testing.T) {
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			lesson := lessontest.Start(t, "-addr", "127.0.0.1:0", "-mode", mode, "-idle", "20")
			lesson.Until("^20 idle clients, a " + mode + " each:$")
			if mode == "goroutine" {
				if n, _ := strconv.Atoi(lesson.Until(`goroutines +(\d+) in all`)[1]); n < 20 || n > 40 {
					t.Errorf("%d goroutines for 20 clients", n)
				}
				lesson.Until(`threads +\d+ in all`)
				lesson.Until(`stacks +\d+ KB, \d+\.\d KB a client`)
				if kb, _ := strconv.ParseFloat(lesson.Until(`heap +\d+ KB, (\d+\.\d) KB a client`)[1], 64); kb < 4 || kb > 20 {
					t.Errorf("%v KB of heap a client, whose buffer has 4", kb)
				}
			} else {
				lesson.Until(`processes +20 more`)
				if runtime.GOOS == "linux" {
					lesson.Until(`memory +\d+ KB, \d+\.\d KB a client`)
				}
			}
			lesson.Until("bye$")
			lesson.End()
		})
	}
}

func TestBadUse(t *testing.T) {
	lessontest.BadUse(t, "01-blocking", []string{"-mode", "magic"}, []string{"-idle", "-1"}, []string{"-idle", "5000"}, []string{"-idle", "many"})
}
