// Package lessontest runs a lesson as its reader does: it starts the program,
// reads its output, connects to it, and interrupts it. Every wait is bounded.
package lessontest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"goselectors/examples/internal/servertest"
	"goselectors/selectors"
)

// Timeout bounds every wait. Nothing should take nearly as long.
const Timeout = servertest.Timeout

// Main is for TestMain. It runs the lesson instead of the tests if a test has
// started this process for that.
func Main(m *testing.M, lesson func()) { servertest.Main(m, lesson) }

// command returns a command that runs the lesson. It is killed if it hangs.
func command(t *testing.T, args []string) *exec.Cmd {
	t.Helper()
	return servertest.Command(t, "", args...)
}

// Lesson is a running lesson.
type Lesson struct {
	Stdin  io.WriteCloser
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // standard output; closed at its end
	output []string    // the lines received from the channel so far
	stderr bytes.Buffer

	allowedError string // the text that standard error may contain
}

// Start starts the lesson. It is killed at the end of the test.
func Start(t *testing.T, args ...string) *Lesson {
	t.Helper()
	return start(t, command(t, args))
}

func start(t *testing.T, cmd *exec.Cmd) *Lesson {
	t.Helper()
	l := &Lesson{t: t, cmd: cmd, lines: make(chan string, 1<<16)}
	l.cmd.Stderr = &l.stderr
	stdin, err := l.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.Stdin = stdin
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.cmd.Process.Kill(); l.cmd.Wait() })
	go func() {
		defer close(l.lines)
		for out := bufio.NewScanner(stdout); out.Scan(); {
			l.lines <- out.Text()
		}
	}()
	return l
}

// nextLine returns the next line of output, and false at the end of output.
func (l *Lesson) nextLine(want string) (string, bool) {
	l.t.Helper()
	select {
	case line, ok := <-l.lines:
		if ok {
			l.output = append(l.output, line)
		}
		return line, ok
	case <-time.After(Timeout):
		l.t.Fatalf("timeout waiting for %s; output:\n%s", want, strings.Join(l.output, "\n"))
		return "", false
	}
}

// WaitLine reads lines until one matches the pattern. It returns the match and
// its groups.
func (l *Lesson) WaitLine(pattern string) []string {
	l.t.Helper()
	for re := regexp.MustCompile(pattern); ; {
		line, ok := l.nextLine(pattern)
		if !ok {
			l.cmd.Wait()
			l.t.Fatalf("the lesson ended without printing %s; output:\n%s\n%s", pattern, strings.Join(l.output, "\n"), &l.stderr)
		}
		if match := re.FindStringSubmatch(line); match != nil {
			return match
		}
	}
}

// Addr waits for the line with the address of a server, and returns the address.
func (l *Lesson) Addr() string {
	l.t.Helper()
	return strings.TrimRight(l.WaitLine(`listening on (\S+)`)[1], ",;")
}

// SendInterrupt does what Ctrl-C does. It skips the test on Windows, which has
// no way to do it.
func (l *Lesson) SendInterrupt() {
	l.t.Helper()
	if runtime.GOOS == "windows" {
		l.t.Skip("cannot interrupt a process on Windows")
	}
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		l.t.Fatal(err)
	}
}

// Interrupt sends an interrupt and waits for the end. The last line must be
// "bye". It returns all output.
func (l *Lesson) Interrupt() string {
	l.t.Helper()
	l.SendInterrupt()
	output := l.WaitEnd()
	if !strings.HasSuffix(output, "bye") {
		l.t.Errorf("the last lines after the interrupt are %q; want bye", l.output[max(0, len(l.output)-3):])
	}
	return output
}

// WaitEnd waits until the lesson ends. Its exit status must be 0 and its
// standard error empty. It returns all output.
func (l *Lesson) WaitEnd() string {
	l.t.Helper()
	for ok := true; ok; {
		_, ok = l.nextLine("the end")
	}
	err := l.cmd.Wait()
	errorAllowed := l.allowedError != "" && strings.Contains(l.stderr.String(), l.allowedError)
	if err != nil || l.stderr.Len() > 0 && !errorAllowed {
		l.t.Errorf("the lesson ended with %v; want exit status 0; standard error: %q", err, &l.stderr)
	}
	return strings.Join(l.output, "\n")
}

// CPU returns the processor time that the lesson used. Call it after the end.
func (l *Lesson) CPU() time.Duration {
	return l.cmd.ProcessState.UserTime() + l.cmd.ProcessState.SystemTime()
}

// CheckUsage requires a usage line and exit status 2 for each of the given
// command lines, for an unknown flag and for an argument that is not a flag. It
// requires a usage line and exit status 0 for -h.
func CheckUsage(t *testing.T, name string, invalid ...[]string) {
	t.Helper()
	invalid = append(invalid, []string{"-nosuchflag"}, []string{"argument"}, []string{"-h"})
	for _, args := range invalid {
		cmd := command(t, args)
		out, err := cmd.CombinedOutput()
		want := 2
		if args[0] == "-h" {
			want = 0
		}
		usage := "usage: go run ./examples/" + name + " "
		if status := cmd.ProcessState.ExitCode(); status != want || !strings.Contains(string(out), usage) {
			t.Errorf("%q: exit status %d, %v, output %q; want status %d and %q", args, status, err, out, want, usage)
		}
	}
}

