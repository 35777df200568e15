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

// A door is a way to change what is registered: the loop's methods, or those of
// its selector, which the loop does not see.
type door struct {
	name                          string
	register, modify, replacement func(l *eventloop.Loop, fileobj any, events selectors.Event, callback eventloop.Callback) error
	unregister                    func(l *eventloop.Loop, fileobj any) error
}

var doors = []door{
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

// victims is how many others are ready in the batch in which something is done
// to all of them.
const victims = 12

// A deed is what the callback that comes first does to all others of its batch.
type deed struct {
	name string
	// do does it to one of them; called is what its callback from now on is to
	// be.
	do func(t *testing.T, l *eventloop.Loop, d door, fd int, events selectors.Event, called eventloop.Callback)
	// then is how often called is called in the turns that follow, for one that
	// is level-triggered and for one that tells once.
	level, once int
}

var deeds = []deed{
	{"unregister", func(t *testing.T, l *eventloop.Loop, d door, fd int, _ selectors.Event, _ eventloop.Callback) {
		ok(d.unregister(l, fd))
	}, 0, 0},
	{"close", func(t *testing.T, l *eventloop.Loop, d door, fd int, _ selectors.Event, _ eventloop.Callback) {
		ok(unix.Close(fd))
		ok(d.unregister(l, fd))
	}, 0, 0},
	{"modify", func(t *testing.T, l *eventloop.Loop, d door, fd int, events selectors.Event, called eventloop.Callback) {
		ok(d.modify(l, fd, events, called))
	}, 3, 1},
	{"modify to write", func(t *testing.T, l *eventloop.Loop, d door, fd int, events selectors.Event, called eventloop.Callback) {
		ok(d.modify(l, fd, events&^read|write, func(fileobj any, events selectors.Event) {
			if events&^write != 0 {
				t.Errorf("called for %v", events)
			}
			called(fileobj, events)
		}))
	}, 3, 1},
	{"replace", func(t *testing.T, l *eventloop.Loop, d door, fd int, events selectors.Event, called eventloop.Callback) {
		ok(d.replacement(l, fd, events, called))
	}, 3, 1},
	{"register again", func(t *testing.T, l *eventloop.Loop, d door, fd int, events selectors.Event, called eventloop.Callback) {
		ok(d.unregister(l, fd))
		ok(d.register(l, fd, events, called))
	}, 3, 1},
	{"reuse the number", func(t *testing.T, l *eventloop.Loop, d door, fd int, events selectors.Event, called eventloop.Callback) {
		ok(d.unregister(l, fd))
		fresh, _ := pair(t)
		ok(dup2(fresh, fd))
		ok(d.register(l, fd, events, called))
	}, 0, 0},
	{"reuse the number, unasked", func(t *testing.T, l *eventloop.Loop, d door, fd int, events selectors.Event, called eventloop.Callback) {
		// Nobody has unregistered the old file.
		fresh, _ := pair(t)
		ok(dup2(fresh, fd))
		ok(d.register(l, fd, events, called))
	}, 0, 0},
	{"reuse the number, ready", func(t *testing.T, l *eventloop.Loop, d door, fd int, events selectors.Event, called eventloop.Callback) {
		ok(d.unregister(l, fd))
		ok(dup2(readable(t), fd))
		ok(d.register(l, fd, events, called))
	}, 3, 1},
	{"unregister twice and come back", func(t *testing.T, l *eventloop.Loop, d door, fd int, events selectors.Event, called eventloop.Callback) {
		for range 2 {
			ok(d.unregister(l, fd))
			ok(d.register(l, fd, events, func(any, selectors.Event) { t.Error("called in between") }))
		}
		ok(d.modify(l, fd, events, called))
	}, 3, 1},
}

// Whatever a callback does to the other files of its batch: none of them is
// called for what was ready before, and each is for what is ready afterwards.
func TestSameBatch(t *testing.T) {
	modes := []struct {
		name   string
		events selectors.Event
	}{{"level", read}, {"edge", read | edge}, {"oneshot", read | oneShot}, {"edge oneshot", read | edge | oneShot}}
	var rules []rule
	for _, deed := range deeds {
		for _, door := range doors {
			rules = append(rules, rule{deed.name + " by the " + door.name, func(t *testing.T, k kind) {
				for _, mode := range modes {
					if mode.events&edge != 0 && k.Features&selectors.FeatureEdgeTriggered == 0 {
						continue
					}
					l := k.loop(t)
					fds := make([]int, victims)
					for i := range fds {
						fds[i] = readable(t)
					}
					var doer int
					old, after := 0, map[int]int{}
					for _, fd := range fds {
						must(l.Register(fd, mode.events, func(any, selectors.Event) {
							if old++; old > 1 {
								return
							}
							doer = fd
							for _, other := range fds {
								if other != fd {
									deed.do(t, l, door, other, mode.events, func(any, selectors.Event) { after[other]++ })
								}
							}
							ok(door.unregister(l, fd))
						}))
					}
					if n := turn(t, l); n != 1 || old != 1 {
						t.Fatalf("%s: %d callbacks in the batch, %d old ones", mode.name, n, old)
					}
					for range 3 {
						turn(t, l)
					}
					want := deed.level
					if mode.events != read {
						want = deed.once
					}
					for _, fd := range fds {
						if fd != doer && after[fd] != want {
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
	hold(t, rules...)
}

// The same with what is not about other files.
func TestSameBatchOfAnything(t *testing.T) {
	ready := func(t *testing.T, l *eventloop.Loop, first func()) (called *int) {
		called = new(int)
		for range victims {
			must(l.Register(readable(t), read, func(any, selectors.Event) {
				if *called++; *called == 1 {
					first()
				}
			}))
		}
		return called
	}
	hold(t,
		rule{"stop", func(t *testing.T, k kind) {
			l := k.loop(t)
			called := ready(t, l, l.Stop)
			if run(t, l); *called != victims {
				t.Errorf("%d called, want all %d", *called, victims)
			}
		}},
		rule{"close", func(t *testing.T, k kind) {
			l := k.loop(t)
			called := ready(t, l, func() { l.Close() })
			if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) || *called != 1 {
				t.Errorf("%d called, want 1; %v", *called, err)
			}
		}},
		rule{"panic", func(t *testing.T, k kind) {
			l := k.loop(t)
			called := ready(t, l, explode)
			if v, _ := caught(func() { l.Run(context.Background()) }); v != "boom" || *called != 1 {
				t.Fatalf("%d called, want 1; %v", *called, v)
			}
			if n := turn(t, l); n != victims-1 || *called != victims {
				t.Errorf("then %d were called, want %d", n, victims-1)
			}
			if n := turn(t, l); n != victims {
				t.Errorf("and then %d, want all %d", n, victims)
			}
		}},
		rule{"panic, then remove", func(t *testing.T, k kind) {
			for _, door := range doors {
				l := k.loop(t)
				called := ready(t, l, explode)
				caught(func() { l.Run(context.Background()) })
				var fds []int
				for key := range l.Selector().Keys() {
					fds = append(fds, key.FD)
				}
				for _, fd := range fds {
					ok(door.unregister(l, fd))
				}
				if n := turn(t, l); n != 0 || *called != 1 {
					t.Errorf("%s: %d called after they were removed", door.name, n)
				}
			}
		}},
		rule{"removed by a soon", func(t *testing.T, k kind) {
			for _, door := range doors {
				l := k.loop(t)
				a, b := readable(t), readable(t)
				var r record
				must(l.Register(a, read, r.callback("a")))
				must(l.Register(b, read, r.callback("b")))
				ok(l.CallSoon(func() { ok(door.unregister(l, a)) }))
				turn(t, l)
				r.want(t, "b")
			}
		}},
		rule{"removes itself and comes back", func(t *testing.T, k kind) {
			for _, door := range doors {
				l := k.loop(t)
				a := readable(t)
				n := 0
				var callback eventloop.Callback
				callback = func(any, selectors.Event) {
					n++
					ok(door.unregister(l, a))
					ok(door.register(l, a, read, callback))
				}
				must(l.Register(a, read, callback))
				for range 5 {
					turn(t, l)
				}
				if n != 5 {
					t.Errorf("%s: %d calls in 5 turns", door.name, n)
				}
			}
		}},
		rule{"one victim only", func(t *testing.T, k kind) {
			// The others are none the worse for it.
			for _, door := range doors {
				l := k.loop(t)
				var fds, called []int
				gone := -1
				for range victims {
					fd := readable(t)
					fds = append(fds, fd)
					must(l.Register(fd, read|oneShot, func(any, selectors.Event) {
						if called = append(called, fd); gone < 0 {
							gone = fds[(slices.Index(fds, fd)+1)%victims]
							ok(door.unregister(l, gone))
						}
					}))
				}
				turn(t, l)
				want := slices.DeleteFunc(slices.Clone(fds), func(fd int) bool { return fd == gone })
				slices.Sort(called)
				if slices.Sort(want); !slices.Equal(called, want) {
					t.Errorf("%s: called %v, want %v", door.name, called, want)
				}
			}
		}},
		rule{"by objects", func(t *testing.T, k kind) {
			for _, door := range doors {
				l := k.loop(t)
				var files []*file
				called := 0
				for range victims {
					files = append(files, &file{fd: readable(t)})
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
							ok(unix.Close(other.fd))
							fresh, _ := pair(t)
							ok(dup2(fresh, other.fd))
							reborn := &file{fd: other.fd}
							other.fd = -1 // as a closed file object has none
							ok(door.register(l, reborn, read, func(any, selectors.Event) { t.Error("called for its predecessor") }))
						}
					}))
				}
				if turn(t, l); called != 1 {
					t.Errorf("%s: %d called, want 1", door.name, called)
				}
				l.Close()
			}
		}},
	)
}

// A file is a file object as others write them.
type file struct{ fd int }

func (f *file) Fd() uintptr { return uintptr(f.fd) }
