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

// A runner does the plan: round by round, and within a round workload by
// workload, shape by shape, each contender in turn, so that those that are
// compared have run within seconds of each other.
type runner struct {
	programs map[string]built
	cpus     [2]int // of server and generator; negative: any
	quick    bool
	span     float64 // seconds of each run, if not the workload's
	rounds   int
	exactly  bool // also of workloads that are done with fewer
	only     *regexp.Regexp
	deadline time.Time
	say      func(format string, args ...any)
	report   *report
}

// A step is one run of one contender.
type step struct {
	w    *workload
	s    *shape
	c    *contender
	took time.Duration // last time, or a guess
}

func (st step) String() string { return st.w.name + "/" + st.s.name + "/" + st.c.name }

func (r *runner) seconds(w *workload) float64 {
	switch {
	case r.span > 0:
		return r.span
	case r.quick:
		return w.quickly
	}
	return w.seconds
}

// steps are those of one round, in order: each round begins with another
// contender, so that none always follows the same one.
func (r *runner) steps(round int) (steps []step) {
	for i := range workloads {
		w := &workloads[i]
		if round >= w.rounds && !r.exactly {
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
					st.took = time.Duration((1.25*r.seconds(w) + 0.1 + setup) * float64(time.Second))
					steps = append(steps, st)
				}
			}
		}
	}
	return steps
}

// run does all rounds, or as many as there is time for. Whatever has been
// measured by then is in the report.
func (r *runner) run(ctx context.Context) {
	failed := make(map[string]int)
	took := make(map[string]time.Duration)
	left := func(round int) (d time.Duration) {
		for ; round < r.rounds; round++ {
			for _, st := range r.steps(round) {
				if t, ok := took[st.String()]; ok {
					d += t
				} else {
					d += st.took
				}
			}
		}
		return d
	}
	for round := range r.rounds {
		steps := r.steps(round)
		rest := left(round)
		for i, st := range steps {
			if t, ok := took[st.String()]; ok {
				rest -= t
			} else {
				rest -= st.took
			}
			if ctx.Err() != nil {
				r.report.Stopped = "The run was interrupted."
				return
			}
			if time.Now().After(r.deadline) {
				r.report.Stopped = fmt.Sprintf("The time was up in round %d, at %s.", round+1, st)
				return
			}
			if what, why := r.cannot(st); why != "" {
				r.report.skip(what, why)
				continue
			}
			if failed[st.w.name+"/"+st.c.name] >= 2 {
				continue
			}
			r.say("round %d of %d, %d of %d, %s left: %s", round+1, r.rounds, i+1, len(steps), rest.Round(time.Second), st)
			began := time.Now()
			f, err := r.measure(ctx, st)
			took[st.String()] = time.Since(began)
			if err == nil && st.w.check != nil {
				err = st.w.check(f, *st.s)
			}
			if ctx.Err() != nil {
				continue
			}
			if err != nil {
				failed[st.w.name+"/"+st.c.name]++
				r.report.fail(st.String(), err)
				r.say("%s: %v\n", st, err)
				continue
			}
			r.report.add(st.w.name, st.s.name, st.c.name, round, f)
		}
		r.report.Rounds = round + 1
	}
}

