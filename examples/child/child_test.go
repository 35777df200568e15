//go:build unix

package child_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/examples/child"
	"goselectors/examples/lines"
	"goselectors/selectors"
)

const timeout = 20 * time.Second

func eachLoop(t *testing.T, test func(t *testing.T, loop *eventloop.Loop)) {
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
			test(t, loop)
			if n := loop.Selector().Len(); n > 0 {
				t.Errorf("%d files are still registered", n)
			}
		})
	}
}

// A run is a child and what its reports were.
type run struct {
	*child.Process
	t       *testing.T
	loop    *eventloop.Loop
	steps   []string // "exit", "stdout", "stdin", in the order of the ends
	exit    error
	output  bytes.Buffer
	toWrite int  // bytes of zeros that wait until the child reads
	paused  bool // the child does not read
}

type input struct {
	stream.BaseHandler
	*run
}

func (h input) PauseWriting(*stream.Conn)          { h.paused = true }
func (h input) ResumeWriting(*stream.Conn)         { h.paused = false; h.write() }
func (h input) ConnectionLost(*stream.Conn, error) { h.steps = append(h.steps, "stdin") }

type output struct {
	stream.BaseHandler
	*run
}

func (h output) DataReceived(_ *stream.Conn, p []byte)    { h.output.Write(p) }
func (h output) ConnectionLost(_ *stream.Conn, err error) { h.steps = append(h.steps, "stdout") }

func start(t *testing.T, loop *eventloop.Loop, name string, args ...string) *run {
	t.Helper()
	r := &run{t: t, loop: loop}
	var err error
	r.Process, err = child.Start(loop, exec.Command(name, args...), input{run: r}, output{run: r}, func(err error) {
		r.exit = err
		r.steps = append(r.steps, "exit")
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// write writes zeros and closes the input after the last one.
func (r *run) write() {
	piece := make([]byte, 100<<10) // more than the high-water mark
	for r.toWrite > 0 && !r.paused {
		n := min(r.toWrite, len(piece))
		if _, err := r.Stdin.Write(piece[:n]); err != nil {
			return
		}
		r.toWrite -= n
	}
	if r.toWrite == 0 {
		r.Stdin.Close() // sends what is queued
	}
}

// wait runs the loop until n things have ended.
func (r *run) wait(n int) {
	r.t.Helper()
	for deadline := time.Now().Add(timeout); len(r.steps) < n; {
		if _, err := r.loop.RunOnce(time.Second); err != nil || time.Now().After(deadline) {
			r.t.Fatalf("%v or a timeout; ended so far: %q", err, r.steps)
		}
	}
}

func TestCat(t *testing.T) {
	const size = 3 << 20
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		r := start(t, loop, "cat")
		r.toWrite = size
		loop.CallSoon(r.write)
		r.wait(3)
		if r.exit != nil || !bytes.Equal(r.output.Bytes(), make([]byte, size)) {
			t.Errorf("%d bytes of %d, %v", r.output.Len(), size, r.exit)
		}
	})
}

func TestExitStatus(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		r := start(t, loop, "sh", "-c", "echo last words; exit 3")
		r.wait(2)
		r.Stdin.Abort()
		r.wait(3)
		exit := new(exec.ExitError)
		if !errors.As(r.exit, &exit) || exit.ExitCode() != 3 || r.output.String() != "last words\n" {
			t.Errorf("exit %v, output %q", r.exit, &r.output)
		}
		if err := r.Signal(os.Interrupt); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("signal after the exit: %v", err)
		}
	})
}

// TestDoesNotRead requires that the end of a child that does not read its input is
// noticed although data waits for it, and that the loop sleeps until then.
func TestDoesNotRead(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		r := start(t, loop, "sleep", "0.3")
		r.toWrite = 10 << 20
		loop.CallSoon(r.write)
		r.wait(3)
		if r.toWrite < 9<<20 || r.exit != nil {
			t.Errorf("%d bytes were written, %v", 10<<20-r.toWrite, r.exit)
		}
		if turns := loop.Stats().Turns; turns > 50 {
			t.Errorf("%d turns", turns)
		}
	})
}

// TestGrandchild requires that the exit is reported although the output is still open,
// and later the rest of the output.
func TestGrandchild(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		r := start(t, loop, "sh", "-c", "(sleep 0.5; echo late) & exit 0")
		r.Stdin.Close()
		r.wait(2)
		if r.exit != nil || len(r.steps) != 2 || r.output.Len() > 0 {
			t.Errorf("exit %v, ended %q, output %q", r.exit, r.steps, &r.output)
		}
		if r.wait(3); r.steps[2] != "stdout" || r.output.String() != "late\n" {
			t.Errorf("ended %q, output %q", r.steps, &r.output)
		}
	})
}

func TestSignal(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		r := start(t, loop, "sleep", "60")
		loop.CallLater(10*time.Millisecond, func() {
			if err := r.Signal(os.Kill); err != nil {
				t.Error(err)
			}
		})
		r.wait(2)
		r.Stdin.Abort()
		r.wait(3)
		exit := new(exec.ExitError)
		if !errors.As(r.exit, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("exit %v", r.exit)
		}
	})
}

// TestErrors requires that Start leaves nothing behind when it fails.
func TestErrors(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		exited := func(error) { t.Error("exited was called") }
		before := openFiles()
		if _, err := child.Start(loop, exec.Command("/no/such/program"), input{}, output{}, exited); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("no program: %v", err)
		}
		if _, err := child.Start(loop, exec.Command("cat"), nil, output{}, exited); !errors.Is(err, stream.ErrNilHandler) {
			t.Errorf("no handler of stdin: %v", err)
		}
		r := &run{t: t, loop: loop}
		if _, err := child.Start(loop, exec.Command("cat"), input{run: r}, nil, exited); !errors.Is(err, stream.ErrNilHandler) {
			t.Errorf("no handler of stdout: %v", err)
		}
		r.wait(1) // the end of stdin
		if after := openFiles(); after > before {
			t.Errorf("%d files more are open than before", after-before)
		}
	})
}

// openFiles returns the number of open descriptors, or 0 where the system does not tell.
func openFiles() int {
	files, _ := os.ReadDir("/dev/fd")
	return len(files)
}

// A printer prints the lines of a child's output.
type printer struct {
	*lines.Handler
	ended func()
}

func (h printer) ConnectionLost(*stream.Conn, error) { h.ended() }

func Example() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	left := 2
	ended := func() {
		if left--; left == 0 {
			loop.Stop()
		}
	}
	out := printer{&lines.Handler{
		Splitter:     lines.Splitter{Limit: 1000},
		LineReceived: func(_ *stream.Conn, line []byte) { fmt.Printf("line: %s\n", line) },
	}, ended}
	var exit error
	p, err := child.Start(loop, exec.Command("tr", "a-z", "A-Z"), stream.BaseHandler{}, out, func(err error) {
		exit = err
		ended()
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(p.Stdin, "one\ntwo\n")
	p.Stdin.Close()
	if err := loop.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("exit:", exit)
	// Output:
	// line: ONE
	// line: TWO
	// exit: <nil>
}
