// Package lessontest runs a lesson as its reader would: starts it, reads what
// it prints, talks to it over the network, interrupts it. Every wait is
// bounded.
package lessontest

import (
	"bufio"
	"bytes"
	"context"
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

	"goselectors/selectors"
)

// Patience bounds every wait; nothing takes nearly as long.
const Patience = 20 * time.Second

// asLesson in the environment makes the test binary be the lesson.
const asLesson = "LESSONTEST_BE_THE_LESSON"

// Main is for TestMain. It makes the test binary run the lesson where a test
// starts it for that.
func Main(m *testing.M, lesson func()) {
	if os.Getenv(asLesson) != "" {
		lesson()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command prepares a run of the lesson. A run that hangs is killed.
func command(t *testing.T, args []string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*Patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), asLesson+"=1", selectors.BackendEnv+"=")
	return cmd
}

// Lesson is a run of the lesson under test.
type Lesson struct {
	Stdin  io.WriteCloser
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // what it prints, closed at the end
	said   []string    // the lines taken so far
	stderr bytes.Buffer

	complaint string // what error output may say
}

// Start starts the lesson until the test is over.
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

// next takes one more line; none at the end of output.
func (l *Lesson) next(want string) (string, bool) {
	l.t.Helper()
	select {
	case line, ok := <-l.lines:
		if ok {
			l.said = append(l.said, line)
		}
		return line, ok
	case <-time.After(Patience):
		l.t.Fatalf("waited in vain for %s; the lesson said:\n%s", want, strings.Join(l.said, "\n"))
		return "", false
	}
}

// Until takes lines until one matches the pattern, and returns that match and
// its groups.
func (l *Lesson) Until(pattern string) []string {
	l.t.Helper()
	for re := regexp.MustCompile(pattern); ; {
		line, ok := l.next(pattern)
		if !ok {
			l.cmd.Wait()
			l.t.Fatalf("ended without saying %s, but:\n%s\n%s", pattern, strings.Join(l.said, "\n"), &l.stderr)
		}
		if match := re.FindStringSubmatch(line); match != nil {
			return match
		}
	}
}

// Addr is the address that a server says it listens on.
func (l *Lesson) Addr() string {
	l.t.Helper()
	return strings.TrimRight(l.Until(`listening on (\S+)`)[1], ",;")
}

// Signal is Ctrl-C. Windows has no way to send it.
func (l *Lesson) Signal() {
	l.t.Helper()
	if runtime.GOOS == "windows" {
		l.t.Skip("no way to interrupt a process here")
	}
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		l.t.Fatal(err)
	}
}

// Interrupt is Ctrl-C, on which the lesson must say bye and end well. It
// returns all that it printed.
func (l *Lesson) Interrupt() string {
	l.t.Helper()
	l.Signal()
	all := l.End()
	if !strings.HasSuffix(all, "bye") {
		l.t.Errorf("after the interrupt the lesson does not say bye, but ends with %q", l.said[max(0, len(l.said)-3):])
	}
	return all
}

// End waits until the lesson ends by itself, which it must do well and without
// complaints, and returns all that it printed.
func (l *Lesson) End() string {
	l.t.Helper()
	for ok := true; ok; {
		_, ok = l.next("the end")
	}
	err := l.cmd.Wait()
	if err != nil || l.stderr.Len() > 0 && (l.complaint == "" || !strings.Contains(l.stderr.String(), l.complaint)) {
		l.t.Errorf("ends with %v; want exit status 0; error output: %q", err, &l.stderr)
	}
	return strings.Join(l.said, "\n")
}

// CPU is the processor time that the lesson took, after its end.
func (l *Lesson) CPU() time.Duration {
	return l.cmd.ProcessState.UserTime() + l.cmd.ProcessState.SystemTime()
}

// BadUse demands a usage line and exit status 2 for an unknown flag, a stray
// argument and whatever else is given; and only the line for -h.
func BadUse(t *testing.T, name string, bad ...[]string) {
	t.Helper()
	bad = append(bad, []string{"-frobnicate"}, []string{"stray"}, []string{"-h"})
	for _, args := range bad {
		cmd := command(t, args)
		out, err := cmd.CombinedOutput()
		want := 2
		if args[0] == "-h" {
			want = 0
		}
		if exit := cmd.ProcessState.ExitCode(); exit != want || !strings.Contains(string(out), "usage: "+name) {
			t.Errorf("%q: exit status %d, %v, output %q; want status %d and a usage line", args, exit, err, out, want)
		}
	}
}

