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

func testRunner(t *testing.T, programs map[string]built) *runner {
	return &runner{
		programs: programs, cpus: [2]int{-1, -1}, quick: true, span: 0.02, rounds: 1,
		deadline: time.Now().Add(time.Minute),
		say:      func(format string, args ...any) { t.Log(strings.TrimSpace(fmt.Sprintf(format, args...))) },
		report:   &report{},
	}
}

// Every contender that can be built does a bit of each of its workloads, and
// their accounting holds: no byte of a ring lost, no post, no timer, no answer
// that is not what was sent. The figures go into a report.
func TestEveryContender(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	r := testRunner(t, build(ctx, dir, t.TempDir(), func(string, ...any) {}))
	if why := r.programs["go"].missing; why != "" {
		t.Fatal(why)
	}
	// One small shape each; idle is echo with patience.
	r.only = regexp.MustCompile(`^(ring/n=100 a=1/|watched/10/|echo/50 conns ×1/|post/4 |wake/|timers/|wait/P=2|idlers/)`)
	if testing.Short() {
		r.only = regexp.MustCompile(`^(ring/n=100 a=1/|echo/50 conns ×1/|post/4 )`)
	}
	for i := range workloads {
		if w := &workloads[i]; w.name == "timers" {
			was := w.shapes
			t.Cleanup(func() { w.shapes = was })
			w.shapes = []shape{{name: "a few", args: args("n=2000"), quick: true}}
		}
	}
	r.run(ctx)
	for step, why := range r.report.Failed {
		t.Errorf("%s: %s", step, why)
	}
	if r.report.Stopped != "" {
		t.Error(r.report.Stopped)
	}
	for _, st := range r.steps(0) {
		if what, why := r.cannot(st); why != "" {
			t.Logf("not run: %s: %s", what, why)
			continue
		}
		runs := r.report.Runs[st.w.name][st.s.name][st.c.name]
		if len(runs) != 1 || runs[0].Figures["events"] <= 0 {
			t.Errorf("%s: %v", st, runs)
			continue
		}
		for _, m := range st.w.metrics {
			if m.better != 0 && !(m.of(runs[0].Figures) >= 0) {
				t.Errorf("%s: %s is %v", st, m.name, m.of(runs[0].Figures))
			}
		}
	}
	if err := r.report.write(t.TempDir(), ""); err != nil {
		t.Error(err)
	}
}

