package comparetest_test

import (
	"maps"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestRegressOrphanedRegistration: If a descriptor is duplicated and then
// closed, its registration stays in the epoll set and cannot be removed by
// number. Python's select returned an empty list 53 748 times in 0.2 s because
// of it, a number that was registered again got the old file's readiness, and
// such orphaned registrations took the places of other files in a batch.
// (Reported for libuv: https://github.com/MagicStack/uvloop/issues/61.)
func TestRegressOrphanedRegistration(t *testing.T) {
	newOrphan := func(t *testing.T, s selectors.Selector) int {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		backendtest.Register(t, s, r, read)
		fdtest.Dup(t, r)
		fdtest.Close(t, r)
		return r
	}
	t.Run("idle", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			for range 3 {
				backendtest.Unregister(t, s, newOrphan(t, s))
			}
			backendtest.ExpectIdle(t, s, 100*time.Millisecond)
		})
	})
	t.Run("number registered again", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			quiet, peer := fdtest.UnixPair(t)
			fd := newOrphan(t, s)
			backendtest.Unregister(t, s, fd)
			fdtest.Replace(t, fd, quiet)
			backendtest.Register(t, s, fd, read)
			backendtest.ExpectNothing(t, s)
			fdtest.Write(t, peer, "y")
			backendtest.Expect(t, s, batch{fd: read})
		})
	})
	t.Run("registered over", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			quiet, peer := fdtest.UnixPair(t)
			fd := newOrphan(t, s)
			fdtest.Replace(t, fd, quiet)
			backendtest.Register(t, s, fd, read)
			backendtest.ExpectNothing(t, s)
			fdtest.Write(t, peer, "y")
			backendtest.Expect(t, s, batch{fd: read})
		})
	})
	t.Run("same file back under its number", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			r, w := fdtest.Pipe(t)
			spare := fdtest.Dup(t, r)
			backendtest.Register(t, s, r, read)
			fdtest.Close(t, r)
			backendtest.Unregister(t, s, r)
			fdtest.Replace(t, r, spare)
			backendtest.Register(t, s, r, read) // EPOLL_CTL_ADD is EEXIST
			backendtest.ExpectNothing(t, s)
			fdtest.Write(t, w, "x")
			backendtest.Expect(t, s, batch{r: read})
			backendtest.Unregister(t, s, r)
			backendtest.ExpectNothing(t, s)
		})
	})
	t.Run("stale events take no places in a batch", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			want := batch{}
			for range 50 {
				backendtest.Unregister(t, s, newOrphan(t, s))
				r, w := fdtest.Pipe(t)
				fdtest.Write(t, w, "x")
				backendtest.Register(t, s, r, read)
				want[r] = read
			}
			backendtest.Expect(t, s, want)
			backendtest.Expect(t, s, want)
		})
	})
	t.Run("events of other keys are not lost", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			modes := []selectors.Event{read, read | oneShot}
			if s.Features()&selectors.FeatureEdgeTriggered != 0 {
				modes = append(modes, read|edge, read|edge|oneShot)
			}
			if s.Features()&selectors.FeatureExclusive != 0 {
				modes = append(modes, read|exclusive)
			}
			early, late := map[int]int{}, map[int]int{}
			for _, mode := range modes {
				r, w := fdtest.UnixPair(t)
				backendtest.Register(t, s, r, mode)
				early[r] = w
				r, w = fdtest.UnixPair(t)
				backendtest.Register(t, s, r, mode)
				late[r] = w
			}
			hungUp, w := fdtest.Pipe(t)
			backendtest.Register(t, s, hungUp, priority)
			fdtest.Close(t, w)
			backendtest.Select(t, s, 0)
			backendtest.Select(t, s, 0) // muted by now

			// The stale event is in the same batch as the events of early.
			backendtest.Unregister(t, s, newOrphan(t, s))
			want := batch{}
			for r, w := range early {
				fdtest.Write(t, w, "x")
				want[r] = read
			}
			got := batch{}
			for range 5 {
				maps.Copy(got, backendtest.Select(t, s, 0).Interests(t, s))
			}
			delete(got, hungUp)
			if !maps.Equal(got, want) {
				t.Errorf("the early ones: reported %v, want %v", got, want)
			}
			for r := range early {
				backendtest.Unregister(t, s, r)
			}
			backendtest.ExpectNothing(t, s)
			want = batch{}
			for r, w := range late {
				fdtest.Write(t, w, "x")
				want[r] = read
			}
			backendtest.Expect(t, s, want)
			expectNoMoreThan(t, s, want)
			expectOnly(t, s, late, read)
		})
	})
}

