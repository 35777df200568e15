//go:build unix

package eventloop_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A fileLog is a FileHandler that records its calls.
type fileLog struct {
	name string
	r    *recorder
	do   func(fileobj any, events selectors.Event)
}

func (h *fileLog) FileReady(fileobj any, events selectors.Event) {
	h.r.add(h.name)
	if h.do != nil {
		h.do(fileobj, events)
	}
}

func (h *fileLog) String() string { return h.name }

// A namedHandler is a FileHandler that is not a pointer.
type namedHandler string

func (namedHandler) FileReady(any, selectors.Event) { panicBoom() }

// A FileHandler is called as a Callback is, whether the loop or the selector has
// registered it.
func TestFileHandler(t *testing.T) {
	forEachLoopKind(t,
		testCase{"registered", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			var r recorder
			first := &fileLog{"first", &r, func(fileobj any, events selectors.Event) {
				if fileobj != any(a) || events != read {
					t.Errorf("called with %v, %v; want %d, read", fileobj, events, a)
				}
			}}
			key := must(l.RegisterHandler(a, read, first))
			if key.Data != any(first) {
				t.Errorf("the data of the key is %v", key.Data)
			}
			if n := runTurn(t, l); n != 1 {
				t.Errorf("the turn ran %d callbacks, want 1", n)
			}
			r.want(t, "first")
			must(l.ModifyHandler(a, write, &fileLog{"second", &r, nil}))
			runTurn(t, l)
			r.want(t, "second")
			must(l.Modify(a, read, r.callback("third")))
			runTurn(t, l)
			r.want(t, "third")
			must(l.Selector().Modify(a, read, &fileLog{"fourth", &r, nil}))
			runTurn(t, l)
			r.want(t, "fourth")
		}},
		testCase{"removed in the same turn", func(t *testing.T, k loopKind) {
			for _, registrar := range registrars {
				l := k.loop(t)
				var r recorder
				fds := []int{readableSocket(t), readableSocket(t), readableSocket(t)}
				for _, fd := range fds {
					must(l.RegisterHandler(fd, read, &fileLog{"called", &r, func(any, selectors.Event) {
						for _, other := range fds {
							if other != fd {
								check(registrar.unregister(l, other))
							}
						}
					}}))
				}
				runTurn(t, l)
				r.want(t, "called")
				l.Close()
			}
		}},
		testCase{"nil", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			var typed *fileLog
			for _, h := range []eventloop.FileHandler{nil, typed} {
				if key, err := l.RegisterHandler(a, read, h); key != nil || !errors.Is(err, eventloop.ErrNilCallback) {
					t.Errorf("RegisterHandler(%#v): %v, %v; want ErrNilCallback", h, key, err)
				}
				if key, err := l.ModifyHandler(a, read, h); key != nil || !errors.Is(err, eventloop.ErrNilCallback) {
					t.Errorf("ModifyHandler(%#v): %v, %v; want ErrNilCallback", h, key, err)
				}
			}
		}},
		testCase{"panic", func(t *testing.T, k loopKind) {
			var got []eventloop.Panic
			l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) }))
			var r recorder
			a, b := readableSocket(t), readableSocket(t)
			must(l.RegisterHandler(a, read, namedHandler("a")))
			must(l.RegisterHandler(b, read, &fileLog{"b", &r, nil}))
			runTurn(t, l)
			r.want(t, "b")
			if len(got) != 1 || got[0].Kind != "file" || got[0].Callback != "eventloop_test.namedHandler" || got[0].Subject != any(a) {
				t.Errorf("the panic handler got %+v", got)
			}
		}},
		testCase{"observed", func(t *testing.T, k loopKind) {
			var s logBuffer
			l := k.loop(t, eventloop.WithSlowCallback(1), eventloop.WithLogger(s.logger()), eventloop.WithDebug())
			var r recorder
			a := readableSocket(t)
			_, from := must(l.RegisterHandler(a, read, &fileLog{"a", &r, nil})), currentLine()
			runTurn(t, l)
			l.Close()
			lines := s.lines()
			if len(lines) != 2 || !strings.Contains(lines[0], "slow callback") || !strings.Contains(lines[1], "still registered") {
				t.Fatalf("logged\n%s", strings.Join(lines, "\n"))
			}
			for _, line := range lines {
				for _, part := range []string{"kind=file", "callback=*eventloop_test.fileLog", fmt.Sprint("fd=", a), "from=" + from} {
					if !strings.Contains(line, part) {
						t.Errorf("%q is missing in %s", part, line)
					}
				}
			}
		}},
	)
}

// The subject of a panic is the file of a file's callback, unless the callback
// has named another one.
func TestSubject(t *testing.T) {
	forEachLoopKind(t, testCase{"of a panic", func(t *testing.T, k loopKind) {
		for _, named := range []any{nil, "request 7"} {
			for _, source := range sources {
				var got []eventloop.Panic
				l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) }))
				l.SetSubject("outside of callbacks")
				var want any
				source.add(t, l, func() {
					if named != nil {
						l.SetSubject("an earlier one")
						l.SetSubject(named)
					}
					panicBoom()
				})
				if want = named; want == nil && source.name == "file" {
					for key := range l.Selector().Keys() {
						want = key.FileObj
					}
				}
				runTurn(t, l)
				if len(got) != 1 || got[0].Subject != want {
					t.Errorf("%s: the panic handler got %+v, want the subject %v", source.name, got, want)
				}
				source.add(t, l, panicBoom)
				runTurn(t, l)
				if last := got[len(got)-1]; last.Subject == any("request 7") {
					t.Errorf("%s: the subject of one callback is reported for the next", source.name)
				}
			}
		}
	}}, testCase{"of a slow callback", func(t *testing.T, k loopKind) {
		var s logBuffer
		l := k.loop(t, eventloop.WithSlowCallback(1), eventloop.WithLogger(s.logger()))
		for _, c := range []struct {
			subject any
			want    string
		}{
			{nil, ""},
			{"a request", `subject="a request"`},
			{17, "subject=17"},
			{&fileLog{name: "stringer"}, "subject=stringer"},
			{errors.New("broken"), "subject=broken"},
			{&struct{ secret int }{1}, `subject="*struct { secret int }"`},
		} {
			check(l.CallSoon(func() { l.SetSubject(c.subject) }))
			runTurn(t, l)
			lines := s.lines()
			if len(lines) != 1 || !strings.Contains(lines[0], c.want) || strings.Contains(lines[0], "subject=") != (c.subject != nil) {
				t.Errorf("the subject %v is logged as %v, want %s", c.subject, lines, c.want)
			}
		}
	}}, testCase{"not observed", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		check(l.CallSoon(func() { l.SetSubject(1) }))
		runTurn(t, l)
	}})
}

// ReadClock reads the clock within a turn, and Now does not.
func TestReadClock(t *testing.T) {
	l := newTestLoop(t)
	check(l.CallSoon(func() {
		l.Now()
		l.Advance(time.Second)
		if now, read := l.Loop.Now(), l.ReadClock(); now != 0 || read != time.Second {
			t.Errorf("Now is %v and ReadClock %v, want 0 and 1s", now, read)
		}
	}))
	l.runOnce(0)
	if read := l.ReadClock(); read != time.Second {
		t.Errorf("ReadClock is %v after the turn, want 1s", read)
	}
}
