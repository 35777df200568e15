//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"goselectors/selectors"
)

// asKV makes the test binary be the program.
const asKV = "KV_TEST_BE_KV"

func TestMain(m *testing.M) {
	if os.Getenv(asKV) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

// start runs the server until the test is over, and returns its port.
func start(t *testing.T, backend string) (port string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, "-addr", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), asKV+"=1", selectors.BackendEnv+"="+backend, "GORACE=atexit_sleep_ms=0")
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
	addr, found := strings.CutPrefix(strings.TrimSpace(line), "kv: listening on ")
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		rest, _ := io.ReadAll(out)
		if err := cmd.Wait(); err != nil || string(rest) != "kv: bye\n" {
			t.Errorf("ends with %v after %q", err, rest)
		}
	})
	if err != nil || !found {
		t.Fatalf("first line %q, %v", line, err)
	}
	_, port, _ = net.SplitHostPort(addr)
	return port
}

// each runs a test with a server on every backend.
func each(t *testing.T, test func(t *testing.T, port string)) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) { test(t, start(t, b.Name)) })
	}
}

func dial(t *testing.T, port string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", port), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return conn
}

// says sends something and checks the answer, byte for byte.
func says(t *testing.T, conn net.Conn, request, want string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Error(err)
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(conn, got)
	if err != nil || string(got) != want {
		t.Fatalf("%.100q is answered %.100q, %v; want %.100q", request, got[:n], err, want)
	}
}

func resp(args ...string) string {
	s := fmt.Sprintf("*%d\r\n", len(args))
	for _, a := range args {
		s += fmt.Sprintf("$%d\r\n%s\r\n", len(a), a)
	}
	return s
}

func TestProtocol(t *testing.T) {
	each(t, func(t *testing.T, port string) {
		conn := dial(t, port)
		whole, answers := "", ""
		for _, c := range []struct {
			request, answer string
		}{
			{resp("PING"), "+PONG\r\n"},
			{resp("ping", "you"), "$3\r\nyou\r\n"},
			{"PING\r\n", "+PONG\r\n"},
			{"\r\n", ""},
			{"*0\r\n", ""},
			{"set inline  1\n", "+OK\r\n"},
			{resp("ECHO", "a\r\nb"), "$4\r\na\r\nb\r\n"},
			{resp("ECHO"), "-ERR wrong number of arguments for 'echo' command\r\n"},
			{resp("GET", "none"), "$-1\r\n"},
			{resp("SET", "k", "v"), "+OK\r\n"},
			{resp("GET", "k"), "$1\r\nv\r\n"},
			{resp("SET", "k", ""), "+OK\r\n"},
			{resp("GET", "k"), "$0\r\n\r\n"},
			{resp("EXISTS", "k", "none", "k"), ":2\r\n"},
			{resp("DEL", "k", "none"), ":1\r\n"},
			{resp("EXISTS", "k"), ":0\r\n"},
			{resp("INCR", "n"), ":1\r\n"},
			{resp("INCR", "n"), ":2\r\n"},
			{resp("SET", "n", "9223372036854775807"), "+OK\r\n"},
			{resp("INCR", "n"), "-ERR increment or decrement would overflow\r\n"},
			{resp("SET", "n", "text"), "+OK\r\n"},
			{resp("INCR", "n"), "-ERR value is not an integer or out of range\r\n"},
			{resp("TTL", "none"), ":-2\r\n"},
			{resp("TTL", "n"), ":-1\r\n"},
			{resp("EXPIRE", "none", "10"), ":0\r\n"},
			{resp("EXPIRE", "n", "100"), ":1\r\n"},
			{resp("TTL", "n"), ":100\r\n"},
			{resp("SET", "n", "1"), "+OK\r\n"},
			{resp("TTL", "n"), ":-1\r\n"},
			{resp("SET", "n", "1", "EX", "50"), "+OK\r\n"},
			{resp("TTL", "n"), ":50\r\n"},
			{resp("INCR", "n"), ":2\r\n"},
			{resp("TTL", "n"), ":50\r\n"},
			{resp("SET", "n", "1", "EX", "0"), "-ERR invalid expire time in 'set' command\r\n"},
			{resp("SET", "n", "1", "EX"), "-ERR syntax error\r\n"},
			{resp("SET", "n", "1", "QX", "1"), "-ERR syntax error\r\n"},
			{resp("EXPIRE", "n", "-1"), ":1\r\n"},
			{resp("EXISTS", "n"), ":0\r\n"},
			{resp("NOSUCH"), "-ERR unknown command 'NOSUCH'\r\n"},
			{resp("A-VERY-LONG-COMMAND-INDEED"), "-ERR unknown command 'A-VERY-LONG-COMMAND-INDEED'\r\n"},
		} {
			says(t, conn, c.request, c.answer)
			whole, answers = whole+c.request, answers+c.answer
		}
		says(t, conn, resp("DEL", "inline"), ":1\r\n")
		says(t, conn, whole, answers) // all at once
		says(t, conn, resp("DEL", "inline"), ":1\r\n")
		for _, b := range []byte(whole) { // and a byte at a time
			conn.Write([]byte{b})
		}
		says(t, conn, "", answers)
	})
}

