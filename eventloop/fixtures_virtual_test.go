package eventloop_test

import (
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/looptest"

	gocmp "github.com/google/go-cmp/cmp"
)

// A testLoop is a loop on a virtual clock with a log of its callbacks. Tests on it
// do not sleep, and their times are exact.
type testLoop struct {
	*eventloop.Loop
	*looptest.Clock
	sel *looptest.Selector
	t   testing.TB
	log []logEntry
}

// A logEntry is one call of a callback.
type logEntry struct {
	At   time.Duration // the loop's time
	Name string
}

// newTestLoop returns a testLoop whose clock is at zero. It is closed when the
// test ends.
func newTestLoop(t testing.TB, opts ...eventloop.Option) *testLoop {
	t.Helper()
	l, clock, sel := looptest.New(opts...)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testLoop{l, clock, sel, t, nil}
}

// Now returns the loop's time.
func (l *testLoop) Now() time.Duration { return l.Loop.Now() }

// logCall returns a callback that adds an entry to the log.
func (l *testLoop) logCall(name string) func() {
	return func() { l.log = append(l.log, logEntry{l.Now(), name}) }
}

// must returns t, and ends the test if err is not nil.
func (l *testLoop) must(t *eventloop.Timer, err error) *eventloop.Timer {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	return t
}

func (l *testLoop) callLater(d time.Duration, fn func()) *eventloop.Timer {
	l.t.Helper()
	return l.must(l.CallLater(d, fn))
}

func (l *testLoop) callAt(when time.Duration, fn func()) *eventloop.Timer {
	l.t.Helper()
	return l.must(l.CallAt(when, fn))
}

func (l *testLoop) callEvery(interval time.Duration, fn func()) *eventloop.Timer {
	l.t.Helper()
	return l.must(l.Every(interval, fn))
}

// runOnce runs one turn and returns how many callbacks ran.
func (l *testLoop) runOnce(timeout time.Duration) int {
	l.t.Helper()
	n, err := l.RunOnce(timeout)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// want compares the log with the expected entries.
func (l *testLoop) want(want ...logEntry) {
	l.t.Helper()
	if diff := gocmp.Diff(want, l.log); diff != "" {
		l.t.Fatalf("calls (-want +got):\n%s", diff)
	}
}

// checkBool reports an error if the result of a call is not the expected one.
func (l *testLoop) checkBool(call string, got, want bool) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s is %v, want %v", call, got, want)
	}
}

// Short names for the units, which the tables use.
const (
	msec = time.Millisecond
	sec  = time.Second
)
