//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"goselectors/examples/internal/servertest"
)

// readReplies reads count replies and checks that each is the value.
func readReplies(t *testing.T, conn io.Reader, value string, count int) {
	t.Helper()
	want := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	got := make([]byte, len(want))
	for i := range count {
		if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Fatalf("reply %d of %d: %d bytes %.40q, %v", i, count, n, got[:n], err)
		}
	}
}

// TestUnreadReplies has a client that sends many commands with long replies and
// reads none. The server holds only a part of the replies and of the commands, and
// goes on when the client reads.
func TestUnreadReplies(t *testing.T) {
	for name, c := range map[string]struct{ size, count int }{
		"long replies":  {1 << 20, 500},
		"short replies": {1000, 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(s *testServer) {
				value := strings.Repeat("0123456789", c.size/10)
				s.exchange(resp("SET", "big", value), "+OK\r\n")
				before := heap()
				conn := servertest.Dial(s.T, s.addr)
				request := strings.Repeat(resp("GET", "big"), c.count)
				sent := send(conn, request)
				s.until("the client is paused", func() bool { return s.clients[1].paused })
				time.Sleep(20 * time.Millisecond)
				s.exchange(resp("PING"), "+PONG\r\n")
				if grown := heap() - before - int64(len(request)); grown > 4<<20 {
					s.Errorf("the heap has grown by %d KiB while the client read nothing", grown>>10)
				}
				s.do(func() {
					if c := s.clients[1]; c.conn.Unsent() > 4*flushAfter || len(c.unparsed) > 64<<10 {
						s.Errorf("%d bytes unsent, %d bytes unparsed", c.conn.Unsent(), len(c.unparsed))
					}
				})
				readReplies(s.T, conn, value, c.count)
				if err := <-sent; err != nil {
					s.Error(err)
				}
				servertest.Exchange(s.T, conn, resp("PING"), "+PONG\r\n")
			})
		})
	}
}

// TestLongReply checks that a reply is the value at the time of its command, also
// if the value is replaced while the reply is being sent, and that the memory of
// replaced values is returned.
func TestLongReply(t *testing.T) {
	eachStore(t, func(s *testServer) {
		const size = 16 << 20
		before := heap()
		s.exchange(resp("SET", "big", strings.Repeat("a", size)), "+OK\r\n")
		conn := servertest.Dial(s.T, s.addr)
		sent := send(conn, resp("GET", "big")+resp("GET", "big")+resp("ECHO", strings.Repeat("b", size)))
		s.until("the client is paused", func() bool { return s.clients[1].paused })
		s.exchange(resp("SET", "big", "small"), "+OK\r\n")
		readReplies(s.T, conn, strings.Repeat("a", size), 1)
		readReplies(s.T, conn, "small", 1)
		readReplies(s.T, conn, strings.Repeat("b", size), 1)
		if err := <-sent; err != nil {
			s.Error(err)
		}
		s.until("the client is idle", func() bool { return s.clients[1].body == nil && s.clients[1].parser == nil })
		if grown := heap() - before; grown > 4<<20 {
			s.Errorf("%d KiB more than before", grown>>10)
		}
	})
}

// TestFairness has a client whose commands have very long replies, and that reads
// them as fast as it can. One call of serve writes a limited part of them.
func TestFairness(t *testing.T) {
	eachStore(t, func(s *testServer) {
		const size, count = 10_000, 10_000
		s.exchange(resp("SET", "v", strings.Repeat("v", size)), "+OK\r\n")
		conn := servertest.Dial(s.T, s.addr)
		s.until("the client has connected", func() bool { return len(s.clients) == 2 })
		command := resp("GET", "v")
		longest, client := 0, s.clients[1]
		var serve func()
		rest := []byte(strings.Repeat(command, count))
		serve = func() {
			if !client.busy() {
				before := len(rest)
				rest = client.serve(rest)
				longest = max(longest, (before-len(rest))/len(command)*size)
			}
			if len(rest) > 0 && !client.conn.Closed() {
				s.loop.CallSoon(serve)
			}
		}
		s.do(serve)
		readReplies(s.T, conn, strings.Repeat("v", size), count)
		s.do(func() {
			if longest > maxTurn+2*flushAfter {
				s.Errorf("%d KiB of replies in one call", longest>>10)
			}
		})
		s.exchange(resp("PING"), "+PONG\r\n")
	})
}

