//go:build unix

package selectors_test

import (
	"maps"
	"os"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"

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
		r, _ := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		return batch{}
	}},
	{"woken before", 0, func(t *testing.T, s selectors.Selector) batch {
		c := backendtest.StartSelect(s, fdtest.Timeout)
		s.Wake()
		backendtest.Await(t, c)
		return batch{}
	}},
	{"full pipe", 0, func(t *testing.T, s selectors.Selector) batch {
		_, w := fdtest.Pipe(t)
		fdtest.Fill(t, w)
		backendtest.Register(t, s, w, write)
		return batch{}
	}},
	{"orphan, readable", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		fdtest.Dup(t, r)
		backendtest.Register(t, s, r, read)
		fdtest.Close(t, r)
		backendtest.Unregister(t, s, r)
		return batch{}
	}},
	{"orphan, hung up", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Dup(t, r)
		backendtest.Register(t, s, r, read)
		fdtest.Close(t, r, w)
		backendtest.Unregister(t, s, r)
		return batch{}
	}},
	{"orphan beside a hung-up key", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		fdtest.Dup(t, r)
		backendtest.Register(t, s, r, read)
		fdtest.Close(t, r)
		backendtest.Unregister(t, s, r)
		other, peer := fdtest.Pipe(t)
		backendtest.Register(t, s, other, priority)
		fdtest.Close(t, peer)
		return batch{other: selectors.EventHangup}
	}},
	{"hung up and read, one-shot", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		fdtest.Close(t, w)
		backendtest.Register(t, s, r, read|oneShot)
		fdtest.Drain(t, r)
		return batch{r: read | selectors.EventHangup}
	}},
	{"hung up and read, edge-triggered", selectors.FeatureEdgeTriggered, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		fdtest.Close(t, w)
		backendtest.Register(t, s, r, read|edge)
		fdtest.Drain(t, r)
		return batch{r: read | selectors.EventHangup}
	}},
	{"hung up, waiting for priority", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Close(t, w)
		backendtest.Register(t, s, r, priority)
		return batch{r: selectors.EventHangup}
	}},
	{"hung up, waiting for write", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Close(t, w)
		backendtest.Register(t, s, r, write)
		return batch{r: selectors.EventHangup}
	}},
	{"hung up, one-shot, waiting for write", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Close(t, w)
		backendtest.Register(t, s, r, write|oneShot)
		return batch{r: selectors.EventHangup}
	}},
	{"hung up, exclusive, waiting for write", selectors.FeatureExclusive, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Close(t, w)
		backendtest.Register(t, s, r, write|exclusive)
		return batch{r: selectors.EventHangup}
	}},
	{"hung up later", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		backendtest.Register(t, s, r, priority)
		backendtest.Select(t, s, 0)
		fdtest.Close(t, w)
		return batch{r: selectors.EventHangup}
	}},
	{"no reader, waiting for priority", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Close(t, r)
		backendtest.Register(t, s, w, priority)
		return batch{w: selectors.EventError}
	}},
	{"connected, peer gone with unread data, waiting for priority", 0, func(t *testing.T, s selectors.Selector) batch {
		a, b := fdtest.UnixPair(t)
		fdtest.Write(t, a, "x")
		fdtest.Close(t, b)
		backendtest.Register(t, s, a, priority)
		return batch{a: selectors.EventHangup | selectors.EventError}
	}},
	{"never connected, waiting for priority", 0, func(t *testing.T, s selectors.Selector) batch {
		fd := fdtest.TCPSocket(t)
		backendtest.Register(t, s, fd, priority)
		return batch{fd: selectors.EventHangup}
	}},
	{"closed", 0, func(t *testing.T, s selectors.Selector) batch {
		r, _ := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		fdtest.Close(t, r)
		return batch{r: selectors.EventError | selectors.EventInvalid}
	}},
	{"closed, several", 0, func(t *testing.T, s selectors.Selector) batch {
		want := batch{}
		for range 5 {
			r, w := fdtest.Pipe(t)
			backendtest.Register(t, s, r, read)
			backendtest.Register(t, s, w, read|write)
			fdtest.Close(t, r, w)
			want[r] = selectors.EventError | selectors.EventInvalid
			want[w] = want[r]
		}
		return want
	}},
	{"closed, one-shot", 0, func(t *testing.T, s selectors.Selector) batch {
		r, _ := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read|oneShot)
		fdtest.Close(t, r)
		return batch{r: selectors.EventError | selectors.EventInvalid}
	}},
	{"closed after it had fallen silent", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		backendtest.Register(t, s, r, read|oneShot)
		backendtest.Select(t, s, 0) // it fires
		fdtest.Close(t, r)
		return batch{}
	}},
	{"closed after it was hung up", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Close(t, w)
		backendtest.Register(t, s, r, priority)
		backendtest.Select(t, s, 0) // the hang-up is told
		fdtest.Close(t, r)
		return batch{r: selectors.EventError | selectors.EventInvalid}
	}},
	{"closed object", 0, func(t *testing.T, s selectors.Selector) batch {
		a, _ := fdtest.NetPair(t)
		key := backendtest.Register(t, s, a, read)
		a.Close()
		return batch{key.FD: selectors.EventError | selectors.EventInvalid}
	}},
	{"closed, kept by a duplicate, hung up", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Dup(t, r)
		backendtest.Register(t, s, r, priority)
		fdtest.Close(t, r, w)
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
		fd := fdtest.Dup(t, fdtest.Number(t, f))
		backendtest.Register(t, s, fd, read)
		backendtest.Select(t, s, 0)
		fdtest.Close(t, fd)
		return batch{fd: selectors.EventError | selectors.EventInvalid}
	}},
	{"was always ready, but its number has another file", selectors.FeatureAnyFile, func(t *testing.T, s selectors.Selector) batch {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fd := fdtest.Dup(t, fdtest.Number(t, f))
		backendtest.Register(t, s, fd, read)
		backendtest.Select(t, s, 0)
		r, _ := fdtest.Pipe(t)
		fdtest.Replace(t, fd, r)
		return batch{}
	}},
	{"always ready, waiting for priority", selectors.FeatureAnyFile, func(t *testing.T, s selectors.Selector) batch {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		backendtest.Register(t, s, f, priority)
		return batch{}
	}},
	{"always ready, one-shot", selectors.FeatureAnyFile, func(t *testing.T, s selectors.Selector) batch {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return batch{backendtest.Register(t, s, f, read|oneShot).FD: read}
	}},
	{"always ready, edge-triggered", selectors.FeatureEdgeTriggered, func(t *testing.T, s selectors.Selector) batch {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return batch{backendtest.Register(t, s, f, read|write|edge).FD: read | write}
	}},
}

