//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/examples/internal/servertest"
	"goselectors/selectors"
)

func TestMain(m *testing.M) { servertest.Main(m, main) }

// eachBackend runs a test with a server on each backend, and checks that the
// server did not use much memory.
func eachBackend(t *testing.T, test func(t *testing.T, addr string)) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		server := servertest.Start(t, "chat", servertest.Command(t, backend, "-addr", "127.0.0.1:0"))
		t.Run("users", func(t *testing.T) { test(t, server.Addr) }) // its end closes the connections
		if stderr := server.Stop(t); stderr != "" {
			t.Errorf("standard error: %q", stderr)
		}
		if kb := maxRSS(server.ProcessState()); kb > 200<<10 {
			t.Errorf("the server used %d KiB of memory", kb)
		}
	})
}

func TestCommandLine(t *testing.T) { servertest.CheckCommandLines(t, "chat") }

// A user is a client that has joined the chat.
type user struct {
	*net.TCPConn
	*bufio.Scanner
	name string // as the server calls it
}

// join connects a user and reads the first line from the server.
func join(t *testing.T, addr string) *user {
	t.Helper()
	conn := servertest.Dial(t, addr)
	u := &user{TCPConn: conn, Scanner: bufio.NewScanner(conn)}
	u.Scan()
	if _, err := fmt.Sscanf(u.Text(), "You are %s and", &u.name); err != nil {
		t.Fatalf("first line: %q, %v", u.Text(), err)
	}
	u.name = strings.TrimSuffix(u.name, ",")
	return u
}

// expectLine reads a line and fails the test if it is not want.
func (u *user) expectLine(t *testing.T, want string) {
	t.Helper()
	if !u.Scan() || u.Text() != want {
		t.Fatalf("%s read %q, %v; want %q", u.name, u.Text(), u.Err(), want)
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
		io.WriteString(b, "fi") // a line in two writes
		time.Sleep(10 * time.Millisecond)
		io.WriteString(b, "ne\n")
		a.expectLine(t, b.name+": fine")
		b.Close()
		a.expectLine(t, b.name+": (left)")
		c := join(t, addr)
		a.expectLine(t, c.name+": (came)")
		io.WriteString(a, "\x1b[31mred\rguest9: lie\u009b1m\n")
		c.expectLine(t, a.name+":  [31mred guest9: lie 1m")
		longest := strings.Repeat("x", 1000)
		io.WriteString(a, longest+"\n")
		c.expectLine(t, a.name+": "+longest)
		io.WriteString(a, "last line\nx"+longest+"not read\nnot read\n"+strings.Repeat("not read\n", 100_000))
		a.expectLine(t, "The line is longer than 1000 bytes.")
		c.expectLine(t, a.name+": last line")
		c.expectLine(t, a.name+": (left)")
		if a.Scan() || a.Err() != nil {
			t.Errorf("after the last line %s read %q, %v", a.name, a.Text(), a.Err())
		}
	})
}

// TestSingleBytes sends a line in many writes, and many lines in one write.
func TestSingleBytes(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		a, b := join(t, addr), join(t, addr)
		a.expectLine(t, b.name+": (came)")
		a.SetNoDelay(true)
		line := strings.Repeat("0123456789", 100)
		for _, b := range []byte(line + "\n") {
			a.Write([]byte{b})
		}
		b.expectLine(t, a.name+": "+line)
		const lines = 3000 // less than the high-water mark: none is dropped
		io.WriteString(a, strings.Repeat("x\n", lines))
		for range lines {
			b.expectLine(t, a.name+": x")
		}
	})
}

// TestTerminate sends SIGTERM after a guest has sent lines. The other guests get all
// of them before the end.
func TestTerminate(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		cmd := servertest.Command(t, backend, "-addr", "127.0.0.1:0")
		server := servertest.Start(t, "chat", cmd)
		a, b := join(t, server.Addr), join(t, server.Addr)
		a.expectLine(t, b.name+": (came)")
		const lines = 500
		io.WriteString(a, strings.Repeat("hello\n", lines))
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for range lines {
			b.expectLine(t, a.name+": hello")
		}
		for _, u := range []*user{a, b} {
			u.expectLine(t, "(the server is stopping)")
			if u.Scan() || u.Err() != nil {
				t.Errorf("after the end %s read %q, %v", u.name, u.Text(), u.Err())
			}
			u.Close()
		}
		if stderr := server.WaitEnd(t); stderr != "" {
			t.Errorf("standard error: %q", stderr)
		}
	})
}

