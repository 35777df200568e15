//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testRunner(t *testing.T, programs map[string]builtProgram) *runner {
	return &runner{
		programs: programs, cpus: [2]int{-1, -1}, quick: true, secondsOverride: 0.02, rounds: 1,
		deadline: time.Now().Add(time.Minute),
		logf:     func(format string, args ...any) { t.Log(strings.TrimSpace(fmt.Sprintf(format, args...))) },
		report:   &report{},
	}
}

// TestEveryContender runs every contender that can be built for a short time in
// each of its workloads. The checks must hold: no byte of a ring, post or timer is
// lost, and each echo is equal to the request. The figures go into a report.
func TestEveryContender(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	r := testRunner(t, build(ctx, dir, t.TempDir(), func(string, ...any) {}))
	if reason := r.programs["go"].missing; reason != "" {
		t.Fatal(reason)
	}
	// One small shape of each workload. Idle is left out: it is the echo workload
	// with longer pauses.
	r.only = regexp.MustCompile(`^(ring/n=100 a=1/|watched/10/|echo/50 conns ×1/|post/4 |wake/|timers/|wait/P=2|idle-selectors/)`)
	if testing.Short() {
		r.only = regexp.MustCompile(`^(ring/n=100 a=1/|echo/50 conns ×1/|post/4 )`)
	}
	for i := range workloads {
		if w := &workloads[i]; w.name == "timers" {
			shapes := w.shapes
			t.Cleanup(func() { w.shapes = shapes })
			w.shapes = []shape{{name: "small", args: args("n=2000"), quick: true}}
		}
	}
	r.run(ctx)
	for step, reason := range r.report.Failed {
		t.Errorf("%s: %s", step, reason)
	}
	if r.report.Stopped != "" {
		t.Error(r.report.Stopped)
	}
	for _, st := range r.steps(0) {
		if name, reason := r.skipReason(st); reason != "" {
			t.Logf("not run: %s: %s", name, reason)
			continue
		}
		runs := r.report.Runs[st.w.name][st.s.name][st.c.name]
		if len(runs) != 1 || runs[0].Figures["events"] <= 0 {
			t.Errorf("%s: %v", st, runs)
			continue
		}
		for _, m := range st.w.metrics {
			if m.better != 0 && !(m.value(runs[0].Figures) >= 0) {
				t.Errorf("%s: %s is %v", st, m.name, m.value(runs[0].Figures))
			}
		}
	}
	if err := r.report.write(t.TempDir(), ""); err != nil {
		t.Error(err)
	}
}

// TestLoadGenerator compares the load generator's count with that of a server, and
// checks that the generator detects a server that sends wrong data.
func TestLoadGenerator(t *testing.T) {
	load := filepath.Join(t.TempDir(), "load")
	if out, err := exec.CommandContext(t.Context(), "gcc", "-O2", "-pthread", "-o", load, "c/load.c").CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("gcc is not installed")
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, depth := range []int{1, 16} {
		for _, corrupt := range []bool{false, true} {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			var echoed atomic.Int64 // bytes
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						p := make([]byte, 4096)
						for {
							n, err := conn.Read(p)
							if err != nil {
								return
							}
							if echoed.Add(int64(n)) > 64*1000 && corrupt {
								p[n-1] ^= 1
							}
							if _, err := conn.Write(p[:n]); err != nil {
								return
							}
						}
					}()
				}
			}()
			const seconds = 0.2
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			p, err := startProcess(ctx, -1, nil, load, fmt.Sprint("port=", ln.Addr().(*net.TCPAddr).Port), fmt.Sprint("pid=", os.Getpid()),
				fmt.Sprint("seconds=", seconds), "conns=20", fmt.Sprint("depth=", depth))
			if err != nil {
				t.Fatal(err)
			}
			f, err := p.readFigures()
			err = p.finish(ctx, err)
			if corrupt {
				if err == nil || !strings.Contains(err.Error(), "differ from the requests") {
					t.Errorf("depth %d: with wrong answers: error %v, figures %v", depth, err, f)
				}
				continue
			}
			if err != nil {
				t.Errorf("depth %d: %v", depth, err)
				continue
			}
			// The server's count includes the warm-up, a fifth of the time.
			answered := float64(echoed.Load()) / 64
			if f["events"] > answered || f["events"] < answered/5 {
				t.Errorf("depth %d: generator counted %g requests, server answered %g", depth, f["events"], answered)
			}
			if f["seconds"] < seconds || f["user"]+f["sys"] <= 0 || f["load"] <= 0 || f["p50"] <= 0 || f["p99"] < f["p50"] {
				t.Errorf("depth %d: %v", depth, f)
			}
		}
	}
}

// script returns a program that runs a shell script.
func script(text string) builtProgram { return builtProgram{command: []string{"sh", "-c", text, "sh"}} }

