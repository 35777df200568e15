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

// Processes are started from the main goroutine, which keeps its thread: the
// kernel ends them when that thread ends, however that comes about, and they
// inherit the processors to which it is pinned for the moment.
func init() { runtime.LockOSThread() }

// A process is a contender, or the load generator, that runs.
type process struct {
	*exec.Cmd
	stdout io.ReadCloser
	lines  *bufio.Scanner
	stderr tail
}

// A tail keeps the last of what is written.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	n, err := t.Buffer.Write(p)
	if t.Len() > 2*most {
		t.Next(t.Len() - most)
	}
	return n, err
}

// launch starts a process, in a group of its own and on processor cpu, or on
// any if that is negative. It is killed, group and all, when ctx ends.
func launch(ctx context.Context, cpu int, env []string, name string, args ...string) (*process, error) {
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
		var before, only unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			return nil, err
		}
		only.Set(cpu)
		if err := unix.SchedSetaffinity(0, &only); err != nil {
			return nil, err
		}
		defer unix.SchedSetaffinity(0, &before)
	}
	return p, p.Start()
}

// line is the next line of figures.
func (p *process) line() (figures, error) {
	if !p.lines.Scan() {
		return nil, errSilent
	}
	f := make(figures)
	if err := json.Unmarshal(p.lines.Bytes(), &f); err != nil {
		return nil, fmt.Errorf("figures %q: %w", p.lines.Text(), err)
	}
	return f, nil
}

var errSilent = errors.New("ended without figures")

// end waits for the end, and says what went wrong, in the process's own words
// if it had any.
func (p *process) end(ctx context.Context, err error) error {
	if err != nil && err != errSilent {
		p.Cancel()
	}
	if waited := p.Wait(); err == nil {
		err = waited
	} else if err == errSilent && waited != nil {
		err = fmt.Errorf("%w, %w", err, waited)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	if said := strings.TrimSpace(p.stderr.String()); said != "" {
		err = fmt.Errorf("%w: %s", err, last(said, 300))
	}
	return err
}

// kill ends a server, which would not end by itself.
func (p *process) kill() {
	p.Cancel()
	p.Wait()
}

func last(s string, n int) string {
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return strings.Join(strings.Fields(s), " ")
}

// A built is a program that can be run: the command to put before the
// arguments, or why there is none.
type built struct {
	command []string
	missing string
	version string
}

// build makes all programs of dir, into out.
func build(ctx context.Context, dir, out string, say func(format string, args ...any)) map[string]built {
	made := make(map[string]built)
	if err := os.MkdirAll(out, 0o755); err != nil {
		for _, p := range programs {
			made[p.name] = built{missing: err.Error()}
		}
		return made
	}
	for _, p := range programs {
		say("building %s", p.name)
		made[p.name] = p.build(ctx, dir, out)
		if why := made[p.name].missing; why != "" {
			say("without %s: %s\n", p.name, why)
		}
	}
	return made
}

func (p program) build(ctx context.Context, dir, out string) (b built) {
	b.command = []string{filepath.Join(out, p.name)}
	compile := []string{"gcc", "-O2", "-pthread", "-o", b.command[0], filepath.Join(dir, "c", p.source)}
	switch {
	case p.command != nil:
		path, err := exec.LookPath(p.command[0])
		if err != nil {
			return built{missing: fmt.Sprintf("%s is not installed", p.needs)}
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
		if said, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
			return built{missing: fmt.Sprintf("%s is not installed", compile[0])}
		} else if err != nil && strings.Contains(string(said), "fatal error: ") || strings.Contains(string(said), "cannot find -l") {
			return built{missing: fmt.Sprintf("needs %s", p.needs)}
		} else if err != nil {
			return built{missing: fmt.Sprintf("does not build: %v: %s", err, last(string(said), 300))}
		}
	}
	version := append(b.command[:1:1], "version")
	if p.command != nil {
		version[1] = "--version"
	}
	if p.lib != "" || p.command != nil || p.source == "./contender" {
		b.version = output(ctx, version...)
	}
	return b
}

// output is what a command says, or nothing if it fails.
func output(ctx context.Context, command ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	said, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(said))
}
