//go:build unix

package eventloop_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"goselectors/eventloop"
	"goselectors/eventloop/looptest"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

const (
	hangup  = selectors.EventHangup
	ioError = selectors.EventError
	invalid = selectors.EventInvalid
)

// addAll adds a reader, two read waiters, a writer and two write waiters, which
// record their calls.
func addAll(l *eventloop.Loop, fileobj any, r *recorder) {
	check(l.AddWriter(fileobj, r.callback("w")))
	must(l.OnceWritable(fileobj, r.callback("w1")))
	must(l.OnceWritable(fileobj, r.callback("w2")))
	must(l.OnceReadable(fileobj, r.callback("r1")))
	must(l.OnceReadable(fileobj, r.callback("r2")))
	check(l.AddReader(fileobj, r.callback("r")))
}

// wantNoKey checks that a file has no key.
func wantNoKey(t *testing.T, l *eventloop.Loop, fileobj any) {
	t.Helper()
	if key, err := l.Selector().Key(fileobj); !errors.Is(err, selectors.ErrNotRegistered) {
		t.Errorf("the file still has the key %+v, %v", key, err)
	}
}

func TestWatchers(t *testing.T) {
	forEachLoopKind(t,
		testCase{"order", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			var r recorder
			addAll(l, a, &r)
			if n := runTurn(t, l); n != 6 {
				t.Errorf("%d callbacks ran, want 6", n)
			}
			r.want(t, "r r1 r2 w w1 w2")
			runTurn(t, l)
			r.want(t, "r w")
			l.RemoveReader(a)
			runTurn(t, l)
			r.want(t, "w")
			l.RemoveWriter(a)
			wantNoKey(t, l, a)
		}},
		testCase{"reader and writer of one connection", func(t *testing.T, k loopKind) {
			// Each waits again and again. Neither may keep the other from being
			// called.
			l := k.loop(t)
			a, b := socketPair(t)
			const size = 1 << 20
			sent, received := 0, 0
			buf := make([]byte, 1<<16)
			echo := func(fd int) {
				check(l.AddReader(fd, func(any, selectors.Event) {
					n, err := selectors.TryRead(fd, buf)
					if err == nil && n > 0 {
						selectors.TryWrite(fd, buf[:1])
					}
				}))
			}
			echo(b)
			var write, read eventloop.Callback
			write = func(fileobj any, _ selectors.Event) {
				n, err := selectors.TryWrite(fileobj, buf)
				if err == nil {
					sent += n
				}
				if sent < size {
					must(l.OnceWritable(fileobj, write))
				}
			}
			read = func(fileobj any, _ selectors.Event) {
				if n, err := selectors.TryRead(fileobj, buf); err == nil {
					received += n
				}
				must(l.OnceReadable(fileobj, read))
			}
			must(l.OnceReadable(a, read))
			must(l.OnceWritable(a, write))
			runUntil(t, l, "all is sent and something received", func() bool { return sent >= size && received > 0 })
		}},
		testCase{"three acceptors", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			ln := must(net.Listen("tcp", "127.0.0.1:0"))
			defer ln.Close()
			var served [3]int
			accepted := 0
			for i := range served {
				var accept eventloop.Callback
				accept = func(fileobj any, _ selectors.Event) {
					fd, err := selectors.TryAcceptFD(fileobj)
					switch {
					case err == nil:
						served[i]++
						accepted++
						check(unix.Close(fd))
						return // until it is asked to accept again
					case !errors.Is(err, selectors.ErrWouldBlock):
						t.Error(err)
					}
					must(l.OnceReadable(fileobj, accept))
				}
				must(l.OnceReadable(ln, accept))
			}
			// Each acceptor takes one of three connections.
			for range 3 {
				c := must(net.Dial("tcp", ln.Addr().String()))
				defer c.Close()
			}
			runUntil(t, l, "three connections are accepted", func() bool { return accepted == 3 })
			if served != [3]int{1, 1, 1} {
				t.Errorf("the acceptors have served %v, want one each", served)
			}
			wantNoKey(t, l, ln)
		}},
		testCase{"registered in the other way", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a, b := readableSocket(t), readableSocket(t)
			var r recorder
			must(l.Register(a, read, r.callback("a")))
			errs := map[string]error{"AddReader": l.AddReader(a, r.callback("no")), "AddWriter": l.AddWriter(a, r.callback("no"))}
			_, errs["OnceReadable"] = l.OnceReadable(a, r.callback("no"))
			_, errs["OnceWritable"] = l.OnceWritable(a, r.callback("no"))
			check(l.AddReader(b, r.callback("b")))
			_, errs["Register"] = l.Register(b, read, r.callback("no"))
			_, errs["RegisterHandler"] = l.RegisterHandler(b, read, &fileLog{"no", &r, nil})
			_, errs["Modify"] = l.Modify(b, write, r.callback("no"))
			_, errs["ModifyHandler"] = l.ModifyHandler(b, write, &fileLog{"no", &r, nil})
			_, errs["Replace"] = l.Replace(b, write, r.callback("no"))
			for method, err := range errs {
				if !errors.Is(err, selectors.ErrRegistered) {
					t.Errorf("%s: %v, want ErrRegistered", method, err)
				}
			}
			if l.RemoveReader(a) || l.RemoveWriter(a) || l.RemoveWriter(b) {
				t.Error("a reader or writer was removed that does not exist")
			}
			runTurn(t, l)
			if r.count("a") != 1 || r.count("b") != 1 || r.count("no") != 0 {
				t.Errorf("called %v", r.log)
			}
		}},
		testCase{"the last waiter changes to Register", func(t *testing.T, k loopKind) {
			for name, change := range map[string]func(l *eventloop.Loop, fd int, callback eventloop.Callback) error{
				"Register": func(l *eventloop.Loop, fd int, c eventloop.Callback) error {
					_, err := l.Register(fd, read, c)
					return err
				},
				"Replace": func(l *eventloop.Loop, fd int, c eventloop.Callback) error {
					_, err := l.Replace(fd, read, c)
					return err
				},
				"Unregister": func(l *eventloop.Loop, fd int, c eventloop.Callback) error {
					if _, err := l.Unregister(fd); !errors.Is(err, selectors.ErrNotRegistered) {
						return fmt.Errorf("Unregister: %v, want ErrNotRegistered", err)
					}
					return l.AddReader(fd, c)
				},
				"Modify": func(l *eventloop.Loop, fd int, c eventloop.Callback) error {
					if _, err := l.Modify(fd, read, c); !errors.Is(err, selectors.ErrNotRegistered) {
						return fmt.Errorf("Modify: %v, want ErrNotRegistered", err)
					}
					return l.AddReader(fd, c)
				},
			} {
				l := k.loop(t)
				a := readableSocket(t)
				var r recorder
				must(l.OnceReadable(a, func(any, selectors.Event) {
					if err := change(l, a, r.callback(name)); err != nil {
						t.Error(name, err)
					}
				}))
				runTurn(t, l)
				runTurn(t, l)
				r.want(t, name)
				l.Close()
			}
		}},
		testCase{"an error concerns both directions", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			pr, pw := pipe(t)
			var r recorder
			addAll(l, pw, &r)
			l.RemoveWriter(pw)
			for { // until the pipe is full: it is not ready for writing
				if _, err := retryEINTR(func() (int, error) { return unix.Write(pw, make([]byte, 4096)) }); err != nil {
					break
				}
			}
			runTurn(t, l)
			r.want(t, "")
			check(unix.Close(pr))
			runTurn(t, l)
			r.want(t, "r r1 r2 w1 w2")
		}},
		testCase{"regular file", func(t *testing.T, k loopKind) {
			if k.Features&selectors.FeatureAnyFile == 0 {
				t.Skip("the backend does not take regular files")
			}
			l := k.loop(t)
			f := must(os.Create(filepath.Join(t.TempDir(), "f")))
			defer f.Close()
			var r recorder
			addAll(l, f, &r)
			runTurn(t, l)
			r.want(t, "r r1 r2 w w1 w2")
			must(l.Unregister(f))
			runTurn(t, l)
			r.want(t, "")
		}},
		testCase{"system calls", func(t *testing.T, k loopKind) {
			// What is removed and added again in a call does not change the key.
			s := &changeCounter{Selector: k.selector(t)}
			l := k.loop(t, eventloop.WithSelector(s))
			f := &file{readableSocket(t)}
			var again, reader eventloop.Callback
			again = func(any, selectors.Event) { must(l.OnceReadable(f, again)) }
			reader = func(any, selectors.Event) {
				l.RemoveReader(f)
				check(l.AddReader(f, reader))
			}
			for name, add := range map[string]func(){
				"waiter": func() { must(l.OnceReadable(f, again)) },
				"reader": func() { check(l.AddReader(f, reader)) },
			} {
				add()
				s.changes = 0
				if n := runTurn(t, l) + runTurn(t, l); n != 2 || s.changes != 0 {
					t.Errorf("%s: %d calls and %d changes of the interest, want 2 and 0", name, n, s.changes)
				}
				must(l.Unregister(f))
			}
		}},
		testCase{"Close in a watcher", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a := readableSocket(t)
			var r recorder
			must(l.OnceReadable(a, func(any, selectors.Event) { check(l.Close()) }))
			second := must(l.OnceReadable(a, r.callback("second")))
			check(l.AddWriter(a, r.callback("writer")))
			if _, err := l.RunOnce(0); !errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("RunOnce: %v, want ErrClosed", err)
			}
			r.want(t, "")
			if second.Cancel() || l.RemoveWriter(a) {
				t.Error("something was cancelled after Close")
			}
			_, err := l.OnceReadable(a, r.callback("no"))
			for _, err := range []error{err, l.AddReader(a, r.callback("no"))} {
				if !errors.Is(err, eventloop.ErrClosed) {
					t.Errorf("after Close: %v, want ErrClosed", err)
				}
			}
		}},
		testCase{"panics", func(t *testing.T, k loopKind) {
			var got []eventloop.Panic
			l := k.loop(t, eventloop.WithPanicHandler(func(p eventloop.Panic) { got = append(got, p) }))
			a := readableSocket(t)
			var r recorder
			must(l.OnceReadable(a, r.callback("r1")))
			must(l.OnceReadable(a, func(any, selectors.Event) { panicBoom() }))
			must(l.OnceReadable(a, r.callback("r2")))
			check(l.AddWriter(a, func(any, selectors.Event) {
				l.RemoveWriter(a)
				panicBoom()
			}))
			must(l.OnceWritable(a, r.callback("w1")))
			if n := runTurn(t, l); n != 5 {
				t.Errorf("%d callbacks ran, want 5", n)
			}
			r.want(t, "r1 r2 w1")
			wantNoKey(t, l, a)
			if len(got) != 2 || got[0].Kind != "waiter" || got[1].Kind != "file" || got[0].Subject != any(a) || got[1].Subject != any(a) {
				t.Errorf("the panic handler got %+v", got)
			}
		}},
		testCase{"leaks", func(t *testing.T, k loopKind) {
			var s logBuffer
			l := k.loop(t, eventloop.WithDebug(), eventloop.WithLogger(s.logger()))
			a, _ := socketPair(t)
			check(l.AddReader(a, quickFile))
			_, from := must(l.OnceReadable(a, quickFile)), currentLine()
			l.Close()
			lines := s.lines()
			if len(lines) != 2 {
				t.Fatalf("logged\n%s", strings.Join(lines, "\n"))
			}
			for i, parts := range [][]string{{"kind=file"}, {"kind=waiter", "from=" + from}} {
				for _, part := range append(parts, "still registered", "quickFile", fmt.Sprint("fd=", a), "events=Read") {
					if !strings.Contains(lines[i], part) {
						t.Errorf("%q is missing in %s", part, lines[i])
					}
				}
			}
		}},
		testCase{"allocations", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			calls := 0
			count := func(any, selectors.Event) { calls++ }
			for range 10 {
				a := readableSocket(t)
				check(l.AddReader(a, count))
				check(l.AddWriter(a, count))
			}
			runTurn(t, l)
			calls = 0
			if allocs := testing.AllocsPerRun(100, func() { runTurn(t, l) }); allocs != 0 {
				t.Errorf("%v allocations per turn, want 0", allocs)
			}
			if calls != 101*20 {
				t.Errorf("%d calls, want %d", calls, 101*20)
			}
		}},
	)
}

