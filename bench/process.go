//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The main goroutine starts all processes and keeps its thread, for two reasons:
// the parent-death signal (Pdeathsig) is sent when the thread that started the
// process ends, and a process inherits the CPU affinity of that thread.
func init() { runtime.LockOSThread() }

// A process is a running contender or load generator.
type process struct {
	*exec.Cmd
	stdout io.ReadCloser
	lines  *bufio.Scanner
	stderr tailBuffer
}

// A tailBuffer keeps the last 4 to 8 KiB that were written to it.
type tailBuffer struct{ bytes.Buffer }

func (t *tailBuffer) Write(p []byte) (int, error) {
	const size = 4 << 10
	n, err := t.Buffer.Write(p)
	if t.Len() > 2*size {
		t.Next(t.Len() - size)
	}
	return n, err
}

// startProcess starts a process in a process group of its own. The process is
// pinned to processor cpu unless cpu is negative. The whole group is killed when
// ctx is done.
func startProcess(ctx context.Context, cpu int, env []string, name string, args ...string) (*process, error) {
	p := &process{Cmd: exec.CommandContext(ctx, name, args...)}
	p.Env = append(os.Environ(), env...)
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.Cancel = func() error { return unix.Kill(-p.Process.Pid, unix.SIGKILL) }
	p.WaitDelay = 2 * time.Second
	p.Stderr = &p.stderr
	var err error
	if p.stdout, err = p.StdoutPipe(); err != nil {
		return nil, err
	}
	p.lines = bufio.NewScanner(p.stdout)
	if cpu >= 0 {
		var before, pinned unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			return nil, err
		}
		pinned.Set(cpu)
		if err := unix.SchedSetaffinity(0, &pinned); err != nil {
			return nil, err
		}
		defer unix.SchedSetaffinity(0, &before)
	}
	return p, p.Start()
}

// readFigures reads the next line of figures from the standard output. It returns
// errNoFigures at the end of the output.
func (p *process) readFigures() (figures, error) {
	if !p.lines.Scan() {
		return nil, errNoFigures
	}
	f := make(figures)
	if err := json.Unmarshal(p.lines.Bytes(), &f); err != nil {
		return nil, fmt.Errorf("figures %q: %w", p.lines.Text(), err)
	}
	return f, nil
}

var errNoFigures = errors.New("exited without printing figures")

// finish waits for the process to exit and returns err or the exit error, with
// the end of the standard error appended. If err is a reading error it kills the
// process first.
func (p *process) finish(ctx context.Context, err error) error {
	if err != nil && err != errNoFigures {
		p.Cancel()
	}
	if waitErr := p.Wait(); err == nil {
		err = waitErr
	} else if err == errNoFigures && waitErr != nil {
		err = fmt.Errorf("%w: %w", err, waitErr)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	return withOutput(err, p.stderr.String())
}

// withOutput appends the end of a program's output to err, if there is any output.
func withOutput(err error, output string) error {
	if output = strings.TrimSpace(output); output != "" {
		err = fmt.Errorf("%w: %s", err, lastBytes(output, 300))
	}
	return err
}

// kill kills a server, which does not exit by itself, and waits for it.
func (p *process) kill() {
	p.Cancel()
	p.Wait()
}

// lastBytes returns the last n bytes of s as one line.
func lastBytes(s string, n int) string {
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return strings.Join(strings.Fields(s), " ")
}

// A builtProgram is the result of building a program.
type builtProgram struct {
	command []string // the command and its first arguments
	missing string   // the reason why it cannot be run, or ""
	version string   // name and version of the library or interpreter, or ""
}

// build builds all programs from the sources in dir into the directory out.
func build(ctx context.Context, dir, out string, logf func(format string, args ...any)) map[string]builtProgram {
	results := make(map[string]builtProgram)
	if err := os.MkdirAll(out, 0o755); err != nil {
		for _, p := range programs {
			results[p.name] = builtProgram{missing: err.Error()}
		}
		return results
	}
	for _, p := range programs {
		logf("building %s", p.name)
		results[p.name] = p.build(ctx, dir, out)
		if reason := results[p.name].missing; reason != "" {
			logf("%s is not available: %s\n", p.name, reason)
		}
	}
	return results
}

// build builds one program. For an interpreted one it looks for the interpreter.
func (p program) build(ctx context.Context, dir, out string) (b builtProgram) {
	b.command = []string{filepath.Join(out, p.name)}
	compile := []string{"gcc", "-O2", "-pthread", "-o", b.command[0], filepath.Join(dir, "c", p.source)}
	switch {
	case p.command != nil:
		path, err := exec.LookPath(p.command[0])
		if err != nil {
			return builtProgram{missing: fmt.Sprintf("%s is not installed", p.needs)}
		}
		b.command = []string{path, filepath.Join(dir, p.command[1])}
		compile = nil
	case p.lib != "":
		compile = append(compile, "-l"+p.lib)
	case p.source == "./contender":
		compile = []string{"go", "build", "-tags", p.tags, "-o", b.command[0], p.source}
	}
	if compile != nil {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, compile[0], compile[1:]...)
		cmd.Dir = dir
		if output, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
			return builtProgram{missing: fmt.Sprintf("%s is not installed", compile[0])}
		} else if err != nil && strings.Contains(string(output), "fatal error: ") || strings.Contains(string(output), "cannot find -l") {
			return builtProgram{missing: fmt.Sprintf("needs %s", p.needs)}
		} else if err != nil {
			return builtProgram{missing: fmt.Sprintf("build failed: %v: %s", err, lastBytes(string(output), 300))}
		}
	}
	version := append(b.command[:1:1], "version")
	if p.command != nil {
		version[1] = "--version"
	}
	if p.lib != "" || p.command != nil || p.source == "./contender" {
		b.version = commandOutput(ctx, version...)
	}
	return b
}

// commandOutput returns the standard output of a command, or "" if it fails.
func commandOutput(ctx context.Context, command ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(output))
}
