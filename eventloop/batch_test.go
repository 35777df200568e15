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

// A registrar is a way to register files: the methods of the loop, or those of its
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

// A mutation is a change that the first callback of a batch makes to all other files
// of the batch.
type mutation struct {
	name string
	// do does it to one of them; called is what its callback from now on is to
	// be.
	do func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, called eventloop.Callback)
	// then is how often called is called in the turns that follow, for one that
	// is level-triggered and for one that tells once.
	level, once int
}

var mutations = []mutation{
	{"unregister", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, _ selectors.Event, _ eventloop.Callback) {
		check(r.unregister(l, fd))
	}, 0, 0},
	{"close", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, _ selectors.Event, _ eventloop.Callback) {
		check(unix.Close(fd))
		check(r.unregister(l, fd))
	}, 0, 0},
	{"modify", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, called eventloop.Callback) {
		check(r.modify(l, fd, events, called))
	}, 3, 1},
	{"modify to write", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, called eventloop.Callback) {
		check(r.modify(l, fd, events&^read|write, func(fileobj any, events selectors.Event) {
			if events&^write != 0 {
				t.Errorf("called for %v", events)
			}
			called(fileobj, events)
		}))
	}, 3, 1},
	{"replace", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, called eventloop.Callback) {
		check(r.replace(l, fd, events, called))
	}, 3, 1},
	{"register again", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, called eventloop.Callback) {
		check(r.unregister(l, fd))
		check(r.register(l, fd, events, called))
	}, 3, 1},
	{"reuse the number", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, called eventloop.Callback) {
		check(r.unregister(l, fd))
		newFile, _ := socketPair(t)
		check(dup2(newFile, fd))
		check(r.register(l, fd, events, called))
	}, 0, 0},
	{"reuse the number, unasked", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, called eventloop.Callback) {
		// Nobody has unregistered the old file.
		newFile, _ := socketPair(t)
		check(dup2(newFile, fd))
		check(r.register(l, fd, events, called))
	}, 0, 0},
	{"reuse the number, ready", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, called eventloop.Callback) {
		check(r.unregister(l, fd))
		check(dup2(readableSocket(t), fd))
		check(r.register(l, fd, events, called))
	}, 3, 1},
	{"unregister twice and come back", func(t *testing.T, l *eventloop.Loop, r registrar, fd int, events selectors.Event, called eventloop.Callback) {
		for range 2 {
			check(r.unregister(l, fd))
			check(r.register(l, fd, events, func(any, selectors.Event) { t.Error("called in between") }))
		}
		check(r.modify(l, fd, events, called))
	}, 3, 1},
}

// Whatever a callback does to the other files of its batch: none of them is
// called for what was ready before, and each is for what is ready afterwards.
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
					old, after := 0, map[int]int{}
					for _, fd := range fds {
						must(l.Register(fd, mode.events, func(any, selectors.Event) {
							if old++; old > 1 {
								return
							}
							firstFD = fd
							for _, other := range fds {
								if other != fd {
									mutation.do(t, l, registrar, other, mode.events, func(any, selectors.Event) { after[other]++ })
								}
							}
							check(registrar.unregister(l, fd))
						}))
					}
					if n := runTurn(t, l); n != 1 || old != 1 {
						t.Fatalf("%s: %d callbacks in the batch, %d old ones", mode.name, n, old)
					}
					for range 3 {
						runTurn(t, l)
					}
					want := mutation.level
					if mode.events != read {
						want = mutation.once
					}
					for _, fd := range fds {
						if fd != firstFD && after[fd] != want {
							t.Errorf("%s: descriptor %d called %d times in the turns that followed, want %d", mode.name, fd, after[fd], want)
						}
					}
					if old != 1 {
						t.Errorf("%s: an old callback was called in the turns that followed", mode.name)
					}
					l.Close()
				}
			}})
		}
	}
	forEachLoopKind(t, cases...)
}

