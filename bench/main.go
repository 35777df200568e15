//go:build linux

// Bench compares goselectors with bare system calls in C, the C event libraries,
// Go's standard library, other Go event loops and Python. It builds every
// contender whose dependencies are installed, runs the contenders in turn, and
// writes RESULTS.md with tables and charts.
//
//	bench/run -quick
//	bench/run -only 'ring/n=100 a=1/' -rounds 3
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := bench(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// config is what the command line asks for.
type config struct {
	args    []string
	start   time.Time // of the script: limit includes compiling
	dir     string    // of the sources
	quick   bool
	only    *regexp.Regexp // nil: all steps
	rounds  int            // 0: the default
	seconds float64        // 0: the default
	out     string
	limit   time.Duration
	list    bool
	from    string
}

// parse reads the command line and sets defaults.
func parse(args []string) (c config, err error) {
	c = config{args: args, start: time.Now()}
	if seconds, err := strconv.ParseInt(os.Getenv("BENCH_START"), 10, 64); err == nil {
		c.start = time.Unix(seconds, 0)
	}
	var only string
	flags := flag.NewFlagSet("bench/run", flag.ContinueOnError)
	flags.BoolVar(&c.quick, "quick", false, "run fewer and shorter measurements, in less than five minutes")
	flags.StringVar(&only, "only", "", "run only the steps (workload/shape/contender, see -list) that match this regular `expression`")
	flags.IntVar(&c.rounds, "rounds", 0, "number of rounds (default 3 to 9, depending on the workload; 2 with -quick)")
	flags.Float64Var(&c.seconds, "seconds", 0, "duration of each measurement (default depends on the workload)")
	flags.StringVar(&c.out, "out", "", "write the results to this `directory` (default: the source directory for a full run, its .build/last otherwise)")
	flags.DurationVar(&c.limit, "limit", 0, "start no measurement after this time (default 38m; 4m15s with -quick)")
	flags.BoolVar(&c.list, "list", false, "list the steps and their estimated duration, and exit")
	flags.StringVar(&c.from, "from", "", "write the report from this results.json without measuring; with -only, measure those steps again and merge them")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	}
	if c.dir, err = filepath.Abs(os.Getenv("BENCH_DIR")); err != nil {
		return c, err
	}
	if _, err := os.Stat(filepath.Join(c.dir, "c", "bench.h")); err != nil {
		return c, fmt.Errorf("source directory not found; use the script bench/run or run from its directory: %w", err)
	}
	if only != "" {
		if c.only, err = regexp.Compile(only); err != nil {
			return c, err
		}
	}
	if c.out == "" {
		c.out = c.dir
		if c.quick || only != "" || c.seconds > 0 {
			c.out = filepath.Join(c.dir, ".build", "last")
		}
	}
	if c.limit <= 0 {
		c.limit = 38 * time.Minute
		if c.quick {
			c.limit = 4*time.Minute + 15*time.Second
		}
	}
	return c, nil
}

