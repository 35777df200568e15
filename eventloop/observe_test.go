//go:build unix

package eventloop_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/trace"
	"strings"
	"sync"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A logBuffer collects the log lines of a loop.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *logBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

// lines returns the logged lines and clears the buffer.
func (s *logBuffer) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.TrimSpace(s.buf.String())
	s.buf.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// discardLog drops log lines that a test does not check.
var discardLog = eventloop.WithLogger(slog.New(slog.DiscardHandler))

// currentLine returns file:line of its caller.
func currentLine() string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d", file, line)
}

// Callbacks whose names the tests look for in logs and panics.
func slowTask()                      { slowAction() }
func slowFile(any, selectors.Event)  { slowAction() }
func slowSignal(os.Signal)           { slowAction() }
func quickTask()                     {}
func quickFile(any, selectors.Event) {}

var slowAction = func() {}

// A slow callback is logged with its name and the place where it was registered or
// scheduled. A quick one is not logged.
func TestSlowCallback(t *testing.T) {
	forEachLoopKind(t, testCase{"of each kind", func(t *testing.T, k loopKind) {
		var at time.Duration
		slowAction = func() { at += 100 * time.Millisecond }
		var s logBuffer
		l := k.loop(t, eventloop.WithSlowCallback(100*time.Millisecond), eventloop.WithLogger(s.logger()),
			eventloop.WithClock(func() time.Duration { return at }))
		a := readableSocket(t)
		for _, c := range []struct {
			kind, name string
			add        func() (from string)
			done       func()
		}{
			{"soon", "slowTask", func() string { check(l.CallSoon(slowTask)); return currentLine() }, nil},
			{"post", "slowTask", func() string { check(l.Post(slowTask)); return currentLine() }, nil},
			{"timer", "slowTask", func() string { must(l.CallLater(0, slowTask)); return currentLine() }, nil},
			{"timer", "slowTask", func() string { must(l.CallAt(0, slowTask)); return currentLine() }, nil},
			{"file", "slowFile", func() string { must(l.Register(a, read, slowFile)); return currentLine() }, func() { must(l.Unregister(a)) }},
			{"file", "slowFile", func() string {
				must(l.Register(a, read, quickFile))
				_, from := must(l.Modify(a, read, slowFile)), currentLine() // on one line
				return from
			}, func() { must(l.Modify(a, write, slowFile)) }},
			{"file", "slowFile", func() string { must(l.Replace(a, read, slowFile)); return currentLine() }, func() { must(l.Unregister(a)) }},
			{"work", "slowTask", func() string { check(l.Do(func() {}, slowTask)); return currentLine() }, nil},
			{"signal", "slowSignal", func() string {
				from := currentLine()
				h := must(l.OnSignal(unix.SIGUSR1, slowSignal))
				t.Cleanup(func() { h.Stop() })
				sendSignal(unix.SIGUSR1)
				return from[:strings.LastIndex(from, ":")]
			}, nil},
		} {
			must(l.CallLater(0, quickTask))
			check(l.CallSoon(quickTask))
			check(l.Post(quickTask))
			from := c.add()
			var lines []string
			eventually(t, "something is logged", func() bool {
				runTurn(t, l)
				lines = s.lines()
				return len(lines) > 0
			})
			if c.done != nil {
				c.done()
			}
			if len(lines) != 1 {
				t.Fatalf("%s: %d lines:\n%s", c.kind, len(lines), strings.Join(lines, "\n"))
			}
			for _, part := range []string{"level=WARN", "slow callback", "kind=" + c.kind, "eventloop_test." + c.name, "from=" + from, "took=100ms"} {
				if !strings.Contains(lines[0], part) {
					t.Errorf("%s: %q is missing in %s", c.kind, part, lines[0])
				}
			}
			if hasFD := strings.Contains(lines[0], fmt.Sprint("fd=", a)); hasFD != (c.kind == "file") {
				t.Errorf("the log line has the wrong descriptor: %s", lines[0])
			}
		}
		if got := l.Stats().LongestCallback; got != 100*time.Millisecond {
			t.Errorf("the longest callback took %v", got)
		}
	}}, testCase{"quick ones only", func(t *testing.T, k loopKind) {
		var s logBuffer
		l := k.loop(t, eventloop.WithSlowCallback(time.Hour), eventloop.WithLogger(s.logger()))
		check(l.CallSoon(func() { time.Sleep(time.Millisecond) }))
		runTurn(t, l)
		if got := l.Stats().LongestCallback; got < time.Millisecond || got > receiveTimeout {
			t.Errorf("the longest callback took %v", got)
		}
		if lines := s.lines(); lines != nil {
			t.Errorf("logged %v, want none", lines)
		}
	}}, testCase{"in debug", func(t *testing.T, k loopKind) {
		var at time.Duration
		slowAction = func() { at += 100 * time.Millisecond }
		var s logBuffer
		l := k.loop(t, eventloop.WithDebug(), eventloop.WithLogger(s.logger()), eventloop.WithClock(func() time.Duration { return at }))
		check(l.CallSoon(slowTask))
		check(l.CallSoon(func() { at += 99 * time.Millisecond }))
		runTurn(t, l)
		if lines := s.lines(); len(lines) != 1 || !strings.Contains(lines[0], "slowTask") {
			t.Errorf("logged %v, want one line with slowTask", lines)
		}
	}}, testCase{"that panics", func(t *testing.T, k loopKind) {
		var at time.Duration
		var s logBuffer
		l := k.loop(t, eventloop.WithSlowCallback(time.Millisecond), eventloop.WithLogger(s.logger()),
			eventloop.WithClock(func() time.Duration { return at }), eventloop.WithPanicHandler(func(eventloop.Panic) {}))
		check(l.CallSoon(func() {
			at += time.Second
			panicBoom()
		}))
		runTurn(t, l)
		if lines := s.lines(); len(lines) != 1 || !strings.Contains(lines[0], "took=1s") {
			t.Errorf("logged %v, want one line with took=1s", lines)
		}
	}}, testCase{"not asked for", func(t *testing.T, k loopKind) {
		var s logBuffer
		l := k.loop(t, eventloop.WithLogger(s.logger()))
		check(l.CallSoon(func() { time.Sleep(2 * time.Millisecond) }))
		runTurn(t, l)
		if got := l.Stats().LongestCallback; got != 0 || s.lines() != nil {
			t.Errorf("without WithSlowCallback LongestCallback = %v, want 0, or a line was logged", got)
		}
	}})
}

