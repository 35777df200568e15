//go:build unix

package main

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"goselectors/examples/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, main) }

// A testServer is a running server and its files.
type testServer struct {
	addr, dir string
	big       []byte
}

// start starts a server with two loops.
func start(t *testing.T, backend string) *testServer {
	t.Helper()
	s := &testServer{dir: t.TempDir(), big: make([]byte, 1<<20+12345)}
	rand.NewChaCha8([32]byte{1}).Read(s.big)
	for name, data := range map[string][]byte{"hello.txt": []byte("hello, world\n"), "empty": nil, "big.bin": s.big, "sub/a b.html": []byte("<p>deep</p>")} {
		path := filepath.Join(s.dir, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink("/etc/passwd", filepath.Join(s.dir, "way-out"))
	cmd := servertest.Command(t, backend, "-addr", "127.0.0.1:0", "-dir", s.dir, "-loops", "2")
	s.addr = servertest.Start(t, "httpd", cmd).Addr
	return s
}

// eachBackend runs a test with a server on each backend.
func eachBackend(t *testing.T, test func(t *testing.T, s *testServer)) {
	servertest.EachBackend(t, func(t *testing.T, backend string) { test(t, start(t, backend)) })
}

func TestCommandLine(t *testing.T) {
	servertest.CheckCommandLines(t, "httpd", servertest.CommandLine{
		Args: []string{"-dir", filepath.Join(t.TempDir(), "missing")}, Exit: 1, Output: "missing",
	})
}

// TestClient uses the client of package net/http.
func TestClient(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *testServer) {
		client := &http.Client{Timeout: servertest.Timeout, Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for range 2 { // first from the disk, then from the cache
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
	eachBackend(t, func(t *testing.T, s *testServer) {
		paths := []string{"/hello.txt", "/big.bin", "/none", "/ticks/1", "/sub/", "/hello.txt", "/empty", "/big.bin"}
		var requests string
		for range 3 {
			for _, path := range paths {
				requests += "GET " + path + host
			}
		}
		for _, cut := range []int{len(requests), 1000, 7} {
			conn := servertest.Dial(t, s.addr)
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
	eachBackend(t, func(t *testing.T, s *testServer) {
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
				conn := servertest.Dial(t, s.addr)
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

// TestSlowClients has clients that request much and read nothing; some of them
// disconnect. The server serves the others.
func TestSlowClients(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *testServer) {
		var slow []*net.TCPConn
		for range 10 {
			conn := servertest.Dial(t, s.addr)
			io.WriteString(conn, strings.Repeat("GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\nGET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n", 50))
			slow = append(slow, conn)
		}
		for i, conn := range slow[:5] {
			if i%2 == 0 {
				conn.SetLinger(0)
			}
			conn.Close()
		}
		client := &http.Client{Timeout: servertest.Timeout, Transport: &http.Transport{}}
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

func TestCurl(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *testServer) {
		url := "http://" + s.addr
		if got := servertest.RunTool(t, "curl", "-sS", "--max-time", "20", url+"/hello.txt", url+"/ticks/2", url+"/none", url+"/hello.txt"); got != "hello, world\ntick 1\ntick 2\nNot Found\nhello, world\n" {
			t.Errorf("%q", got)
		}
		// The connection is persistent, so two requests need one.
		if got := servertest.RunTool(t, "curl", "-sS", "--max-time", "20", "-o", os.DevNull, "-o", os.DevNull, "-w", "%{num_connects} ", url+"/hello.txt", url+"/big.bin"); got != "1 0 " {
			t.Errorf("connections made for each of two requests: %s", got)
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
