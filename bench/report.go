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

// A report contains everything that was measured and a description of the machine
// and the software. It is saved as results.json, from which RESULTS.md and the
// charts can be generated again.
type report struct {
	Machine [][2]string // label and value
	Command string
	Rounds  int
	Quick   bool
	Stopped string                                 `json:",omitempty"` // the reason why the run ended early, or ""
	Runs    map[string]map[string]map[string][]run // by workload, shape and contender
	Missing []string                               // each program that is not available, and the reason
	Skipped map[string][]string                    // by reason: what was not run
	Failed  map[string]string                      // by step: the error
}

// A run is one measurement of a contender.
type run struct {
	Round   int // from 0
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

// merge replaces runs of r by those of a later report that measured a part again.
func (r *report) merge(later *report) {
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
	var details []string
	for _, m := range later.Machine {
		switch m[0] {
		case "date", "goselectors":
			details = append(details, m[1])
		case "CPU used by other processes", "duration":
			details = append(details, m[0]+" "+m[1])
		}
	}
	r.Machine = append(r.Machine, [2]string{"measured again by `" + later.Command + "`", strings.Join(details, ", ")})
	for step, reason := range later.Failed {
		r.fail(step, errors.New(reason))
	}
	for reason, steps := range later.Skipped {
		for _, step := range steps {
			r.skip(step, reason)
		}
	}
}

func (r *report) fail(step string, err error) {
	if r.Failed == nil {
		r.Failed = make(map[string]string)
	}
	r.Failed[step] = err.Error()
}

func (r *report) skip(name, reason string) {
	if r.Skipped == nil {
		r.Skipped = make(map[string][]string)
	}
	if !slices.Contains(r.Skipped[reason], name) {
		r.Skipped[reason] = append(r.Skipped[reason], name)
	}
}

// series returns the values of a metric round by round, NaN for a round without a
// run.
func (r *report) series(w *workload, s *shape, c string, m *metric) []float64 {
	runs := r.Runs[w.name][s.name][c]
	n := 0
	for _, run := range runs {
		n = max(n, run.Round+1)
	}
	v := slices.Repeat([]float64{math.NaN()}, n)
	for _, run := range runs {
		v[run.Round] = m.value(run.Figures)
	}
	return v
}

// value returns the median of a metric over the rounds.
func (r *report) value(w *workload, s *shape, c string, m *metric) float64 {
	return median(r.series(w, s, c, m))
}

// ratioTo returns the ratio of a contender's metric to that of another contender.
func (r *report) ratioTo(w *workload, s *shape, c, other string, m *metric) float64 {
	return ratio(r.series(w, s, c, m), r.series(w, s, other, m))
}

// baselineOf returns the name of the contender with which c is compared, or "".
func (w *workload) baselineOf(c *contender) string {
	if c.baseline != "" {
		return c.baseline
	}
	return w.baseline
}

// metric returns the metric with that name, or nil.
func (w *workload) metric(name string) *metric {
	for i := range w.metrics {
		if w.metrics[i].name == name {
			return &w.metrics[i]
		}
	}
	return nil
}

// measured returns the shapes and the contenders of w that have at least one run.
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

// write writes RESULTS.md, results.json and the charts to dir. The notes are
// Markdown text that RESULTS.md includes.
func (r *report) write(dir, notes string) error {
	if err := os.MkdirAll(filepath.Join(dir, "plots"), 0o755); err != nil {
		return err
	}
	saved, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(saved, '\n'), 0o644); err != nil {
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

// markdown returns the text of RESULTS.md.
func (r *report) markdown(notes string) string {
	var b strings.Builder
	b.WriteString("# Benchmark results\n\n")
	fmt.Fprintf(&b, "Generated by `%s` with at most %d rounds; do not edit. Ratios depend less on the machine than absolute figures.\n\n", r.Command, r.Rounds)
	if r.Quick {
		b.WriteString("**Quick run**: the measurements are few and short, and the figures are only a first estimate.\n\n")
	}
	if r.Stopped != "" {
		fmt.Fprintf(&b, "**Incomplete.** %s\n\n", r.Stopped)
	}
	b.WriteString("| | |\n|---|---|\n")
	for _, m := range r.Machine {
		fmt.Fprintf(&b, "| %s | %s |\n", escapeCell(m[0]), escapeCell(m[1]))
	}
	b.WriteString("\nEach figure is the median over the rounds. The number in brackets is the ratio to the baseline: the median of the " +
		"ratios in each round. Contenders run in turn (A B C A B C …). Each run is a process of its own and starts with a warm-up " +
		"that is not measured. CPU is the user and system time of the whole process.\n\n")
	writeRowKinds(&b)
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

// escapeCell escapes the characters of s that end a cell of a Markdown table.
func escapeCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// writeRowKinds explains the names of the tables' rows.
func writeRowKinds(b *strings.Builder) {
	b.WriteString("## Rows\n\n| row | program |\n|---|---|\n")
	for _, kind := range rowKinds {
		fmt.Fprintf(b, "| %s | %s |\n", kind.names, kind.program)
	}
	b.WriteString("\n")
}

// writeWorkload writes the section of a workload, unless it has no runs.
func (r *report) writeWorkload(b *strings.Builder, w *workload) {
	shapes, contenders := r.measured(w)
	if len(shapes) == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n%s\n\n", w.title, w.description)
	if w.baseline != "" {
		fmt.Fprintf(b, "The baseline is **%s**", w.baseline)
		if !slices.ContainsFunc(contenders, func(c *contender) bool { return c.name == w.baseline }) {
			b.WriteString(", which was not measured")
		}
		b.WriteString(".\n\n")
	}
	if w.chart != "" {
		fmt.Fprintf(b, "![%s](plots/%s.svg)\n\n", w.title, w.name)
	}
	if w.metricColumns {
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
		fmt.Fprintf(b, "Spread between rounds (%[2]s): the largest value of a row is %[1]s times the smallest, in the median over all rows.\n\n", formatFigure(v), m.name)
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

// cell formats a metric and, if it has one, the ratio to the baseline.
func (r *report) cell(w *workload, s *shape, c *contender, m *metric) string {
	text := formatFigure(r.value(w, s, c.name, m))
	baseline := w.baselineOf(c)
	if m.ratio && baseline != "" {
		if v := r.ratioTo(w, s, c.name, baseline, m); !math.IsNaN(v) {
			text += " (" + formatFigure(v) + ")"
		}
	}
	return text
}

// writeTable writes a table with a row for each contender.
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

// writeTargets lists the targets and whether they are met.
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
			if t.rivals == nil {
				v := r.value(w, s, t.contender, m)
				fmt.Fprintf(&rows, "| %s, %s: %s | %s | ≤ %s %s | %s | %s |\n", w.title, t.contender, t.metric, s.name, formatFigure(t.limit), m.unit, formatFigure(v), verdict(v <= t.limit))
				continue
			}
			for _, other := range t.rivals {
				if v := r.ratioTo(w, s, t.contender, other, m); !math.IsNaN(v) {
					fmt.Fprintf(&rows, "| %s, %s: %s | %s | ≤ %s × %s | %s | %s |\n", w.title, t.contender, t.metric, s.name, formatFigure(t.limit), other, formatFigure(v), verdict(v <= t.limit))
				}
			}
		}
	}
	if rows.Len() > 0 {
		fmt.Fprintf(b, "## Targets\n\n| workload, row: metric | shape | target | measured | |\n|---|---|--:|--:|---|\n%s\n", rows.String())
	}
}

func verdict(ok bool) string {
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

// noiseFactor is the ratio up to which a difference counts as noise.
const noiseFactor = 1.05

// A loss is a row of goselectors that is slower than others.
type loss struct {
	contender, shape string
	rivals           []string // name and ratio
}

// losses returns the losses of w in the metric m. It considers the first row of
// goselectors and those with a baseline of their own. The rivals of the latter
// are only the rows with the same baseline.
func (r *report) losses(w *workload, m *metric) (found []loss) {
	shapes, contenders := r.measured(w)
	first := slices.IndexFunc(contenders, func(c *contender) bool { return c.ours })
	if first < 0 || m.better == 0 || !m.chart {
		return nil
	}
	for _, s := range shapes {
		for i, c := range contenders {
			if !c.ours || i != first && c.baseline == "" {
				continue
			}
			l := loss{contender: c.name, shape: s.name}
			for _, rival := range contenders {
				if rival.ours || rival.lowerBound || c.baseline != "" && rival.baseline != c.baseline && rival.name != c.baseline {
					continue
				}
				v := r.ratioTo(w, s, c.name, rival.name, m)
				if m.better > 0 {
					v = 1 / v
				}
				if v > noiseFactor {
					l.rivals = append(l.rivals, fmt.Sprintf("%s %s", rival.name, formatFigure(v)))
				}
			}
			if l.rivals != nil {
				found = append(found, l)
			}
		}
	}
	return found
}

// writeLosses lists the losses in the metrics that are in the charts.
func (r *report) writeLosses(b *strings.Builder) {
	var rows strings.Builder
	for i := range workloads {
		w := &workloads[i]
		for j := range w.metrics {
			for _, l := range r.losses(w, &w.metrics[j]) {
				fmt.Fprintf(&rows, "| %s, %s | %s | %s | %s |\n", w.title, w.metrics[j].name, l.shape, l.contender, strings.Join(l.rivals, "; "))
			}
		}
	}
	if rows.Len() > 0 {
		fmt.Fprintf(b, "## Where goselectors is slower\n\nAll differences of more than %.0f %% in the metrics of the charts. The number after a row's name is how many times worse goselectors is than that row.\n\n"+
			"| workload, metric | shape | goselectors row | slower than |\n|---|---|---|---|\n%s\n", (noiseFactor-1)*100, rows.String())
	}
}

// writeMissing lists what is not available, was not run or has failed.
func (r *report) writeMissing(b *strings.Builder) {
	if len(r.Missing)+len(r.Skipped)+len(r.Failed) == 0 {
		return
	}
	b.WriteString("## Not measured\n\n")
	for _, m := range r.Missing {
		fmt.Fprintf(b, "- %s\n", m)
	}
	for _, reason := range sortedKeys(r.Skipped) {
		fmt.Fprintf(b, "- not run (%s): %s\n", reason, strings.Join(r.Skipped[reason], "; "))
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
