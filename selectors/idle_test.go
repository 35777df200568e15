//go:build unix

package selectors_test

import (
	"maps"
	"os"
	"testing"
	"time"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// idlers are files that a selector has nothing to tell of, or nothing any
// more. The kernel is at its most talkative with those that are hung up or
// closed: poll(2) and epoll(7) report them whether asked or not.
var idlers = []struct {
	name  string
	needs selectors.Feature
	// make registers something and returns what is reported of it before it
	// falls silent, hints included (those that the backend can tell).
	make func(t *testing.T, s selectors.Selector) batch
}{
	{"nothing", 0, func(t *testing.T, s selectors.Selector) batch {
		return batch{}
	}},
	{"quiet", 0, func(t *testing.T, s selectors.Selector) batch {
		r, _ := pipe(t)
		register(t, s, r, read)
		return batch{}
	}},
	{"woken before", 0, func(t *testing.T, s selectors.Selector) batch {
		c := selecting(s, patience)
		s.Wake()
		await(t, c)
		return batch{}
	}},
	{"full pipe", 0, func(t *testing.T, s selectors.Selector) batch {
		_, w := pipe(t)
		fill(t, w)
		register(t, s, w, write)
		return batch{}
	}},
	{"orphan, readable", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		put(t, w, "x")
		dupHigh(t, r)
		register(t, s, r, read)
		shut(t, r)
		unregister(t, s, r)
		return batch{}
	}},
	{"orphan, hung up", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		dupHigh(t, r)
		register(t, s, r, read)
		shut(t, r, w)
		unregister(t, s, r)
		return batch{}
	}},
	{"orphan beside a hung-up key", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		put(t, w, "x")
		dupHigh(t, r)
		register(t, s, r, read)
		shut(t, r)
		unregister(t, s, r)
		other, peer := pipe(t)
		register(t, s, other, priority)
		shut(t, peer)
		return batch{other: selectors.EventHangup}
	}},
	{"hung up and read, one-shot", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		put(t, w, "x")
		shut(t, w)
		register(t, s, r, read|oneShot)
		drain(t, r)
		return batch{r: read | selectors.EventHangup}
	}},
	{"hung up and read, edge-triggered", selectors.FeatureEdgeTriggered, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		put(t, w, "x")
		shut(t, w)
		register(t, s, r, read|edge)
		drain(t, r)
		return batch{r: read | selectors.EventHangup}
	}},
	{"hung up, waiting for priority", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		shut(t, w)
		register(t, s, r, priority)
		return batch{r: selectors.EventHangup}
	}},
	{"hung up, waiting for write", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		shut(t, w)
		register(t, s, r, write)
		return batch{r: selectors.EventHangup}
	}},
	{"hung up, one-shot, waiting for write", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		shut(t, w)
		register(t, s, r, write|oneShot)
		return batch{r: selectors.EventHangup}
	}},
	{"hung up, exclusive, waiting for write", selectors.FeatureExclusive, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		shut(t, w)
		register(t, s, r, write|exclusive)
		return batch{r: selectors.EventHangup}
	}},
	{"hung up later", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		register(t, s, r, priority)
		collect(t, s, 0)
		shut(t, w)
		return batch{r: selectors.EventHangup}
	}},
	{"no reader, waiting for priority", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		shut(t, r)
		register(t, s, w, priority)
		return batch{w: selectors.EventError}
	}},
	{"connected, peer gone with unread data, waiting for priority", 0, func(t *testing.T, s selectors.Selector) batch {
		a, b := pair(t)
		put(t, a, "x")
		shut(t, b)
		register(t, s, a, priority)
		return batch{a: selectors.EventHangup | selectors.EventError}
	}},
	{"never connected, waiting for priority", 0, func(t *testing.T, s selectors.Selector) batch {
		fd := socket(t)
		register(t, s, fd, priority)
		return batch{fd: selectors.EventHangup}
	}},
	{"closed", 0, func(t *testing.T, s selectors.Selector) batch {
		r, _ := pipe(t)
		register(t, s, r, read)
		shut(t, r)
		return batch{r: selectors.EventError | selectors.EventInvalid}
	}},
	{"closed, several", 0, func(t *testing.T, s selectors.Selector) batch {
		want := batch{}
		for range 5 {
			r, w := pipe(t)
			register(t, s, r, read)
			register(t, s, w, read|write)
			shut(t, r, w)
			want[r] = selectors.EventError | selectors.EventInvalid
			want[w] = want[r]
		}
		return want
	}},
	{"closed, one-shot", 0, func(t *testing.T, s selectors.Selector) batch {
		r, _ := pipe(t)
		register(t, s, r, read|oneShot)
		shut(t, r)
		return batch{r: selectors.EventError | selectors.EventInvalid}
	}},
	{"closed after it had fallen silent", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		put(t, w, "x")
		register(t, s, r, read|oneShot)
		collect(t, s, 0) // it fires
		shut(t, r)
		return batch{}
	}},
	{"closed after it was hung up", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		shut(t, w)
		register(t, s, r, priority)
		collect(t, s, 0) // the hang-up is told
		shut(t, r)
		return batch{r: selectors.EventError | selectors.EventInvalid}
	}},
	{"closed object", 0, func(t *testing.T, s selectors.Selector) batch {
		a, _ := netPair(t)
		key := register(t, s, a, read)
		a.Close()
		return batch{key.FD: selectors.EventError | selectors.EventInvalid}
	}},
	{"closed, kept by a duplicate, hung up", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := pipe(t)
		dupHigh(t, r)
		register(t, s, r, priority)
		shut(t, r, w)
		if s.Features()&selectors.FeatureInvalid == 0 {
			return batch{r: selectors.EventHangup} // of the file, which lives on
		}
		return batch{r: selectors.EventError | selectors.EventInvalid}
	}},
	{"closed, was always ready", selectors.FeatureAnyFile, func(t *testing.T, s selectors.Selector) batch {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fd := dupHigh(t, fdOf(t, f))
		register(t, s, fd, read)
		collect(t, s, 0)
		shut(t, fd)
		return batch{fd: selectors.EventError | selectors.EventInvalid}
	}},
	{"was always ready, but its number has another file", selectors.FeatureAnyFile, func(t *testing.T, s selectors.Selector) batch {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fd := dupHigh(t, fdOf(t, f))
		register(t, s, fd, read)
		collect(t, s, 0)
		r, _ := pipe(t)
		replace(t, fd, r)
		return batch{}
	}},
	{"always ready, waiting for priority", selectors.FeatureAnyFile, func(t *testing.T, s selectors.Selector) batch {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		register(t, s, f, priority)
		return batch{}
	}},
	{"always ready, one-shot", selectors.FeatureAnyFile, func(t *testing.T, s selectors.Selector) batch {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return batch{register(t, s, f, read|oneShot).FD: read}
	}},
	{"always ready, edge-triggered", selectors.FeatureEdgeTriggered, func(t *testing.T, s selectors.Selector) batch {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return batch{register(t, s, f, read|write|edge).FD: read | write}
	}},
}

