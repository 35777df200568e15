//go:build unix

package eventloop_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A panicRow is a row of the table of panics in the package documentation: a kind
// of callback, and whether it is called again when it has panicked.
type panicRow struct {
	name, kind string
	again      bool
	add        func(t *testing.T, l *eventloop.Loop, fn func()) (subject any)
}

var panicRows = []panicRow{
	{"Register", "file", true, func(t *testing.T, l *eventloop.Loop, fn func()) any {
		a := readableSocket(t)
		must(l.Register(a, read, func(any, selectors.Event) { fn() }))
		return a
	}},
	{"Register with OneShot", "file", false, func(t *testing.T, l *eventloop.Loop, fn func()) any {
		a := readableSocket(t)
		must(l.Register(a, read|oneShot, func(any, selectors.Event) { fn() }))
		return a
	}},
	{"RegisterHandler", "file", true, func(t *testing.T, l *eventloop.Loop, fn func()) any {
		f := &file{readableSocket(t)}
		must(l.RegisterHandler(f, read, &fileLog{r: new(recorder), do: func(any, selectors.Event) { fn() }}))
		return f
	}},
	{"AddReader", "file", true, func(t *testing.T, l *eventloop.Loop, fn func()) any {
		a := readableSocket(t)
		check(l.AddReader(a, func(any, selectors.Event) { fn() }))
		return a
	}},
	{"OnceWritable", "waiter", false, func(t *testing.T, l *eventloop.Loop, fn func()) any {
		a, _ := socketPair(t)
		must(l.OnceWritable(a, func(any, selectors.Event) { fn() }))
		return a
	}},
	{"CallLater", "timer", false, func(_ *testing.T, l *eventloop.Loop, fn func()) any { must(l.CallLater(0, fn)); return nil }},
	{"Every", "timer", true, func(_ *testing.T, l *eventloop.Loop, fn func()) any { must(l.Every(1, fn)); return nil }},
	{"CallSoon", "soon", false, func(_ *testing.T, l *eventloop.Loop, fn func()) any { check(l.CallSoon(fn)); return nil }},
	{"Schedule", "soon", false, func(_ *testing.T, l *eventloop.Loop, fn func()) any { must(l.Schedule(fn)); return nil }},
	{"Post", "post", false, func(_ *testing.T, l *eventloop.Loop, fn func()) any { check(l.Post(fn)); return nil }},
	{"PostHandle", "post", false, func(_ *testing.T, l *eventloop.Loop, fn func()) any { must(l.PostHandle(fn)); return nil }},
	{"OnSignal", "signal", true, func(_ *testing.T, l *eventloop.Loop, fn func()) any {
		must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { fn() }))
		check(unix.Kill(os.Getpid(), unix.SIGUSR1))
		return nil
	}},
	{"Do", "work", false, func(_ *testing.T, l *eventloop.Loop, fn func()) any {
		check(l.Do(func() {}, fn))
		return nil
	}},
	{"DoResult", "work", false, func(_ *testing.T, l *eventloop.Loop, fn func()) any {
		check(eventloop.DoResult(l, func() (int, error) { return 0, nil }, func(int, error) { fn() }))
		return nil
	}},
	{"OnTurn", "hook", true, func(_ *testing.T, l *eventloop.Loop, fn func()) any { must(l.OnTurn(nil, fn)); return nil }},
}

// TestPanicTable: what a panic of each kind of callback leaves behind, without a
// handler, with one, and with one that panics itself; Goexit is like a panic. Each
// time the turn has another callback, which must run once.
func TestPanicTable(t *testing.T) {
	var cases []testCase
	for _, row := range panicRows {
		for _, how := range []string{"propagates", "is handled", "handler panics", "Goexit", "Goexit with a handler"} {
			cases = append(cases, testCase{row.name + " " + how, func(t *testing.T, k loopKind) { row.test(t, k, how) }})
		}
	}
	forEachLoopKind(t, cases...)
}

func (row panicRow) test(t *testing.T, k loopKind, how string) {
	var got []eventloop.Panic
	var opts []eventloop.Option
	switch how {
	case "is handled", "Goexit with a handler":
		opts = append(opts, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) }))
	case "handler panics":
		opts = append(opts, eventloop.WithPanicHandler(func(p eventloop.Panic) {
			got = append(got, p)
			panic("handler")
		}))
	}
	l := k.loop(t, opts...)
	calls, others := 0, 0
	subject := row.add(t, l, func() {
		switch calls++; {
		case calls > 1:
		case how == "Goexit", how == "Goexit with a handler":
			runtime.Goexit()
		default:
			panicBoom()
		}
	})
	check(l.Post(func() { others++ })) // runs after most kinds of callbacks
	var value any
	for started := time.Now(); calls == 0; time.Sleep(100 * time.Microsecond) {
		if time.Since(started) > receiveTimeout {
			t.Fatal("the callback was not called")
		}
		ended := make(chan struct{})
		go func() { // a goroutine that Goexit may end
			defer close(ended)
			value, _ = catchPanic(func() { l.RunOnce(0) })
		}()
		receive(t, ended)
	}
	wantValue := map[string]any{"propagates": "boom", "handler panics": "handler"}[how]
	if value != wantValue {
		t.Errorf("Run has panicked with %v, want %v", value, wantValue)
	}
	if handled := how == "is handled" || how == "handler panics"; handled != (len(got) == 1) {
		t.Fatalf("the panic handler got %+v", got)
	} else if handled && (got[0].Kind != row.kind || got[0].Subject != subject || got[0].Value != "boom") {
		t.Errorf("the panic handler got %+v, want kind %s and subject %v", got[0], row.kind, subject)
	}
	for range 3 {
		if row.kind == "signal" {
			check(unix.Kill(os.Getpid(), unix.SIGUSR1))
			eventually(t, "the signal arrives", func() bool { runTurn(t, l); return calls > 1 })
		}
		time.Sleep(time.Microsecond) // for Every
		runTurn(t, l)
	}
	if others != 1 {
		t.Errorf("the other callback of the turn ran %d times", others)
	}
	if again := calls > 1; again != row.again {
		t.Errorf("called %d times, want more than once: %v", calls, row.again)
	}
	check(l.Close())
}