// A Panic has the name of the user's callback.
func TestPanicNames(t *testing.T) {
	forEachLoopKind(t, testCase{"of each kind", func(t *testing.T, k loopKind) {
		slowAction = panicBoom
		var got []eventloop.Panic
		l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) }))
		a := readableSocket(t)
		check(l.CallSoon(slowTask))
		check(l.Post(slowTask))
		must(l.CallLater(0, slowTask))
		must(l.Register(a, read|oneShot, slowFile))
		check(l.Do(func() {}, slowTask))
		check(l.Do(slowTask, quickTask))
		must(l.OnSignal(unix.SIGUSR1, slowSignal))
		sendSignal(unix.SIGUSR1)
		eventually(t, "all have panicked", func() bool { runTurn(t, l); return len(got) == 7 })
		kinds := map[string]int{}
		for _, p := range got {
			kinds[p.Kind]++
			want := map[string]string{"file": "slowFile", "signal": "slowSignal"}[p.Kind]
			if want == "" {
				want = "slowTask"
			}
			if !strings.HasSuffix(p.Callback, "eventloop_test."+want) {
				t.Errorf("%s: %s", p.Kind, p.Callback)
			}
		}
		if fmt.Sprint(kinds) != "map[file:1 post:1 signal:1 soon:1 timer:1 work:2]" {
			t.Errorf("panics of the kinds %v", kinds)
		}
	}})
}