// expectNoMoreThan checks that the next batch has no event that is not in
// want.
func expectNoMoreThan(t *testing.T, s selectors.Selector, want batch) {
	t.Helper()
	for fd, events := range backendtest.Select(t, s, 0).Interests(t, s) {
		if events&^want[fd] != 0 {
			t.Errorf("fd %d is reported for %v, want at most %v", fd, events, want[fd])
		}
	}
}

// expectOnly checks that, of keys that were reported but not read, only the
// level-triggered ones are reported again.
func expectOnly(t *testing.T, s selectors.Selector, fds map[int]int, events selectors.Event) {
	t.Helper()
	want := batch{}
	for fd := range fds {
		key, err := s.Key(fd)
		if err != nil {
			t.Fatal(err)
		}
		if key.Events&(oneShot|edge) == 0 {
			want[fd] = events
		}
	}
	backendtest.Expect(t, s, want)
}

// TestRegressClosedFD: A descriptor that was closed without being unregistered
// makes Python's select fail for all descriptors, and its poll spin (17 900
// callbacks in 0.1 s). Here it is reported once, if the backend has
// FeatureInvalid, and other keys are not affected.
func TestRegressClosedFD(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		good, peer := fdtest.UnixPair(t)
		bad, _ := fdtest.UnixPair(t)
		backendtest.Register(t, s, good, read)
		backendtest.Register(t, s, bad, read|write)
		fdtest.Close(t, bad)
		fdtest.Write(t, peer, "x")

		got := batch{}
		for range 3 {
			now := backendtest.Select(t, s, fdtest.Timeout)
			if now[good] != read {
				t.Fatalf("reported %v without fd %d", now, good)
			}
			for fd, events := range now {
				got[fd] |= events
				if fd == bad && events != selectors.EventError|selectors.EventInvalid {
					t.Errorf("the closed fd is reported for %v", events)
				}
			}
		}
		_, reported := got[bad]
		if want := s.Features()&selectors.FeatureInvalid != 0; reported != want {
			t.Errorf("the closed fd was reported: %v, want %v", reported, want)
		}
		fdtest.Drain(t, good)
		backendtest.ExpectIdle(t, s, 50*time.Millisecond)

		backendtest.Unregister(t, s, bad)
		fdtest.Write(t, peer, "x")
		backendtest.Expect(t, s, batch{good: read})
	})
}

// TestRegressReusedNumber: A descriptor is closed without being unregistered,
// and its number is opened again. asyncio never called the new reader, because
// its selector took the registration for the old one (in
// https://github.com/Martiusweb/asynctest/issues/3 a user asks for a warning).
// Here Register replaces the key and watches the new file.
func TestRegressReusedNumber(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		fd, _ := fdtest.UnixPair(t)
		next, peer := fdtest.UnixPair(t)
		old := backendtest.Register(t, s, fd, write)
		fdtest.Close(t, fd)
		fdtest.Replace(t, fd, next)
		key, err := s.Register(fd, read, "new")
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := s.Key(fd); got != key || key == old || s.Len() != 1 {
			t.Errorf("Key is %v, want the new one %v; Len is %d", got, key, s.Len())
		}
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, peer, "x")
		ready, err := s.Select(fdtest.Timeout)
		if err != nil || len(ready) != 1 || ready[0].Key != key || ready[0].Events != read {
			t.Errorf("Select reported %v, %v", ready, err)
		}
		_, err = s.Register(fd, read, nil)
		backendtest.ExpectError(t, err, selectors.ErrRegistered)
	})
}

