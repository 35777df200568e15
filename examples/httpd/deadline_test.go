//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/servertest"
)

// sendSlowly sends a byte at a time until the connection fails or the text ends.
func sendSlowly(conn net.Conn, text string) {
	for i := range len(text) {
		if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// readToEnd returns the statuses of the responses until the end of the connection,
// which may be a reset.
func readToEnd(t *testing.T, conn net.Conn) (got []int) {
	t.Helper()
	for r := bufio.NewReader(conn); ; {
		response, err := http.ReadResponse(r, nil)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the server does not end the connection")
		}
		if err != nil {
			return got
		}
		io.Copy(io.Discard, response.Body)
		got = append(got, response.StatusCode)
	}
}

// TestSlowSenders has clients that send a request too slowly, or nothing. The
// server ends their connections in time, whether or not they send a byte now and
// then.
func TestSlowSenders(t *testing.T) {
	const limit = 300 * time.Millisecond
	const request = "GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n"
	slow := "GET /hello.txt HTTP/1.1\r\nX: " + strings.Repeat("x", 10000)
	post := "POST /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
	cases := []struct {
		name       string
		fast, slow string // sent at once, and then slowly
		want       int    // status of the last response; 0 if there is none
	}{
		{"no byte", "", "", 0},
		{"no second byte", "G", "", 408},
		{"only an empty line", "\r\n", "", 408},
		{"slow header", "", slow, 408},
		{"slow second header", request, slow, 408},
		{"slow header in the same write", request + "G", slow[1:], 408},
		{"slow header after a large file", "GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n", slow, 408},
		{"no body", post, "", 405},
		{"slow body", post, slow, 405},
		{"no second request", request, "", 200},
	}
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		const long = 10 * servertest.Timeout
		s := startHere(t, backend, func(cfg *config) { cfg.limits = timeLimits{limit, limit, long, long} }, nil)
		idle := startHere(t, backend, func(cfg *config) { cfg.limits = timeLimits{long, long, limit, long} }, nil)
		var wg sync.WaitGroup
		for _, c := range cases {
			wg.Add(1)
			addr := s.addr
			if c.want == 200 {
				addr = idle.addr
			}
			conn := servertest.Dial(t, addr)
			start := time.Now()
			go func() {
				defer wg.Done()
				io.WriteString(conn, c.fast)
				go sendSlowly(conn, c.slow)
				got := readToEnd(t, conn)
				if elapsed := time.Since(start); elapsed < limit/2 {
					t.Errorf("%s: the connection ended after %v; the limit is %v", c.name, elapsed, limit)
				}
				last := 0
				if len(got) > 0 {
					last = got[len(got)-1]
				}
				if last != c.want {
					t.Errorf("%s: statuses %v; want %d at the end", c.name, got, c.want)
				}
			}()
		}
		wg.Wait()
	})
}

// TestActiveClient makes requests for longer than all limits. Its connection is
// not ended.
func TestActiveClient(t *testing.T) {
	const limit = time.Second
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		s := startHere(t, backend, func(cfg *config) { cfg.limits = timeLimits{limit, limit, limit, limit} }, nil)
		conn := servertest.Dial(t, s.addr)
		r := bufio.NewReader(conn)
		for end := time.Now().Add(limit * 3 / 2); time.Now().Before(end); time.Sleep(limit / 50) {
			io.WriteString(conn, "GET /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
			response, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, response.Body)
		}
	})
}

// hugeFile makes a file that is larger than the buffers of the kernel.
func (s *testServer) hugeFile(t *testing.T, size int64) {
	t.Helper()
	path := filepath.Join(s.dir, "huge")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// dialSmallBuffer connects with a small receive buffer.
func dialSmallBuffer(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{Timeout: servertest.Timeout, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<10) })
	}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(3 * servertest.Timeout))
	return conn.(*net.TCPConn)
}

// TestSlowReaders has a client that reads nothing of a response and one that reads
// slowly. The first one is given up after the limit, the second one is not.
func TestSlowReaders(t *testing.T) {
	const limit = time.Second
	requests := []string{
		"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /huge HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		strings.Repeat("GET /small HTTP/1.1\r\nHost: x\r\n\r\n", 2000),
	}
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		s := startHere(t, backend, func(cfg *config) { cfg.limits.response = limit }, nil)
		s.hugeFile(t, 64<<20)
		if err := os.WriteFile(filepath.Join(s.dir, "small"), make([]byte, 40<<10), 0o644); err != nil {
			t.Fatal(err)
		}
		var idle, slow []net.Conn
		for _, request := range requests {
			for _, conns := range []*[]net.Conn{&idle, &slow} {
				conn := dialSmallBuffer(t, s.addr)
				io.WriteString(conn, request)
				*conns = append(*conns, conn)
			}
		}
		buf := make([]byte, 4<<10)
		for end := time.Now().Add(3 * limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			for i, conn := range slow {
				if _, err := conn.Read(buf); err != nil {
					t.Fatalf("a client that reads slowly: %v; request %.50q", err, requests[i])
				}
			}
		}
		for i, conn := range idle {
			// What the kernel had sent may still be read, then comes the end.
			conn.SetReadDeadline(time.Now().Add(servertest.Timeout))
			if n, err := io.Copy(io.Discard, conn); n > 32<<20 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a client that reads nothing: %d bytes came, %v; request %.50q", n, err, requests[i])
			}
		}
	})
}

// TestBodyDuringResponse has a client that sends all of a body before it reads the
// response.
func TestBodyDuringResponse(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		s := startHere(t, backend, nil, nil)
		s.hugeFile(t, 64<<20)
		conn := dialSmallBuffer(t, s.addr)
		conn.SetWriteBuffer(8 << 10)
		conn.SetWriteDeadline(time.Now().Add(servertest.Timeout))
		fmt.Fprintf(conn, "GET /huge HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", maxBodySize)
		if n, err := conn.Write(make([]byte, maxBodySize)); err != nil {
			t.Errorf("%d bytes of the body were sent, %v", n, err)
		}
	})
}

// TestEndlessInput has a client that goes on sending after the last response. The
// response arrives, and the connection ends.
func TestEndlessInput(t *testing.T) {
	s := startHere(t, "", nil, nil)
	conn := servertest.Dial(t, s.addr)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.WriteString(conn, "GET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		for end := time.Now().Add(servertest.Timeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, err := conn.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
		t.Error("the connection does not end")
	}()
	if got := readToEnd(t, conn); len(got) != 1 || got[0] != 200 {
		t.Errorf("statuses %v; want 200", got)
	}
	<-ended
}
