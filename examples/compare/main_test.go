package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"goselectors/selectors"
)

// runMainEnv is an environment variable. If it is set, the test binary runs main
// instead of the tests.
const runMainEnv = "COMPARE_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMainEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// runCompare runs the program and returns its output and its exit status.
func runCompare(t *testing.T, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), runMainEnv+"=1")
	var outBuf, errBuf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &outBuf, &errBuf
	var exitErr *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exitErr) {
		t.Fatal(err)
	}
	return outBuf.String(), errBuf.String(), cmd.ProcessState.ExitCode()
}

// requireBackends skips the test on a platform without backends.
func requireBackends(t *testing.T) {
	t.Helper()
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
}

// shortRun are the arguments for a run of about a second.
var shortRun = []string{"-n", "10,50", "-active", "1,50%", "-time", "20ms", "-rounds", "2"}

func TestText(t *testing.T) {
	requireBackends(t)
	out, stderr, exit := runCompare(t, shortRun...)
	if exit != 0 || stderr != "" {
		t.Fatalf("exit status %d, error output %q", exit, stderr)
	}
	if strings.Contains(out, "\x1b") {
		t.Error("the output contains escape sequences and is not a terminal")
	}
	for l := range strings.Lines(out) {
		if n := len([]rune(strings.TrimSuffix(l, "\n"))); n > 80 {
			t.Errorf("%d columns: %q", n, l)
		}
	}
	for _, b := range selectors.Backends() {
		for _, row := range [][2]int{{20, 1}, {100, 1}, {20, 5}, {100, 25}} {
			fields := regexp.MustCompile(`(?m)^` + b.Name + ` +` + strconv.Itoa(row[0]) + ` +` + strconv.Itoa(row[1]) +
				` +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$`).FindStringSubmatch(out)
			if fields == nil {
				t.Errorf("no row for %s, %d descriptors, %d active", b.Name, row[0], row[1])
				continue
			}
			perSecond, _ := strconv.ParseFloat(fields[1], 64)
			micros, _ := strconv.ParseFloat(fields[2], 64)
			if p := perSecond * micros / 1e6; p < 0.9 || p > 1.1 {
				t.Errorf("%s: %v events/s and %v µs an event do not agree", b.Name, perSecond, micros)
			}
		}
	}
	for _, title := range []string{"µs an event, 1 connection active", "µs an event, 50 % of the connections active"} {
		_, chart, found := strings.Cut(out, title)
		if !found {
			t.Fatalf("no chart with the title %q", title)
		}
		chart, _, _ = strings.Cut(chart, "watched descriptors")
		for _, b := range selectors.Backends() {
			if initial := b.Name[:1]; !strings.Contains(chart, initial+initial+" "+b.Name) || !regexp.MustCompile(`[┤┼].*`+initial).MatchString(chart) {
				t.Errorf("chart %q has no line for %s", title, b.Name)
			}
		}
		if !regexp.MustCompile(`(?m)└┬─+┬$\n +20 +100$`).MatchString(chart) {
			t.Errorf("chart %q has no axis from 20 to 100", title)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestSingleConnectionCount checks a run in which the charts have no lines.
func TestSingleConnectionCount(t *testing.T) {
	requireBackends(t)
	out, stderr, exit := runCompare(t, "-n", "5", "-time", "5ms", "-rounds", "1", "-active", "3", "-svg", filepath.Join(t.TempDir(), "point.svg"))
	if exit != 0 || stderr != "" || !regexp.MustCompile(`(?m)^\w+ +10 +3 `).MatchString(out) {
		t.Errorf("exit status %d, error output %q, output %q", exit, stderr, out)
	}
}

func TestJSON(t *testing.T) {
	requireBackends(t)
	out, stderr, exit := runCompare(t, append(slices.Clone(shortRun), "-json")...)
	if exit != 0 || stderr != "" {
		t.Fatalf("exit status %d, error output %q", exit, stderr)
	}
	var report struct {
		OS, Arch  string
		GoVersion string `json:"go_version"`
		Rounds    int
		Results   []map[string]any
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if report.OS == "" || report.Arch == "" || report.GoVersion == "" || report.Rounds != 2 {
		t.Errorf("header: %+v", report)
	}
	if want := 4 * len(selectors.Backends()); len(report.Results) != want {
		t.Errorf("%d results, want %d", len(report.Results), want)
	}
	for _, r := range report.Results {
		for _, field := range []string{"connections", "fds", "active", "events", "events_per_second", "us_per_event", "us_per_event_min", "us_per_event_max"} {
			if v, _ := r[field].(float64); v <= 0 {
				t.Errorf("%s is %v in %v", field, r[field], r)
			}
		}
		for _, field := range []string{"cpu_user_us_per_event", "cpu_sys_us_per_event", "allocs_per_event"} {
			if v, ok := r[field].(float64); !ok || v < 0 {
				t.Errorf("%s is %v in %v", field, r[field], r)
			}
		}
		if lowest, median, highest := r["us_per_event_min"].(float64), r["us_per_event"].(float64), r["us_per_event_max"].(float64); lowest > median || median > highest {
			t.Errorf("the median is not between minimum and maximum: %v", r)
		}
		if r["fds"].(float64) != 2*r["connections"].(float64) {
			t.Errorf("not two descriptors per connection: %v", r)
		}
	}
}

func TestSVG(t *testing.T) {
	requireBackends(t)
	file := filepath.Join(t.TempDir(), "cost.svg")
	if _, stderr, exit := runCompare(t, append(slices.Clone(shortRun), "-svg", file)...); exit != 0 || stderr != "" {
		t.Fatalf("exit status %d, error output %q", exit, stderr)
	}
	svg, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	root := ""
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal("not well-formed: ", err)
		}
		switch v := token.(type) {
		case xml.StartElement:
			if root == "" {
				root = v.Name.Local
			}
		case xml.CharData:
			texts = append(texts, string(v))
		}
	}
	if root != "svg" {
		t.Errorf("the root element is %q", root)
	}
	want := []string{"watched descriptors", "µs an event", "20", "100"}
	for _, b := range selectors.Backends() {
		want = append(want, b.Name+", 1 connection active", b.Name+", 50 % of the connections active")
	}
	for _, s := range want {
		if !slices.Contains(texts, s) {
			t.Errorf("the chart has no text %q; it has %q", s, texts)
		}
	}
}

func TestInvalidUsage(t *testing.T) {
	requireBackends(t)
	const usage = "usage: go run ./examples/compare "
	for _, c := range []struct {
		args       string
		exit       int
		wantStderr string // part of the error or the usage
	}{
		{"-h", 0, usage},
		{"-frobnicate", 2, "-frobnicate"},
		{"10", 2, `unexpected argument "10"`},
		{"-n 0", 2, `-n: "0"`},
		{"-n -5", 2, `-n: "-5"`},
		{"-n 10,,20", 2, `-n: ""`},
		{"-n 1000000", 2, `-n: "1000000"`},
		{"-n ten", 2, `-n: "ten"`},
		{"-active 0", 2, `-active: "0"`},
		{"-active 101%", 2, `-active: "101%"`},
		{"-active some", 2, `-active: "some"`},
		{"-rounds 0", 2, "-rounds"},
		{"-rounds 1000000", 2, "-rounds"},
		{"-time 0s", 2, "-time"},
		{"-time 1h", 2, "-time"},
		{"-time soon", 2, "-time"},
		{"-backend nosuchbackend", 2, `unknown backend "nosuchbackend"; this platform has ` + selectors.Backends()[0].Name},
	} {
		t.Run(c.args, func(t *testing.T) {
			stdout, stderr, exit := runCompare(t, strings.Fields(c.args)...)
			if exit != c.exit || stdout != "" || !strings.Contains(stderr, c.wantStderr) || !strings.Contains(stderr, usage) {
				t.Errorf("exit status %d, output %q, error output %q; want %d and %q", exit, stdout, stderr, c.exit, c.wantStderr)
			}
		})
	}
	t.Run("svg that cannot be written", func(t *testing.T) {
		stdout, stderr, exit := runCompare(t, "-svg", filepath.Join(t.TempDir(), "missing", "cost.svg"))
		if exit != 1 || stdout != "" || !strings.Contains(stderr, "cost.svg") {
			t.Errorf("exit status %d, output %q, error output %q", exit, stdout, stderr)
		}
	})
}

// TestDescriptorLimit sets a limit that is too low for some numbers of connections.
// Such a number is an error in the flag -n, and is skipped in the default.
func TestDescriptorLimit(t *testing.T) {
	requireBackends(t)
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell to set the limit: ", err)
	}
	for _, c := range []struct {
		name, args string
		exit       int
		wantOutput string
	}{
		{"flag", "-n 10,100", 2, "100 connections need 232 descriptors, and this process may open 120"},
		{"default", "-time 1ms -rounds 1", 0, "skipped: 100 connections"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			args := append([]string{"-c", `ulimit -n 120 && exec "$0" "$@"`, os.Args[0]}, strings.Fields(c.args)...)
			cmd := exec.CommandContext(ctx, sh, args...)
			cmd.Env = append(os.Environ(), runMainEnv+"=1")
			out, _ := cmd.CombinedOutput()
			if exit := cmd.ProcessState.ExitCode(); exit != c.exit || !strings.Contains(string(out), c.wantOutput) {
				t.Errorf("exit status %d, output %q; want %d and %q", exit, out, c.exit, c.wantOutput)
			}
		})
	}
}

