package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"goselectors/selectors"
)

// asEcho makes the test binary be the program, so that the tests see what a
// user sees: its output, its exit status, and what it does on a signal.
const asEcho = "ECHO_TEST_BE_ECHO"

func TestMain(m *testing.M) {
	if os.Getenv(asEcho) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// patience bounds every wait; nothing here takes nearly as long.
const patience = 20 * time.Second

// program prepares a run of the program. A run that hangs is killed.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), asEcho+"=1", selectors.BackendEnv+"=")
	return cmd
}

// running is a server under test.
type running struct {
	*exec.Cmd
	addr   string
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// start runs a server until the test is over.
func start(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{Cmd: cmd}
	cmd.Stderr = &r.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	r.stdout = bufio.NewReader(stdout)
	line, err := r.stdout.ReadString('\n')
	addr, found := strings.CutPrefix(strings.TrimSpace(line), "echo: listening on ")
	if err != nil || !found {
		cmd.Wait()
		t.Fatalf("first line of output: %q, %v; error output: %q", line, err, &r.stderr)
	}
	r.addr = addr
	return r
}

// end ends it as Ctrl-C does, and returns the processor time that it took and
// its error output.
func (r *running) end(t *testing.T) (cpu time.Duration, stderr string) {
	t.Helper()
	if err := r.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(patience, func() { r.Process.Kill() }).Stop()
	rest, err := io.ReadAll(r.stdout)
	if err != nil || string(rest) != "echo: bye\n" {
		t.Errorf("output after the interrupt: %q, %v; want a farewell", rest, err)
	}
	if err := r.Wait(); err != nil {
		t.Errorf("after the interrupt: %v; want exit status 0", err)
	}
	return r.ProcessState.UserTime() + r.ProcessState.SystemTime(), r.stderr.String()
}

// eachBackend runs a test for every backend there is.
func eachBackend(t *testing.T, test func(t *testing.T, backend string)) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	for _, backend := range selectors.Backends() {
		t.Run(backend.Name, func(t *testing.T) { test(t, backend.Name) })
	}
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// echoed sends a message and reports whether it comes back.
func echoed(conn net.Conn, message string) error {
	if _, err := io.WriteString(conn, message); err != nil {
		return err
	}
	answer := make([]byte, len(message))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if string(answer) != message {
		return fmt.Errorf("echo of %q: %q", message, answer)
	}
	return nil
}

// says sends a message and demands it back.
func says(t *testing.T, conn net.Conn, message string) {
	t.Helper()
	if err := echoed(conn, message); err != nil {
		t.Fatal(err)
	}
}

func TestEcho(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		server := start(t, program(t, "-addr", "127.0.0.1:0", "-backend", backend))
		for _, c := range []struct {
			name string
			talk func(t *testing.T, addr string)
		}{
			{"several clients at once", several},
			{"half close", halfClose},
			{"big transfer", bigTransfer},
			{"client that reads late", readsLate},
			{"half close while much is queued", owesMuch},
			{"client resets", resets},
			{"client resets while much is queued for it", resetsQueued},
		} {
			t.Run(c.name, func(t *testing.T) { c.talk(t, server.addr) })
		}
		open := dial(t, server.addr)
		says(t, open, "still here?")
		if _, stderr := server.end(t); stderr != "" {
			t.Errorf("error output: %q", stderr)
		}
		if n, err := open.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a client after the server's end reads %d, %v; want the connection closed", n, err)
		}
	})
}

// TestIdle: with nothing to do the loop sleeps, whether a client is silent,
// has got all its answers, or reads none of them.
func TestIdle(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		server := start(t, program(t, "-addr", "127.0.0.1:0", "-backend", backend))
		dial(t, server.addr)
		says(t, dial(t, server.addr), "hello")
		stuff(t, dial(t, server.addr))
		const idle = 2 * time.Second
		time.Sleep(idle)
		if cpu, _ := server.end(t); cpu > idle/2 {
			t.Errorf("%v of processor time in %v of idleness", cpu, idle)
		}
	})
}