func TestStats(t *testing.T) {
	forEachLoopKind(t, testCase{"counts", func(t *testing.T, k loopKind) {
		var at time.Duration
		l := k.loop(t, eventloop.WithClock(func() time.Duration { return at }))
		if s := l.Stats(); s != (eventloop.Stats{}) {
			t.Errorf("Stats of a new loop: %+v", s)
		}
		must(l.Register(readableSocket(t), read, func(any, selectors.Event) {}))
		check(l.CallSoon(func() {}))
		check(l.Post(func() {}))
		must(l.CallLater(0, func() {}))
		runTurn(t, l)
		want := eventloop.Stats{Turns: 1, Callbacks: 4, Timers: 1}
		if s := l.Stats(); s != want {
			t.Errorf("Stats() = %+v, want %+v", s, want)
		}
		// A timer is late if it fires LateAfter or more after its time.
		for _, late := range []time.Duration{eventloop.LateAfter - 1, eventloop.LateAfter, time.Second} {
			must(l.CallLater(time.Second, func() {}))
			at += time.Second + late
			runTurn(t, l)
		}
		want = eventloop.Stats{Turns: 4, Callbacks: 10, Timers: 4, LateTimers: 2, LatestTimer: time.Second}
		if s := l.Stats(); s != want {
			t.Errorf("Stats() = %+v, want %+v", s, want)
		}
		runTurn(t, l)
		want.Turns, want.Callbacks = 5, 11
		if s := l.Stats(); s != want {
			t.Errorf("Stats() = %+v, want %+v", s, want)
		}
	}})
}

// Each callback is a region of the execution trace.
func TestTrace(t *testing.T) {
	forEachLoopKind(t, testCase{"regions", func(t *testing.T, k loopKind) {
		for _, opts := range [][]eventloop.Option{{eventloop.WithTrace()}, {eventloop.WithTrace(), eventloop.WithPanicHandler(func(eventloop.Panic) {})}, nil} {
			l := k.loop(t, opts...)
			slowAction = func() {}
			check(l.CallSoon(tracedTask)) // no trace has been started yet
			runTurn(t, l)
			var buf bytes.Buffer
			if err := trace.Start(&buf); err != nil {
				t.Skip("somebody else is tracing: ", err)
			}
			check(l.CallSoon(tracedTask))
			must(l.Register(readableSocket(t), read|oneShot, tracedFile))
			check(l.Do(func() {}, tracedDone))
			if len(opts) > 1 {
				check(l.CallSoon(panicBoom))
			}
			for l.Alive() && !tracedAll {
				must(l.RunOnce(-1))
			}
			tracedAll = false
			trace.Stop()
			for _, name := range []string{"tracedTask", "tracedFile", "tracedDone"} {
				if got := bytes.Contains(buf.Bytes(), []byte("eventloop_test."+name)); got != (opts != nil) {
					t.Errorf("%d options: %s in the trace: %v", len(opts), name, got)
				}
			}
			check(l.CallSoon(tracedTask)) // the trace has ended
			runTurn(t, l)
			l.Close()
		}
	}})
}

var tracedAll bool

//go:noinline
func tracedTask() {}

//go:noinline
func tracedFile(any, selectors.Event) {}

//go:noinline
func tracedDone() { tracedAll = true }

// At Close, a loop with WithDebug logs what is still registered; other loops do not.
func TestLeaks(t *testing.T) {
	forEachLoopKind(t, testCase{"reported in debug", func(t *testing.T, k loopKind) {
		for _, debug := range []bool{true, false} {
			var s logBuffer
			opts := []eventloop.Option{eventloop.WithLogger(s.logger())}
			if debug {
				opts = append(opts, eventloop.WithDebug())
			}
			l := k.loop(t, opts...)
			a, b, c := readableSocket(t), readableSocket(t), readableSocket(t)
			must(l.Register(a, read, quickFile))
			fileFrom := currentLine()
			must(l.Register(b, read, quickFile))
			must(l.Unregister(b))
			must(l.Selector().Register(c, read|write, "data"))
			must(l.CallLater(time.Hour, quickTask))
			timerFrom := currentLine()
			must(l.CallLater(time.Hour, quickTask)).Stop()
			l.Close()
			lines := s.lines()
			if !debug {
				if lines != nil {
					t.Errorf("logged %v, want none", lines)
				}
				continue
			}
			all := strings.Join(lines, "\n")
			if len(lines) != 3 {
				t.Fatalf("%d lines:\n%s", len(lines), all)
			}
			previousLine := func(line string) string { // the line above
				var n int
				colon := strings.LastIndex(line, ":")
				fmt.Sscan(line[colon+1:], &n)
				return fmt.Sprintf("%s:%d", line[:colon], n-1)
			}
			for _, part := range []string{
				fmt.Sprint("fd=", a), "quickFile", "from=" + previousLine(fileFrom), "events=Read ", "object=int",
				fmt.Sprint("fd=", c), "events=Read|Write",
				"kind=timer", "quickTask", "from=" + previousLine(timerFrom), "when=",
			} {
				if !strings.Contains(all, part) {
					t.Errorf("%q is missing in\n%s", part, all)
				}
			}
		}
	}}, testCase{"none, none reported", func(t *testing.T, k loopKind) {
		var s logBuffer
		l := k.loop(t, eventloop.WithLogger(s.logger()), eventloop.WithDebug())
		a := readableSocket(t)
		must(l.Register(a, read, quickFile))
		must(l.CallLater(0, quickTask))
		runTurn(t, l)
		must(l.Unregister(a))
		l.Close()
		if lines := s.lines(); lines != nil {
			t.Errorf("logged %v, want none", lines)
		}
	}})
}

