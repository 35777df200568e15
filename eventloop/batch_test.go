//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A registrar registers files with the methods of the loop, or with those of its
// selector, whose calls the loop does not see.
type registrar struct {
	name                      string
	register, modify, replace func(l *eventloop.Loop, fileobj any, events selectors.Event, callback eventloop.Callback) error
	unregister                func(l *eventloop.Loop, fileobj any) error
}

var registrars = []registrar{
	{
		"loop",
		func(l *eventloop.Loop, f any, e selectors.Event, c eventloop.Callback) error {
			_, err := l.Register(f, e, c)
			return err
		},
		func(l *eventloop.Loop, f any, e selectors.Event, c eventloop.Callback) error {
			_, err := l.Modify(f, e, c)
			return err
		},
		func(l *eventloop.Loop, f any, e selectors.Event, c eventloop.Callback) error {
			_, err := l.Replace(f, e, c)
			return err
		},
		func(l *eventloop.Loop, f any) error {
			_, err := l.Unregister(f)
			return err
		},
	},
	{
		"selector",
		func(l *eventloop.Loop, f any, e selectors.Event, c eventloop.Callback) error {
			_, err := l.Selector().Register(f, e, c)
			return err
		},
		func(l *eventloop.Loop, f any, e selectors.Event, c eventloop.Callback) error {
			_, err := l.Selector().Modify(f, e, c)
			return err
		},
		func(l *eventloop.Loop, f any, e selectors.Event, c eventloop.Callback) error {
			_, err := l.Selector().Modify(f, e, c)
			return err
		},
		func(l *eventloop.Loop, f any) error {
			_, err := l.Selector().Unregister(f)
			return err
		},
	},
}

// batchSize is the number of ready files that the first callback changes.
const batchSize = 12

// A mutation is a change that the first callback of a batch makes to each other
// file of the batch.
type mutation struct {
	name string
	// apply changes the file fd. newCallback is its callback after the change, if
	// it is still registered.
	apply func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, newCallback eventloop.Callback)
	// How often newCallback is called in the next three turns.
	levelCalls int // if the file is level-triggered
	onceCalls  int // if it is edge-triggered or one-shot
}

var mutations = []mutation{
	{"unregister", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, _ selectors.Event, _ eventloop.Callback) {
		check(r.unregister(l, fd))
	}, 0, 0},
	{"close", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, _ selectors.Event, _ eventloop.Callback) {
		check(unix.Close(fd))
		check(r.unregister(l, fd))
	}, 0, 0},
	{"modify", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, newCallback eventloop.Callback) {
		check(r.modify(l, fd, events, newCallback))
	}, 3, 1},
	{"modify to write", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, newCallback eventloop.Callback) {
		check(r.modify(l, fd, events&^read|write, func(fileobj any, events selectors.Event) {
			if events&^write != 0 {
				t.Errorf("called for %v, want only write", events)
			}
			newCallback(fileobj, events)
		}))
	}, 3, 1},
	{"replace", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, newCallback eventloop.Callback) {
		check(r.replace(l, fd, events, newCallback))
	}, 3, 1},
	{"register again", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, newCallback eventloop.Callback) {
		check(r.unregister(l, fd))
		check(r.register(l, fd, events, newCallback))
	}, 3, 1},
	{"reuse the descriptor", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, newCallback eventloop.Callback) {
		check(r.unregister(l, fd))
		newFile, _ := socketPair(t)
		check(dup2(newFile, fd))
		check(r.register(l, fd, events, newCallback))
	}, 0, 0},
	{"reuse the descriptor without unregister", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, newCallback eventloop.Callback) {
		// The key of the old file is still registered.
		newFile, _ := socketPair(t)
		check(dup2(newFile, fd))
		check(r.register(l, fd, events, newCallback))
	}, 0, 0},
	{"reuse the descriptor for a ready file", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, newCallback eventloop.Callback) {
		check(r.unregister(l, fd))
		check(dup2(readableSocket(t), fd))
		check(r.register(l, fd, events, newCallback))
	}, 3, 1},
	{"unregister and register twice", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, newCallback eventloop.Callback) {
		for range 2 {
			check(r.unregister(l, fd))
			check(r.register(l, fd, events, func(any, selectors.Event) { t.Error("called a callback that was replaced before the next turn") }))
		}
		check(r.modify(l, fd, events, newCallback))
	}, 3, 1},
}

