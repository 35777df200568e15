package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// saved is the report of an imagined run: two rounds, in the second of which
// the machine was twice as slow.
func saved(t *testing.T) *report {
	t.Helper()
	r := &report{}
	text, err := os.ReadFile("testdata/results.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	if err := saved(t).write(dir, "What a person has to say."); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	results := string(text)
	for _, want := range []string{
		"Made by `bench/run -rounds 2`, at most 2 rounds",
		"| kernel | Linux 6.18 |",
		"What a person has to say.",
		"**Incomplete.** The time was up",
		// 1000 and 2000 ns against 800 and 1600.
		"| **goselectors eventloop** | 1500 (1.25) | 1000 (1.00) |",
		"| C epoll, threaded | 1200 (1.00) | 1000 (1.00) |",
		// CPU is user and system time.
		"| **goselectors eventloop** | 900 (1.00) | 900 (1.00) |",
		// Nobody measured this one at the second shape.
		"| libuv | 600 (0.50) | – |",
		"![Pipe ring](plots/ring.svg)",
		"| Pipe ring, goselectors eventloop: time | n=100 a=1 | ≤ 1.00 × libuv | 2.50 | **missed** |",
		"| Pipe ring, goselectors eventloop: time | n=100 a=100 | ≤ 1.10 × C epoll, threaded | 1.00 | met |",
		"| Pipe ring, time | n=100 a=1 | goselectors eventloop | C epoll, threaded 1.25; libuv 2.50 |",
		"Between the slowest and the fastest round of a row lay a factor of 2.00 in the median (time).",
		"- libev: needs gcc and libev-dev",
		"- not run (needs gcc and libev-dev): ring: libev; echo: libev",
		"- failed: ring/n=100 a=100/libuv: longer than 17s",
	} {
		if !strings.Contains(results, want) {
			t.Errorf("RESULTS.md lacks %q", want)
		}
	}
	if strings.Contains(results, "TCP echo") {
		t.Error("RESULTS.md has a workload that was not run")
	}
	if t.Failed() {
		t.Log(results)
	}
	checkSVG(t, filepath.Join(dir, "plots", "ring.svg"), "goselectors eventloop")

	// What was saved makes the same report again.
	again := t.TempDir()
	r := &report{}
	text, err = os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	if err := r.write(again, "What a person has to say."); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(again, "RESULTS.md")); string(text) != results {
		t.Error("the report from results.json is another one")
	}
}

// Each workload is drawn, whatever it measures, and with one shape only.
func TestCharts(t *testing.T) {
	r := &report{}
	for i := range workloads {
		w := &workloads[i]
		for _, c := range w.contenders {
			r.add(w.name, w.shapes[0].name, c.name, 0, figures{"events": 1000, "seconds": 0.001, "user": 0.0005, "sys": 0.0005,
				"p50": 1e-6, "p99": 2e-6, "schedule": 1e-4, "fire": 1e-4, "pair": 1e-5, "rearm": 1e-5, "conns": 10, "resident": 1000})
		}
	}
	dir := t.TempDir()
	if err := r.write(dir, ""); err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads {
		if w.chart != "" {
			checkSVG(t, filepath.Join(dir, "plots", w.name+".svg"), w.title)
		}
	}
}

func checkSVG(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	dec := xml.NewDecoder(f)
	found := false
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		if data, ok := token.(xml.CharData); ok && strings.Contains(string(data), text) {
			found = true
		}
	}
	if !found {
		t.Errorf("%s does not say %q", path, text)
	}
}

// The plan refers to itself by name.
func TestPlan(t *testing.T) {
	var names []string
	for i := range workloads {
		w := &workloads[i]
		if slices.Contains(names, w.name) {
			t.Errorf("two workloads %s", w.name)
		}
		names = append(names, w.name)
		var of []string
		ours := 0
		for _, c := range w.contenders {
			if slices.Contains(of, c.name) {
				t.Errorf("%s: two contenders %s", w.name, c.name)
			}
			of = append(of, c.name)
			if c.ours {
				ours++
			}
			if !slices.ContainsFunc(programs, func(p program) bool { return p.name == c.program }) {
				t.Errorf("%s: %s is made of the program %s, which is none", w.name, c.name, c.program)
			}
			if (c.program == "go" || c.program == "python") && len(c.args) == 0 {
				t.Errorf("%s: %s does not say who", w.name, c.name)
			}
		}
		if ours == 0 {
			t.Errorf("%s: none is ours", w.name)
		}
		for _, c := range w.contenders {
			if floor := w.floorOf(&c); floor != "" && !slices.Contains(of, floor) {
				t.Errorf("%s: the floor of %s is %s, who does not take part", w.name, c.name, floor)
			}
		}
		if !slices.ContainsFunc(w.shapes, func(s shape) bool { return s.quick }) {
			t.Errorf("%s: nothing for -quick", w.name)
		}
		if w.chart != "" && !slices.ContainsFunc(w.metrics, func(m metric) bool { return m.chart }) {
			t.Errorf("%s: a chart of nothing", w.name)
		}
		if w.rounds == 0 {
			t.Errorf("%s: no rounds", w.name)
		}
	}
	for _, target := range targets {
		w := workloadNamed(target.workload)
		if w == nil {
			t.Errorf("a target for %s", target.workload)
			continue
		}
		if w.metric(target.metric) == nil {
			t.Errorf("a target for %s of %s", target.metric, w.name)
		}
		for _, name := range append(slices.Clone(target.against), target.contender) {
			if !slices.ContainsFunc(w.contenders, func(c contender) bool { return c.name == name }) {
				t.Errorf("a target for %s in %s", name, w.name)
			}
		}
		if target.shape != "" && !slices.ContainsFunc(w.shapes, func(s shape) bool { return s.name == target.shape }) {
			t.Errorf("a target for %s in %s", target.shape, w.name)
		}
	}
}

// A later report that measured a part anew takes the place of that part.
func TestRenew(t *testing.T) {
	earlier, later := &report{Rounds: 3}, &report{Rounds: 5, Command: "bench/run -only echo", Machine: [][2]string{{"date", "today"}, {"kernel", "same"}, {"took", "5m"}}}
	for _, r := range []*report{earlier, later} {
		for round := range r.Rounds {
			r.add("echo", "1 conns ×1", "Go net", round, figures{"events": float64(r.Rounds)})
		}
	}
	earlier.add("ring", "n=1000 a=1", "libev", 0, figures{"events": 1})
	later.add("ring", "n=100 a=1", "libev", 0, figures{"events": 2})
	later.fail("ring/n=9000 a=1/libev", errors.New("it hung"))
	earlier.renew(later)
	want := &report{
		Rounds: 5, Machine: [][2]string{{"anew, by `bench/run -only echo`", "today, took 5m"}},
		Runs: map[string]map[string]map[string][]run{
			"echo": {"1 conns ×1": {"Go net": later.Runs["echo"]["1 conns ×1"]["Go net"]}},
			"ring": {"n=1000 a=1": {"libev": {{0, figures{"events": 1}}}}, "n=100 a=1": {"libev": {{0, figures{"events": 2}}}}},
		},
		Failed: map[string]string{"ring/n=9000 a=1/libev": "it hung"},
	}
	if !reflect.DeepEqual(earlier, want) {
		t.Errorf("got  %+v\nwant %+v", earlier, want)
	}
}