// With WithDebug, the methods that belong to the loop's goroutine return an error
// on other goroutines while the loop runs. Without it there is no check.
func TestWrongGoroutine(t *testing.T) {
	onOtherGoroutine := func(f func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			f()
		}()
		<-done
	}
	forEachLoopKind(t, testCase{"rejected with WithDebug", func(t *testing.T, k loopKind) {
		s := &logBuffer{}
		l := k.loop(t, eventloop.WithDebug(), eventloop.WithLogger(s.logger()))
		a := readableSocket(t)
		checkAllowed := func(where string) {
			for what, err := range callLoopMethods(l, a, func() {}, func(any, selectors.Event) {}) {
				if err != nil && !errors.Is(err, selectors.ErrNotRegistered) && !errors.Is(err, selectors.ErrRegistered) {
					t.Errorf("%s, %s: %v", what, where, err)
				}
			}
		}
		var timer *eventloop.Timer
		var h *eventloop.SignalHandler
		// Before the loop runs, any goroutine may call its methods, one at a time.
		onOtherGoroutine(func() {
			checkAllowed("before it runs")
			timer = must(l.CallLater(time.Hour, func() {}))
			h = must(l.OnSignal(unix.SIGUSR1, func(os.Signal) {}))
		})
		check(l.CallSoon(func() {
			checkAllowed("in a callback")
			must(l.Replace(a, read, func(any, selectors.Event) {}))
			onOtherGoroutine(func() {
				for what, err := range callLoopMethods(l, a, func() {}, func(any, selectors.Event) { t.Error("called") }) {
					if !errors.Is(err, eventloop.ErrWrongGoroutine) {
						t.Errorf("%s, on another goroutine: %v", what, err)
					}
				}
				if timer.Stop() || timer.Reset(0) || h.Stop() {
					t.Error("Stop or Reset had an effect on another goroutine")
				}
				// These methods cannot return an error. They log it.
				logged := s.lines()
				for i, what := range []string{"stop a timer", "reset a timer", "stop a signal handler"} {
					if len(logged) != 3 || !strings.Contains(logged[i], what) || !strings.Contains(logged[i], "observe_test.go") {
						t.Errorf("logged %q, want the place of the call to %s", logged, what)
					}
				}
				// Any goroutine may call these methods.
				l.Stats()
				check(l.Post(func() {}))
				check(l.Do(func() {}, nil))
				l.Stop()
			})
			if !timer.Active() {
				t.Error("the timer was stopped on another goroutine")
			}
		}))
		runLoop(t, l)
		onOtherGoroutine(func() {
			checkAllowed("after it has run")
			// The next goroutine that runs the loop owns it then.
			check(l.CallSoon(func() { checkAllowed("in a callback, on another goroutine") }))
			runTurn(t, l)
		})
	}}, testCase{"not checked without WithDebug", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		a := readableSocket(t)
		check(l.CallSoon(func() {
			onOtherGoroutine(func() { // safe here, because the loop waits for it
				must(l.Register(a, read, func(any, selectors.Event) {}))
				for what, err := range callLoopMethods(l, a, func() {}, func(any, selectors.Event) {}) {
					if errors.Is(err, eventloop.ErrWrongGoroutine) {
						t.Errorf("%s: %v", what, err)
					}
				}
			})
		}))
		runTurn(t, l)
	}})
}