// A changeCounter is a selector that counts the calls that change the kernel's set.
type changeCounter struct {
	selectors.Selector
	changes int
}

func (s *changeCounter) Register(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	s.changes++
	return s.Selector.Register(fileobj, events, data)
}

func (s *changeCounter) Modify(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	if key, err := s.Selector.Key(fileobj); err == nil && key.Events != events {
		s.changes++
	}
	return s.Selector.Modify(fileobj, events, data)
}

func (s *changeCounter) Unregister(fileobj any) (*selectors.SelectorKey, error) {
	s.changes++
	return s.Selector.Unregister(fileobj)
}

// What is told of files that were closed without Unregister.
func TestWatchersOfClosedFiles(t *testing.T) {
	forEachLoopKind(t,
		testCase{"all are told", func(t *testing.T, k loopKind) {
			if k.Features&selectors.FeatureInvalid == 0 {
				t.Skip("the backend does not report closed files")
			}
			for _, object := range []bool{false, true} {
				l := k.loop(t)
				a, _ := socketPair(t)
				fileobj := any(a)
				if object {
					fileobj = &file{a} // it does not know that it is closed
				}
				var r recorder
				addAll(l, fileobj, &r)
				check(unix.Close(a))
				check(l.CallSoon(func() { // runs before the report is dispatched
					if _, err := l.OnceReadable(fileobj, r.callback("late")); !errors.Is(err, unix.EBADF) {
						t.Errorf("OnceReadable of a closed descriptor: %v, want EBADF", err)
					}
				}))
				runTurn(t, l)
				r.want(t, "r r1 r2 w w1 w2")
				for range 3 {
					runTurn(t, l)
				}
				r.want(t, "")
				l.RemoveReader(fileobj)
				l.RemoveWriter(fileobj)
				wantNoKey(t, l, fileobj)
				l.Close()
			}
		}},
		testCase{"events", func(t *testing.T, k loopKind) {
			if k.Features&selectors.FeatureInvalid == 0 {
				t.Skip("the backend does not report closed files")
			}
			l := k.loop(t)
			a, _ := socketPair(t)
			for _, add := range []func(any, eventloop.Callback) (*eventloop.Waiter, error){l.OnceReadable, l.OnceWritable} {
				must(add(a, func(_ any, events selectors.Event) {
					if events != ioError|invalid {
						t.Errorf("called for %v, want Error|Invalid", events)
					}
				}))
			}
			check(unix.Close(a))
			if n := runTurn(t, l); n != 2 {
				t.Errorf("%d callbacks ran, want 2", n)
			}
			wantNoKey(t, l, a)
		}},
		testCase{"closed by a waiter", func(t *testing.T, k loopKind) {
			// The kernel forgets the file on epoll. The others must not wait for ever.
			for _, object := range []bool{false, true} {
				l := k.loop(t)
				a := readableSocket(t)
				fileobj := any(a)
				if object {
					fileobj = &file{a} // it does not know that it is closed
				}
				(&pairFile{fd: a}).fill()
				var r recorder
				must(l.OnceReadable(fileobj, func(any, selectors.Event) { check(unix.Close(a)) }))
				must(l.OnceReadable(fileobj, r.callback("reads")))
				check(l.AddWriter(fileobj, r.callback("writer")))
				must(l.OnceWritable(fileobj, func(_ any, events selectors.Event) {
					if events&invalid == 0 {
						t.Errorf("called for %v, want Invalid", events)
					}
					r.add("writes")
				}))
				runTurn(t, l)
				r.want(t, "reads")
				want := "writer writes"
				check(l.CallSoon(func() { // in the turn that reports it
					if _, err := l.OnceWritable(fileobj, r.callback("late")); err == nil {
						want += " late"
					}
				}))
				if _, err := l.RunOnce(receiveTimeout); err != nil {
					t.Fatal(err)
				}
				r.want(t, want)
				if n, err := l.RunOnce(quietPeriod); n != 0 || err != nil {
					t.Errorf("%d callbacks ran, %v, want none", n, err)
				}
				if !l.RemoveWriter(fileobj) {
					t.Error("the writer is not registered any more")
				}
				wantNoKey(t, l, fileobj)
				l.Close()
			}
		}},
		testCase{"a closed connection", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			ln := must(net.Listen("tcp", "127.0.0.1:0"))
			defer ln.Close()
			c := must(net.Dial("tcp", ln.Addr().String()))
			other := must(ln.Accept())
			defer other.Close()
			check(l.AddReader(c, func(any, selectors.Event) {}))
			c.Close()
			if x, err := l.OnceReadable(c, func(any, selectors.Event) {}); x != nil || err == nil {
				t.Errorf("OnceReadable of a closed connection: %v, %v", x, err)
			}
			if err := l.AddWriter(c, func(any, selectors.Event) {}); err == nil {
				t.Error("AddWriter of a closed connection has no error")
			}
			if !l.RemoveReader(c) {
				t.Error("RemoveReader after the connection was closed is false")
			}
			wantNoKey(t, l, c)
		}},
		testCase{"an object with a new descriptor", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			f := &file{readableSocket(t)}
			var r recorder
			must(l.OnceReadable(f, func(any, selectors.Event) {
				check(unix.Close(f.fd))
				f.fd = readableSocket(t)
				must(l.OnceReadable(f, r.callback("new")))
			}))
			runTurn(t, l)
			runTurn(t, l)
			r.want(t, "new")
			wantNoKey(t, l, f)
		}},
		testCase{"Replace of a number that has come back", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a, _ := socketPair(t)
			var r recorder
			must(l.Register(a, read, r.callback("old")))
			check(dup2(readableSocket(t), a))
			must(l.Replace(a, read, r.callback("new")))
			runTurn(t, l)
			r.want(t, "new")
		}},
	)
}

