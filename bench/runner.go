//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A runner executes the plan round by round. Within a round it goes through the
// workloads and their shapes and runs all contenders of a shape one after the
// other, so that figures that are compared were measured within seconds of each
// other.
type runner struct {
	programs        map[string]builtProgram
	cpus            [2]int // of the server and the load generator; negative: not pinned
	quick           bool
	secondsOverride float64 // duration of each measurement; 0: the workload's
	rounds          int
	roundsFixed     bool // the workloads' own limits on rounds do not apply
	only            *regexp.Regexp
	deadline        time.Time
	logf            func(format string, args ...any)
	report          *report
}

// A step is one run of one contender.
type step struct {
	w        *workload
	s        *shape
	c        *contender
	estimate time.Duration // expected duration
}

func (st step) String() string { return st.w.name + "/" + st.s.name + "/" + st.c.name }

// seconds returns the duration of one measurement of w.
func (r *runner) seconds(w *workload) float64 {
	switch {
	case r.secondsOverride > 0:
		return r.secondsOverride
	case r.quick:
		return w.quickSeconds
	}
	return w.seconds
}

// steps returns the steps of one round in order. Each round starts with a
// different contender, so that no contender always runs after the same one.
func (r *runner) steps(round int) (steps []step) {
	for i := range workloads {
		w := &workloads[i]
		if round >= w.rounds && !r.roundsFixed {
			continue
		}
		for j := range w.shapes {
			s := &w.shapes[j]
			if r.quick && !s.quick || !r.quick && s.onlyQuick {
				continue
			}
			for k := range w.contenders {
				c := &w.contenders[(k+round)%len(w.contenders)]
				if st := (step{w: w, s: s, c: c}); r.only == nil || r.only.MatchString(st.String()) {
					setup := w.setup
					if r.quick {
						setup /= 3
					}
					st.estimate = time.Duration((1.25*r.seconds(w) + 0.1 + setup) * float64(time.Second))
					steps = append(steps, st)
				}
			}
		}
	}
	return steps
}

// run executes all rounds, or as many as the deadline allows. The report contains
// everything that was measured until then. A contender that has failed
// twice in a workload is not run in that workload again.
func (r *runner) run(ctx context.Context) {
	failures := make(map[string]int) // by workload/contender
	measured := make(map[string]time.Duration)
	duration := func(st step) time.Duration {
		if d, ok := measured[st.String()]; ok {
			return d
		}
		return st.estimate
	}
	remainingFrom := func(round int) (d time.Duration) {
		for ; round < r.rounds; round++ {
			for _, st := range r.steps(round) {
				d += duration(st)
			}
		}
		return d
	}
	for round := range r.rounds {
		steps := r.steps(round)
		remaining := remainingFrom(round)
		for i, st := range steps {
			remaining -= duration(st)
			if ctx.Err() != nil {
				r.report.Stopped = "The run was interrupted."
				return
			}
			if time.Now().After(r.deadline) {
				r.report.Stopped = fmt.Sprintf("The time limit was reached in round %d, at %s.", round+1, st)
				return
			}
			if name, reason := r.skipReason(st); reason != "" {
				r.report.skip(name, reason)
				continue
			}
			if failures[st.w.name+"/"+st.c.name] >= 2 {
				continue
			}
			r.logf("round %d of %d, %d of %d, %s left: %s", round+1, r.rounds, i+1, len(steps), remaining.Round(time.Second), st)
			start := time.Now()
			f, err := r.measure(ctx, st)
			measured[st.String()] = time.Since(start)
			if err == nil && st.w.check != nil {
				err = st.w.check(f, *st.s)
			}
			if ctx.Err() != nil {
				continue
			}
			if err != nil {
				failures[st.w.name+"/"+st.c.name]++
				r.report.fail(st.String(), err)
				r.logf("%s: %v\n", st, err)
				continue
			}
			r.report.add(st.w.name, st.s.name, st.c.name, round, f)
		}
		r.report.Rounds = round + 1
	}
}

