//go:build unix

package main

import (
	"os"
	"path/filepath"
	"regexp"
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
		for name, c := range map[string]struct {
			args []string
			want string
		}{
			"HTTP/1.0":              {[]string{"--http1.0", url + "/hello.txt"}, "hello, world\n"},
			"HTTP/1.0, keep-alive":  {[]string{"--http1.0", "-H", "Connection: keep-alive", "-w", "%{num_connects}", url + "/hello.txt", url + "/hello.txt"}, "hello, world\n1hello, world\n0"},
			"absolute form":         {[]string{"-x", url, "http://example.test/hello.txt"}, "hello, world\n"},
			"range":                 {[]string{"-r", "7-11", url + "/hello.txt"}, "world"},
			"range of a large file": {[]string{"-r", "1000000-", url + "/big.bin"}, string(s.big[1000000:])},
			"redirect":              {[]string{"-L", url + "/sub"}, "a b.html\n"},
			"upload":                {[]string{"-T", filepath.Join(s.dir, "big.bin"), "-w", "%{http_code}", url + "/x"}, "Request Entity Too Large: the body has more than 1 MiB\n413"},
			"small upload":          {[]string{"-d", "x=y", "-w", "%{http_code}", url + "/x"}, "Method Not Allowed\n405"},
			"chunked upload":        {[]string{"-d", "x=y", "-H", "Transfer-Encoding: chunked", "-w", "%{http_code}", url + "/x"}, "Not Implemented: a body with Transfer-Encoding is not supported\n501"},
			"expectation":           {[]string{"-X", "GET", "-d", "x=y", "-H", "Expect: 100-continue", url + "/hello.txt"}, "hello, world\n"},
		} {
			if got := servertest.RunTool(t, "curl", append([]string{"-sS", "--max-time", "20"}, c.args...)...); got != c.want {
				t.Errorf("%s: %d bytes %.60q; want %d bytes %.60q", name, len(got), got, len(c.want), c.want)
			}
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

// TestAb: ab uses HTTP/1.0, and with -k it asks for persistent connections.
func TestAb(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *testServer) {
		for _, file := range []string{"hello.txt", "big.bin"} {
			for _, args := range [][]string{{}, {"-k"}, {"-i"}, {"-k", "-i"}} { // -i: HEAD
				out := servertest.RunTool(t, "ab", append(args, "-q", "-s", "20", "-n", "200", "-c", "10", "http://"+s.addr+"/"+file)...)
				keepAlive := "0"
				if len(args) > 0 && args[0] == "-k" {
					keepAlive = "200"
				}
				for name, want := range map[string]string{"Complete requests": "200", "Failed requests": "0", "Keep-Alive requests": keepAlive} {
					got := regexp.MustCompile(name + `: +(\d+)`).FindStringSubmatch(out)
					if name == "Keep-Alive requests" && keepAlive == "0" {
						continue // not printed
					}
					if got == nil || got[1] != want {
						t.Errorf("ab %q, %s: %s: %q; want %s", args, file, name, got, want)
					}
				}
			}
		}
	})
}