// setTestWorkload replaces the workloads by one whose only available contender is a
// shell script.
func setTestWorkload(t *testing.T, r *runner, text string) {
	t.Helper()
	saved := workloads
	t.Cleanup(func() { workloads = saved })
	workloads = []workload{{
		name: "test", rounds: 3, quickSeconds: 0.02, check: checkTokens,
		shapes:     []shape{{name: "small", quick: true, args: args("active=2")}, {name: "large", quick: true, fds: 1 << 30}},
		contenders: []contender{{name: "ours", program: "sh", ours: true}, {name: "absent", program: "none"}},
		metrics:    []metric{{name: "time", value: perEvent(1), chart: true}},
	}}
	r.programs = map[string]builtProgram{"sh": script(text), "none": {missing: "needs libabsent"}}
}

func TestMissingContenderIsReported(t *testing.T) {
	r := testRunner(t, nil)
	r.rounds = 2
	setTestWorkload(t, r, `echo '{"events":4,"seconds":2,"tokens":2}'`)
	r.run(t.Context())
	if got := r.report.Skipped["needs libabsent"]; len(got) != 1 || got[0] != "test: absent" {
		t.Errorf("skipped %v", r.report.Skipped)
	}
	if len(r.report.Skipped) != 2 {
		t.Errorf("skipped %v, want the absent contender and the large shape", r.report.Skipped)
	}
	if runs := r.report.Runs["test"]["small"]["ours"]; len(runs) != 2 || runs[1].Round != 1 {
		t.Errorf("runs %v", runs)
	}
	if r.report.Rounds != 2 || len(r.report.Failed) != 0 {
		t.Errorf("%d rounds, failed %v", r.report.Rounds, r.report.Failed)
	}
}

func TestFailureIsReportedAndRetriedOnce(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	for want, text := range map[string]string{
		"exit status 3":       `echo x >>` + count + `; echo failed >&2; exit 3`,
		"figures":             `echo x >>` + count + `; echo nonsense`,
		"exited without":      `echo x >>` + count + ``,
		"3 bytes in the ring": `echo x >>` + count + `; echo '{"events":1,"tokens":3}'`,
		"error on stderr":     `echo x >>` + count + `; echo error on stderr >&2; exit 1`,
	} {
		os.Remove(count)
		r := testRunner(t, nil)
		r.rounds = 3
		setTestWorkload(t, r, text)
		r.run(t.Context())
		if got := r.report.Failed["test/small/ours"]; !strings.Contains(got, want) {
			t.Errorf("reported %q, want %q", got, want)
		}
		if lines, _ := os.ReadFile(count); len(lines) != 4 {
			t.Errorf("%s: tried %d times, want 2", want, len(lines)/2)
		}
	}
}

func TestHangingContenderIsKilled(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	r := testRunner(t, nil)
	setTestWorkload(t, r, `echo $$ >`+pids+`; sleep 1000 & echo $! >>`+pids+`; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	go func() {
		for {
			if text, _ := os.ReadFile(pids); strings.Count(string(text), "\n") == 2 || time.Since(start) > 10*time.Second {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	r.run(ctx)
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("run returned after %v", d)
	}
	if r.report.Stopped == "" {
		t.Error("the report does not mention the interruption")
	}
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(string(text)) {
		var pid int
		fmt.Sscan(field, &pid)
		for deadline := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("process %d is still running", pid)
				unix.Kill(pid, unix.SIGKILL)
				break
			}
		}
	}
}

// alive reports whether a process exists and is not a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func TestDeadlineStopsRun(t *testing.T) {
	r := testRunner(t, nil)
	setTestWorkload(t, r, `echo '{"events":4,"seconds":2,"tokens":2}'`)
	r.deadline = time.Now()
	r.run(t.Context())
	if r.report.Stopped == "" || len(r.report.Runs) != 0 {
		t.Errorf("stopped %q, runs %v", r.report.Stopped, r.report.Runs)
	}
}

// TestRoundsRotateContenders checks that each round starts with a different
// contender and includes all contenders.
func TestRoundsRotateContenders(t *testing.T) {
	r := testRunner(t, nil)
	r.only = regexp.MustCompile("^post/1 ")
	first := r.steps(0)
	second := r.steps(1)
	if len(first) != len(postContenders) || len(second) != len(postContenders) {
		t.Fatalf("%d and %d steps of %d contenders", len(first), len(second), len(postContenders))
	}
	if first[1].c != second[0].c {
		t.Errorf("first round %v, second round %v: want the second to start with the second step of the first", first, second)
	}
}

func TestScriptRunsFromAnyDirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	script, err := filepath.Abs("run")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, script, "-list", "-quick", "-only", "^post")
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "post/1 producer/goselectors Post  ×2") {
		t.Errorf("%v: %s", err, out)
	}
}
