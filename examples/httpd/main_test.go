//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"goselectors/selectors"
)

// asHTTPD makes the test binary be the program.
const asHTTPD = "HTTPD_TEST_BE_HTTPD"

func TestMain(m *testing.M) {
	if os.Getenv(asHTTPD) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

// A site is a running server and what it serves.
type site struct {
	addr, dir string
	big       []byte
}

func start(t *testing.T, backend string) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), big: make([]byte, 1<<20+12345)}
	rand.NewChaCha8([32]byte{1}).Read(s.big)
	for name, data := range map[string][]byte{"hello.txt": []byte("hello, world\n"), "empty": nil, "big.bin": s.big, "sub/a b.html": []byte("<p>deep</p>")} {
		path := filepath.Join(s.dir, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink("/etc/passwd", filepath.Join(s.dir, "way-out"))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, "-addr", "127.0.0.1:0", "-dir", s.dir, "-loops", "2")
	cmd.Env = append(os.Environ(), asHTTPD+"=1", selectors.BackendEnv+"="+backend, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	var found bool
	s.addr, found = strings.CutPrefix(strings.TrimSpace(line), "httpd: listening on ")
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		rest, _ := io.ReadAll(out)
		if err := cmd.Wait(); err != nil || string(rest) != "httpd: bye\n" {
			t.Errorf("ends with %v after %q", err, rest)
		}
	})
	if err != nil || !found {
		t.Fatalf("first line %q, %v", line, err)
	}
	return s
}

func each(t *testing.T, test func(t *testing.T, s *site)) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) { test(t, start(t, b.Name)) })
	}
}

func dial(t *testing.T, s *site) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return conn.(*net.TCPConn)
}

// TestClient: what package net/http's client makes of it.
func TestClient(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for range 2 { // from the disk, and from the cache
			for _, c := range []struct {
				method, path string
				status       int
				body         string
			}{
				{"GET", "/hello.txt", 200, "hello, world\n"},
				{"GET", "/hello.txt?query", 200, "hello, world\n"},
				{"HEAD", "/hello.txt", 200, ""},
				{"GET", "/empty", 200, ""},
				{"GET", "/sub/a%20b.html", 200, "<p>deep</p>"},
				{"GET", "/sub/../hello.txt", 200, "hello, world\n"},
				{"GET", "/sub/", 200, "a b.html\n"},
				{"GET", "/big.bin", 200, string(s.big)},
				{"HEAD", "/big.bin", 200, ""},
				{"GET", "/none", 404, "Not Found\n"},
				{"HEAD", "/none", 404, ""},
				{"GET", "/way-out", 403, "Forbidden\n"},
				{"GET", "/../../etc/passwd", 404, "Not Found\n"},
				{"GET", "/ticks/0", 200, ""},
				{"GET", "/ticks/2", 200, "tick 1\ntick 2\n"},
				{"POST", "/hello.txt", 405, "Method Not Allowed\n"},
			} {
				var body io.Reader
				if c.method == "POST" {
					body = strings.NewReader(strings.Repeat("unwanted", 10000))
				}
				r, err := http.NewRequest(c.method, "http://"+s.addr+c.path, body)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := client.Do(r)
				if err != nil {
					t.Errorf("%s %s: %v", c.method, c.path, err)
					continue
				}
				got, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if answer.StatusCode != c.status || string(got) != c.body || err != nil {
					t.Errorf("%s %s: %s, %d bytes %.30q, %v", c.method, c.path, answer.Status, len(got), got, err)
				}
				if c.method == "HEAD" && c.path == "/big.bin" && answer.ContentLength != int64(len(s.big)) {
					t.Errorf("the length is %d", answer.ContentLength)
				}
			}
		}
	})
}

// TestPipelining: many requests at once, of all kinds, also cut anywhere, and
// the answers in order.
func TestPipelining(t *testing.T) {
	const host = " HTTP/1.1\r\nHost: x\r\n\r\n"
	each(t, func(t *testing.T, s *site) {
		paths := []string{"/hello.txt", "/big.bin", "/none", "/ticks/1", "/sub/", "/hello.txt", "/empty", "/big.bin"}
		var requests string
		for range 3 {
			for _, path := range paths {
				requests += "GET " + path + host
			}
		}
		for _, cut := range []int{len(requests), 1000, 7} {
			conn := dial(t, s)
			go func() {
				for rest := requests; len(rest) > 0; {
					n := min(cut, len(rest))
					io.WriteString(conn, rest[:n])
					rest = rest[n:]
				}
				conn.CloseWrite() // and nothing that was asked for is left out
			}()
			r := bufio.NewReader(conn)
			for i := range 3 * len(paths) {
				answer, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatalf("cut at %d, answer %d: %v", cut, i, err)
				}
				body, err := io.ReadAll(answer.Body)
				path := paths[i%len(paths)]
				want := map[string]string{"/hello.txt": "hello, world\n", "/none": "Not Found\n", "/ticks/1": "tick 1\n", "/sub/": "a b.html\n", "/big.bin": string(s.big)}[path]
				if err != nil || string(body) != want {
					t.Fatalf("%s: %d bytes, %v", path, len(body), err)
				}
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the last answer: %d, %v", n, err)
			}
		}
	})
}