// Dial connects to the lesson. The connection is closed at the end of the test.
func Dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	return servertest.Dial(t, addr)
}

// CheckEcho writes a message and requires the server to send it back.
func CheckEcho(t *testing.T, conn net.Conn, message string) {
	t.Helper()
	if _, err := io.WriteString(conn, message); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len(message))
	if n, err := io.ReadFull(conn, answer); err != nil || string(answer) != message {
		t.Fatalf("echo of %q: %q, %v", message, answer[:n], err)
	}
}

// CheckEchoServer starts the lesson as an echo server, runs CheckEchoClients and
// CheckIdleCPU with it, and ends it.
func CheckEchoServer(t *testing.T, args ...string) {
	t.Helper()
	server := Start(t, append(args, "-addr", "127.0.0.1:0")...)
	addr := server.Addr()
	CheckEchoClients(t, addr)
	CheckIdleCPU(t, server, addr)
}

// CheckEchoClients tests what every echo server must do: serve several clients
// in any order, send back what came before a half-close, survive a reset, send
// back much more than the buffers in between can hold, and serve other clients
// while one does not read.
func CheckEchoClients(t *testing.T, addr string) {
	t.Helper()
	var conns []*net.TCPConn
	for range 20 {
		conns = append(conns, Dial(t, addr))
	}
	for i := range conns {
		CheckEcho(t, conns[len(conns)-1-i], "first")
		CheckEcho(t, conns[i], "second")
	}
	conns[0].SetLinger(0) // Close then sends a reset
	conns[0].Close()

	io.WriteString(conns[1], "before the half-close")
	conns[1].CloseWrite()
	if answer, err := io.ReadAll(conns[1]); err != nil || string(answer) != "before the half-close" {
		t.Errorf("after a half-close got %q, %v", answer, err)
	}

	notReading := conns[2]
	sent := writeUntilBlocked(t, notReading)
	CheckEcho(t, conns[3], "while another does not read")
	got := make([]byte, len(sent))
	if n, err := io.ReadFull(notReading, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back, %v", n, len(sent), err)
	}
	notReading.CloseWrite()
	if rest, err := io.ReadAll(notReading); err != nil || len(rest) > 0 {
		t.Errorf("then came %d more bytes, %v", len(rest), err)
	}
}

// writeUntilBlocked writes without reading until the server stops reading. It
// returns the bytes that were sent.
func writeUntilBlocked(t *testing.T, conn *net.TCPConn) (sent []byte) {
	t.Helper()
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	for len(sent) < 64<<20 {
		conn.SetWriteDeadline(time.Now().Add(150 * time.Millisecond))
		n, err := conn.Write(chunk)
		sent = append(sent, chunk[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return sent
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("the server read %d bytes from a client that does not read", len(sent))
	return nil
}

// CheckIdleCPU requires that an echo server uses little processor time while one
// client is silent and another one does not read. It ends the server.
func CheckIdleCPU(t *testing.T, server *Lesson, addr string) {
	t.Helper()
	CheckEcho(t, Dial(t, addr), "hello")
	writeUntilBlocked(t, Dial(t, addr))
	const idle = time.Second
	time.Sleep(idle)
	server.Interrupt()
	if cpu := server.CPU(); cpu > idle*4/5 {
		t.Errorf("%v of processor time, most of it in %v without work", cpu, idle)
	}
}

// CheckTooManyClients runs an echo server with a limit of 20 descriptors and
// connects more clients. The server must report "too many open files", go on to
// serve the accepted clients, not spin, and accept the others when some leave.
func CheckTooManyClients(t *testing.T, args ...string) {
	t.Helper()
	NeedsBackend(t)
	cmd := command(t, append(args, "-addr", "127.0.0.1:0"))
	servertest.LimitFiles(t, cmd, 20)
	server := start(t, cmd)
	addr := server.Addr()
	first := Dial(t, addr)
	CheckEcho(t, first, "before the limit")
	var clients []*net.TCPConn
	for range 30 {
		clients = append(clients, Dial(t, addr))
	}
	CheckEcho(t, clients[0], "accepted before the limit")
	const atLimit = time.Second
	time.Sleep(atLimit)
	CheckEcho(t, first, "at the limit")
	late := Dial(t, addr)
	for _, conn := range clients {
		conn.Close()
	}
	CheckEcho(t, late, "after the limit")
	server.allowedError = "too many open files"
	server.Interrupt()
	if server.stderr.Len() == 0 {
		t.Error("no error was printed: was the limit reached?")
	}
	if cpu := server.CPU(); cpu > atLimit/2 {
		t.Errorf("%v of processor time in %v", cpu, atLimit)
	}
}

// NeedsBackend skips the test on a platform without a selector.
func NeedsBackend(t *testing.T) {
	t.Helper()
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
}

// EachBackend runs a test for every backend of this platform.
func EachBackend(t *testing.T, test func(t *testing.T, backend string)) {
	servertest.EachBackend(t, test)
}

// CheckEchoBackends runs CheckEchoServer for every backend.
func CheckEchoBackends(t *testing.T) {
	EachBackend(t, func(t *testing.T, backend string) { CheckEchoServer(t, "-backend", backend) })
}