// skipReason reports why a step cannot run on this machine, and the name of what
// cannot run: the contender, the shape or the single step. The reason is "" if
// the step can run.
func (r *runner) skipReason(st step) (name, reason string) {
	for _, program := range []string{st.c.program, "load"} {
		if program == "load" && !st.w.needsLoad {
			continue
		}
		if reason := r.programs[program].missing; reason != "" {
			return st.w.name + ": " + st.c.name, reason
		}
	}
	if st.c.maxFDs > 0 && st.s.fds > st.c.maxFDs {
		return st.String(), fmt.Sprintf("supports at most %d descriptors", st.c.maxFDs)
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Max < uint64(st.s.fds) {
		return st.w.name + "/" + st.s.name, fmt.Sprintf("%d descriptors needed, %d allowed (ulimit -Hn)", st.s.fds, limit.Max)
	}
	return "", ""
}

// measure runs one step and returns its figures.
func (r *runner) measure(ctx context.Context, st step) (figures, error) {
	// A step that takes longer hangs. The slowest, a million timers in asyncio, takes
	// 20 s.
	limit := time.Duration((15 + 5*r.seconds(st.w)) * float64(time.Second))
	if st.w.name == "timers" {
		limit = 90 * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("longer than %v", limit))
	defer cancel()
	seconds := fmt.Sprintf("seconds=%g", r.seconds(st.w))
	program := r.programs[st.c.program]
	command := slices.Clone(program.command)
	extra := st.c.args
	if slices.Contains([]string{"go", "gnet", "python"}, st.c.program) { // the contender's name precedes the workload
		command, extra = append(command, extra[0]), extra[1:]
	}
	env := slices.Concat(st.s.env, st.c.env)
	if st.w.needsLoad {
		return r.measureServer(ctx, st, slices.Concat(command, []string{"echo"}, extra, st.s.server), env, seconds)
	}
	command = slices.Concat(command, []string{workloadArg(st.w)}, extra, st.s.args, []string{seconds})
	p, err := startProcess(ctx, -1, env, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	f, err := p.readFigures()
	return f, p.finish(ctx, err)
}

// workloadArg returns the name of a workload on the command line of a contender.
func workloadArg(w *workload) string {
	switch w.name {
	case "watched":
		return "ring"
	case "post":
		return "wake"
	}
	return w.name
}

// measureServer starts a server and measures it with the load generator.
func (r *runner) measureServer(ctx context.Context, st step, command, env []string, seconds string) (figures, error) {
	cpus := r.cpus
	if !st.w.pinned {
		cpus = [2]int{-1, -1}
	}
	server, err := startProcess(ctx, cpus[0], env, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	f, err := server.readFigures()
	if err != nil {
		return nil, server.finish(ctx, err)
	}
	load := slices.Concat(r.programs["load"].command, st.s.args,
		[]string{fmt.Sprint("port=", f["port"]), fmt.Sprint("pid=", server.Process.Pid), seconds})
	p, err := startProcess(ctx, cpus[1], nil, load[0], load[1:]...)
	if err != nil {
		server.kill()
		return nil, err
	}
	f, err = p.readFigures()
	if err = p.finish(ctx, err); err != nil {
		if output := strings.TrimSpace(server.stderr.String()); output != "" {
			err = fmt.Errorf("%w; server: %s", err, lastBytes(output, 300))
		}
		server.kill()
		return nil, err
	}
	// A Go server has printed its heap figures twice: without and with connections.
	server.Cancel()
	var heap []figures
	for {
		h, err := server.readFigures()
		if err != nil {
			break
		}
		heap = append(heap, h)
	}
	server.Wait()
	if len(heap) == 2 {
		for name := range heap[1] {
			f[name] = heap[1][name] - heap[0][name]
		}
	}
	return f, nil
}

// pickCPUs returns the processors for the server and the load generator: the
// first and the last that this process may use. It returns -1 for both and an
// error if there is only one.
func pickCPUs() (cpus [2]int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return [2]int{-1, -1}, err
	}
	cpus = [2]int{-1, -1}
	for i := range 1024 {
		if set.IsSet(i) {
			if cpus[0] < 0 {
				cpus[0] = i
			}
			cpus[1] = i
		}
	}
	if cpus[0] == cpus[1] {
		return [2]int{-1, -1}, errors.New("only one processor: the server and the load generator share it")
	}
	return cpus, nil
}

// A cpuUsage is the processor time used since boot by the whole machine, and by
// this process and its children since it started, in seconds.
type cpuUsage struct {
	total float64 // of all processors, idle time included
	busy  float64 // total without idle time
	own   float64 // of this process and the children that it has waited for
}

func readCPUUsage() (u cpuUsage) {
	total, idle := cpuTicks()
	const perSecond = 100 // USER_HZ, the same on all architectures
	u.total, u.busy = total/perSecond, (total-idle)/perSecond
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			u.own += time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
		}
	}
	return u
}

// otherShare returns the share of the machine's processor time since u that other
// processes have used. It includes kernel time that is charged to no process.
func (u cpuUsage) otherShare() float64 {
	now := readCPUUsage()
	if now.total <= u.total {
		return math.NaN()
	}
	return max(0, ((now.busy-u.busy)-(now.own-u.own))/(now.total-u.total))
}

// cpuTicks returns the first line of /proc/stat as the total and the idle ticks
// of all processors. Idle includes I/O wait.
func cpuTicks() (total, idle float64) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var v [8]float64
	fmt.Sscanf(line, "cpu %g %g %g %g %g %g %g %g", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7])
	for _, t := range v {
		total += t
	}
	return total, v[3] + v[4]
}

// list prints all steps, the number of rounds of each, and the estimated duration.
func (r *runner) list() {
	rounds := make(map[string]int)
	var d time.Duration
	var order []string
	for round := range r.rounds {
		for _, st := range r.steps(round) {
			d += st.estimate
			if rounds[st.String()]++; rounds[st.String()] == 1 {
				order = append(order, st.String())
			}
		}
	}
	for _, name := range order {
		fmt.Printf("%s  ×%d\n", name, rounds[name])
	}
	fmt.Printf("%d runs of %d, about %v\n", sum(slices.Collect(maps.Values(rounds))), len(order), d.Round(time.Minute))
}

func sum(v []int) (n int) {
	for _, x := range v {
		n += x
	}
	return n
}