func TestProtocolErrors(t *testing.T) {
	each(t, func(t *testing.T, port string) {
		for request, want := range map[string]string{
			"*x\r\n":                       "invalid multibulk length",
			"*1\r\nPING\r\n":               "expected '$', got 'P'",
			"*1\r\n$999999999999999\r\n":   "invalid bulk length",
			"*1\r\n$-1\r\n":                "invalid bulk length",
			"*9999999\r\n":                 "invalid multibulk length",
			"*" + strings.Repeat("1", 100): "invalid multibulk length",
			strings.Repeat("x", 100_000):   "too big inline request",
		} {
			conn := dial(t, port)
			io.WriteString(conn, request)
			got, _ := io.ReadAll(conn)
			if string(got) != "-ERR Protocol error: "+want+"\r\n" && !(len(request) > 64<<10 && len(got) == 0) {
				t.Errorf("%.30q is answered %q", request, got)
			}
		}
	})
}

func TestExpiry(t *testing.T) {
	each(t, func(t *testing.T, port string) {
		conn := dial(t, port)
		says(t, conn, resp("SET", "brief", "x", "PX", "50")+resp("SET", "kept", "x", "PX", "50")+resp("SET", "kept", "y"), "+OK\r\n+OK\r\n+OK\r\n")
		for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			io.WriteString(conn, resp("EXISTS", "brief"))
			answer := make([]byte, 4)
			if _, err := io.ReadFull(conn, answer); err != nil {
				t.Fatal(err)
			}
			gone := string(answer) == ":0\r\n"
			if took := time.Since(begun); gone && took < 30*time.Millisecond || took > patience {
				t.Errorf("gone %v after %v", gone, took)
				return
			}
			if gone {
				break
			}
		}
		says(t, conn, resp("GET", "kept"), "$1\r\ny\r\n")
	})
}

// TestBigValues: they come in many pieces, and a client that does not read its
// answers holds nobody up.
func TestBigValues(t *testing.T) {
	each(t, func(t *testing.T, port string) {
		big := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<16)) // 1 MiB
		lazy := dial(t, port)
		says(t, lazy, resp("SET", "big", big), "+OK\r\n")
		io.WriteString(lazy, strings.Repeat(resp("GET", "big"), 64))
		conn := dial(t, port)
		says(t, conn, resp("GET", "big"), fmt.Sprintf("$%d\r\n%s\r\n", len(big), big))
		says(t, lazy, "", strings.Repeat(fmt.Sprintf("$%d\r\n%s\r\n", len(big), big), 64))
	})
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian: redis-tools)", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

func TestRedisCLI(t *testing.T) {
	each(t, func(t *testing.T, port string) {
		for _, c := range []struct{ command, want string }{
			{"PING", "PONG"}, {"SET greeting hello", "OK"}, {"GET greeting", "hello"}, {"INCR visits", "1"}, {"INCR visits", "2"},
			{"EXPIRE greeting 100", "1"}, {"TTL greeting", "100"}, {"DEL greeting visits", "2"}, {"EXISTS greeting", "0"}, {"ECHO hi", "hi"},
		} {
			got := tool(t, "redis-cli", append([]string{"-p", port}, strings.Fields(c.command)...)...)
			if strings.TrimSpace(got) != c.want {
				t.Errorf("%s: %q, want %q", c.command, got, c.want)
			}
		}
	})
}

func TestRedisBenchmark(t *testing.T) {
	each(t, func(t *testing.T, port string) {
		for _, pipeline := range []string{"1", "16"} {
			out := tool(t, "redis-benchmark", "-p", port, "-c", "50", "-n", "10000", "-P", pipeline, "-t", "ping,set,get,incr", "-q")
			for _, test := range []string{"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR"} {
				if !strings.Contains(out, test+": ") {
					t.Errorf("no result of %s in %q", test, out)
				}
			}
			out = strings.ReplaceAll(out, "\r", "\n")
			for _, line := range strings.Split(out, "\n") {
				if strings.Contains(line, "requests per second") {
					t.Logf("-P %s: %s", pipeline, line)
				}
			}
		}
	})
}