// TestIdleUsesNoCPU: a Select that has nothing to tell sleeps.
func TestIdleUsesNoCPU(t *testing.T) {
	for _, idler := range idlers {
		t.Run(idler.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				if s.Features()&idler.needs != idler.needs {
					t.Skipf("this backend has no %v", idler.needs)
				}
				// Somebody who must not suffer.
				bystander, peer := fdtest.UnixPair(t)
				backendtest.Register(t, s, bystander, read)

				expectHints(t, s, idler.make(t, s))
				backendtest.ExpectIdle(t, s, 50*time.Millisecond)
				fdtest.Write(t, peer, "x")
				backendtest.Expect(t, s, batch{bystander: read})
			})
		})
	}
	t.Run("all of them", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			for _, idler := range idlers {
				if s.Features()&idler.needs == idler.needs {
					idler.make(t, s)
				}
			}
			// Some are looked at now and then only, so several Selects in a
			// row have to be silent, however slowly the machine runs.
			for silent, start := 0, time.Now(); silent < 12; silent++ {
				if len(backendtest.Select(t, s, fdtest.QuietTime)) > 0 {
					silent = 0
				}
				if time.Since(start) > fdtest.Timeout {
					t.Fatal("Select never ceases to report")
				}
			}
			backendtest.ExpectIdle(t, s, 300*time.Millisecond)
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
			events = backendtest.SupportedHints(s, events)
		}
		if events != 0 {
			able[fd] = events
		}
	}
	got := batch{}
	timeout := time.Duration(0)
	for i, start := 0, time.Now(); i < 5 || len(got) < len(able) && time.Since(start) < fdtest.Timeout; i++ {
		for fd, events := range backendtest.Select(t, s, timeout).Guaranteed(s) {
			got[fd] |= events
		}
		if i >= 3 && len(got) < len(able) {
			timeout = fdtest.QuietTime // some are looked at now and then only
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
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			name := t.TempDir() + "/fifo"
			if err := unix.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			open := func(mode int) int {
				fd, err := unix.Open(name, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				return fdtest.Own(t, fd)
			}
			r := open(unix.O_RDONLY)
			w := open(unix.O_WRONLY)
			backendtest.Register(t, s, w, priority)
			fdtest.Close(t, r)
			expectHints(t, s, batch{w: selectors.EventError})
			backendtest.ExpectNothing(t, s)
			backendtest.Modify(t, s, w, write)
			fill2 := open(unix.O_RDONLY)
			backendtest.Expect(t, s, batch{w: write})
			fdtest.Close(t, fill2)
			backendtest.Expect(t, s, batch{w: write})
		})
	})
	t.Run("socket connects", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			l, addr := fdtest.Listen(t)
			fd := fdtest.TCPSocket(t)
			backendtest.Register(t, s, fd, priority)
			expectHints(t, s, batch{fd: selectors.EventHangup})
			backendtest.ExpectNothing(t, s)
			if err := unix.Connect(fd, addr); err != nil && err != unix.EINPROGRESS {
				t.Fatal(err)
			}
			_ = l
			backendtest.ExpectNothing(t, s)
			backendtest.Modify(t, s, fd, write)
			backendtest.Expect(t, s, batch{fd: write})
		})
	})
	t.Run("urgent byte to a socket that was not connected", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			l, addr := fdtest.Listen(t)
			fd := fdtest.TCPSocket(t)
			backendtest.Register(t, s, fd, priority)
			expectHints(t, s, batch{fd: selectors.EventHangup})
			if err := unix.Connect(fd, addr); err != nil && err != unix.EINPROGRESS {
				t.Fatal(err)
			}
			backendtest.Register(t, s, l, read)
			backendtest.Expect(t, s, batch{l: read})
			peer, _, err := unix.Accept(l)
			if err != nil {
				t.Fatal(err)
			}
			peer = fdtest.Own(t, peer)
			backendtest.Unregister(t, s, l)
			backendtest.ExpectNothing(t, s)
			if err := unix.Sendto(peer, []byte("!"), unix.MSG_OOB, nil); err != nil {
				t.Fatal(err)
			}
			backendtest.Expect(t, s, batch{fd: priority})
		})
	})
}