func TestParse(t *testing.T) {
	requireBackends(t)
	names := func(c *config) (names []string) {
		for _, b := range c.backends {
			names = append(names, b.Name)
		}
		return names
	}
	last := selectors.Backends()[len(selectors.Backends())-1].Name
	c, err := parse([]string{"-n", "50, 10,50", "-active", "2,10%,2", "-backend", last + "," + last}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.conns, []int{10, 50}) {
		t.Errorf("numbers of connections: %v; want each once, in ascending order", c.conns)
	}
	if !slices.Equal(c.active, []activity{{2, false}, {10, true}}) {
		t.Errorf("activities: %v", c.active)
	}
	if !slices.Equal(names(c), []string{last}) {
		t.Errorf("backends: %v", names(c))
	}
	var rows [][2]int
	for _, s := range c.settings() {
		rows = append(rows, [2]int{s.conns, s.active})
	}
	if want := [][2]int{{10, 2}, {50, 2}, {10, 1}, {50, 5}}; !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
	if c, err = parse(nil, io.Discard); err != nil || len(c.backends) != len(selectors.Backends()) {
		t.Errorf("without flags: %v, %v; want every backend", names(c), err)
	}
}

func TestActivityCount(t *testing.T) {
	for _, c := range []struct {
		a           activity
		conns, want int
	}{
		{activity{1, false}, 10, 1},
		{activity{50, false}, 10, 10},
		{activity{50, true}, 10, 5},
		{activity{1, true}, 10, 1},
		{activity{100, true}, 7, 7},
	} {
		if got := c.a.count(c.conns); got != c.want {
			t.Errorf("%v, %d connections: %d, want %d", c.a, c.conns, got, c.want)
		}
	}
}

