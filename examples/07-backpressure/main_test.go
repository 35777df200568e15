package main

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"goselectors/examples/internal/lessontest"
	"goselectors/selectors"
)

func TestMain(m *testing.M) { lessontest.Main(m, main) }

// needsPipes skips the test where the loop cannot wait for a pipe.
func needsPipes(t *testing.T) {
	t.Helper()
	if len(selectors.Backends()) == 0 || runtime.GOOS == "windows" {
		t.Skip("no selector for pipes on this platform")
	}
}

// summary has the numbers of the last line of output.
type summary struct{ kb, maxQueue, partialWrites, pauses int }

func waitSummary(l *lessontest.Lesson) (s summary) {
	line := l.WaitLine(`: (\d+) KB in \S+; longest queue (\d+) KB, (\d+) partial writes, (\d+) pauses; .*nolimit`)
	for i, n := range []*int{&s.kb, &s.maxQueue, &s.partialWrites, &s.pauses} {
		*n, _ = strconv.Atoi(line[i+1])
	}
	l.WaitLine("bye$")
	l.WaitEnd()
	return s
}

func TestWaterMarks(t *testing.T) {
	needsPipes(t)
	lesson := lessontest.Start(t, "-slow", "1ms")
	lesson.WaitLine("KB written: queue the rest, write interest on")
	lesson.WaitLine("above the high-water mark: pause")
	lesson.WaitLine("not above the low-water mark: resume")
	s := waitSummary(lesson)
	if s.kb != 1024 || s.partialWrites == 0 || s.pauses < 2 || s.maxQueue <= 64 || s.maxQueue > 64+24 {
		t.Errorf("%+v; want 1024 KB, several pauses and a queue of at most 64 KB and one chunk", s)
	}
}

func TestInterestOnAndOff(t *testing.T) {
	needsPipes(t)
	lesson := lessontest.Start(t, "-kb", "100", "-high", "200", "-slow", "1ms")
	lesson.WaitLine("write interest on")
	lesson.WaitLine("producer finished")
	lesson.WaitLine("all written: write interest off")
	if s := waitSummary(lesson); s.kb != 100 || s.pauses != 0 {
		t.Errorf("%+v; want 100 KB, no pauses", s)
	}
}

// TestLowZero sets the low-water mark to 0: the queue is empty at each resume.
func TestLowZero(t *testing.T) {
	needsPipes(t)
	lesson := lessontest.Start(t, "-low", "0", "-high", "1", "-slow", "1ms", "-kb", "400")
	for range 3 {
		lesson.WaitLine("write interest on")
		lesson.WaitLine("above the high-water mark: pause")
		lesson.WaitLine(" 0 KB queued, not above the low-water mark: resume")
		lesson.WaitLine("all written: write interest off")
	}
	if s := waitSummary(lesson); s.kb != 400 || s.pauses < 3 || s.maxQueue > 24 {
		t.Errorf("%+v; want 400 KB, several pauses and at most one chunk in the queue", s)
	}
}

func TestNoLimit(t *testing.T) {
	needsPipes(t)
	if s := waitSummary(lessontest.Start(t, "-slow", "1ms", "-nolimit")); s.kb != 1024 || s.pauses != 0 || s.maxQueue < 512 {
		t.Errorf("%+v; want 1024 KB, most of them in the queue, and no pauses", s)
	}
}

func TestInterrupt(t *testing.T) {
	needsPipes(t)
	lesson := lessontest.Start(t, "-slow", "1h")
	lesson.WaitLine("pause$")
	const idle = 500 * time.Millisecond
	time.Sleep(idle)
	if output := lesson.Interrupt(); strings.Contains(output, "resume") {
		t.Errorf("resumed before anything was read:\n%s", output)
	}
	if cpu := lesson.CPU(); cpu > idle/2 {
		t.Errorf("%v of processor time in %v, without work", cpu, idle)
	}
}

func TestUsage(t *testing.T) {
	lessontest.CheckUsage(t, "07-backpressure", []string{"-low", "64"}, []string{"-kb", "0"}, []string{"-slow", "-1s"})
}
