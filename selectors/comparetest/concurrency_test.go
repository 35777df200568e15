//go:build unix

package comparetest_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestLibeventManyDupsDuringSelect: The same as TestLibeventManyDups, while
// another goroutine waits in the selector. Every key is registered with the
// running Select, the last as well as the first.
func TestLibeventManyDupsDuringSelect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		other, peer := fdtest.Pipe(t)
		backendtest.Register(t, s, other, read)
		c := backendtest.StartSelect(s, fdtest.Timeout)
		want := batch{}
		for range 150 {
			fd := fdtest.Dup(t, r)
			backendtest.Register(t, s, fd, read)
			want[fd] = read
		}
		fdtest.Write(t, peer, "x")
		backendtest.AwaitBatch(t, c, batch{other: read})
		fdtest.Drain(t, other)
		c = backendtest.StartSelect(s, fdtest.Timeout)
		fdtest.Write(t, w, "x")
		a := backendtest.Await(t, c)
		if a.Err != nil || len(a.Ready) == 0 {
			t.Fatalf("Select returned %v, %v", a.Ready, a.Err)
		}
		backendtest.Expect(t, s, want)
		fdtest.Drain(t, r)
		c = backendtest.StartSelect(s, fdtest.Timeout)
		s.Wake()
		backendtest.AwaitWoken(t, c)
	})
}

// TestLibkqueueDeleteRace: One goroutine unregisters keys while another
// selects. A Select that starts after Unregister has returned does not report
// the key.
func TestLibkqueueDeleteRace(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		fdtest.Write(t, w, "x") // always ready
		var epoch atomic.Int64
		stop := make(chan struct{})
		failed := make(chan error, 1)
		go func() {
			defer close(failed)
			for {
				select {
				case <-stop:
					return
				default:
				}
				epochBefore := epoch.Load()
				ready, err := s.Select(time.Millisecond)
				if err != nil {
					failed <- err
					return
				}
				for _, r := range ready {
					// Registered in epoch n, unregistered before epoch n+1.
					if n := r.Key.Data.(int64); n < epochBefore {
						failed <- errors.New("a key was reported that had been unregistered before the Select")
						return
					}
				}
			}
		}()
		for n := range int64(3000) {
			epoch.Store(n)
			if _, err := s.Register(r, read, n); err != nil {
				t.Fatal(err)
			}
			if n%2 == 0 {
				if _, err := s.Modify(r, read|write, n); err != nil {
					t.Fatal(err)
				}
			}
			backendtest.Unregister(t, s, r)
		}
		close(stop)
		select {
		case err := <-failed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(fdtest.Timeout):
			t.Fatal("the selecting goroutine does not end")
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibkqueueSingleDelivery: Two selectors wait for the same file. At least
// one reports the event. A one-shot key reports it once.
func TestLibkqueueSingleDelivery(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		modes := []selectors.Event{oneShot}
		if b.Features&selectors.FeatureExclusive != 0 {
			modes = append(modes, exclusive)
		}
		for _, mode := range modes {
			one, two := backendtest.New(t, b), backendtest.New(t, b)
			r, w := fdtest.Pipe(t)
			backendtest.Register(t, one, r, read|mode)
			backendtest.Register(t, two, r, read|mode)
			c1, c2 := backendtest.StartSelect(one, 10*fdtest.QuietTime), backendtest.StartSelect(two, 10*fdtest.QuietTime)
			fdtest.Write(t, w, "x")
			a1, a2 := backendtest.Await(t, c1), backendtest.Await(t, c2)
			if a1.Err != nil || a2.Err != nil || len(a1.Ready)+len(a2.Ready) == 0 {
				t.Errorf("%v: %v, %v and %v, %v: no selector reported the event", mode, a1.Ready, a1.Err, a2.Ready, a2.Err)
			}
			if mode == oneShot {
				backendtest.ExpectNothing(t, one)
				backendtest.ExpectNothing(t, two)
			}
		}
	})
}

// TestPollingMultiplePollers: One file in two selectors.
func TestPollingMultiplePollers(t *testing.T) {
	for _, test := range []struct {
		name  string
		needs selectors.Feature
		mode  selectors.Event
		again bool // is reported by both again and again
	}{
		{"level", 0, 0, true},
		{"edge", selectors.FeatureEdgeTriggered, edge, false},
		{"one-shot", 0, oneShot, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
				if b.Features&test.needs != test.needs {
					t.Skipf("this backend has no %v", test.needs)
				}
				one, two := backendtest.New(t, b), backendtest.New(t, b)
				r, w := fdtest.UnixPair(t)
				backendtest.Register(t, one, r, read|test.mode)
				backendtest.Register(t, two, r, read|test.mode)
				fdtest.Write(t, w, "x")
				backendtest.Expect(t, one, batch{r: read})
				backendtest.Expect(t, two, batch{r: read})
				if test.again {
					backendtest.Expect(t, one, batch{r: read})
					backendtest.Expect(t, two, batch{r: read})
				} else {
					backendtest.ExpectNothing(t, one)
					backendtest.ExpectNothing(t, two)
				}
				// Unregistering from one does not change the other.
				backendtest.Unregister(t, one, r)
				backendtest.ExpectNothing(t, one)
				backendtest.Modify(t, two, r, read|test.mode)
				if test.mode == oneShot || test.mode == edge || test.again {
					backendtest.Expect(t, two, batch{r: read})
				}
				fdtest.Drain(t, r)
				backendtest.ExpectNothing(t, two)
			})
		})
	}
}

// TestPollingManyPollers: One file in very many selectors, like a listener
// that is shared by one loop for each processor.
func TestPollingManyPollers(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		mode := selectors.Event(0)
		if b.Features&selectors.FeatureExclusive != 0 {
			mode = exclusive
		}
		r, w := fdtest.Pipe(t)
		var all []selectors.Selector
		for range 130 {
			s := backendtest.New(t, b)
			backendtest.Select(t, s, time.Millisecond) // whatever a selector does when it first waits
			if _, err := s.Register(r, read|mode, nil); err != nil {
				t.Fatalf("selector %d: %v", len(all), err)
			}
			all = append(all, s)
		}
		for _, s := range all {
			start := time.Now()
			if got := backendtest.Select(t, s, time.Millisecond); len(got) != 0 || time.Since(start) < time.Millisecond {
				t.Fatalf("reported %v after %v", got, time.Since(start))
			}
		}
		c := backendtest.StartSelect(all[129], fdtest.Timeout)
		fdtest.Write(t, w, "x")
		if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 1 {
			t.Errorf("Select returned %v, %v", a.Ready, a.Err)
		}
		for _, s := range all {
			backendtest.Expect(t, s, batch{r: read})
		}
	})
}

func TestMioRegistryIsThreadSafe(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		var all sync.WaitGroup
		failed := make(chan error, 8)
		want := batch{}
		for range cap(failed) {
			_, w := fdtest.UnixPair(t)
			want[w] = write
			all.Add(1)
			go func() {
				defer all.Done()
				for range 100 {
					if _, err := s.Register(w, read, nil); err != nil {
						failed <- err
						return
					}
					if _, err := s.Unregister(w); err != nil {
						failed <- err
						return
					}
				}
				if _, err := s.Register(w, read, nil); err != nil {
					failed <- err
					return
				}
				if _, err := s.Modify(w, write, nil); err != nil {
					failed <- err
				}
			}()
		}
		for range 20 {
			backendtest.Select(t, s, time.Millisecond)
		}
		all.Wait()
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
		backendtest.Expect(t, s, want)
	})
}
