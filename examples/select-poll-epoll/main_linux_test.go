package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"goselectors/examples/internal/lessontest"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

func TestTable(t *testing.T) {
	lesson := lessontest.Start(t, "-n", "10,1200")
	cost := make(map[string]float64)
	for _, n := range []int{10, 1200} {
		for _, way := range ways {
			if n > way.most {
				lesson.Until(fmt.Sprintf(`^ +%d +%s +cannot: its set ends at 1023$`, n, way.name))
				continue
			}
			line := lesson.Until(fmt.Sprintf(`^ +%d +%s +\d+ +\d+ +\d+ +(\d+\.\d+)$`, n, way.name))
			cost[fmt.Sprint(way.name, n)], _ = strconv.ParseFloat(line[1], 64)
		}
	}
	lesson.End()
	if cost["poll1200"] < 10*cost["poll10"] {
		t.Errorf("poll takes %v µs for 10 descriptors and %v for 1200: it scans them all", cost["poll10"], cost["poll1200"])
	}
	if cost["epoll1200"] > 5*cost["epoll10"] {
		t.Errorf("epoll takes %v µs for 10 descriptors and %v for 1200: it scans none", cost["epoll10"], cost["epoll1200"])
	}
}

func TestOneScreen(t *testing.T) {
	lesson := lessontest.Start(t)
	lesson.Until("^scanned ")
	lines := strings.Split(lesson.End(), "\n")
	if len(lines) > 24 {
		t.Errorf("%d lines; a screen has 24", len(lines))
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestCompare: the numbers go on to the example that measures connections.
func TestCompare(t *testing.T) {
	t.Chdir("../..") // the root of the repository
	out := lessontest.Start(t, "-n", "10", "-compare").End()
	for _, backend := range []string{"epoll", "poll", "select"} {
		if !regexp.MustCompile(`(?m)^ *` + backend + ` +20 .*[0-9]`).MatchString(out) {
			t.Errorf("compare says nothing of %s with 20 descriptors:\n%s", backend, out)
		}
	}
}

func TestBadUse(t *testing.T) {
	lessontest.BadUse(t, "select-poll-epoll", []string{"-n", "0"}, []string{"-n", "10,"}, []string{"-n", "many"})
}
