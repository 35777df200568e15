// Compare measures the cost of an event on each backend of this platform, with TCP
// connections over loopback of which few or many are busy. It prints a table, and
// a chart of the cost against the number of watched descriptors.
//
//	go run ./examples/compare
//	go run ./examples/compare -n 10,1000 -active 1,100 -backend epoll,poll -svg cost.svg
//
// Compare is a module of its own, so that the chart libraries are not dependencies
// of goselectors.
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

// Limits for the flags.
const (
	maxConns  = 16000 // each uses an ephemeral port; systems have 16 000 to 60 000
	maxRounds = 1000
	maxWindow = 10 * time.Second
)

// reservedFDs is the number of descriptors that are not used for connections. The
// selector, the output files and the Go runtime need some.
const reservedFDs = 32

// A config holds the values of the flags.
type config struct {
	conns    []int      // numbers of connections, ascending
	active   []activity // how many of the connections are busy
	backends []selectors.Backend
	rounds   int
	window   time.Duration
	json     bool
	svg      string
}

// An activity says how many connections are busy: a number or a percentage.
type activity struct {
	n       int
	percent bool // n is a percentage
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

// count returns how many of conns connections are busy: at least one, at most all.
func (a activity) count(conns int) int {
	n := a.n
	if a.percent {
		n = conns * a.n / 100
	}
	return min(max(n, 1), conns)
}

// parse parses the command line. It writes errors and the usage to stderr. The
// error is flag.ErrHelp if the arguments ask for help.
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
	isSet := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { isSet[f.Name] = true })

	err := func() (err error) {
		if flags.NArg() > 0 {
			return fmt.Errorf("unexpected argument %q", flags.Arg(0))
		}
		if c.conns, err = parseConns(*conns, isSet["n"], stderr); err != nil {
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

// parseConns parses a list of numbers of connections and returns them in ascending
// order, each once. A number that needs more descriptors than this process may
// open is an error if the user set the list. In the default list, parseConns
// skips it with a message on stderr.
func parseConns(list string, setByUser bool, stderr io.Writer) ([]int, error) {
	limit := descriptorLimit()
	var conns []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > maxConns {
			return nil, fmt.Errorf("%q is not a number of connections from 1 to %d", s, maxConns)
		}
		if need := 2*n + reservedFDs; need > limit {
			err := fmt.Errorf("%d connections need %d descriptors, and this process may open %d (see ulimit -n)", n, need, limit)
			if setByUser {
				return nil, err
			}
			fmt.Fprintln(stderr, "compare: skipped:", err)
			continue
		}
		conns = append(conns, n)
	}
	if len(conns) == 0 {
		return nil, fmt.Errorf("no number of connections is within the limit of %d descriptors", limit)
	}
	slices.Sort(conns)
	return slices.Compact(conns), nil
}

// parseActive parses a list of numbers and percentages and returns each once.
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

// parseBackends parses a list of backend names and returns each backend once.
// names are the backends of this platform, in the order of selectors.Backends.
func parseBackends(list string, names []string) ([]selectors.Backend, error) {
	if len(names) == 0 {
		return nil, errors.New("no backend on this platform")
	}
	var backends []selectors.Backend
	for _, s := range strings.Split(list, ",") {
		i := slices.Index(names, strings.TrimSpace(s))
		if i < 0 {
			return nil, fmt.Errorf("unknown backend %q; this platform has %s", s, strings.Join(names, ", "))
		}
		if !slices.ContainsFunc(backends, func(b selectors.Backend) bool { return b.Name == names[i] }) {
			backends = append(backends, selectors.Backends()[i])
		}
	}
	return backends, nil
}

// settings returns all combinations of the flags, in the order of the table.
func (c *config) settings() []setting {
	var all []setting
	for _, a := range c.active {
		for _, conns := range c.conns {
			for _, b := range c.backends {
				all = append(all, setting{backend: b, conns: conns, active: a.count(conns), activity: a})
			}
		}
	}
	return all
}

// run runs the program and returns its exit status.
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

// compare measures all settings and writes the report, and the SVG file if there
// is one.
func (c *config) compare(stdout, stderr *os.File) (err error) {
	var svg *os.File
	if c.svg != "" { // fail before the measurements rather than after them
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
		_, err = io.WriteString(stdout, textReport(c, results, styleOf(stdout)))
	}
	if err == nil && svg != nil {
		err = cmp.Or(drawSVG(svg, c, results), svg.Close())
		if err == nil && !c.json {
			fmt.Fprintln(stdout, "\nThe chart was written to", c.svg)
		}
	}
	return err
}

// A style is how the text chart is printed.
type style struct {
	width int // columns
	color bool
}

// styleOf returns the style for an output file. Colors are used on terminals only,
// and not if the environment disables them (https://no-color.org, TERM=dumb).
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
