package sys

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestMilliseconds(t *testing.T) {
	const day = 24 * time.Hour
	for timeout, want := range map[time.Duration]int{
		-1: -1, math.MinInt64: -1, 0: 0, 1: 1,
		time.Millisecond: 1, time.Millisecond + 1: 2, 9 * time.Millisecond: 9,
		day: int(day / time.Millisecond),
	} {
		if got := Milliseconds(timeout); got != want {
			t.Errorf("Milliseconds(%v) = %d, want %d", timeout, got, want)
		}
	}
}

func TestUnsupported(t *testing.T) {
	err := error(Unsupported("flying"))
	if got, want := err.Error(), "flying is not supported"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Error("is not errors.ErrUnsupported")
	}
}