// TestEnds checks each way in which the server ends a connection: the client gets
// all replies, although the server does not execute what it sent afterwards, and
// then the end.
func TestEnds(t *testing.T) {
	for name, c := range map[string]struct{ request, want string }{
		"quit":           {resp("PING") + resp("QUIT"), "+PONG\r\n+OK\r\n"},
		"HTTP":           {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "-ERR wrong number of arguments for 'get' command\r\n"},
		"HTTP POST":      {"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""},
		"protocol error": {resp("PING") + "*x\r\n", "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(s *testServer) {
				conn := servertest.Dial(s.T, s.addr)
				sent := send(conn, c.request+strings.Repeat(resp("SET", "late", "x"), 100_000))
				got, err := io.ReadAll(conn)
				if string(got) != c.want || err != nil {
					s.Errorf("got %.100q, %v; want %q", got, err, c.want)
				}
				if err := <-sent; err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
					s.Error(err)
				}
				conn.Close()
				s.until("the connection is closed", func() bool { return s.db.clients == 0 })
				s.exchange(resp("EXISTS", "late"), ":0\r\n")
			})
		})
	}
}

// TestEndOfUnreadable checks that a client that has ended its commands, and reads
// nothing, does not keep its connection.
func TestEndOfUnreadable(t *testing.T) {
	eachStore(t, func(s *testServer) {
		s.Parallel()
		conn := servertest.Dial(s.T, s.addr)
		s.exchange(resp("SET", "big", strings.Repeat("x", 8<<20)), "+OK\r\n")
		io.WriteString(conn, resp("GET", "big"))
		s.until("the client is paused", func() bool { return s.clients[0].paused })
		s.do(func() { s.clients[0].end() })
		s.until("the connection is closed", func() bool { return s.clients[0].conn.FD() < 0 })
	})
}

// TestHalfClose checks that a client that has closed its write side gets all replies.
func TestHalfClose(t *testing.T) {
	eachStore(t, func(s *testServer) {
		value := strings.Repeat("0123456789", 100_000)
		s.exchange(resp("SET", "big", value), "+OK\r\n")
		conn := servertest.Dial(s.T, s.addr)
		io.WriteString(conn, strings.Repeat(resp("GET", "big"), 20))
		conn.CloseWrite()
		readReplies(s.T, conn, value, 20)
		if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
			s.Errorf("after the replies: %d, %v", n, err)
		}
	})
}

// TestShutdownRequested asks clients in every state to end. Each gets the complete
// replies to all that it has sent, and then the end.
func TestShutdownRequested(t *testing.T) {
	big := strings.Repeat("0123456789", 100_000)
	bigReply := fmt.Sprintf("$%d\r\n%s\r\n", len(big), big)
	for name, c := range map[string]struct {
		request, want string
		paused        bool // the client reads nothing at first
	}{
		"idle":                {"", "", false},
		"incomplete command":  {resp("PING") + "*2\r\n$4\r\nEC", "+PONG\r\n", false},
		"unread commands":     {strings.Repeat(resp("INCR", "n")+resp("DEL", "n"), 10_000), strings.Repeat(":1\r\n:1\r\n", 10_000), false},
		"unread long replies": {strings.Repeat(resp("GET", "big"), 30), strings.Repeat(bigReply, 30), true},
		"everything unread":   {strings.Repeat(resp("GET", "big"), 5_000), strings.Repeat(bigReply, 10), true},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(s *testServer) {
				s.exchange(resp("SET", "big", big), "+OK\r\n")
				conn := servertest.Dial(s.T, s.addr)
				s.until("the client has connected", func() bool { return len(s.clients) == 2 })
				client := s.clients[1]
				// The loop is busy while the data arrives: the kernel holds all of it.
				s.do(func() {
					io.WriteString(conn, c.request)
					client.ShutdownRequested(client.conn)
					client.ShutdownRequested(client.conn) // again: no change
				})
				if c.paused {
					s.until("the client is paused", func() bool { return client.paused })
				}
				got, err := io.ReadAll(io.LimitReader(conn, int64(len(c.want))))
				if string(got) != c.want || err != nil {
					s.Fatalf("%d bytes, %v; want %d", len(got), err, len(c.want))
				}
				if strings.HasPrefix(name, "everything") {
					return // the rest is like the beginning
				}
				if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
					s.Errorf("after the replies: %d, %v", n, err)
				}
			})
		})
	}
}

// TestShutdownOfSender asks a client to end from which data arrives in every turn.
func TestShutdownOfSender(t *testing.T) {
	eachStore(t, func(s *testServer) {
		s.Parallel()
		conn := servertest.Dial(s.T, s.addr)
		s.until("the client has connected", func() bool { return len(s.clients) == 1 })
		client := s.clients[0]
		var receive func()
		receive = func() {
			if !client.ended {
				client.DataReceived(client.conn, []byte("PING\r\n"))
				s.loop.CallSoon(receive)
			}
		}
		s.do(func() {
			receive()
			client.ShutdownRequested(client.conn)
		})
		got, err := io.ReadAll(conn)
		if err != nil {
			s.Error(err)
		}
		if rest := strings.ReplaceAll(string(got), "+PONG\r\n", ""); rest != "" {
			s.Errorf("a part of a reply: %.100q", rest)
		}
	})
}