// TestRegressReusedNumberOfObject: The same as TestRegressReusedNumber, with
// file objects. The closed connection's key is replaced.
func TestRegressReusedNumberOfObject(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, _ := fdtest.NetPair(t)
		key := backendtest.Register(t, s, a, read)
		// A file of the test takes the number of the closed connection.
		other, peer := fdtest.UnixPair(t)
		number := key.FD
		a.Close()
		fdtest.Replace(t, number, other)
		t.Cleanup(func() { unix.Close(number) })
		backendtest.Register(t, s, number, read)
		fdtest.Write(t, peer, "x")
		backendtest.Expect(t, s, batch{number: read})
		_, err := s.Unregister(a)
		backendtest.ExpectError(t, err, selectors.ErrNotRegistered)
		backendtest.Unregister(t, s, number)
	})
}

// TestPeersNoPointersInKernel: cloudwego/netpoll kept pointers in the kernel
// that the garbage collector did not see, and crashed on the memory they
// pointed to (cloudwego/netpoll#362; similar: #330, #351, #408).
func TestPeersNoPointersInKernel(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		type payload struct{ fd int }
		churn := func() (want batch) {
			want = batch{}
			for i := range 200 {
				r, w := fdtest.Pipe(t)
				fdtest.Write(t, w, "x")
				if _, err := s.Register(r, read, &payload{r}); err != nil {
					t.Fatal(err)
				}
				switch i % 3 {
				case 0: // unregistered
					backendtest.Unregister(t, s, r)
				case 1: // leaves an orphaned registration
					fdtest.Dup(t, r)
					fdtest.Close(t, r)
					backendtest.Unregister(t, s, r)
				default:
					want[r] = read
				}
			}
			return want
		}
		want := churn()
		for range 3 {
			runtime.GC()
			ready, err := s.Select(fdtest.Timeout)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range ready {
				if p, ok := r.Key.Data.(*payload); !ok || p.fd != r.Key.FD {
					t.Fatalf("key %+v came back with the data of another key %+v", r.Key, p)
				}
			}
			if got := backendtest.NewBatch(t, ready); !maps.Equal(got, want) {
				t.Fatalf("reported %v, want %v", got, want)
			}
		}
	})
}

// TestPeersNoStaleEvents: Go's runtime took an event of a descriptor's former
// registration for one of the present one (https://go.dev/issue/59545) until
// it numbered the registrations. A batch has no event of a registration that
// ended before the Select, even if it was ready.
func TestPeersNoStaleEvents(t *testing.T) {
	for _, test := range []struct {
		name string
		turn func(t *testing.T, s selectors.Selector, fd, quiet int)
	}{
		{"unregistered and registered again, with another file", func(t *testing.T, s selectors.Selector, fd, quiet int) {
			backendtest.Unregister(t, s, fd)
			fdtest.Replace(t, fd, quiet)
			backendtest.Register(t, s, fd, read)
		}},
		{"another file before it was unregistered", func(t *testing.T, s selectors.Selector, fd, quiet int) {
			fdtest.Replace(t, fd, quiet)
			backendtest.Unregister(t, s, fd)
			backendtest.Register(t, s, fd, read)
		}},
		{"another file, registered over it", func(t *testing.T, s selectors.Selector, fd, quiet int) {
			fdtest.Replace(t, fd, quiet)
			backendtest.Register(t, s, fd, read)
		}},
		{"another file, modified", func(t *testing.T, s selectors.Selector, fd, quiet int) {
			fdtest.Replace(t, fd, quiet)
			backendtest.Modify(t, s, fd, read|oneShot)
		}},
	} {
		for _, keep := range []string{"old file gone", "old file kept by a duplicate"} {
			t.Run(test.name+"/"+keep, func(t *testing.T) {
				backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
					fd, w := fdtest.UnixPair(t)
					fdtest.Write(t, w, "x")
					if keep != "old file gone" {
						fdtest.Dup(t, fd)
					}
					backendtest.Register(t, s, fd, read)
					backendtest.Expect(t, s, batch{fd: read})
					quiet, peer := fdtest.UnixPair(t)
					test.turn(t, s, fd, quiet)
					backendtest.ExpectNothing(t, s)
					fdtest.Write(t, peer, "y")
					backendtest.Expect(t, s, batch{fd: read})
					if got := fdtest.Read(t, fd, 9); got != "y" {
						t.Errorf("read %q", got)
					}
				})
			})
		}
	}
}
