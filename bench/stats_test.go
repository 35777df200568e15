package main

import (
	"math"
	"testing"
)

var nan = math.NaN()

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		v    []float64
		want float64
	}{
		{nil, nan},
		{[]float64{3}, 3},
		{[]float64{3, 1, 2}, 2},
		{[]float64{4, 1, 2, 3}, 2.5},
		{[]float64{nan, 1, nan, 3}, 2},
		{[]float64{nan}, nan},
		{[]float64{1, 1, 1, 1000}, 1},
	} {
		if got := median(test.v); got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
			t.Errorf("median(%v) = %v, want %v", test.v, got, test.want)
		}
	}
	v := []float64{3, 1, 2}
	if median(v); v[0] != 3 {
		t.Error("median sorted its argument")
	}
}

// In the third round the machine was twice as slow for both contenders.
func TestRatioIsRoundByRound(t *testing.T) {
	if got := ratio([]float64{11, 11, 22}, []float64{10, 10, 20}); got != 1.1 {
		t.Errorf("ratio = %v", got)
	}
	if got := ratio([]float64{11, nan, 33}, []float64{10, 10, 10, 10}); got != 2.2 {
		t.Errorf("ratio with a missing round = %v", got)
	}
	if got := ratio(nil, []float64{1}); !math.IsNaN(got) {
		t.Errorf("ratio of nil = %v", got)
	}
	if got := ratio([]float64{1}, []float64{0}); !math.IsNaN(got) {
		t.Errorf("ratio to zero = %v", got)
	}
}

func TestSpread(t *testing.T) {
	if got := spread([]float64{2, 1, nan, 4}); got != 4 {
		t.Errorf("spread = %v", got)
	}
}

func TestFormatFigure(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.123: "0.12", 9.99: "9.99", 9.996: "10.0", 12.34: "12.3", 99.94: "99.9", 99.96: "100", 1234.5: "1234",
		99994: "99994", 123456: "123 456", 1234567: "1 234 567", -32.81: "-32.8", -123456: "-123 456", nan: "–",
	} {
		if got := formatFigure(v); got != want {
			t.Errorf("formatFigure(%v) = %q, want %q", v, got, want)
		}
	}
	if formatFigure(nan) != "–" {
		t.Error("formatFigure(NaN) is not a dash")
	}
}