// TestSameBatch changes the other files of a batch in its first callback. No other
// file may be called for an event from before the change, and each must be called
// if it is ready after the change.
func TestSameBatch(t *testing.T) {
	modes := []struct {
		name   string
		events selectors.Event
	}{{"level", read}, {"edge", read | edge}, {"oneshot", read | oneShot}, {"edge oneshot", read | edge | oneShot}}
	var cases []testCase
	for _, mutation := range mutations {
		for _, registrar := range registrars {
			cases = append(cases, testCase{mutation.name + " by the " + registrar.name, func(t *testing.T, k loopKind) {
				for _, mode := range modes {
					if mode.events&edge != 0 && k.Features&selectors.FeatureEdgeTriggered == 0 {
						continue
					}
					l := k.loop(t)
					fds := make([]int, batchSize)
					for i := range fds {
						fds[i] = readableSocket(t)
					}
					var firstFD int
					oldCalls, newCalls := 0, map[int]int{} // newCalls is by descriptor
					for _, fd := range fds {
						must(l.Register(fd, mode.events, func(any, selectors.Event) {
							if oldCalls++; oldCalls > 1 {
								return
							}
							firstFD = fd
							for _, other := range fds {
								if other != fd {
									mutation.apply(t, l, registrar, other, mode.events, func(any, selectors.Event) { newCalls[other]++ })
								}
							}
							check(registrar.unregister(l, fd))
						}))
					}
					if n := runTurn(t, l); n != 1 || oldCalls != 1 {
						t.Fatalf("%s: the batch ran %d callbacks, %d of them from before the change; want 1 and 1", mode.name, n, oldCalls)
					}
					for range 3 {
						runTurn(t, l)
					}
					want := mutation.levelCalls
					if mode.events != read {
						want = mutation.onceCalls
					}
					for _, fd := range fds {
						if fd != firstFD && newCalls[fd] != want {
							t.Errorf("%s: descriptor %d: %d calls in the next three turns, want %d", mode.name, fd, newCalls[fd], want)
						}
					}
					if oldCalls != 1 {
						t.Errorf("%s: a callback from before the change ran in the next three turns", mode.name)
					}
					l.Close()
				}
			}})
		}
	}
	forEachLoopKind(t, cases...)
}

