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

// idleCases are keys of which nothing is reported, or nothing after a first
// report. Most have hung up or are closed: poll(2) and epoll(7) report those
// conditions whatever the interest is.
var idleCases = []struct {
	name  string
	needs selectors.Feature
	// setUp registers keys and returns what is reported before they are idle, hints
	// included.
	setUp func(t *testing.T, s selectors.Selector) batch
}{
	{"nothing", 0, func(t *testing.T, s selectors.Selector) batch {
		return batch{}
	}},
	{"not ready", 0, func(t *testing.T, s selectors.Selector) batch {
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
	{"orphaned registration, readable", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		fdtest.Dup(t, r)
		backendtest.Register(t, s, r, read)
		fdtest.Close(t, r)
		backendtest.Unregister(t, s, r)
		return batch{}
	}},
	{"orphaned registration, hung up", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Dup(t, r)
		backendtest.Register(t, s, r, read)
		fdtest.Close(t, r, w)
		backendtest.Unregister(t, s, r)
		return batch{}
	}},
	{"orphaned registration beside a hung-up key", 0, func(t *testing.T, s selectors.Selector) batch {
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
	{"connected, peer closed with unread data, waiting for priority", 0, func(t *testing.T, s selectors.Selector) batch {
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
	{"closed after it was disabled", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x")
		backendtest.Register(t, s, r, read|oneShot)
		backendtest.Select(t, s, 0) // reported once
		fdtest.Close(t, r)
		return batch{}
	}},
	{"closed after it was hung up", 0, func(t *testing.T, s selectors.Selector) batch {
		r, w := fdtest.Pipe(t)
		fdtest.Close(t, w)
		backendtest.Register(t, s, r, priority)
		backendtest.Select(t, s, 0) // the hangup is reported
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
			return batch{r: selectors.EventHangup} // of the file, which the duplicate keeps open
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

// TestIdleUsesNoCPU: a Select with nothing to report sleeps.
func TestIdleUsesNoCPU(t *testing.T) {
	for _, test := range idleCases {
		t.Run(test.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				backendtest.Need(t, s, test.needs)
				// Events of another key must still be reported.
				bystander, peer := fdtest.UnixPair(t)
				backendtest.Register(t, s, bystander, read)

				expectHints(t, s, test.setUp(t, s))
				expectErrorsOnly(t, s, 50*time.Millisecond)
				fdtest.Write(t, peer, "x")
				backendtest.Expect(t, s, batch{bystander: read})
			})
		})
	}
	t.Run("all of them", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			for _, test := range idleCases {
				if s.Features()&test.needs == test.needs {
					test.setUp(t, s)
				}
			}
			// Muted keys are rechecked at intervals only, so several Selects in
			// a row must report nothing, however slow the machine is.
			for quiet, start := 0, time.Now(); quiet < 12; quiet++ {
				for _, events := range backendtest.Select(t, s, fdtest.QuietTime) {
					if events&selectors.EventError == 0 {
						quiet = 0
					}
				}
				if time.Since(start) > fdtest.Timeout {
					t.Fatal("Select does not stop reporting")
				}
			}
			expectErrorsOnly(t, s, 300*time.Millisecond)
		})
	})
}

// expectErrorsOnly checks that for a time nothing is reported except errors that
// last, which poll reports ten times a second, and that no processor time is used.
// Other goroutines of the process may use some, so one of three attempts has to be
// idle.
func expectErrorsOnly(t *testing.T, s selectors.Selector, length time.Duration) {
	t.Helper()
	var used []time.Duration
	for range 3 {
		cpu, start, returns := fdtest.CPUTime(), time.Now(), 0
		for left := length; left > 0; left = length - time.Since(start) {
			for fd, events := range backendtest.Select(t, s, left) {
				if events&selectors.EventError == 0 || events&selectors.EventInvalid != 0 {
					t.Errorf("Select reported %v of fd %d, want nothing but errors", events, fd)
				}
			}
			returns++
		}
		if most := int(time.Since(start)/(100*time.Millisecond)) + 3; returns > most {
			t.Errorf("%d Selects returned in %v, want %d at most", returns, length, most)
		}
		if cpu = fdtest.CPUTime() - cpu; cpu <= length/8 {
			return
		}
		used = append(used, cpu)
	}
	t.Errorf("Selects for %v used %v of CPU, want next to nothing", length, used)
}

// expectHints checks that the Selects that follow report, in all, exactly those
// events of want that the backend can report. The first Selects do not wait.
func expectHints(t *testing.T, s selectors.Selector, want batch) {
	t.Helper()
	supported := batch{}
	for fd, events := range want {
		if events&selectors.EventInvalid != 0 && s.Features()&selectors.FeatureInvalid == 0 {
			continue // this backend does not report closed descriptors
		} else if events&selectors.EventInvalid == 0 {
			events = backendtest.SupportedHints(s, events)
		}
		if events != 0 {
			supported[fd] = events
		}
	}
	got := batch{}
	timeout := time.Duration(0)
	for i, start := 0, time.Now(); i < 5 || len(got) < len(supported) && time.Since(start) < fdtest.Timeout; i++ {
		for fd, events := range backendtest.Select(t, s, timeout).Guaranteed(s) {
			got[fd] |= events
		}
		if i >= 3 && len(got) < len(supported) {
			timeout = fdtest.QuietTime // muted keys are rechecked at intervals only
		}
	}
	if !maps.Equal(got, supported) {
		t.Errorf("Select reported %v, want %v", got, supported)
	}
}

// TestMutedKeyBecomesReady: a key that is muted because only hints were ready is
// reported again when an event of its interest is ready.
func TestMutedKeyBecomesReady(t *testing.T) {
	t.Run("FIFO gets a writer again", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			name := t.TempDir() + "/fifo"
			if err := unix.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			open := func(mode int) int { return fdtest.Open(t, name, mode|unix.O_NONBLOCK) }
			r := open(unix.O_RDONLY)
			w := open(unix.O_WRONLY)
			backendtest.Register(t, s, w, priority)
			fdtest.Close(t, r)
			expectHints(t, s, batch{w: selectors.EventError})
			expectErrorsOnly(t, s, fdtest.QuietTime)
			backendtest.Modify(t, s, w, write)
			r = open(unix.O_RDONLY)
			backendtest.Expect(t, s, batch{w: write})
			fdtest.Close(t, r)
			backendtest.Expect(t, s, batch{w: write})
		})
	})
	t.Run("socket connects", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			_, addr := fdtest.Listen(t)
			fd := fdtest.TCPSocket(t)
			backendtest.Register(t, s, fd, priority)
			expectHints(t, s, batch{fd: selectors.EventHangup})
			backendtest.ExpectNothing(t, s)
			fdtest.Connect(t, fd, addr)
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
			fdtest.Connect(t, fd, addr)
			backendtest.Register(t, s, l, read)
			backendtest.Expect(t, s, batch{l: read})
			peer, _, err := unix.Accept(l)
			if err != nil {
				t.Fatal(err)
			}
			peer = fdtest.Own(t, peer)
			backendtest.Unregister(t, s, l)
			backendtest.ExpectNothing(t, s)
			fdtest.SendUrgent(t, peer)
			backendtest.Expect(t, s, batch{fd: priority})
		})
	})
}