// The same with what is not about other files.
func TestSameBatchOfAnything(t *testing.T) {
	ready := func(t *testing.T, l *eventloop.Loop, first func()) (called *int) {
		called = new(int)
		for range batchSize {
			must(l.Register(readableSocket(t), read, func(any, selectors.Event) {
				if *called++; *called == 1 {
					first()
				}
			}))
		}
		return called
	}
	forEachLoopKind(t,
		testCase{"stop", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			called := ready(t, l, l.Stop)
			if runLoop(t, l); *called != batchSize {
				t.Errorf("%d called, want all %d", *called, batchSize)
			}
		}},
		testCase{"close", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			called := ready(t, l, func() { l.Close() })
			if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) || *called != 1 {
				t.Errorf("%d called, want 1; %v", *called, err)
			}
		}},
		testCase{"panic", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			called := ready(t, l, panicBoom)
			if v, _ := catchPanic(func() { l.Run(context.Background()) }); v != "boom" || *called != 1 {
				t.Fatalf("%d called, want 1; %v", *called, v)
			}
			if n := runTurn(t, l); n != batchSize-1 || *called != batchSize {
				t.Errorf("then %d were called, want %d", n, batchSize-1)
			}
			if n := runTurn(t, l); n != batchSize {
				t.Errorf("and then %d, want all %d", n, batchSize)
			}
		}},
		testCase{"panic, then remove", func(t *testing.T, k loopKind) {
			for _, registrar := range registrars {
				l := k.loop(t)
				called := ready(t, l, panicBoom)
				catchPanic(func() { l.Run(context.Background()) })
				var fds []int
				for key := range l.Selector().Keys() {
					fds = append(fds, key.FD)
				}
				for _, fd := range fds {
					check(registrar.unregister(l, fd))
				}
				if n := runTurn(t, l); n != 0 || *called != 1 {
					t.Errorf("%s: %d called after they were removed", registrar.name, n)
				}
			}
		}},
		testCase{"removed by a soon", func(t *testing.T, k loopKind) {
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
		testCase{"removes itself and comes back", func(t *testing.T, k loopKind) {
			for _, registrar := range registrars {
				l := k.loop(t)
				a := readableSocket(t)
				n := 0
				var callback eventloop.Callback
				callback = func(any, selectors.Event) {
					n++
					check(registrar.unregister(l, a))
					check(registrar.register(l, a, read, callback))
				}
				must(l.Register(a, read, callback))
				for range 5 {
					runTurn(t, l)
				}
				if n != 5 {
					t.Errorf("%s: %d calls in 5 turns", registrar.name, n)
				}
			}
		}},
		testCase{"one victim only", func(t *testing.T, k loopKind) {
			// The others are none the worse for it.
			for _, registrar := range registrars {
				l := k.loop(t)
				var fds, called []int
				gone := -1
				for range batchSize {
					fd := readableSocket(t)
					fds = append(fds, fd)
					must(l.Register(fd, read|oneShot, func(any, selectors.Event) {
						if called = append(called, fd); gone < 0 {
							gone = fds[(slices.Index(fds, fd)+1)%batchSize]
							check(registrar.unregister(l, gone))
						}
					}))
				}
				runTurn(t, l)
				want := slices.DeleteFunc(slices.Clone(fds), func(fd int) bool { return fd == gone })
				slices.Sort(called)
				if slices.Sort(want); !slices.Equal(called, want) {
					t.Errorf("%s: called %v, want %v", registrar.name, called, want)
				}
			}
		}},
		testCase{"by objects", func(t *testing.T, k loopKind) {
			for _, registrar := range registrars {
				l := k.loop(t)
				var files []*file
				called := 0
				for range batchSize {
					files = append(files, &file{fd: readableSocket(t)})
				}
				for _, f := range files {
					must(l.Register(f, read, func(fileobj any, _ selectors.Event) {
						if called++; fileobj != any(f) {
							t.Errorf("called with %v", fileobj)
						}
						for _, other := range files {
							if other == f {
								continue
							}
							check(unix.Close(other.fd))
							newFile, _ := socketPair(t)
							check(dup2(newFile, other.fd))
							reborn := &file{fd: other.fd}
							other.fd = -1 // as a closed file object has none
							check(registrar.register(l, reborn, read, func(any, selectors.Event) { t.Error("called for its predecessor") }))
						}
					}))
				}
				if runTurn(t, l); called != 1 {
					t.Errorf("%s: %d called, want 1", registrar.name, called)
				}
				l.Close()
			}
		}},
	)
}

// A file is a file object as others write them.
type file struct{ fd int }

func (f *file) Fd() uintptr { return uintptr(f.fd) }
