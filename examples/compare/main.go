// Compare shows what each way to wait costs: TCP connections on loopback, few
// or many of them busy, driven through every backend of this platform in turn.
// It prints a table, and a chart of the cost against the number of watched
// descriptors.
//
//	go run ./examples/compare
//	go run ./examples/compare -n 10,1000 -active 1,100 -backend epoll,poll -svg cost.svg
//
// It is a module of its own, so that the libraries that draw the charts are no
// dependency of who uses goselectors.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"goselectors/selectors"
)

// Sane limits. Every connection takes a port of loopback, and systems have
// between 16 000 and 60 000 to give.
const (
	maxConns  = 16000
	maxRounds = 1000
	maxWindow = 10 * time.Second
)

// spare is how many descriptors are left to selectors, output and runtime.
const spare = 32

// config is what the flags say.
type config struct {
	conns    []int      // numbers of connections, ascending
	active   []activity // how many of them are busy
	backends []selectors.Backend
	rounds   int
	window   time.Duration
	json     bool
	svg      string
}

// An activity is how many connections are busy: a number, or a percentage.
type activity struct {
	n       int
	percent bool
}

func (a activity) String() string {
	switch {
	case a.percent && a.n == 100:
		return "all connections active"
	case a.percent:
		return fmt.Sprintf("%d %% of the connections active", a.n)
	case a.n == 1:
		return "1 connection active"
	}
	return fmt.Sprintf("%d connections active", a.n)
}

// of returns how many of conns connections are busy: at least one, at most all.
func (a activity) of(conns int) int {
	n := a.n
	if a.percent {
		n = conns * a.n / 100
	}
	return min(max(n, 1), conns)
}

// parse reads the command line. Complaints and the usage go to stderr; the
// error is flag.ErrHelp if help was asked for.
func parse(args []string, stderr io.Writer) (*config, error) {
	var names []string
	for _, b := range selectors.Backends() {
		names = append(names, b.Name)
	}
	c := &config{}
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: go run ./examples/compare [flags]")
		flags.PrintDefaults()
	}
	conns := flags.String("n", "10,30,100,300,1000,3000", "`numbers` of connections; both ends of each are watched")
	active := flags.String("active", "1,50%", "`numbers` or percentages of connections that are busy")
	backends := flags.String("backend", strings.Join(names, ","), "`names` of the backends to compare")
	flags.IntVar(&c.rounds, "rounds", 5, "`number` of measurements of each setting; the medians are reported")
	flags.DurationVar(&c.window, "time", 60*time.Millisecond, "`duration` of each measurement")
	flags.BoolVar(&c.json, "json", false, "print JSON instead of table and chart")
	flags.StringVar(&c.svg, "svg", "", "also write the chart to this SVG `file`")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })

	err := func() (err error) {
		if flags.NArg() > 0 {
			return fmt.Errorf("unexpected argument %q", flags.Arg(0))
		}
		if c.conns, err = parseConns(*conns, given["n"], stderr); err != nil {
			return fmt.Errorf("-n: %w", err)
		}
		if c.active, err = parseActive(*active); err != nil {
			return fmt.Errorf("-active: %w", err)
		}
		if c.backends, err = parseBackends(*backends, names); err != nil {
			return fmt.Errorf("-backend: %w", err)
		}
		if c.rounds < 1 || c.rounds > maxRounds {
			return fmt.Errorf("-rounds: %d is not in 1 to %d", c.rounds, maxRounds)
		}
		if c.window < time.Millisecond || c.window > maxWindow {
			return fmt.Errorf("-time: %v is not in 1ms to %v", c.window, maxWindow)
		}
		return nil
	}()
	if err != nil {
		fmt.Fprintln(stderr, "compare:", err)
		flags.Usage()
		return nil, err
	}
	return c, nil
}

// parseConns reads a list of numbers of connections. What this process may not
// open is refused, or left out of the list if that is our own.
func parseConns(list string, given bool, stderr io.Writer) ([]int, error) {
	limit := descriptorLimit()
	var conns []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > maxConns {
			return nil, fmt.Errorf("%q is not a number of connections from 1 to %d", s, maxConns)
		}
		if 2*n+spare > limit {
			err := fmt.Errorf("%d connections need %d descriptors, and this process may open %d (see ulimit -n)", n, 2*n+spare, limit)
			if given {
				return nil, err
			}
			fmt.Fprintln(stderr, "compare: left out:", err)
			continue
		}
		conns = append(conns, n)
	}
	if len(conns) == 0 {
		return nil, errors.New("nothing is left")
	}
	slices.Sort(conns)
	return slices.Compact(conns), nil
}

func parseActive(list string) ([]activity, error) {
	var active []activity
	for _, s := range strings.Split(list, ",") {
		number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || percent && n > 100 || n > maxConns {
			return nil, fmt.Errorf("%q is neither a number of connections from 1 to %d nor a percentage", s, maxConns)
		}
		if a := (activity{n, percent}); !slices.Contains(active, a) {
			active = append(active, a)
		}
	}
	return active, nil
}

func parseBackends(list string, names []string) ([]selectors.Backend, error) {
	if len(names) == 0 {
		return nil, errors.New("this platform has none")
	}
	var backends []selectors.Backend
	for _, s := range strings.Split(list, ",") {
		i := slices.Index(names, strings.TrimSpace(s))
		if i < 0 {
			return nil, fmt.Errorf("no backend %q here, but: %s", s, strings.Join(names, ", "))
		}
		if !slices.ContainsFunc(backends, func(b selectors.Backend) bool { return b.Name == names[i] }) {
			backends = append(backends, selectors.Backends()[i])
		}
	}
	return backends, nil
}

// settings are the lines of the table: everything the flags ask for, each once.
func (c *config) settings() []setting {
	var all []setting
	for _, a := range c.active {
		for _, conns := range c.conns {
			for _, b := range c.backends {
				all = append(all, setting{backend: b, conns: conns, active: a.of(conns), activity: a})
			}
		}
	}
	return all
}

func run(args []string, stdout, stderr *os.File) int {
	c, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := c.compare(stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "compare:", err)
		return 1
	}
	return 0
}

// compare measures, reports and draws.
func (c *config) compare(stdout, stderr *os.File) (err error) {
	var svg *os.File
	if c.svg != "" { // better to fail now than after all the work
		if svg, err = os.Create(c.svg); err != nil {
			return err
		}
		defer svg.Close()
	}
	results, err := measureAll(c, newProgress(stderr))
	if err != nil {
		return err
	}
	if c.json {
		err = writeJSON(stdout, c, results)
	} else {
		_, err = io.WriteString(stdout, text(c, results, styleOf(stdout)))
	}
	if err == nil && svg != nil {
		err = cmp.Or(drawSVG(svg, c, results), svg.Close())
		if err == nil && !c.json {
			fmt.Fprintln(stdout, "\nThe chart is in", c.svg)
		}
	}
	return err
}

// style is what a chart may look like where it is printed.
type style struct {
	width int
	color bool
}

// styleOf follows https://no-color.org, and sends escapes to terminals only.
func styleOf(out *os.File) style {
	s := style{width: 80}
	if !term.IsTerminal(int(out.Fd())) {
		return s
	}
	if w, _, err := term.GetSize(int(out.Fd())); err == nil && w > 0 {
		s.width = min(max(w, 60), 120)
	}
	s.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
