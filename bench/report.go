package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A report is all that was measured, and of what. It is kept as results.json,
// from which RESULTS.md and the charts can be made again.
type report struct {
	Machine [][2]string // what, and which
	Command string
	Rounds  int
	Quick   bool
	Stopped string `json:",omitempty"` // why, if before the end
	Runs    map[string]map[string]map[string][]run
	Missing []string            // programs, and why
	Skipped map[string][]string // why → which
	Failed  map[string]string   // run → why
}

type run struct {
	Round   int
	Figures figures
}

func (r *report) add(workload, shape, contender string, round int, f figures) {
	if r.Runs == nil {
		r.Runs = make(map[string]map[string]map[string][]run)
	}
	if r.Runs[workload] == nil {
		r.Runs[workload] = make(map[string]map[string][]run)
	}
	if r.Runs[workload][shape] == nil {
		r.Runs[workload][shape] = make(map[string][]run)
	}
	r.Runs[workload][shape][contender] = append(r.Runs[workload][shape][contender], run{round, f})
}

// renew puts the runs of a later report in the place of those here.
func (r *report) renew(later *report) {
	for workload, shapes := range later.Runs {
		for shape, contenders := range shapes {
			for contender, runs := range contenders {
				if r.Runs[workload] != nil && r.Runs[workload][shape] != nil {
					delete(r.Runs[workload][shape], contender)
				}
				for _, run := range runs {
					r.add(workload, shape, contender, run.Round, run.Figures)
				}
			}
		}
	}
	r.Rounds = max(r.Rounds, later.Rounds)
	var when []string
	for _, m := range later.Machine {
		switch m[0] {
		case "date", "goselectors":
			when = append(when, m[1])
		case "in use by others meanwhile", "took":
			when = append(when, m[0]+" "+m[1])
		}
	}
	r.Machine = append(r.Machine, [2]string{"anew, by `" + later.Command + "`", strings.Join(when, ", ")})
	for step, why := range later.Failed {
		r.fail(step, errors.New(why))
	}
	for why, steps := range later.Skipped {
		for _, step := range steps {
			r.skip(step, why)
		}
	}
}

func (r *report) fail(step string, err error) {
	if r.Failed == nil {
		r.Failed = make(map[string]string)
	}
	r.Failed[step] = err.Error()
}

func (r *report) skip(what, why string) {
	if r.Skipped == nil {
		r.Skipped = make(map[string][]string)
	}
	if !slices.Contains(r.Skipped[why], what) {
		r.Skipped[why] = append(r.Skipped[why], what)
	}
}

// series is a metric round by round, NaN where there was no run.
func (r *report) series(w *workload, s *shape, c string, m *metric) []float64 {
	runs := r.Runs[w.name][s.name][c]
	n := 0
	for _, run := range runs {
		n = max(n, run.Round+1)
	}
	v := slices.Repeat([]float64{math.NaN()}, n)
	for _, run := range runs {
		v[run.Round] = m.of(run.Figures)
	}
	return v
}

func (r *report) value(w *workload, s *shape, c string, m *metric) float64 {
	return median(r.series(w, s, c, m))
}

// against is the ratio of a contender to another one.
func (r *report) against(w *workload, s *shape, c, other string, m *metric) float64 {
	return ratio(r.series(w, s, c, m), r.series(w, s, other, m))
}

// floorOf is what a contender is compared with.
func (w *workload) floorOf(c *contender) string {
	if c.floor != "" {
		return c.floor
	}
	return w.floor
}

func (w *workload) metric(name string) *metric {
	for i := range w.metrics {
		if w.metrics[i].name == name {
			return &w.metrics[i]
		}
	}
	return nil
}

// measured are the shapes of which there are figures, and the contenders.
func (r *report) measured(w *workload) (shapes []*shape, contenders []*contender) {
	seen := make(map[string]bool)
	for i := range w.shapes {
		s := &w.shapes[i]
		if len(r.Runs[w.name][s.name]) > 0 {
			shapes = append(shapes, s)
			for c := range r.Runs[w.name][s.name] {
				seen[c] = true
			}
		}
	}
	for i := range w.contenders {
		if seen[w.contenders[i].name] {
			contenders = append(contenders, &w.contenders[i])
		}
	}
	return shapes, contenders
}

