//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"goselectors/examples/internal/servertest"
)

// A stopClient is a client while the server stops.
type stopClient struct {
	name    string
	request string // sent before the stop
	rest    string // sent after the stop
	body    string // of the answer; empty if there is none
	close   bool   // the answer announces the end of the connection
}

var stopClients = []stopClient{ // the first one is idle
	{name: "idle"},
	{"ticks", "GET /ticks/8 HTTP/1.1\r\nHost: x\r\n\r\n", "", "tick 1\ntick 2\ntick 3\ntick 4\ntick 5\ntick 6\ntick 7\ntick 8\n", false},
	{"large file", "GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n", "", "", false},
	{"part of a header", "GET /hello.txt HTTP/1.1\r\n", "Host: x\r\n\r\n", "hello, world\n", true},
	{"requests in a row", strings.Repeat("GET /ticks/1 HTTP/1.1\r\nHost: x\r\n\r\n", 20), "", "tick 1\n", false},
	{"part of a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", "cde", "Method Not Allowed\n", false},
}

// TestStop stops the server while it has clients of each kind. Answers in progress
// are completed, and all connections end.
func TestStop(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		s := start(t, backend, "-grace", "20s")
		conns := make([]*net.TCPConn, len(stopClients))
		readers := make([]*bufio.Reader, len(stopClients))
		for i, c := range stopClients {
			conns[i] = servertest.Dial(t, s.addr)
			readers[i] = bufio.NewReader(conns[i])
			// The server has served this request, so it is not in the kernel's queue.
			io.WriteString(conns[i], "HEAD /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n"+c.request)
			if _, err := http.ReadResponse(readers[i], &http.Request{Method: "HEAD"}); err != nil {
				t.Fatal(err)
			}
			if c.body != "" && !c.close {
				readers[i].Peek(1) // the answer has started
			}
		}
		stopped := make(chan string)
		start := time.Now()
		go func() { stopped <- s.process.Stop(t) }()
		idleEnd := make(chan time.Duration, 1)
		go func() { // the idle client
			if err := readAnswer(readers[0], "", false); err != nil {
				t.Errorf("idle: %v", err)
			}
			idleEnd <- time.Since(start)
		}()
		time.Sleep(100 * time.Millisecond)
		for i, c := range stopClients {
			if i == 0 {
				continue
			}
			io.WriteString(conns[i], c.rest)
			body := c.body
			if c.name == "large file" {
				body = string(s.big)
			}
			if err := readAnswer(readers[i], body, c.close); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			conns[i].Close()
		}
		if stderr := <-stopped; stderr != "" {
			t.Errorf("standard error: %q", stderr)
		}
		if d := <-idleEnd; d > servertest.Timeout/4 {
			t.Errorf("the idle connection was closed after %v", d)
		}
		if conn, err := net.Dial("tcp", s.addr); err == nil {
			conn.Close()
			t.Error("the address still accepts connections")
		}
	})
}

// readAnswer reads an answer, or several equal ones, until the end of the
// connection. The last one announces the end.
func readAnswer(r *bufio.Reader, body string, wantClose bool) error {
	for n := 0; ; n++ {
		if _, err := r.Peek(1); err == io.EOF && (n > 0 || body == "") {
			return nil
		}
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(response.Body)
		if err != nil || string(got) != body || wantClose && !response.Close {
			return fmt.Errorf("%s, %d bytes %.30q, close %v, %v; want %d bytes %.30q", response.Status, len(got), got, response.Close, err, len(body), body)
		}
	}
}

// stopEarly starts an answer that takes long and interrupts the server. It returns
// the server's process.
func stopEarly(t *testing.T, signals int, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	cmd := servertest.Command(t, "", append(args, "-addr", "127.0.0.1:0", "-dir", dir)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	conn := servertest.Dial(t, strings.TrimSpace(strings.TrimPrefix(line, "httpd: listening on ")))
	io.WriteString(conn, "GET /ticks/1000 HTTP/1.1\r\nHost: x\r\n\r\n")
	bufio.NewReader(conn).ReadString('k') // of a tick
	for range signals {
		cmd.Process.Signal(syscall.SIGTERM)
		time.Sleep(300 * time.Millisecond) // two signals at once are one
	}
	return cmd
}

// TestStopGrace has an answer that takes longer than the grace.
func TestStopGrace(t *testing.T) {
	start := time.Now()
	cmd := stopEarly(t, 1, "-grace", "500ms")
	cmd.Wait()
	if status, elapsed := cmd.ProcessState.ExitCode(), time.Since(start); status != 1 || elapsed > servertest.Timeout {
		t.Errorf("exit status %d after %v; want 1", status, elapsed)
	}
}

// TestStopTwice sends a second signal during the grace.
func TestStopTwice(t *testing.T) {
	cmd := stopEarly(t, 2, "-grace", "1h")
	cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("%v; want the end by SIGTERM", cmd.ProcessState)
	}
}