func TestRaw(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, c := range []struct{ name, request, status, body string }{
			{"close", "GET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200", "hello, world\n"},
			{"1.0", "GET /hello.txt HTTP/1.0\r\n\r\n", "200", "hello, world\n"},
			{"1.0, no chunks", "GET /ticks/2 HTTP/1.0\r\n\r\n", "200", "tick 1\ntick 2\n"},
			{"close, then more", "GET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + strings.Repeat("more", 50000), "200", "hello, world\n"},
			{"no host", "GET / HTTP/1.1\r\n\r\n", "400", "Bad Request\n"},
			{"two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400", "Bad Request\n"},
			{"nonsense", "nonsense\r\n\r\n", "400", "Bad Request\n"},
			{"header without a name", "GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", "400", "Bad Request\n"},
			{"space before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "400", "Bad Request\n"},
			{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", "400", "Bad Request\n"},
			{"chunked request", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "501", "Not Implemented\n"},
			{"2.0", "GET / HTTP/2.0\r\n\r\n", "505", "HTTP Version Not Supported\n"},
			{"long header", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 20000), "431", "Request Header Fields Too Large\n"},
		} {
			t.Run(c.name, func(t *testing.T) {
				conn := dial(t, s)
				go io.WriteString(conn, c.request)
				r := bufio.NewReader(conn)
				answer, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(answer.Body)
				if err != nil || strconv.Itoa(answer.StatusCode) != c.status || string(body) != c.body || !answer.Close {
					t.Errorf("%s, close %v, %q, %v", answer.Status, answer.Close, body, err)
				}
				if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("not closed: %d, %v", n, err)
				}
			})
		}
	})
}

// TestLazyClients: they ask for much and read nothing. Everybody else is served,
// and some of them go away in the middle.
func TestLazyClients(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		var lazy []*net.TCPConn
		for range 10 {
			conn := dial(t, s)
			io.WriteString(conn, strings.Repeat("GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\nGET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n", 50))
			lazy = append(lazy, conn)
		}
		for i, conn := range lazy[:5] {
			if i%2 == 0 {
				conn.SetLinger(0)
			}
			conn.Close()
		}
		client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for range 20 {
			answer, err := client.Get("http://" + s.addr + "/hello.txt")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if string(body) != "hello, world\n" {
				t.Errorf("%q", body)
			}
		}
	})
}

func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s %q: %v: %s", name, args, err, &stderr)
	}
	return out
}

func TestCurl(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		url := "http://" + s.addr
		if got := tool(t, "curl", "-sS", "--max-time", "20", url+"/hello.txt", url+"/ticks/2", url+"/none", url+"/hello.txt"); string(got) != "hello, world\ntick 1\ntick 2\nNot Found\nhello, world\n" {
			t.Errorf("%q", got)
		}
		// Alive between requests, so one connection.
		if got := tool(t, "curl", "-sS", "--max-time", "20", "-o", os.DevNull, "-o", os.DevNull, "-w", "%{num_connects} ", url+"/hello.txt", url+"/big.bin"); string(got) != "1 0 " {
			t.Errorf("connections made for each of two requests: %s", got)
		}
		if got := tool(t, "curl", "-sS", "--max-time", "20", "--limit-rate", "20M", url+"/big.bin"); !bytes.Equal(got, s.big) {
			t.Errorf("big.bin: %d bytes", len(got))
		}
		if got := tool(t, "curl", "-sS", "--max-time", "20", "-0", url+"/hello.txt"); string(got) != "hello, world\n" {
			t.Errorf("with HTTP/1.0: %q", got)
		}
	})
}

func TestWrk(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		out := tool(t, "wrk", "-t1", "-c50", "-d1s", "http://"+s.addr+"/hello.txt")
		if !bytes.Contains(out, []byte("Requests/sec:")) || bytes.Contains(out, []byte("Non-2xx")) || bytes.Contains(out, []byte("Socket errors")) {
			t.Errorf("%s", out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "Requests/sec") {
				t.Log(fmt.Sprint(strings.TrimSpace(line)))
			}
		}
	})
}