// write makes RESULTS.md, results.json and the charts. notes is what a person
// has to say about the figures.
func (r *report) write(dir, notes string) error {
	if err := os.MkdirAll(filepath.Join(dir, "plots"), 0o755); err != nil {
		return err
	}
	all, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(all, '\n'), 0o644); err != nil {
		return err
	}
	for i := range workloads {
		w := &workloads[i]
		svg, err := r.draw(w)
		if err != nil {
			return fmt.Errorf("drawing %s: %w", w.name, err)
		}
		if svg != nil {
			if err := os.WriteFile(filepath.Join(dir, "plots", w.name+".svg"), svg, 0o644); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(r.markdown(notes)), 0o644)
}

func (r *report) markdown(notes string) string {
	var b strings.Builder
	b.WriteString("# Side by side with the field\n\n")
	fmt.Fprintf(&b, "Made by `%s`, at most %d rounds; do not edit. Ratios travel better than absolute figures.\n\n", r.Command, r.Rounds)
	if r.Quick {
		b.WriteString("**A quick run**: short and few measurements, for a first look only.\n\n")
	}
	if r.Stopped != "" {
		fmt.Fprintf(&b, "**Incomplete.** %s\n\n", r.Stopped)
	}
	b.WriteString("| | |\n|---|---|\n")
	for _, m := range r.Machine {
		fmt.Fprintf(&b, "| %s | %s |\n", m[0], m[1])
	}
	b.WriteString("\nEach figure is the median over the rounds; in brackets, the ratio to the floor, which is the median of the " +
		"ratios round by round. Contenders run in turn, A B C A B C …, each in a process of its own that begins with a warm-up " +
		"that does not count. CPU is user and system time of the whole process.\n\n")
	if notes != "" {
		b.WriteString(strings.TrimSpace(notes) + "\n\n")
	}
	r.writeTargets(&b)
	r.writeLosses(&b)
	for i := range workloads {
		r.writeWorkload(&b, &workloads[i])
	}
	r.writeMissing(&b)
	return b.String()
}

func (r *report) writeWorkload(b *strings.Builder, w *workload) {
	shapes, contenders := r.measured(w)
	if len(shapes) == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n%s\n\n", w.title, w.about)
	if w.floor != "" {
		fmt.Fprintf(b, "Ratios are to **%s**", w.floor)
		if !slices.ContainsFunc(contenders, func(c *contender) bool { return c.name == w.floor }) {
			b.WriteString(", which was not there")
		}
		b.WriteString(".\n\n")
	}
	if w.chart != "" {
		fmt.Fprintf(b, "![%s](plots/%s.svg)\n\n", w.title, w.name)
	}
	if w.columns {
		for _, s := range shapes {
			if len(w.shapes) > 1 {
				fmt.Fprintf(b, "%s:\n\n", s.name)
			}
			r.writeTable(b, w, contenders, w.metricNames(), func(c *contender, i int) string { return r.cell(w, s, c, &w.metrics[i]) })
		}
	} else {
		for i := range w.metrics {
			m := &w.metrics[i]
			fmt.Fprintf(b, "%s, %s:\n\n", m.name, m.unit)
			var names []string
			for _, s := range shapes {
				names = append(names, s.name)
			}
			r.writeTable(b, w, contenders, names, func(c *contender, i int) string { return r.cell(w, shapes[i], c, m) })
		}
	}
	m := &w.metrics[0]
	var spreads []float64
	for _, s := range shapes {
		for _, c := range contenders {
			if v := r.series(w, s, c.name, m); len(v) > 1 {
				spreads = append(spreads, spread(v))
			}
		}
	}
	if v := median(spreads); !math.IsNaN(v) {
		fmt.Fprintf(b, "Between the slowest and the fastest round of a row lay a factor of %s in the median (%s).\n\n", figure(v), m.name)
	}
}

func (w *workload) metricNames() (names []string) {
	for _, m := range w.metrics {
		name := m.name
		if m.unit != "" {
			name += ", " + m.unit
		}
		names = append(names, name)
	}
	return names
}

func (r *report) cell(w *workload, s *shape, c *contender, m *metric) string {
	text := figure(r.value(w, s, c.name, m))
	floor := w.floorOf(c)
	if m.ratio && floor != "" {
		if v := r.against(w, s, c.name, floor, m); !math.IsNaN(v) {
			text += " (" + figure(v) + ")"
		}
	}
	return text
}

