//go:build unix

package main

import (
	"os"
	"strings"
	"testing"

	"goselectors/examples/internal/servertest"
)

func TestCurl(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *testServer) {
		url := "http://" + s.addr
		if got := servertest.RunTool(t, "curl", "-sS", "--max-time", "20", url+"/hello.txt", url+"/ticks/2", url+"/missing", url+"/hello.txt"); got != "hello, world\ntick 1\ntick 2\nNot Found\nhello, world\n" {
			t.Errorf("output for four requests: %q", got)
		}
		// The connection is persistent: the second request does not open another one.
		if got := servertest.RunTool(t, "curl", "-sS", "--max-time", "20", "-o", os.DevNull, "-o", os.DevNull, "-w", "%{num_connects} ", url+"/hello.txt", url+"/big.bin"); got != "1 0 " {
			t.Errorf("new connections of two requests: %q, want %q", got, "1 0 ")
		}
		if got := servertest.RunTool(t, "curl", "-sS", "--max-time", "20", "--limit-rate", "20M", url+"/big.bin"); got != string(s.big) {
			t.Errorf("big.bin: %d bytes", len(got))
		}
		if got := servertest.RunTool(t, "curl", "-sS", "--max-time", "20", "-0", url+"/hello.txt"); got != "hello, world\n" {
			t.Errorf("with HTTP/1.0: %q", got)
		}
	})
}

func TestWrk(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *testServer) {
		out := servertest.RunTool(t, "wrk", "-t1", "-c50", "-d1s", "http://"+s.addr+"/hello.txt")
		if !strings.Contains(out, "Requests/sec:") || strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
			t.Errorf("%s", out)
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, "Requests/sec") {
				t.Log(strings.TrimSpace(line))
			}
		}
	})
}