// The generator counts what a server saw that counts for itself, and notices one
// that answers something else.
func TestGenerator(t *testing.T) {
	load := filepath.Join(t.TempDir(), "load")
	if out, err := exec.CommandContext(t.Context(), "gcc", "-O2", "-pthread", "-o", load, "c/load.c").CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("gcc is not installed")
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, depth := range []int{1, 16} {
		for _, garble := range []bool{false, true} {
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
							if echoed.Add(int64(n)) > 64*1000 && garble {
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
			p, err := launch(ctx, -1, nil, load, fmt.Sprint("port=", ln.Addr().(*net.TCPAddr).Port), fmt.Sprint("pid=", os.Getpid()),
				fmt.Sprint("seconds=", seconds), "conns=20", fmt.Sprint("depth=", depth))
			if err != nil {
				t.Fatal(err)
			}
			f, err := p.line()
			err = p.end(ctx, err)
			if garble {
				if err == nil || !strings.Contains(err.Error(), "were not what was sent") {
					t.Errorf("depth %d: of wrong answers it says %v and %v", depth, err, f)
				}
				continue
			}
			if err != nil {
				t.Errorf("depth %d: %v", depth, err)
				continue
			}
			// The server has counted the warm-up, too, a fifth of the time.
			all := float64(echoed.Load()) / 64
			if f["events"] > all || f["events"] < all/5 {
				t.Errorf("depth %d: %g requests counted, %g answered", depth, f["events"], all)
			}
			if f["seconds"] < seconds || f["user"]+f["sys"] <= 0 || f["load"] <= 0 || f["p50"] <= 0 || f["p99"] < f["p50"] {
				t.Errorf("depth %d: %v", depth, f)
			}
		}
	}
}

func script(text string) built { return built{command: []string{"sh", "-c", text, "sh"}} }

func testSteps(t *testing.T, r *runner, text string) {
	t.Helper()
	was := workloads
	t.Cleanup(func() { workloads = was })
	workloads = []workload{{
		name: "test", rounds: 3, quickly: 0.02, check: tokens,
		shapes:     []shape{{name: "small", quick: true, args: args("active=2")}, {name: "large", quick: true, fds: 1 << 30}},
		contenders: []contender{{name: "ours", program: "sh", ours: true}, {name: "absent", program: "none"}},
		metrics:    []metric{{name: "time", of: perEvent(1), chart: true}},
	}}
	r.programs = map[string]built{"sh": script(text), "none": {missing: "needs luck"}}
}

func TestMissingContenderIsSaid(t *testing.T) {
	r := testRunner(t, nil)
	r.rounds = 2
	testSteps(t, r, `echo '{"events":4,"seconds":2,"tokens":2}'`)
	r.run(t.Context())
	if got := r.report.Skipped["needs luck"]; len(got) != 1 || got[0] != "test: absent" {
		t.Errorf("skipped %v", r.report.Skipped)
	}
	if len(r.report.Skipped) != 2 {
		t.Errorf("skipped %v: so many descriptors there are not", r.report.Skipped)
	}
	if runs := r.report.Runs["test"]["small"]["ours"]; len(runs) != 2 || runs[1].Round != 1 {
		t.Errorf("runs %v", runs)
	}
	if r.report.Rounds != 2 || len(r.report.Failed) != 0 {
		t.Errorf("%d rounds, failed %v", r.report.Rounds, r.report.Failed)
	}
}

func TestFailureIsSaidAndNotRepeatedForEver(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	for what, text := range map[string]string{
		"exit status 3":        `echo x >>` + count + `; echo why >&2; exit 3`,
		"figures":              `echo x >>` + count + `; echo nonsense`,
		"ended without":        `echo x >>` + count + ``,
		"3 bytes in the ring":  `echo x >>` + count + `; echo '{"events":1,"tokens":3}'`,
		"needs a longer story": `echo x >>` + count + `; echo it needs a longer story >&2; exit 1`,
	} {
		os.Remove(count)
		r := testRunner(t, nil)
		r.rounds = 3
		testSteps(t, r, text)
		r.run(t.Context())
		if said := r.report.Failed["test/small/ours"]; !strings.Contains(said, what) {
			t.Errorf("said %q, want %q", said, what)
		}
		if tried, _ := os.ReadFile(count); len(tried) != 4 {
			t.Errorf("%s: tried %d times, want 2", what, len(tried)/2)
		}
	}
}

func TestHangingContenderIsKilled(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	r := testRunner(t, nil)
	testSteps(t, r, `echo $$ >`+pids+`; sleep 1000 & echo $! >>`+pids+`; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	go func() {
		for {
			if text, _ := os.ReadFile(pids); strings.Count(string(text), "\n") == 2 || time.Since(began) > 10*time.Second {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	r.run(ctx)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	if r.report.Stopped == "" {
		t.Error("the report does not say that it was interrupted")
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
				t.Errorf("process %d is left", pid)
				unix.Kill(pid, unix.SIGKILL)
				break
			}
		}
	}
}

// alive tells of a process that is not merely waiting to be buried.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func TestTimeIsUp(t *testing.T) {
	r := testRunner(t, nil)
	testSteps(t, r, `echo '{"events":4,"seconds":2,"tokens":2}'`)
	r.deadline = time.Now()
	r.run(t.Context())
	if r.report.Stopped == "" || len(r.report.Runs) != 0 {
		t.Errorf("stopped %q, runs %v", r.report.Stopped, r.report.Runs)
	}
}

// Each round begins with another contender, and all take part in each.
func TestRoundsTakeTurns(t *testing.T) {
	r := testRunner(t, nil)
	r.only = regexp.MustCompile("^post/1 ")
	first := r.steps(0)
	second := r.steps(1)
	if len(first) != len(posters) || len(second) != len(posters) {
		t.Fatalf("%d and %d steps of %d contenders", len(first), len(second), len(posters))
	}
	if first[1].c != second[0].c {
		t.Errorf("the first round is %v, the second %v", first, second)
	}
}

func TestScriptListsFromAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds the program")
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
