//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"goselectors/examples/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, main) }

// eachBackend runs a test with a server on each backend.
func eachBackend(t *testing.T, test func(t *testing.T, addr string)) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		cmd := servertest.Command(t, backend, "-addr", "127.0.0.1:0")
		test(t, servertest.Start(t, "kv", cmd).Addr)
	})
}

func TestCommandLine(t *testing.T) { servertest.CheckCommandLines(t, "kv") }

func TestTooManyClients(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		servertest.TooManyClients(t, "kv", backend, "PING\r\n", "+PONG\r\n")
	})
}

// TestProtocol sends commands one by one, then all of them in one write, then one
// byte at a time. The replies are the same each time.
func TestProtocol(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		conn := servertest.Dial(t, addr)
		requests, replies := "", ""
		for _, c := range []struct {
			request, reply string
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
			servertest.Exchange(t, conn, c.request, c.reply)
			requests, replies = requests+c.request, replies+c.reply
		}
		servertest.Exchange(t, conn, resp("DEL", "inline"), ":1\r\n")
		servertest.Exchange(t, conn, requests, replies) // all in one write
		servertest.Exchange(t, conn, resp("DEL", "inline"), ":1\r\n")
		for _, b := range []byte(requests) { // one byte per write
			conn.Write([]byte{b})
		}
		servertest.Exchange(t, conn, "", replies)
	})
}

// TestProtocolErrors sends invalid requests. The server replies with an error and
// closes the connection.
func TestProtocolErrors(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		for request, want := range map[string]string{
			"*x\r\n":                       "invalid multibulk length",
			"*1\r\nPING\r\n":               "expected '$', got 'P'",
			"*1\r\n$999999999999999\r\n":   "invalid bulk length",
			"*1\r\n$-1\r\n":                "invalid bulk length",
			"*9999999\r\n":                 "invalid multibulk length",
			"*" + strings.Repeat("1", 100): "invalid multibulk length",
			strings.Repeat("x", 100_000):   "too big inline request",
		} {
			conn := servertest.Dial(t, addr)
			io.WriteString(conn, request)
			// The server may close the connection before it has read all of a long
			// request. The close then resets the connection, and the reply may be lost.
			got, _ := io.ReadAll(conn)
			if string(got) != "-ERR Protocol error: "+want+"\r\n" && !(len(request) > 64<<10 && len(got) == 0) {
				t.Errorf("reply to %.30q: %q", request, got)
			}
		}
	})
}

// TestExpiry checks that a key is deleted after its time to live, and that a SET
// without EX or PX removes the time to live.
func TestExpiry(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		conn := servertest.Dial(t, addr)
		servertest.Exchange(t, conn, resp("SET", "expiring", "x", "PX", "50")+resp("SET", "persistent", "x", "PX", "50")+resp("SET", "persistent", "y"), "+OK\r\n+OK\r\n+OK\r\n")
		for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			io.WriteString(conn, resp("EXISTS", "expiring"))
			reply := make([]byte, 4)
			if _, err := io.ReadFull(conn, reply); err != nil {
				t.Fatal(err)
			}
			expired := string(reply) == ":0\r\n"
			if elapsed := time.Since(start); expired && elapsed < 30*time.Millisecond || elapsed > servertest.Timeout {
				t.Errorf("expired %v after %v; the time to live is 50ms", expired, elapsed)
				return
			}
			if expired {
				break
			}
		}
		servertest.Exchange(t, conn, resp("GET", "persistent"), "$1\r\ny\r\n")
	})
}

// TestStoppedProcess stops the server, as Ctrl-Z does, for longer than the time to
// live of a key. The first command afterwards does not find the key.
func TestStoppedProcess(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		cmd := servertest.Command(t, backend, "-addr", "127.0.0.1:0")
		conn := servertest.Dial(t, servertest.Start(t, "kv", cmd).Addr)
		servertest.Exchange(t, conn, resp("SET", "k", "1", "PX", "50"), "+OK\r\n")
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(150 * time.Millisecond)
		io.WriteString(conn, resp("GET", "k"))
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		servertest.Exchange(t, conn, "", "$-1\r\n")
	})
}

// TestTerminate sends SIGTERM while replies wait for a client. The client gets them
// all, an idle client gets the end, and the server ends.
func TestTerminate(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		cmd := servertest.Command(t, backend, "-addr", "127.0.0.1:0")
		server := servertest.Start(t, "kv", cmd)
		const count = 40
		big := strings.Repeat("0123456789abcdef", 1<<16)
		conn, idle := servertest.Dial(t, server.Addr), servertest.Dial(t, server.Addr)
		servertest.Exchange(t, conn, resp("SET", "big", big), "+OK\r\n")
		servertest.Exchange(t, idle, resp("PING"), "+PONG\r\n")
		io.WriteString(conn, strings.Repeat(resp("GET", "big"), count))
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(idle); err != nil || len(got) > 0 {
			t.Errorf("the idle client got %q, %v", got, err)
		}
		got, err := io.ReadAll(conn)
		want := strings.Repeat(fmt.Sprintf("$%d\r\n%s\r\n", len(big), big), count)
		if err != nil || string(got) != want {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
		}
		conn.Close()
		idle.Close()
		if stderr := server.WaitEnd(t); stderr != "" {
			t.Errorf("standard error: %q", stderr)
		}
	})
}

// TestBigValues uses a value that arrives in many pieces, and a client that does
// not read its replies for some time. This client does not delay another one.
func TestBigValues(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		big := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<16)) // 1 MiB
		slowReader := servertest.Dial(t, addr)
		servertest.Exchange(t, slowReader, resp("SET", "big", big), "+OK\r\n")
		io.WriteString(slowReader, strings.Repeat(resp("GET", "big"), 64))
		conn := servertest.Dial(t, addr)
		servertest.Exchange(t, conn, resp("GET", "big"), fmt.Sprintf("$%d\r\n%s\r\n", len(big), big))
		servertest.Exchange(t, slowReader, "", strings.Repeat(fmt.Sprintf("$%d\r\n%s\r\n", len(big), big), 64))
	})
}

// port returns the port of an address, for the option -p of the Redis programs.
func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func TestRedisCLI(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		for _, c := range []struct{ command, want string }{
			{"PING", "PONG"}, {"SET greeting hello", "OK"}, {"GET greeting", "hello"}, {"INCR visits", "1"}, {"INCR visits", "2"},
			{"EXPIRE greeting 100", "1"}, {"TTL greeting", "100"}, {"DEL greeting visits", "2"}, {"EXISTS greeting", "0"}, {"ECHO hi", "hi"},
		} {
			got := servertest.RunTool(t, "redis-cli", append([]string{"-p", port(addr)}, strings.Fields(c.command)...)...)
			if strings.TrimSpace(got) != c.want {
				t.Errorf("%s: %q, want %q", c.command, got, c.want)
			}
		}
	})
}

func TestRedisBenchmark(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		for _, pipeline := range []string{"1", "16"} {
			out := servertest.RunTool(t, "redis-benchmark", "-p", port(addr), "-c", "50", "-n", "10000", "-P", pipeline, "-t", "ping,set,get,incr", "-q")
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