func bench(args []string) error {
	c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	notes, err := os.ReadFile(filepath.Join(c.dir, "NOTES.md"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var earlier *report
	if c.from != "" {
		if earlier, err = readReport(c.from); err != nil {
			return err
		}
		if c.only == nil {
			return earlier.write(c.out, string(notes))
		}
	}
	r := newRunner(c)
	if c.list {
		r.list()
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	duration, err := r.buildAndRun(ctx, c)
	if err != nil {
		return err
	}
	if earlier != nil {
		earlier.merge(r.report)
		r.report = earlier
	}
	if err := r.report.write(c.out, string(notes)); err != nil {
		return err
	}
	fmt.Printf("wrote %s in %v\n", filepath.Join(c.out, "RESULTS.md"), duration)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if len(r.report.Runs) == 0 {
		return errors.New("no measurement succeeded")
	}
	return nil
}

func readReport(path string) (*report, error) {
	saved, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &report{}
	if err := json.Unmarshal(saved, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func newRunner(c config) *runner {
	r := &runner{quick: c.quick, secondsOverride: c.seconds, rounds: c.rounds, roundsFixed: c.rounds > 0, only: c.only, report: &report{Quick: c.quick}}
	if r.rounds <= 0 {
		r.rounds = 9
		if c.quick {
			r.rounds = 2
		}
	}
	r.deadline = c.start.Add(c.limit)
	r.report.Command = strings.Join(append([]string{"bench/run"}, shellQuote(c.args)...), " ")
	return r
}

// buildAndRun builds the contenders and runs the steps. It returns the time since
// the start of the script.
func (r *runner) buildAndRun(ctx context.Context, c config) (duration time.Duration, err error) {
	progress := newProgress(os.Stderr)
	defer progress.clear()
	r.logf = progress.printf
	r.programs = build(ctx, c.dir, filepath.Join(c.dir, ".build"), r.logf)
	if ctx.Err() != nil {
		return 0, errors.New("interrupted")
	}
	for _, p := range programs {
		if reason := r.programs[p.name].missing; reason != "" {
			r.report.Missing = append(r.report.Missing, fmt.Sprintf("%s: %s", p.name, reason))
		}
	}
	r.logf("checking that the machine is idle")
	r.report.Machine = machineInfo(ctx, c.dir, r.programs, c.start)
	before := readCPUUsage()
	time.Sleep(time.Second)
	if share := before.otherShare(); share > 0.1 {
		r.logf("other processes use %.0f %% of the CPU time: the figures will be unreliable\n", share*100)
	}
	if r.cpus, err = pickCPUs(); err != nil {
		r.report.Missing = append(r.report.Missing, err.Error())
	}
	before = readCPUUsage()
	r.run(ctx)
	duration = time.Since(c.start).Round(time.Second)
	r.report.Machine = append(r.report.Machine,
		[2]string{"CPU used by other processes", fmt.Sprintf("%.1f %% of all processors", before.otherShare()*100)},
		[2]string{"duration", duration.String()})
	return duration, nil
}

// shellQuote quotes the arguments that a shell would not read as one plain word.
func shellQuote(args []string) []string {
	args = slices.Clone(args)
	for i, a := range args {
		if strings.ContainsAny(a, " '\"|()[]*?$\\<>;&#~`") {
			args[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return args
}

// A progress prints status messages. On a terminal it overwrites one line with
// each message. Elsewhere it prints at most one message in ten seconds.
type progress struct {
	w        io.Writer
	terminal bool
	last     time.Time
}

func newProgress(w *os.File) *progress {
	_, err := unix.IoctlGetTermios(int(w.Fd()), unix.TCGETS)
	return &progress{w: w, terminal: err == nil}
}

// printf shows a status message. A message that ends with a newline is always
// printed and is not overwritten.
func (p *progress) printf(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	permanent := strings.HasSuffix(s, "\n")
	switch {
	case p.terminal && permanent:
		fmt.Fprint(p.w, "\r\x1b[K", s)
	case p.terminal:
		// A line that wraps cannot be overwritten, so cut it off.
		width := 79
		if size, err := unix.IoctlGetWinsize(2, unix.TIOCGWINSZ); err == nil && size.Col > 10 {
			width = int(size.Col) - 1
		}
		if runes := []rune(s); len(runes) > width {
			s = string(runes[:width])
		}
		fmt.Fprint(p.w, "\r\x1b[K", s)
	case permanent:
		fmt.Fprint(p.w, s)
	case time.Since(p.last) >= 10*time.Second:
		p.last = time.Now()
		fmt.Fprintln(p.w, s)
	}
}

// clear removes the status line from a terminal.
func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// machineInfo describes the machine and the versions of all software that is
// measured, as rows of a label and a value.
func machineInfo(ctx context.Context, dir string, programs map[string]builtProgram, start time.Time) [][2]string {
	var rows [][2]string
	add := func(label, value string) {
		if value != "" {
			rows = append(rows, [2]string{label, value})
		}
	}
	add("date", start.Format("2006-01-02 15:04 MST"))
	cpu := procField("/proc/cpuinfo", "model name")
	if strings.Contains(" "+procField("/proc/cpuinfo", "flags")+" ", " hypervisor ") {
		cpu += ", virtual machine"
	}
	add("processors", fmt.Sprintf("%d, %s", runtime.NumCPU(), cpu))
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		add("memory", fmt.Sprintf("%.0f GiB", kib/(1<<20)))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		add("kernel", unix.ByteSliceToString(u.Sysname[:])+" "+unix.ByteSliceToString(u.Release[:]))
	}
	commit := commandOutput(ctx, "git", "-C", dir, "describe", "--always", "--dirty", "--exclude=*")
	add("goselectors", commit)
	add("Go", runtime.Version())
	if gcc, _, _ := strings.Cut(commandOutput(ctx, "gcc", "--version"), "\n"); gcc != "" {
		add("C", gcc)
	}
	var versions []string
	for _, name := range sortedKeys(programs) {
		if v := programs[name].version; v != "" {
			versions = append(versions, v)
		}
	}
	add("other software", strings.Join(versions, ", "))
	return rows
}

// procField returns the first value of the named field in a file of /proc whose
// lines are "name: value". It returns "" if there is none.
func procField(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if field, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(field) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
