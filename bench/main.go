//go:build linux

// Bench compares goselectors with the field: C, its event libraries, Go's own
// means and Python's. It builds every contender it can find, runs them in turn,
// and writes RESULTS.md with tables and charts.
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

func bench(args []string) error {
	began := time.Now()
	if at, err := strconv.ParseInt(os.Getenv("BENCH_BEGAN"), 10, 64); err == nil {
		began = time.Unix(at, 0) // of the script: compiling counts
	}
	flags := flag.NewFlagSet("bench/run", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "a first look, in less than five minutes")
	only := flags.String("only", "", "run only what matches this regular `expression`: workload/shape/contender, see -list")
	rounds := flags.Int("rounds", 0, "rounds (default 3 to 9, by workload; with -quick 2)")
	span := flags.Float64("seconds", 0, "measure each run so long, whatever its workload")
	out := flags.String("out", "", "write the results to this `directory` (default: a full run's beside this program's source, others' to its .build/last)")
	limit := flags.Duration("limit", 0, "begin nothing after so long (default 38m; with -quick 4m15s)")
	list := flags.Bool("list", false, "print what would be run, and how long it takes")
	from := flags.String("from", "", "write the report from this results.json: run nothing, or with -only just that, anew")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q? See -help", flags.Arg(0))
	}
	dir := os.Getenv("BENCH_DIR")
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "c", "bench.h")); err != nil {
		return fmt.Errorf("the sources are not here: run it by the script bench/run, or from its directory (%w)", err)
	}
	if *out == "" {
		*out = dir
		if *quick || *only != "" || *span > 0 {
			*out = filepath.Join(dir, ".build", "last")
		}
	}
	notes, err := os.ReadFile(filepath.Join(dir, "NOTES.md"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var earlier *report
	if *from != "" {
		earlier = &report{}
		saved, err := os.ReadFile(*from)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(saved, earlier); err != nil {
			return fmt.Errorf("%s: %w", *from, err)
		}
		if *only == "" {
			return earlier.write(*out, string(notes))
		}
	}

	r := &runner{quick: *quick, span: *span, rounds: *rounds, exactly: *rounds > 0, report: &report{Quick: *quick}}
	if r.rounds <= 0 {
		r.rounds = 9
		if *quick {
			r.rounds = 2
		}
	}
	if *limit <= 0 {
		*limit = 38 * time.Minute
		if *quick {
			*limit = 4*time.Minute + 15*time.Second
		}
	}
	r.deadline = began.Add(*limit)
	if *only != "" {
		if r.only, err = regexp.Compile(*only); err != nil {
			return err
		}
	}
	if *list {
		r.list()
		return nil
	}
	r.report.Command = strings.Join(append([]string{"bench/run"}, quoted(args)...), " ")
	progress := newProgress(os.Stderr)
	r.say = progress.say

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	r.programs = build(ctx, dir, filepath.Join(dir, ".build"), r.say)
	if ctx.Err() != nil {
		progress.end()
		return errors.New("interrupted")
	}
	for _, p := range programs {
		if why := r.programs[p.name].missing; why != "" {
			r.report.Missing = append(r.report.Missing, fmt.Sprintf("%s: %s", p.name, why))
		}
	}
	r.say("looking whether the machine is idle")
	r.report.Machine = machine(ctx, dir, r.programs, began)
	before := used()
	time.Sleep(time.Second)
	if others := before.others(); others > 0.1 {
		r.say("others use %.0f %% of this machine: the figures will not be worth much\n", others*100)
	}
	if r.cpus, err = processors(); err != nil {
		r.report.Missing = append(r.report.Missing, err.Error())
	}
	before = used()
	r.run(ctx)
	r.report.Machine = append(r.report.Machine, [2]string{"in use by others meanwhile", fmt.Sprintf("%.1f %% of all processors", before.others()*100)})
	took := time.Since(began).Round(time.Second)
	r.report.Machine = append(r.report.Machine, [2]string{"took", took.String()})
	progress.end()
	if earlier != nil {
		earlier.renew(r.report)
		r.report = earlier
	}
	if err := r.report.write(*out, string(notes)); err != nil {
		return err
	}
	fmt.Printf("%s, after %v\n", filepath.Join(*out, "RESULTS.md"), took)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if len(r.report.Runs) == 0 {
		return errors.New("nothing could be measured")
	}
	return nil
}

func quoted(args []string) []string {
	args = slices.Clone(args)
	for i, a := range args {
		if strings.ContainsAny(a, " '\"|()[]*?$\\<>;&#~`") {
			args[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return args
}

// A progress says what goes on: on a terminal in one line, which it writes over
// and over, else now and then.
type progress struct {
	w        io.Writer
	terminal bool
	last     time.Time
}

func newProgress(w *os.File) *progress {
	_, err := unix.IoctlGetTermios(int(w.Fd()), unix.TCGETS)
	return &progress{w: w, terminal: err == nil}
}

// say shows what goes on; what ends with a newline stays.
func (p *progress) say(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	stays := strings.HasSuffix(s, "\n")
	switch {
	case p.terminal && stays:
		fmt.Fprint(p.w, "\r\x1b[K", s)
	case p.terminal:
		// Cut off, since a line that wraps cannot be written over.
		width := 79
		if size, err := unix.IoctlGetWinsize(2, unix.TIOCGWINSZ); err == nil && size.Col > 10 {
			width = int(size.Col) - 1
		}
		if runes := []rune(s); len(runes) > width {
			s = string(runes[:width])
		}
		fmt.Fprint(p.w, "\r\x1b[K", s)
	case stays:
		fmt.Fprint(p.w, s)
	case time.Since(p.last) >= 10*time.Second:
		p.last = time.Now()
		fmt.Fprintln(p.w, s)
	}
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// machine says what the figures were taken on, and of what.
func machine(ctx context.Context, dir string, programs map[string]built, began time.Time) [][2]string {
	var rows [][2]string
	add := func(what, which string) {
		if which != "" {
			rows = append(rows, [2]string{what, which})
		}
	}
	add("date", began.Format("2006-01-02 15:04 MST"))
	cpuinfo := field1("/proc/cpuinfo", "model name")
	if strings.Contains(" "+field1("/proc/cpuinfo", "flags")+" ", " hypervisor ") {
		cpuinfo += ", virtual machine"
	}
	add("processors", fmt.Sprintf("%d, %s", runtime.NumCPU(), cpuinfo))
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(field1("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		add("memory", fmt.Sprintf("%.0f GiB", kib/(1<<20)))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		add("kernel", unix.ByteSliceToString(u.Sysname[:])+" "+unix.ByteSliceToString(u.Release[:]))
	}
	commit := output(ctx, "git", "-C", dir, "describe", "--always", "--dirty", "--exclude=*")
	add("goselectors", commit)
	add("Go", runtime.Version())
	if gcc, _, _ := strings.Cut(output(ctx, "gcc", "--version"), "\n"); gcc != "" {
		add("C", gcc)
	}
	var versions []string
	for _, name := range sortedKeys(programs) {
		if v := programs[name].version; v != "" {
			versions = append(versions, v)
		}
	}
	add("others", strings.Join(versions, ", "))
	return rows
}

// field1 is the first value of a name in one of /proc's tables.
func field1(path, name string) string {
	table, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(table)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
