//go:build unix

package main

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop/stream"
	"goselectors/examples/internal/servertest"
	"goselectors/selectors"
)

func TestMain(m *testing.M) { servertest.Main(m, main) }

// A testServer is a running server and the files that it serves.
type testServer struct {
	addr, dir string
	big       []byte             // contents of big.bin
	process   *servertest.Server // of start
	here      *httpServer        // of startHere
}

// makeFiles makes some files to serve.
func makeFiles(t *testing.T) *testServer {
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
	os.Symlink("/etc/passwd", filepath.Join(s.dir, "outside"))
	return s
}

// start starts a server with two loops and some files, in a process of its own.
func start(t *testing.T, backend string, args ...string) *testServer {
	t.Helper()
	s := makeFiles(t)
	cmd := servertest.Command(t, backend, append(args, "-addr", "127.0.0.1:0", "-dir", s.dir, "-loops", "2")...)
	s.process = servertest.Start(t, "httpd", cmd)
	s.addr = s.process.Addr
	return s
}

// startHere starts a server in this process, with long limits unless the test sets
// others. With newHandler the test can change the handlers of connections.
func startHere(t *testing.T, backend string, set func(*config), newHandler func(*client) stream.Handler) *testServer {
	t.Helper()
	t.Setenv(selectors.BackendEnv, backend)
	s := makeFiles(t)
	cfg := config{dir: s.dir, loops: 2, limits: timeLimits{servertest.Timeout, servertest.Timeout, servertest.Timeout, servertest.Timeout}}
	if set != nil {
		set(&cfg)
	}
	var err error
	if s.here, err = newServer(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.here.stop(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	addr, err := s.here.listen("127.0.0.1:0", func() stream.Handler {
		h := s.here.newClient()
		if newHandler != nil {
			h = newHandler(h.(*client))
		}
		return h
	})
	if err != nil {
		t.Fatal(err)
	}
	s.addr = addr.String()
	return s
}

// eachBackend runs a test with a server on each backend.
func eachBackend(t *testing.T, test func(t *testing.T, s *testServer)) {
	servertest.EachBackend(t, func(t *testing.T, backend string) { test(t, start(t, backend)) })
}

func TestCommandLine(t *testing.T) {
	servertest.CheckCommandLines(t, "httpd",
		servertest.CommandLine{Args: []string{"-dir", filepath.Join(t.TempDir(), "missing")}, Exit: 1, Output: "missing"},
		servertest.CommandLine{Args: []string{"-addr", "nonsense"}, Exit: 1, Output: "nonsense"},
		servertest.CommandLine{Args: []string{"-loops", "-1"}, Exit: 2, Output: "-loops -1 is negative"},
		servertest.CommandLine{Args: []string{"-idle-timeout", "0s"}, Exit: 2, Output: "time limit"},
		servertest.CommandLine{Args: []string{"-grace", "-1s"}, Exit: 2, Output: "time limit"},
	)
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
				{"GET", "/sub", 200, "a b.html\n"}, // after a redirect
				{"GET", "/big.bin", 200, string(s.big)},
				{"HEAD", "/big.bin", 200, ""},
				{"GET", "/missing", 404, "Not Found\n"},
				{"HEAD", "/missing", 404, ""},
				{"GET", "/outside", 403, "Forbidden\n"},
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
				response, err := client.Do(r)
				if err != nil {
					t.Errorf("%s %s: %v", c.method, c.path, err)
					continue
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				if response.StatusCode != c.status || string(got) != c.body || err != nil {
					t.Errorf("%s %s: %s, %d bytes %.30q, %v; want %d, %.30q", c.method, c.path, response.Status, len(got), got, err, c.status, c.body)
				}
				if c.method == "HEAD" && c.path == "/big.bin" && response.ContentLength != int64(len(s.big)) {
					t.Errorf("Content-Length of big.bin is %d, want %d", response.ContentLength, len(s.big))
				}
			}
		}
	})
}

// TestPipelining sends different requests without waiting for the responses, in
// writes of several sizes. The responses arrive in the order of the requests.
func TestPipelining(t *testing.T) {
	const host = " HTTP/1.1\r\nHost: x\r\n\r\n"
	eachBackend(t, func(t *testing.T, s *testServer) {
		paths := []string{"/hello.txt", "/big.bin", "/missing", "/ticks/1", "/sub/", "/hello.txt", "/empty", "/big.bin"}
		var requests string
		for range 3 {
			for _, path := range paths {
				requests += "GET " + path + host
			}
		}
		for _, writeSize := range []int{len(requests), 1000, 7} {
			conn := servertest.Dial(t, s.addr)
			go func() {
				for unsent := requests; len(unsent) > 0; {
					n := min(writeSize, len(unsent))
					io.WriteString(conn, unsent[:n])
					unsent = unsent[n:]
				}
				conn.CloseWrite() // the server still sends all responses
			}()
			r := bufio.NewReader(conn)
			for i := range 3 * len(paths) {
				response, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatalf("writes of %d bytes, response %d: %v", writeSize, i, err)
				}
				body, err := io.ReadAll(response.Body)
				path := paths[i%len(paths)]
				want := map[string]string{"/hello.txt": "hello, world\n", "/missing": "Not Found\n", "/ticks/1": "tick 1\n", "/sub/": "a b.html\n", "/big.bin": string(s.big)}[path]
				if err != nil || string(body) != want {
					t.Fatalf("%s: %d bytes, %v", path, len(body), err)
				}
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the last response: read %d, %v; want io.EOF", n, err)
			}
		}
	})
}

// TestSlowClients has clients that send many requests and read no responses. Some
// of them disconnect. The server still serves other clients.
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
			response, err := client.Get("http://" + s.addr + "/hello.txt")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if string(body) != "hello, world\n" {
				t.Errorf("hello.txt: %q", body)
			}
		}
	})
}
