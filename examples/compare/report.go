package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// textReport returns the report as text: a table, and a chart for each activity.
func textReport(c *config, results []result, s style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "TCP connections over loopback exchange messages of %d bytes. An event is one\n"+
		"message: waiting, dispatch, a read and a write. Medians of %d × %v on\n%s/%s, %d processors, %s.\n\n",
		messageSize, c.rounds, c.window, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	writeTable(&b, results)
	for _, a := range c.active {
		b.WriteString("\n")
		b.WriteString(drawText(a, resultsOf(a, results), s))
	}
	return b.String()
}

// resultsOf returns the results of one activity.
func resultsOf(a activity, results []result) (matching []result) {
	for _, r := range results {
		if r.activity == a {
			matching = append(matching, r)
		}
	}
	return matching
}

// writeTable writes a row for each result, and an empty line between groups of
// rows that differ in the backend only.
func writeTable(w io.Writer, results []result) {
	fmt.Fprintf(w, "%-8s %7s %7s %10s %9s %9s %9s %9s\n", "", "", "", "", "µs", "CPU user", "CPU sys", "allocs")
	fmt.Fprintf(w, "%-8s %7s %7s %10s %9s %9s %9s %9s\n", "backend", "fds", "active", "events/s", "an event", "µs/event", "µs/event", "an event")
	previous := setting{}
	for _, r := range results {
		if r.conns != previous.conns || r.activity != previous.activity {
			fmt.Fprintln(w)
		}
		previous = r.setting
		fmt.Fprintf(w, "%-8s %7d %7d %10.0f %9s %9s %9s %9.2f\n",
			r.backend.Name, r.fds(), r.active, 1e6/r.wall, threeDigits(r.wall), threeDigits(r.user), threeDigits(r.sys), r.allocs)
	}
}

// threeDigits formats v with at least three digits, of which at most two are
// decimals: 0.12, 21.5, 4642.
func threeDigits(v float64) string {
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// The output of -json.
type (
	jsonReport struct {
		OS           string    `json:"os"`
		Arch         string    `json:"arch"`
		CPUs         int       `json:"cpus"`
		GoVersion    string    `json:"go_version"`
		MessageBytes int       `json:"message_bytes"`
		Rounds       int       `json:"rounds"`
		WindowMS     float64   `json:"window_ms"`
		Results      []jsonRow `json:"results"`
	}
	jsonRow struct {
		Backend         string  `json:"backend"`
		Connections     int     `json:"connections"`
		FDs             int     `json:"fds"`
		Active          int     `json:"active"`
		Events          int     `json:"events"` // total of all rounds
		EventsPerSecond float64 `json:"events_per_second"`
		MicrosPerEvent  float64 `json:"us_per_event"`
		MicrosMin       float64 `json:"us_per_event_min"`
		MicrosMax       float64 `json:"us_per_event_max"`
		UserMicros      float64 `json:"cpu_user_us_per_event"`
		SysMicros       float64 `json:"cpu_sys_us_per_event"`
		AllocsPerEvent  float64 `json:"allocs_per_event"`
	}
)

func writeJSON(w io.Writer, c *config, results []result) error {
	report := jsonReport{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), GoVersion: runtime.Version(),
		MessageBytes: messageSize, Rounds: c.rounds, WindowMS: float64(c.window.Microseconds()) / 1000,
	}
	for _, r := range results {
		report.Results = append(report.Results, jsonRow{
			Backend: r.backend.Name, Connections: r.conns, FDs: r.fds(), Active: r.active,
			Events: r.events, EventsPerSecond: 1e6 / r.wall,
			MicrosPerEvent: r.wall, MicrosMin: r.fastest, MicrosMax: r.slowest,
			UserMicros: r.user, SysMicros: r.sys, AllocsPerEvent: r.allocs,
		})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(report)
}