func TestSummarize(t *testing.T) {
	var r result
	r.summarize([]sample{
		{events: 1, wall: 5, user: 1, sys: 0, allocs: 0},
		{events: 3, wall: 1, user: 5, sys: 2, allocs: 1},
		{events: 2, wall: 9, user: 2, sys: 3, allocs: 0},
		{events: 2, wall: 4, user: 0, sys: 1, allocs: 0},
	})
	want := result{sample: sample{events: 8, wall: 4.5, user: 20.0 / 8, sys: 14.0 / 8}, fastest: 1, slowest: 9}
	if r.sample != want.sample || r.fastest != want.fastest || r.slowest != want.slowest {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

// TestEqualCosts draws charts of backends with equal costs. All lines are in the
// same row, where they alternate.
func TestEqualCosts(t *testing.T) {
	backends := []selectors.Backend{{Name: "epoll"}, {Name: "poll"}, {Name: "select"}}
	var results []result
	for _, b := range backends {
		for _, conns := range []int{1, 5, 6, 8000} {
			results = append(results, result{setting: setting{backend: b, conns: conns}, sample: sample{wall: 1}})
		}
	}
	for _, s := range []style{{80, false}, {60, false}, {80, true}, {120, true}} {
		chart := drawText(activity{1, false}, results, s)
		if got := strings.Contains(chart, "\x1b["); got != s.color {
			t.Errorf("%+v: escape sequences: %v", s, got)
		}
		if !s.color && !regexp.MustCompile(`┼e+p+s+e+p+s+e`).MatchString(chart) {
			t.Errorf("%+v: lines hide each other:\n%s", s, chart)
		}
	}
	if err := drawSVG(io.Discard, &config{conns: []int{1, 5, 6, 8000}, active: []activity{{}}}, results); err != nil {
		t.Error(err)
	}
}

func TestNumberFormats(t *testing.T) {
	for _, c := range []struct {
		v                      float64
		threeDigits, twoDigits string
	}{
		{0, "0.00", ""},
		{0.12345, "0.12", "0.12"},
		{1, "1.00", "1"},
		{math.Pow(10, 1.0/3), "2.15", "2.2"},
		{9.996, "10.0", "10"},
		{10, "10.0", "10"},
		{21.54, "21.5", "22"},
		{1000, "1000", "1000"},
		{4641.6, "4642", "4600"},
	} {
		if got := threeDigits(c.v); got != c.threeDigits {
			t.Errorf("threeDigits(%v) = %q, want %q", c.v, got, c.threeDigits)
		}
		if c.v > 0 {
			if got := roundTwoDigits(c.v); got != c.twoDigits {
				t.Errorf("roundTwoDigits(%v) = %q, want %q", c.v, got, c.twoDigits)
			}
		}
	}
}