// TestSameBatchOther checks what happens to the rest of a batch when a callback
// stops or closes the loop, panics, or removes a file.
func TestSameBatchOther(t *testing.T) {
	registerBatch := func(t *testing.T, l *eventloop.Loop, first func()) (calls *int) {
		calls = new(int)
		for range batchSize {
			must(l.Register(readableSocket(t), read, func(any, selectors.Event) {
				if *calls++; *calls == 1 {
					first()
				}
			}))
		}
		return calls
	}
	forEachLoopKind(t,
		testCase{"stop", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			calls := registerBatch(t, l, l.Stop)
			if runLoop(t, l); *calls != batchSize {
				t.Errorf("%d calls, want %d", *calls, batchSize)
			}
		}},
		testCase{"close", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			calls := registerBatch(t, l, func() { l.Close() })
			if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) || *calls != 1 {
				t.Errorf("%d calls, want 1; Run returned %v, want ErrClosed", *calls, err)
			}
		}},
		testCase{"panic", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			calls := registerBatch(t, l, panicBoom)
			if v, _ := catchPanic(func() { l.Run(context.Background()) }); v != "boom" || *calls != 1 {
				t.Fatalf("%d calls, want 1; recovered %v, want boom", *calls, v)
			}
			if n := runTurn(t, l); n != batchSize-1 || *calls != batchSize {
				t.Errorf("the first turn after the panic ran %d callbacks, want %d", n, batchSize-1)
			}
			if n := runTurn(t, l); n != batchSize {
				t.Errorf("the second turn after the panic ran %d callbacks, want %d", n, batchSize)
			}
		}},
		testCase{"unregister after a panic", func(t *testing.T, k loopKind) {
			for _, registrar := range registrars {
				l := k.loop(t)
				calls := registerBatch(t, l, panicBoom)
				catchPanic(func() { l.Run(context.Background()) })
				var fds []int
				for key := range l.Selector().Keys() {
					fds = append(fds, key.FD)
				}
				for _, fd := range fds {
					check(registrar.unregister(l, fd))
				}
				if n := runTurn(t, l); n != 0 || *calls != 1 {
					t.Errorf("%s: %d callbacks ran after all files were unregistered", registrar.name, n)
				}
			}
		}},
		testCase{"unregister by CallSoon", func(t *testing.T, k loopKind) {
			for _, registrar := range registrars {
				l := k.loop(t)
				a, b := readableSocket(t), readableSocket(t)
				var r recorder
				must(l.Register(a, read, r.callback("a")))
				must(l.Register(b, read, r.callback("b")))
				check(l.CallSoon(func() { check(registrar.unregister(l, a)) }))
				runTurn(t, l)
				r.want(t, "b")
			}
		}},
		testCase{"register again in its own callback", func(t *testing.T, k loopKind) {
			for _, registrar := range registrars {
				l := k.loop(t)
				a := readableSocket(t)
				calls := 0
				var callback eventloop.Callback
				callback = func(any, selectors.Event) {
					calls++
					check(registrar.unregister(l, a))
					check(registrar.register(l, a, read, callback))
				}
				must(l.Register(a, read, callback))
				for range 5 {
					runTurn(t, l)
				}
				if calls != 5 {
					t.Errorf("%s: %d calls in 5 turns, want 5", registrar.name, calls)
				}
			}
		}},
		testCase{"unregister one other file", func(t *testing.T, k loopKind) {
			// All files of the batch but the unregistered one are called.
			for _, registrar := range registrars {
				l := k.loop(t)
				var fds, calledFDs []int
				unregisteredFD := -1
				for range batchSize {
					fd := readableSocket(t)
					fds = append(fds, fd)
					must(l.Register(fd, read|oneShot, func(any, selectors.Event) {
						if calledFDs = append(calledFDs, fd); unregisteredFD < 0 {
							unregisteredFD = fds[(slices.Index(fds, fd)+1)%batchSize]
							check(registrar.unregister(l, unregisteredFD))
						}
					}))
				}
				runTurn(t, l)
				want := slices.DeleteFunc(slices.Clone(fds), func(fd int) bool { return fd == unregisteredFD })
				slices.Sort(calledFDs)
				if slices.Sort(want); !slices.Equal(calledFDs, want) {
					t.Errorf("%s: called %v, want %v", registrar.name, calledFDs, want)
				}
			}
		}},
		testCase{"file objects", func(t *testing.T, k loopKind) {
			for _, registrar := range registrars {
				l := k.loop(t)
				var files []*file
				calls := 0
				for range batchSize {
					files = append(files, &file{fd: readableSocket(t)})
				}
				for _, f := range files {
					must(l.Register(f, read, func(fileobj any, _ selectors.Event) {
						if calls++; fileobj != any(f) {
							t.Errorf("called with file object %v, want %v", fileobj, f)
						}
						for _, other := range files {
							if other == f {
								continue
							}
							check(unix.Close(other.fd))
							newFile, _ := socketPair(t)
							check(dup2(newFile, other.fd))
							newObject := &file{fd: other.fd}
							other.fd = -1 // a closed file object has no descriptor
							check(registrar.register(l, newObject, read, func(any, selectors.Event) { t.Error("called for an event of the closed file") }))
						}
					}))
				}
				if runTurn(t, l); calls != 1 {
					t.Errorf("%s: %d calls, want 1", registrar.name, calls)
				}
				l.Close()
			}
		}},
	)
}

// A file is a file object with an Fd method.
type file struct{ fd int }

func (f *file) Fd() uintptr { return uintptr(f.fd) }
