//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"goselectors/examples/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, main) }

// eachBackend runs a test with a server on each backend, and checks that the
// server did not use much memory.
func eachBackend(t *testing.T, test func(t *testing.T, addr string)) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		server := servertest.Start(t, "chat", servertest.Command(t, backend, "-addr", "127.0.0.1:0"))
		test(t, server.Addr)
		if stderr := server.Stop(t); stderr != "" {
			t.Errorf("standard error: %q", stderr)
		}
		if kb := maxRSS(server.ProcessState()); kb > 200<<10 {
			t.Errorf("the server used %d KiB of memory", kb)
		}
	})
}

func TestCommandLine(t *testing.T) { servertest.CheckCommandLines(t, "chat") }

// A user is the client side of a connection.
type user struct {
	*net.TCPConn
	*bufio.Scanner
	name string
}

func join(t *testing.T, addr string) *user {
	t.Helper()
	conn := servertest.Dial(t, addr)
	p := &user{TCPConn: conn, Scanner: bufio.NewScanner(conn)}
	p.Scan()
	if _, err := fmt.Sscanf(p.Text(), "You are %s and", &p.name); err != nil {
		t.Fatalf("first line: %q, %v", p.Text(), err)
	}
	p.name = strings.TrimSuffix(p.name, ",")
	return p
}

func (p *user) expectLine(t *testing.T, want string) {
	t.Helper()
	if !p.Scan() || p.Text() != want {
		t.Fatalf("%s reads %q, %v; want %q", p.name, p.Text(), p.Err(), want)
	}
}

func TestConversation(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		a := join(t, addr)
		b := join(t, addr)
		a.expectLine(t, b.name+": (came)")
		io.WriteString(a, "hello\r\nhow are you?\n\n\n")
		b.expectLine(t, a.name+": hello")
		b.expectLine(t, a.name+": how are you?")
		io.WriteString(b, "fi")
		time.Sleep(10 * time.Millisecond)
		io.WriteString(b, "ne\n")
		a.expectLine(t, b.name+": fine")
		b.Close()
		a.expectLine(t, b.name+": (left)")
		io.WriteString(a, strings.Repeat("x", 2000))
		a.expectLine(t, "The line is longer than 1000 bytes.")
	})
}

// TestManyUsers has users that write and read, users that only write, and users
// that leave. Each reader gets the lines of a writer in order and without
// repetition, and is told how many lines were dropped.
func TestManyUsers(t *testing.T) {
	const readers, writers, silent, lines = 20, 5, 5, 2000
	eachBackend(t, func(t *testing.T, addr string) {
		var users []*user
		for range readers + writers + silent {
			users = append(users, join(t, addr))
		}
		for i, p := range users[readers+writers:] {
			p.SetReadBuffer(4096)
			if i == 0 {
				p.SetLinger(0)
				p.Close()
			}
		}
		var reading, writing sync.WaitGroup
		for _, p := range users[:readers] {
			reading.Add(1)
			go func() {
				defer reading.Done()
				next, gaps, missed := make(map[string]int), 0, 0
				for p.Scan() {
					from, text, _ := strings.Cut(p.Text(), ": ")
					var n int
					if _, err := fmt.Sscanf(from, "(you have missed %d lines)", &n); err == nil {
						missed += n
						continue
					}
					if text == "the end" {
						if gaps > missed {
							t.Errorf("%s: %d lines are missing, %d were reported", p.name, gaps, missed)
						}
						return
					}
					if _, err := fmt.Sscanf(text, "line %d ", &n); err != nil {
						continue // a user joined or left
					}
					if n < next[from] {
						t.Errorf("%s reads line %d of %s after line %d", p.name, n, from, next[from]-1)
					}
					gaps += n - next[from]
					next[from] = n + 1
				}
				t.Errorf("%s: no more lines: %v", p.name, p.Err())
			}()
		}
		for i, p := range users[readers : readers+writers] {
			writing.Add(1)
			go io.Copy(io.Discard, p.TCPConn)
			go func() {
				defer writing.Done()
				for n := range lines {
					if _, err := fmt.Fprintf(p, "line %d %s\n", n, strings.Repeat("x", 100)); err != nil {
						t.Error(i, err)
						return
					}
				}
			}()
		}
		writing.Wait()
		done := make(chan struct{})
		go func() { reading.Wait(); close(done) }()
		for {
			io.WriteString(users[readers], "the end\n")
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond): // it was dropped for some reader
			}
		}
	})
}

// TestSlowReader checks that a user that does not read for long is told how many
// lines were dropped. The memory check of eachBackend shows that the server has
// not stored them.
func TestSlowReader(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		slow := join(t, addr)
		writer := join(t, addr)
		const lines = 50_000
		text := strings.Repeat("blah ", 100)
		for range lines { // some 25 MB
			fmt.Fprintln(writer, text)
		}
		io.WriteString(writer, strings.Repeat("x", 2000)) // once the server closes this connection, it has read all lines
		writer.expectLine(t, "The line is longer than 1000 bytes.")
		received, missed := 0, 0
		for missed == 0 && slow.Scan() {
			if strings.HasSuffix(slow.Text(), text) {
				received++
			}
			fmt.Sscanf(slow.Text(), "(you have missed %d lines)", &missed)
		}
		// The line about the leaving writer may be dropped too.
		if missed == 0 || received == 0 || received+missed < lines || received+missed > lines+1 {
			t.Errorf("%d lines received and %d dropped of %d", received, missed, lines)
		}
	})
}