// Dial connects to the lesson until the test is over.
func Dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(Patience))
	return conn.(*net.TCPConn)
}

// Says sends a message and demands it back.
func Says(t *testing.T, conn net.Conn, message string) {
	t.Helper()
	if _, err := io.WriteString(conn, message); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len(message))
	if n, err := io.ReadFull(conn, answer); err != nil || string(answer) != message {
		t.Fatalf("echo of %q: %q, %v", message, answer[:n], err)
	}
}

// Echo is what every echo server of the lessons must do: serve several clients
// at once in any order, return what was sent before a half close, survive a
// reset, return much more than the buffers on the way hold, and serve others
// while one reads nothing.
func Echo(t *testing.T, addr string) {
	var conns []*net.TCPConn
	for range 20 {
		conns = append(conns, Dial(t, addr))
	}
	for i := range conns {
		Says(t, conns[len(conns)-1-i], "hello")
		Says(t, conns[i], "and again")
	}
	conns[0].SetLinger(0) // Close then sends a reset
	conns[0].Close()

	io.WriteString(conns[1], "last words")
	conns[1].CloseWrite()
	if answer, err := io.ReadAll(conns[1]); err != nil || string(answer) != "last words" {
		t.Errorf("after a half close got %q, %v", answer, err)
	}

	greedy := conns[2]
	sent := stuff(t, greedy)
	Says(t, conns[3], "what of me?")
	got := make([]byte, len(sent))
	if n, err := io.ReadFull(greedy, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back, %v", n, len(sent), err)
	}
	greedy.CloseWrite()
	if rest, err := io.ReadAll(greedy); err != nil || len(rest) > 0 {
		t.Errorf("after that %d bytes more, %v", len(rest), err)
	}
}

// stuff writes without reading until the server takes no more, and returns what
// it took.
func stuff(t *testing.T, conn *net.TCPConn) (sent []byte) {
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
	t.Fatalf("the server took %d bytes from a client that reads nothing", len(sent))
	return nil
}

// Idle is for echo servers: nobody spins while one client is silent and
// another reads nothing of what it is owed. It ends the server.
func Idle(t *testing.T, server *Lesson, addr string) {
	t.Helper()
	Says(t, Dial(t, addr), "still here?")
	stuff(t, Dial(t, addr))
	const idle = time.Second
	time.Sleep(idle)
	server.Interrupt()
	if cpu := server.CPU(); cpu > idle*4/5 {
		t.Errorf("%v of processor time, after little work and %v of idleness", cpu, idle)
	}
}

// TooManyClients is for echo servers with a limit of descriptors: without any
// left, the server must serve those it has, without spinning, and take the
// others when some go. It may complain meanwhile.
func TooManyClients(t *testing.T, complaint string, args []string) {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell to set the limit: ", err)
	}
	cmd := command(t, append(args, "-addr", "127.0.0.1:0"))
	cmd.Args = append([]string{"sh", "-c", `ulimit -n 20 && exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = sh
	server := start(t, cmd)
	addr := server.Addr()
	first := Dial(t, addr)
	Says(t, first, "hello")
	var crowd []*net.TCPConn
	for range 30 {
		crowd = append(crowd, Dial(t, addr))
	}
	Says(t, crowd[0], "me too")
	const crowded = time.Second
	time.Sleep(crowded)
	Says(t, first, "still served?")
	late := Dial(t, addr)
	for _, conn := range crowd {
		conn.Close()
	}
	Says(t, late, "and me")
	server.complaint = complaint
	server.Interrupt()
	if complaint != "" && server.stderr.Len() == 0 {
		t.Errorf("no complaint that %q: was the limit reached?", complaint)
	}
	if cpu := server.CPU(); cpu > crowded/2 {
		t.Errorf("%v of processor time in %v", cpu, crowded)
	}
}

// EachBackend runs a test for every backend there is.
func EachBackend(t *testing.T, test func(t *testing.T, backend string)) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	for _, backend := range selectors.Backends() {
		t.Run(backend.Name, func(t *testing.T) { test(t, backend.Name) })
	}
}