// cannot says what is impossible here, and why.
func (r *runner) cannot(st step) (what, why string) {
	for _, name := range []string{st.c.program, "load"} {
		if name == "load" && !st.w.load {
			continue
		}
		if why := r.programs[name].missing; why != "" {
			return st.w.name + ": " + st.c.name, why
		}
	}
	if st.c.most > 0 && st.s.fds > st.c.most {
		return st.String(), fmt.Sprintf("it has %d descriptors at most", st.c.most)
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Max < uint64(st.s.fds) {
		return st.w.name + "/" + st.s.name, fmt.Sprintf("%d descriptors needed, %d allowed (ulimit -Hn)", st.s.fds, limit.Max)
	}
	return "", ""
}

func (r *runner) measure(ctx context.Context, st step) (figures, error) {
	// Nothing takes longer, unless it hangs: asyncio's million timers take 20 s.
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
	if named := slices.Contains([]string{"go", "gnet", "python"}, st.c.program); named { // the first argument says who
		command, extra = append(command, extra[0]), extra[1:]
	}
	env := slices.Concat(st.s.env, st.c.env)
	if st.w.load {
		return r.serve(ctx, st, slices.Concat(command, []string{"echo"}, extra, st.s.server), env, seconds)
	}
	command = slices.Concat(command, []string{work(st.w)}, extra, st.s.args, []string{seconds})
	p, err := launch(ctx, -1, env, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	f, err := p.line()
	return f, p.end(ctx, err)
}

// work is what the contenders call a workload.
func work(w *workload) string {
	switch w.name {
	case "watched":
		return "ring"
	case "post":
		return "wake"
	}
	return w.name
}

// serve measures a server with the load generator.
func (r *runner) serve(ctx context.Context, st step, command, env []string, seconds string) (figures, error) {
	cpus := r.cpus
	if !st.w.pinned {
		cpus = [2]int{-1, -1}
	}
	server, err := launch(ctx, cpus[0], env, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	f, err := server.line()
	if err != nil {
		return nil, server.end(ctx, err)
	}
	load := slices.Concat(r.programs["load"].command, st.s.args,
		[]string{fmt.Sprint("port=", f["port"]), fmt.Sprint("pid=", server.Process.Pid), seconds})
	p, err := launch(ctx, cpus[1], nil, load[0], load[1:]...)
	if err != nil {
		server.kill()
		return nil, err
	}
	f, err = p.line()
	if err = p.end(ctx, err); err != nil {
		if said := strings.TrimSpace(server.stderr.String()); said != "" {
			err = fmt.Errorf("%w; the server: %s", err, last(said, 300))
		}
		server.kill()
		return nil, err
	}
	// What a Go server said of its heap, without connections and with them.
	server.Cancel()
	var heaps []figures
	for {
		h, err := server.line()
		if err != nil {
			break
		}
		heaps = append(heaps, h)
	}
	server.Wait()
	if len(heaps) == 2 {
		for name := range heaps[1] {
			f[name] = heaps[1][name] - heaps[0][name]
		}
	}
	return f, nil
}

// processors picks two for server and generator: the first and the last of
// those we may use.
func processors() (cpus [2]int, err error) {
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
		return [2]int{-1, -1}, errors.New("one processor: server and generator share it")
	}
	return cpus, nil
}

// A usage is how much of the machine has been used so far, and how much of that
// by us and our children, in seconds of a processor.
type usage struct{ all, busy, ours float64 }

func used() (u usage) {
	total, idle := ticks()
	const perSecond = 100 // USER_HZ, everywhere
	u.all, u.busy = total/perSecond, (total-idle)/perSecond
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			u.ours += time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
		}
	}
	return u
}

// others is which part of the machine somebody else has used since then. What
// the kernel does on nobody's account is in it.
func (u usage) others() float64 {
	now := used()
	if now.all <= u.all {
		return math.NaN()
	}
	return max(0, ((now.busy-u.busy)-(now.ours-u.ours))/(now.all-u.all))
}

func ticks() (total, idle float64) {
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

// list prints what would be run.
func (r *runner) list() {
	all := make(map[string]int)
	var d time.Duration
	var order []string
	for round := range r.rounds {
		for _, st := range r.steps(round) {
			d += st.took
			if all[st.String()]++; all[st.String()] == 1 {
				order = append(order, st.String())
			}
		}
	}
	for _, name := range order {
		fmt.Printf("%s  ×%d\n", name, all[name])
	}
	fmt.Printf("%d runs of %d, about %v\n", sum(slices.Collect(maps.Values(all))), len(order), d.Round(time.Minute))
}

func sum(v []int) (n int) {
	for _, x := range v {
		n += x
	}
	return n
}
