//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"goselectors/selectors"
)

// asChat makes the test binary be the program.
const asChat = "CHAT_TEST_BE_CHAT"

func TestMain(m *testing.M) {
	if os.Getenv(asChat) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

func start(t *testing.T, backend string) (addr string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, "-addr", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), asChat+"=1", selectors.BackendEnv+"="+backend, "GORACE=atexit_sleep_ms=0")
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
	addr, found := strings.CutPrefix(strings.TrimSpace(line), "chat: listening on ")
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		rest, _ := io.ReadAll(out)
		if err := cmd.Wait(); err != nil || string(rest) != "chat: bye\n" {
			t.Errorf("ends with %v after %q", err, rest)
		}
		if kb := maxRSS(cmd.ProcessState); kb > 200<<10 {
			t.Errorf("it took %d KiB of memory", kb)
		}
	})
	if err != nil || !found {
		t.Fatalf("first line %q, %v", line, err)
	}
	return addr
}

func each(t *testing.T, test func(t *testing.T, addr string)) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) { test(t, start(t, b.Name)) })
	}
}

// A person is a guest's side of the connection.
type person struct {
	*net.TCPConn
	*bufio.Scanner
	name string
}

func enter(t *testing.T, addr string) *person {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(3 * patience))
	p := &person{TCPConn: conn.(*net.TCPConn), Scanner: bufio.NewScanner(conn)}
	p.Scan()
	if _, err := fmt.Sscanf(p.Text(), "You are %s and", &p.name); err != nil {
		t.Fatalf("greeted with %q, %v", p.Text(), err)
	}
	p.name = strings.TrimSuffix(p.name, ",")
	return p
}

func (p *person) hears(t *testing.T, want string) {
	t.Helper()
	if !p.Scan() || p.Text() != want {
		t.Fatalf("%s hears %q, %v; want %q", p.name, p.Text(), p.Err(), want)
	}
}

func TestConversation(t *testing.T) {
	each(t, func(t *testing.T, addr string) {
		a := enter(t, addr)
		b := enter(t, addr)
		a.hears(t, b.name+": (came)")
		io.WriteString(a, "hello\r\nhow are you?\n\n\n")
		b.hears(t, a.name+": hello")
		b.hears(t, a.name+": how are you?")
		io.WriteString(b, "fi")
		time.Sleep(10 * time.Millisecond)
		io.WriteString(b, "ne\n")
		a.hears(t, b.name+": fine")
		b.Close()
		a.hears(t, b.name+": (left)")
		io.WriteString(a, strings.Repeat("x", 2000))
		a.hears(t, "That line is too long for anybody to read.")
	})
}

// TestCrowd: many who talk and listen, some who only talk, and some who leave
// in the middle. Whoever listens hears what the talkers say in order, nothing
// twice, and is told of what is left out.
func TestCrowd(t *testing.T) {
	const listeners, talkers, deaf, lines = 20, 5, 5, 2000
	each(t, func(t *testing.T, addr string) {
		var who []*person
		for range listeners + talkers + deaf {
			who = append(who, enter(t, addr))
		}
		for i, p := range who[listeners+talkers:] {
			p.SetReadBuffer(4096)
			if i == 0 {
				p.SetLinger(0)
				p.Close()
			}
		}
		var listening, talking sync.WaitGroup
		for _, p := range who[:listeners] {
			listening.Add(1)
			go func() {
				defer listening.Done()
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
							t.Errorf("%s: %d lines are gone, and it was told of %d", p.name, gaps, missed)
						}
						return
					}
					if _, err := fmt.Sscanf(text, "line %d ", &n); err != nil {
						continue // somebody came or left
					}
					if n < next[from] {
						t.Errorf("%s hears line %d of %s, and has heard %d", p.name, n, from, next[from]-1)
					}
					gaps += n - next[from]
					next[from] = n + 1
				}
				t.Errorf("%s hears no more: %v", p.name, p.Err())
			}()
		}
		for i, p := range who[listeners : listeners+talkers] {
			talking.Add(1)
			go io.Copy(io.Discard, p.TCPConn)
			go func() {
				defer talking.Done()
				for n := range lines {
					if _, err := fmt.Fprintf(p, "line %d %s\n", n, strings.Repeat("x", 100)); err != nil {
						t.Error(i, err)
						return
					}
				}
			}()
		}
		talking.Wait()
		ended := make(chan struct{})
		go func() { listening.Wait(); close(ended) }()
		for {
			io.WriteString(who[listeners], "the end\n")
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond): // some may have missed it
			}
		}
	})
}

// TestDeaf: one who does not read for long is told what it has missed, and the
// server has not kept it.
func TestDeaf(t *testing.T) {
	each(t, func(t *testing.T, addr string) {
		deaf := enter(t, addr)
		talker := enter(t, addr)
		const lines = 50_000
		text := strings.Repeat("blah ", 100)
		for range lines { // some 25 MB
			fmt.Fprintln(talker, text)
		}
		io.WriteString(talker, strings.Repeat("x", 2000)) // and when it is thrown out, all that was heard
		talker.hears(t, "That line is too long for anybody to read.")
		heard, missed := 0, 0
		for missed == 0 && deaf.Scan() {
			if strings.HasSuffix(deaf.Text(), text) {
				heard++
			}
			fmt.Sscanf(deaf.Text(), "(you have missed %d lines)", &missed)
		}
		// It missed the talker's leaving, too, unless that came later.
		if missed == 0 || heard == 0 || heard+missed < lines || heard+missed > lines+1 {
			t.Errorf("%d lines heard and %d missed of %d", heard, missed, lines)
		}
	})
}
