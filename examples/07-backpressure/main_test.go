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

// needsPipes skips where the loop cannot wait for a pipe.
func needsPipes(t *testing.T) {
	t.Helper()
	if len(selectors.Backends()) == 0 || runtime.GOOS == "windows" {
		t.Skip("no selector that takes pipes on this platform")
	}
}

// summary is what the lesson says at the end.
type summary struct{ kb, peak, partial, pauses int }

func finish(l *lessontest.Lesson) (s summary) {
	line := l.Until(`: (\d+) KB in \S+; queue up to (\d+) KB, (\d+) writes only in part, (\d+) pauses`)
	for i, n := range []*int{&s.kb, &s.peak, &s.partial, &s.pauses} {
		*n, _ = strconv.Atoi(line[i+1])
	}
	l.Until("bye$")
	l.End()
	return s
}

func TestWaterMarks(t *testing.T) {
	needsPipes(t)
	lesson := lessontest.Start(t, "-slow", "1ms")
	lesson.Until("KB written: queue the rest, write interest on")
	lesson.Until("above the high-water mark: pause")
	lesson.Until("not above the low-water mark: resume")
	s := finish(lesson)
	if s.kb != 1024 || s.partial == 0 || s.pauses < 2 || s.peak <= 64 || s.peak > 64+24 {
		t.Errorf("%+v; want 1024 KB, several pauses and a queue of 64 KB and one piece at most", s)
	}
}

func TestInterestOnAndOff(t *testing.T) {
	needsPipes(t)
	lesson := lessontest.Start(t, "-kb", "100", "-high", "200", "-slow", "1ms")
	lesson.Until("write interest on")
	lesson.Until("all is produced")
	lesson.Until("all written: write interest off")
	if s := finish(lesson); s.kb != 100 || s.pauses != 0 {
		t.Errorf("%+v; want 100 KB, which never fill the queue", s)
	}
}

// TestDrains: with a low-water mark of nothing the queue drains before each
// pause ends.
func TestDrains(t *testing.T) {
	needsPipes(t)
	lesson := lessontest.Start(t, "-low", "0", "-high", "1", "-slow", "1ms", "-kb", "400")
	for range 3 {
		lesson.Until("write interest on")
		lesson.Until("above the high-water mark: pause")
		lesson.Until(" 0 KB queued, not above the low-water mark: resume")
		lesson.Until("all written: write interest off")
	}
	if s := finish(lesson); s.kb != 400 || s.pauses < 3 || s.peak > 24 {
		t.Errorf("%+v; want 400 KB, several pauses and never more than a piece in the queue", s)
	}
}

func TestNoLimit(t *testing.T) {
	needsPipes(t)
	if s := finish(lessontest.Start(t, "-slow", "1ms", "-nolimit")); s.kb != 1024 || s.pauses != 0 || s.peak < 512 {
		t.Errorf("%+v; want 1024 KB, most of them in the queue, and no pauses", s)
	}
}

func TestInterrupt(t *testing.T) {
	needsPipes(t)
	lesson := lessontest.Start(t, "-slow", "1h")
	lesson.Until("pause$")
	const idle = 500 * time.Millisecond
	time.Sleep(idle)
	if all := lesson.Interrupt(); strings.Contains(all, "resume") {
		t.Errorf("resumes before anything was read:\n%s", all)
	}
	if cpu := lesson.CPU(); cpu > idle/2 {
		t.Errorf("%v of processor time in %v, in which nobody did anything", cpu, idle)
	}
}

func TestBadUse(t *testing.T) {
	lessontest.BadUse(t, "07-backpressure", []string{"-low", "64"}, []string{"-kb", "0"}, []string{"-slow", "-1s"})
}
