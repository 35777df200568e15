// Package servertest runs a program of examples in a process of its own: it starts
// the program, connects to it, and interrupts it. Every wait has a limit.
package servertest

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

// Timeout limits every wait. Tests need much less.
const Timeout = 20 * time.Second

// runProgramEnv makes the test binary run the program instead of the tests.
const runProgramEnv = "SERVERTEST_RUN_PROGRAM"

// Main is called by TestMain. In a process that Start or Command has started,
// it runs the program; otherwise it runs the tests.
func Main(m *testing.M, program func()) {
	if os.Getenv(runProgramEnv) != "" {
		program()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Command prepares a run of the program that is killed when it takes too long.
// The backend is the value of SELECTORS_BACKEND; it may be empty.
func Command(t *testing.T, backend string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*Timeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), runProgramEnv+"=1", selectors.BackendEnv+"="+backend, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// LimitFiles makes a command run with at most n open files. It skips the test
// where there is no shell.
func LimitFiles(t *testing.T, cmd *exec.Cmd, n int) {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell to set the limit: ", err)
	}
	script := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, n)
	cmd.Args = append([]string{"sh", "-c", script, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = sh
}

// Server is a running server program.
type Server struct {
	Addr string // address that the server listens on

	name    string
	cmd     *exec.Cmd
	stdout  *bufio.Reader
	stderr  bytes.Buffer
	stopped bool
}

// Start starts a server and waits until it listens. If the test does not call
// Stop, the end of the test does, and then the server must not have written
// anything to standard error. The name is the one in the server's messages.
func Start(t *testing.T, name string, cmd *exec.Cmd) *Server {
	t.Helper()
	s := &Server{name: name, cmd: cmd}
	cmd.Stderr = &s.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.stopped {
			return
		}
		if stderr := s.Stop(t); stderr != "" {
			t.Errorf("standard error: %q", stderr)
		}
	})
	s.stdout = bufio.NewReader(stdout)
	line, err := s.stdout.ReadString('\n')
	addr, found := strings.CutPrefix(strings.TrimSpace(line), name+": listening on ")
	if err != nil || !found {
		s.stopped = true
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("first line of output: %q, %v; standard error: %q", line, err, &s.stderr)
	}
	s.Addr = addr
	return s
}

// Stop interrupts the server as Ctrl-C does, waits for its end, and returns
// what it wrote to standard error. The rest of its output must be "bye", and
// the exit status must be 0.
func (s *Server) Stop(t *testing.T) (stderr string) {
	t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Errorf("interrupt: %v", err)
		s.cmd.Process.Kill()
	}
	return s.WaitEnd(t)
}

// WaitEnd is Stop without the interrupt, for a test that has sent a signal itself.
func (s *Server) WaitEnd(t *testing.T) (stderr string) {
	t.Helper()
	s.stopped = true
	defer time.AfterFunc(Timeout, func() { s.cmd.Process.Kill() }).Stop()
	rest, err := io.ReadAll(s.stdout)
	if want := s.name + ": bye\n"; err != nil || string(rest) != want {
		t.Errorf("output after the interrupt: %q, %v; want %q", rest, err, want)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("after the interrupt: %v; want exit status 0; standard error: %q", err, &s.stderr)
	}
	return s.stderr.String()
}

// ProcessState returns the state of the process after Stop.
func (s *Server) ProcessState() *os.ProcessState { return s.cmd.ProcessState }

// CPU returns the processor time that the server used, after Stop.
func (s *Server) CPU() time.Duration {
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
}

// EachBackend runs a subtest for each backend of the platform.
func EachBackend(t *testing.T, test func(t *testing.T, backend string)) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	for _, backend := range selectors.Backends() {
		t.Run(backend.Name, func(t *testing.T) { test(t, backend.Name) })
	}
}

// Dial connects to addr. The end of the test closes the connection.
func Dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, Timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(3 * Timeout))
	return conn.(*net.TCPConn)
}

// Exchange writes a request and checks that the reply is want, byte for byte.
func Exchange(t *testing.T, conn net.Conn, request, want string) {
	t.Helper()
	if err := TryExchange(conn, request, want); err != nil {
		t.Fatal(err)
	}
}

// TryExchange is Exchange that returns the error.
func TryExchange(conn net.Conn, request, want string) error {
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(conn, got)
	if err != nil || string(got) != want {
		return fmt.Errorf("reply to %.100q: %.100q, %v; want %.100q", request, got[:n], err, want)
	}
	return nil
}

// TooManyClients connects more clients than the server has descriptors for. The
// server must report that without spinning, and accept again when clients have
// closed their connections. The request and its reply are exchanged by clients
// to see that they are served. The server starts with args.
func TooManyClients(t *testing.T, name, backend, request, reply string, args ...string) {
	t.Helper()
	cmd := Command(t, backend, append(args, "-addr", "127.0.0.1:0")...)
	LimitFiles(t, cmd, 25)
	server := Start(t, name, cmd)
	start := time.Now()
	var clients []*net.TCPConn
	for range 40 {
		clients = append(clients, Dial(t, server.Addr))
	}
	Exchange(t, clients[0], request, reply)
	const exhausted = 2500 * time.Millisecond
	time.Sleep(exhausted)
	for _, conn := range clients {
		conn.Close()
	}
	// The server needs a moment to see that the clients are gone.
	for deadline := time.Now().Add(Timeout); ; {
		err := TryExchange(Dial(t, server.Addr), request, reply)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not accept again: ", err)
		}
	}
	stderr := server.Stop(t)
	limit := 3 + int(time.Since(start).Seconds())
	if n := strings.Count(stderr, "too many open files"); n < 1 || n > limit {
		t.Errorf("%d reports of too many open files, want 1 to %d: %q", n, limit, stderr)
	}
	if cpu := server.CPU(); cpu > exhausted/2 {
		t.Errorf("%v of processor time in %v", cpu, exhausted)
	}
}

// CommandLine is a command line and what the program must do with it.
type CommandLine struct {
	Args   []string
	Exit   int
	Output string // part of the output
}

// CheckCommandLines runs the program with command lines that end it at once:
// the given ones, an unknown flag, an argument that is not a flag, and -h.
func CheckCommandLines(t *testing.T, name string, lines ...CommandLine) {
	t.Helper()
	usage := "usage: go run ./examples/" + name + " [flags]\n"
	lines = append(lines,
		CommandLine{[]string{"-nosuchflag"}, 2, usage},
		CommandLine{[]string{"8080"}, 2, usage},
		CommandLine{[]string{"8080"}, 2, `unexpected argument "8080"`},
		CommandLine{[]string{"-h"}, 0, usage},
	)
	for _, c := range lines {
		t.Run(strings.Join(c.Args, " "), func(t *testing.T) {
			cmd := Command(t, "", c.Args...)
			out, err := cmd.CombinedOutput()
			if exit := cmd.ProcessState.ExitCode(); exit != c.Exit || !strings.Contains(string(out), c.Output) {
				t.Errorf("exit status %d, %v, output %q; want status %d and %q", exit, err, out, c.Exit, c.Output)
			}
			if strings.Contains(string(out), cmd.Path) {
				t.Errorf("output has the path of the test binary: %q", out)
			}
		})
	}
}

// RunTool runs another program and returns its standard output. It skips the
// test where the program is not installed.
func RunTool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s %q: %v: %s", name, args, err, &stderr)
	}
	return string(out)
}