// TestIdleUsesNoCPU: a Select that has nothing to tell sleeps.
func TestIdleUsesNoCPU(t *testing.T) {
	for _, idler := range idlers {
		t.Run(idler.name, func(t *testing.T) {
			eachSelector(t, func(t *testing.T, s selectors.Selector) {
				if s.Features()&idler.needs != idler.needs {
					t.Skipf("this backend has no %v", idler.needs)
				}
				// Somebody who must not suffer.
				bystander, peer := pair(t)
				register(t, s, bystander, read)

				expectHints(t, s, idler.make(t, s))
				expectRest(t, s, 50*time.Millisecond)
				put(t, peer, "x")
				expect(t, s, batch{bystander: read})
			})
		})
	}
	t.Run("all of them", func(t *testing.T) {
		eachSelector(t, func(t *testing.T, s selectors.Selector) {
			for _, idler := range idlers {
				if s.Features()&idler.needs == idler.needs {
					idler.make(t, s)
				}
			}
			// Some are looked at now and then only, so several Selects in a
			// row have to be silent, however slowly the machine runs.
			for silent, begun := 0, time.Now(); silent < 12; silent++ {
				if len(collect(t, s, moment)) > 0 {
					silent = 0
				}
				if time.Since(begun) > patience {
					t.Fatal("Select never ceases to report")
				}
			}
			expectRest(t, s, 300*time.Millisecond)
		})
	})
}