// Two objects with one descriptor name the same file. Each watcher gets its own.
func TestWatchersByTwoNames(t *testing.T) {
	forEachLoopKind(t, testCase{"number and object", func(t *testing.T, k loopKind) {
		for _, objectFirst := range []bool{false, true} {
			l := k.loop(t)
			a := readableSocket(t)
			names := []any{a, &file{a}}
			if objectFirst {
				names[0], names[1] = names[1], names[0]
			}
			calls := 0
			for i, add := range []func(any, eventloop.Callback) error{l.AddReader, l.AddWriter} {
				check(add(names[i], func(fileobj any, _ selectors.Event) {
					if calls++; fileobj != names[i] {
						t.Errorf("called with %v, want %v", fileobj, names[i])
					}
				}))
			}
			if runTurn(t, l); calls != 2 {
				t.Errorf("%d calls, want 2", calls)
			}
			if !l.RemoveReader(names[1]) || !l.RemoveWriter(names[0]) {
				t.Error("the reader or the writer was not found by the other name")
			}
			wantNoKey(t, l, a)
			l.Close()
		}
	}})
}

// Waiters on the scripted selector, whose file objects are strings.
func TestWatchersScripted(t *testing.T) {
	l, _, sel := looptest.New()
	defer l.Close()
	var r recorder
	sel.Once(sec, "client", read)
	sel.At(2*sec, "client", write)
	addAll(l, "client", &r)
	l.RemoveReader("client")
	for _, want := range []string{"r1 r2", "w w1 w2", "w"} {
		must(l.RunOnce(-1))
		r.want(t, want)
	}
}