// TestTooManyClients: out of descriptors the server neither ends nor spins,
// and goes on when there are some again.
func TestTooManyClients(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		cmd := program(t, "-addr", "127.0.0.1:0", "-backend", backend)
		sh, err := exec.LookPath("sh")
		if err != nil {
			t.Skip("needs a shell to set the limit: ", err)
		}
		cmd.Args = append([]string{"sh", "-c", `ulimit -n 25 && exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = sh
		server := start(t, cmd)
		began := time.Now()
		var crowd []*net.TCPConn
		for range 40 {
			crowd = append(crowd, dial(t, server.addr))
		}
		says(t, crowd[0], "me too")
		const crowded = 2500 * time.Millisecond
		time.Sleep(crowded)
		for _, conn := range crowd {
			conn.Close()
		}
		for deadline := time.Now().Add(patience); ; { // it may have to notice first that the crowd is gone
			err := echoed(dial(t, server.addr), "and me")
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("nobody is served any more: ", err)
			}
		}
		cpu, stderr := server.end(t)
		most := 3 + int(time.Since(began).Seconds())
		if n := strings.Count(stderr, "too many open files"); n < 1 || n > most {
			t.Errorf("says %d times that there are too many open files; want 1 to %d: %q", n, most, stderr)
		}
		if cpu > crowded/2 {
			t.Errorf("%v of processor time in %v", cpu, crowded)
		}
	})
}

// several: nobody waits for anybody else, in whatever order they talk.
func several(t *testing.T, addr string) {
	var conns []*net.TCPConn
	for range 50 {
		conns = append(conns, dial(t, addr))
	}
	for turn := range 3 {
		rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
		for i, conn := range conns {
			says(t, conn, fmt.Sprintf("turn %d, client %d", turn, i))
		}
	}
}

// halfClose: what was sent before the end of file is answered after it.
func halfClose(t *testing.T, addr string) {
	conn := dial(t, addr)
	io.WriteString(conn, "last words")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "last words" {
		t.Errorf("got %q, %v", answer, err)
	}
	silent := dial(t, addr)
	silent.CloseWrite()
	if answer, err := io.ReadAll(silent); err != nil || len(answer) != 0 {
		t.Errorf("a client that says nothing got %q, %v", answer, err)
	}
}

// bigTransfer sends far more than any buffer on the way holds.
func bigTransfer(t *testing.T, addr string) {
	conn := dial(t, addr)
	sent, got := sha256.New(), sha256.New()
	const size = 16 << 20
	var sending sync.WaitGroup
	sending.Add(1)
	go func() {
		defer sending.Done()
		random := rand.NewChaCha8([32]byte{1})
		if _, err := io.CopyN(io.MultiWriter(conn, sent), random, size); err != nil {
			t.Error("sending:", err)
		}
		conn.CloseWrite()
	}()
	n, err := io.Copy(got, conn)
	sending.Wait()
	if n != size || err != nil || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d of %d bytes came back, %v; the same: %v", n, size, err, bytes.Equal(sent.Sum(nil), got.Sum(nil)))
	}
}

// stuff writes without reading until the server takes no more, and returns how
// much it took: what the server queues, and the kernel's buffers.
func stuff(t *testing.T, conn *net.TCPConn) int {
	t.Helper()
	chunk := bytes.Repeat([]byte("stuff"), 1<<12)
	const limit = 64 << 20
	total := 0
	for total < limit {
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := conn.Write(chunk)
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return total
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("the server took %d bytes from a client that reads nothing", total)
	return 0
}

// readsLate: the server queues little for a client that does not read, serves
// others meanwhile, and owes it the rest.
func readsLate(t *testing.T, addr string) {
	conn := dial(t, addr)
	total := stuff(t, conn)
	says(t, dial(t, addr), "what of me?")
	conn.CloseWrite()
	if n, err := io.Copy(io.Discard, conn); n != int64(total) || err != nil {
		t.Errorf("%d of %d bytes came back, %v", n, total, err)
	}
}

// owesMuch: the end of file comes while some of the answer is queued. When that
// is so depends on the kernel's buffers, so try all sizes, by steps smaller
// than what the server queues, up to where it stops to read.
func owesMuch(t *testing.T, addr string) {
	for size := maxQueued / 2; ; size += maxQueued / 2 {
		conn := dial(t, addr)
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		sent, err := conn.Write(make([]byte, size))
		full := errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !full {
			t.Fatal(err)
		}
		conn.CloseWrite()
		time.Sleep(10 * time.Millisecond) // no matter if it is not enough once
		if n, err := io.Copy(io.Discard, conn); n != int64(sent) || err != nil {
			t.Fatalf("%d of %d bytes came back, %v", n, sent, err)
		}
		conn.Close()
		if full {
			return
		}
	}
}

// resets: a client that goes with a reset harms nobody.
func resets(t *testing.T, addr string) {
	other := dial(t, addr)
	says(t, other, "before")
	for range 20 {
		conn := dial(t, addr)
		says(t, conn, "about to go")
		conn.SetLinger(0) // Close then sends a reset
		conn.Close()
		says(t, other, "after")
	}
}

func resetsQueued(t *testing.T, addr string) {
	conn := dial(t, addr)
	stuff(t, conn)
	conn.SetLinger(0)
	conn.Close()
	says(t, dial(t, addr), "all well?")
}

func TestDefaultBackend(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	server := start(t, program(t, "-addr", "localhost:0"))
	says(t, dial(t, server.addr), "hello")
	server.end(t)
}

func TestBadUse(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	const usage = "usage: echo "
	for _, c := range []struct {
		name string
		args []string
		exit int
		says string
	}{
		{"unknown flag", []string{"-frobnicate"}, 2, usage},
		{"argument", []string{"8080"}, 2, usage},
		{"unknown backend", []string{"-backend", "telepathy"}, 2, usage},
		{"unknown backend lists the choices", []string{"-backend", "telepathy"}, 2, selectors.Backends()[0].Name},
		{"help", []string{"-h"}, 0, usage},
		{"address without a port", []string{"-addr", "localhost"}, 1, "missing port"},
		{"address in use", []string{"-addr", taken.Addr().String()}, 1, "address already in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := program(t, c.args...)
			out, err := cmd.CombinedOutput()
			if exit := cmd.ProcessState.ExitCode(); exit != c.exit || !strings.Contains(string(out), c.says) {
				t.Errorf("exit status %d, %v, output %q; want status %d and %q", exit, err, out, c.exit, c.says)
			}
		})
	}
}