// expectHints expects what the backend can tell of a batch, at once, and in
// full, though it may come in more than one Select.
func expectHints(t *testing.T, s selectors.Selector, want batch) {
	t.Helper()
	able := batch{}
	for fd, events := range want {
		if events&selectors.EventInvalid != 0 && s.Features()&selectors.FeatureInvalid == 0 {
			continue // closed, and this backend does not know
		} else if events&selectors.EventInvalid == 0 {
			events = hints(s, events)
		}
		if events != 0 {
			able[fd] = events
		}
	}
	got := batch{}
	timeout := time.Duration(0)
	for i, begun := 0, time.Now(); i < 5 || len(got) < len(able) && time.Since(begun) < patience; i++ {
		for fd, events := range promised(s, collect(t, s, timeout)) {
			got[fd] |= events
		}
		if i >= 3 && len(got) < len(able) {
			timeout = moment // some are looked at now and then only
		}
	}
	if !maps.Equal(got, able) {
		t.Errorf("Select reported %v, want %v", got, able)
	}
}

// TestMutedKeyComesBack: a key that was silenced because it had nothing but
// hints to tell reports again when something of its interest gets ready.
func TestMutedKeyComesBack(t *testing.T) {
	t.Run("FIFO gets a writer again", func(t *testing.T) {
		eachSelector(t, func(t *testing.T, s selectors.Selector) {
			name := t.TempDir() + "/fifo"
			if err := unix.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			open := func(mode int) int {
				fd, err := unix.Open(name, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				return own(t, fd)
			}
			r := open(unix.O_RDONLY)
			w := open(unix.O_WRONLY)
			register(t, s, w, priority)
			shut(t, r)
			expectHints(t, s, batch{w: selectors.EventError})
			expectSilence(t, s)
			modify(t, s, w, write)
			fill2 := open(unix.O_RDONLY)
			expect(t, s, batch{w: write})
			shut(t, fill2)
			expect(t, s, batch{w: write})
		})
	})
	t.Run("socket connects", func(t *testing.T) {
		eachSelector(t, func(t *testing.T, s selectors.Selector) {
			l, addr := listen(t)
			fd := socket(t)
			register(t, s, fd, priority)
			expectHints(t, s, batch{fd: selectors.EventHangup})
			expectSilence(t, s)
			if err := unix.Connect(fd, addr); err != nil && err != unix.EINPROGRESS {
				t.Fatal(err)
			}
			_ = l
			expectSilence(t, s)
			modify(t, s, fd, write)
			expect(t, s, batch{fd: write})
		})
	})
	t.Run("urgent byte to a socket that was not connected", func(t *testing.T) {
		eachSelector(t, func(t *testing.T, s selectors.Selector) {
			l, addr := listen(t)
			fd := socket(t)
			register(t, s, fd, priority)
			expectHints(t, s, batch{fd: selectors.EventHangup})
			if err := unix.Connect(fd, addr); err != nil && err != unix.EINPROGRESS {
				t.Fatal(err)
			}
			register(t, s, l, read)
			expect(t, s, batch{l: read})
			peer, _, err := unix.Accept(l)
			if err != nil {
				t.Fatal(err)
			}
			peer = own(t, peer)
			unregister(t, s, l)
			expectSilence(t, s)
			if err := unix.Sendto(peer, []byte("!"), unix.MSG_OOB, nil); err != nil {
				t.Fatal(err)
			}
			expect(t, s, batch{fd: priority})
		})
	})
}