// TestShutdownRequested tells the guests that the server is going before the loop
// has read what one of them has sent. The other guest gets it all the same.
func TestShutdownRequested(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sel, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			loop, err := eventloop.New(eventloop.WithSelector(sel))
			if err != nil {
				t.Fatal(err)
			}
			defer loop.Close()
			r := &room{guests: make(map[*guest]bool)}
			l, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler { return &guest{room: r} })
			if err != nil {
				t.Fatal(err)
			}
			a, b := servertest.Dial(t, l.Addr().String()), servertest.Dial(t, l.Addr().String())
			for deadline := time.Now().Add(servertest.Timeout); len(r.guests) < 2 && time.Now().Before(deadline); {
				loop.RunOnce(time.Second)
			}
			io.WriteString(a, strings.Repeat("hello\n", 100))
			l.Close()
			for g := range r.guests {
				g.ShutdownRequested(g.conn)
			}
			a.Close() // the server sees it after the lines
			for deadline := time.Now().Add(servertest.Timeout); l.Len() > 1 && time.Now().Before(deadline); {
				loop.RunOnce(time.Second)
			}
			b.CloseWrite()
			for deadline := time.Now().Add(servertest.Timeout); l.Len() > 0 && time.Now().Before(deadline); {
				loop.RunOnce(time.Second)
			}
			got, err := io.ReadAll(b)
			if n := strings.Count(string(got), ": hello\n"); n != 100 || !strings.HasSuffix(string(got), "(the server is stopping)\n") || err != nil {
				t.Errorf("%d lines of 100, %v; the end is %q", n, err, got[max(len(got)-40, 0):])
			}
		})
	}
}

// TestManyUsers has users that read, users that write, users that do neither, and
// a user that disconnects. Each reader gets the lines of a writer in order and at
// most once. The server reports how many lines it has dropped.
func TestManyUsers(t *testing.T) {
	const readers, writers, inactive, lines = 20, 5, 5, 2000
	eachBackend(t, func(t *testing.T, addr string) {
		var users []*user
		for range readers + writers + inactive {
			users = append(users, join(t, addr))
		}
		for i, u := range users[readers+writers:] {
			u.SetReadBuffer(4096)
			if i == 0 {
				u.SetLinger(0)
				u.Close()
			}
		}
		var reading, writing sync.WaitGroup
		for _, u := range users[:readers] {
			reading.Add(1)
			go func() {
				defer reading.Done()
				next := make(map[string]int) // next line number, by writer
				missing, reported := 0, 0
				for u.Scan() {
					from, text, _ := strings.Cut(u.Text(), ": ")
					var n int
					if _, err := fmt.Sscanf(from, "(you have missed %d lines)", &n); err == nil {
						reported += n
						continue
					}
					if text == "the end" {
						if missing > reported {
							t.Errorf("%s: %d lines are missing, and the server reported %d", u.name, missing, reported)
						}
						return
					}
					if _, err := fmt.Sscanf(text, "line %d ", &n); err != nil {
						continue // a user joined or left
					}
					if n < next[from] {
						t.Errorf("%s read line %d of %s after line %d", u.name, n, from, next[from]-1)
					}
					missing += n - next[from]
					next[from] = n + 1
				}
				t.Errorf("%s: the connection ended before the last line: %v", u.name, u.Err())
			}()
		}
		for i, u := range users[readers : readers+writers] {
			writing.Add(1)
			go io.Copy(io.Discard, u.TCPConn)
			go func() {
				defer writing.Done()
				for n := range lines {
					if _, err := fmt.Fprintf(u, "line %d %s\n", n, strings.Repeat("x", 100)); err != nil {
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
			case <-time.After(20 * time.Millisecond): // the line was dropped for a reader: send it again
			}
		}
	})
}

// TestSlowReader has a user that reads nothing for a long time. The server reports
// how many lines it has dropped for this user. The check in eachBackend shows that
// it has not kept them in memory.
func TestSlowReader(t *testing.T) {
	eachBackend(t, func(t *testing.T, addr string) {
		slowReader := join(t, addr)
		writer := join(t, addr)
		const lines = 50_000
		text := strings.Repeat("blah ", 100)
		for range lines { // about 25 MB
			fmt.Fprintln(writer, text)
		}
		io.WriteString(writer, strings.Repeat("x", 2000)) // the server closes the connection after it has read all lines
		writer.expectLine(t, "The line is longer than 1000 bytes.")
		received, dropped := 0, 0
		for dropped == 0 && slowReader.Scan() {
			if strings.HasSuffix(slowReader.Text(), text) {
				received++
			}
			fmt.Sscanf(slowReader.Text(), "(you have missed %d lines)", &dropped)
		}
		// The line about the leaving writer may be dropped too.
		if dropped == 0 || received == 0 || received+dropped < lines || received+dropped > lines+1 {
			t.Errorf("%d lines received and %d dropped of %d", received, dropped, lines)
		}
	})
}
