package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// median is the middle one, or between the middle two; NaN of none.
func median(v []float64) float64 {
	v = slices.DeleteFunc(slices.Clone(v), math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// spread is how far the rounds lie apart: the largest over the smallest.
func spread(v []float64) float64 {
	v = slices.DeleteFunc(slices.Clone(v), math.IsNaN)
	if len(v) == 0 || slices.Min(v) <= 0 {
		return math.NaN()
	}
	return slices.Max(v) / slices.Min(v)
}

// ratio is the median of the ratios round by round. What was measured within a
// few seconds of each other compares better than what was not.
func ratio(ours, floor []float64) float64 {
	var v []float64
	for i := range min(len(ours), len(floor)) {
		if floor[i] > 0 {
			v = append(v, ours[i]/floor[i])
		}
	}
	return median(v)
}

// figure prints three significant digits without an exponent.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a == 0:
		return "0"
	case a < 9.995:
		return fmt.Sprintf("%.2f", v)
	case a < 99.95:
		return fmt.Sprintf("%.1f", v)
	case a < 99995:
		return fmt.Sprintf("%.0f", v)
	}
	// Thousands are set apart, or nobody can read them.
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}