func (r *report) writeTable(b *strings.Builder, w *workload, contenders []*contender, columns []string, cell func(c *contender, i int) string) {
	fmt.Fprintf(b, "| | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("--:|", len(columns)))
	for _, c := range contenders {
		name := c.name
		if c.ours {
			name = "**" + name + "**"
		}
		fmt.Fprintf(b, "| %s |", name)
		for i := range columns {
			fmt.Fprintf(b, " %s |", cell(c, i))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// writeTargets says which of our targets are met.
func (r *report) writeTargets(b *strings.Builder) {
	var rows strings.Builder
	for _, t := range targets {
		w := workloadNamed(t.workload)
		m := w.metric(t.metric)
		shapes, _ := r.measured(w)
		for _, s := range shapes {
			if t.shape != "" && t.shape != s.name || len(r.Runs[w.name][s.name][t.contender]) == 0 {
				continue
			}
			if t.against == nil {
				v := r.value(w, s, t.contender, m)
				fmt.Fprintf(&rows, "| %s, %s: %s | %s | ≤ %s %s | %s | %s |\n", w.title, t.contender, t.metric, s.name, figure(t.limit), m.unit, figure(v), met(v <= t.limit))
				continue
			}
			for _, other := range t.against {
				if v := r.against(w, s, t.contender, other, m); !math.IsNaN(v) {
					fmt.Fprintf(&rows, "| %s, %s: %s | %s | ≤ %s × %s | %s | %s |\n", w.title, t.contender, t.metric, s.name, figure(t.limit), other, figure(v), met(v <= t.limit))
				}
			}
		}
	}
	if rows.Len() > 0 {
		fmt.Fprintf(b, "## Targets\n\n| | shape | target | here | |\n|---|---|--:|--:|---|\n%s\n", rows.String())
	}
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "**missed**"
}

func workloadNamed(name string) *workload {
	for i := range workloads {
		if workloads[i].name == name {
			return &workloads[i]
		}
	}
	return nil
}

// noise is what a loss has to be larger than.
const noise = 1.05

// A loss is one of ours behind somebody else.
type loss struct {
	who, shape string
	rivals     []string
}

// losses finds where the first of ours, or one on the same facility, is behind
// others by more than noise.
func (r *report) losses(w *workload, m *metric) (all []loss) {
	shapes, contenders := r.measured(w)
	main := slices.IndexFunc(contenders, func(c *contender) bool { return c.ours })
	if main < 0 || m.better == 0 || !m.chart {
		return nil
	}
	for _, s := range shapes {
		for i, c := range contenders {
			if !c.ours || i != main && c.floor == "" {
				continue
			}
			l := loss{who: c.name, shape: s.name}
			for _, rival := range contenders {
				if rival.ours || rival.bound || c.floor != "" && rival.floor != c.floor && rival.name != c.floor {
					continue
				}
				v := r.against(w, s, c.name, rival.name, m)
				if m.better > 0 {
					v = 1 / v
				}
				if v > noise {
					l.rivals = append(l.rivals, fmt.Sprintf("%s %s", rival.name, figure(v)))
				}
			}
			if l.rivals != nil {
				all = append(all, l)
			}
		}
	}
	return all
}

func (r *report) writeLosses(b *strings.Builder) {
	var rows strings.Builder
	for i := range workloads {
		w := &workloads[i]
		for j := range w.metrics {
			for _, l := range r.losses(w, &w.metrics[j]) {
				fmt.Fprintf(&rows, "| %s, %s | %s | %s | %s |\n", w.title, w.metrics[j].name, l.shape, l.who, strings.Join(l.rivals, "; "))
			}
		}
	}
	if rows.Len() > 0 {
		fmt.Fprintf(b, "## Where goselectors is behind\n\nIn what the charts show, by more than %.0f %%; the figure is how many times worse it is than whom.\n\n"+
			"| | shape | ours | behind |\n|---|---|---|---|\n%s\n", (noise-1)*100, rows.String())
	}
}

func (r *report) writeMissing(b *strings.Builder) {
	if len(r.Missing)+len(r.Skipped)+len(r.Failed) == 0 {
		return
	}
	b.WriteString("## What is missing\n\n")
	for _, m := range r.Missing {
		fmt.Fprintf(b, "- %s\n", m)
	}
	for _, why := range sortedKeys(r.Skipped) {
		fmt.Fprintf(b, "- not run (%s): %s\n", why, strings.Join(r.Skipped[why], "; "))
	}
	for _, step := range sortedKeys(r.Failed) {
		fmt.Fprintf(b, "- failed: %s: %s\n", step, r.Failed[step])
	}
	b.WriteString("\n")
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
