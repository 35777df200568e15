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
			if n > way.limit {
				lesson.WaitLine(fmt.Sprintf(`^ +%d +%s +not possible: the highest descriptor is 1023$`, n, way.name))
				continue
			}
			line := lesson.WaitLine(fmt.Sprintf(`^ +%d +%s +\d+ +\d+ +\d+ +(\d+\.\d+)$`, n, way.name))
			cost[fmt.Sprint(way.name, n)], _ = strconv.ParseFloat(line[1], 64)
		}
	}
	lesson.WaitEnd()
	if cost["poll1200"] < 10*cost["poll10"] {
		t.Errorf("poll takes %v µs for 10 descriptors and %v for 1200: it should scan all of them", cost["poll10"], cost["poll1200"])
	}
	if cost["epoll1200"] > 5*cost["epoll10"] {
		t.Errorf("epoll takes %v µs for 10 descriptors and %v for 1200: it should not scan them", cost["epoll10"], cost["epoll1200"])
	}
}

func TestOneScreen(t *testing.T) {
	lesson := lessontest.Start(t)
	lesson.WaitLine("^scanned ")
	lines := strings.Split(lesson.WaitEnd(), "\n")
	if len(lines) > 24 {
		t.Errorf("%d lines; a screen has 24", len(lines))
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestCompare requires that -compare runs examples/compare.
func TestCompare(t *testing.T) {
	t.Chdir("../..") // the root of the repository
	out := lessontest.Start(t, "-n", "10", "-compare").WaitEnd()
	for _, backend := range []string{"epoll", "poll", "select"} {
		if !regexp.MustCompile(`(?m)^ *` + backend + ` +20 .*[0-9]`).MatchString(out) {
			t.Errorf("compare prints nothing for %s with 20 descriptors:\n%s", backend, out)
		}
	}
}

func TestUsage(t *testing.T) {
	lessontest.CheckUsage(t, "select-poll-epoll", []string{"-n", "0"}, []string{"-n", "10,"}, []string{"-n", "many"})
}
