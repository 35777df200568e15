package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// median returns the median of v without its NaNs, or NaN if nothing is left.
func median(v []float64) float64 {
	v = slices.DeleteFunc(slices.Clone(v), math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// spread returns the largest value divided by the smallest, without NaNs.
func spread(v []float64) float64 {
	v = slices.DeleteFunc(slices.Clone(v), math.IsNaN)
	if len(v) == 0 || slices.Min(v) <= 0 {
		return math.NaN()
	}
	return slices.Max(v) / slices.Min(v)
}

// ratio returns the median of the ratios in each round. Values of the same round
// were measured within a few seconds of each other and so under similar conditions.
func ratio(values, baseline []float64) float64 {
	var v []float64
	for i := range min(len(values), len(baseline)) {
		if baseline[i] > 0 {
			v = append(v, values[i]/baseline[i])
		}
	}
	return median(v)
}

// formatFigure formats v with at least three significant digits and no exponent. NaN becomes a dash.
func formatFigure(v float64) string {
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
	// Large numbers get a space before each group of three digits.
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}
