package comparetest_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestRegressRegisterDuringSelect: In Python only the epoll selector sees a
// registration that another thread makes during select.
func TestRegressRegisterDuringSelect(t *testing.T) {
	for _, change := range []struct {
		name string
		do   func(t *testing.T, s selectors.Selector, fd int)
	}{
		{"register", func(t *testing.T, s selectors.Selector, fd int) { backendtest.Register(t, s, fd, write) }},
		{"modify", func(t *testing.T, s selectors.Selector, fd int) { backendtest.Modify(t, s, fd, write) }},
		{"re-arm", func(t *testing.T, s selectors.Selector, fd int) { backendtest.Modify(t, s, fd, write|oneShot) }},
		{"register over", func(t *testing.T, s selectors.Selector, fd int) {
			next, _ := fdtest.UnixPair(t)
			fdtest.Replace(t, fd, next)
			backendtest.Register(t, s, fd, write)
		}},
	} {
		t.Run(change.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				fd, _ := fdtest.UnixPair(t)
				switch change.name {
				case "modify", "register over":
					backendtest.Register(t, s, fd, read)
				case "re-arm":
					backendtest.Register(t, s, fd, write|oneShot)
					backendtest.Expect(t, s, batch{fd: write})
				}
				c := backendtest.StartSelect(s, fdtest.Timeout)
				change.do(t, s, fd)
				backendtest.AwaitBatch(t, c, batch{fd: write})
			})
		})
	}
	t.Run("always ready", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			c := backendtest.StartSelect(s, fdtest.Timeout)
			key := backendtest.Register(t, s, f, read)
			backendtest.AwaitBatch(t, c, batch{key.FD: read})
		})
	})
	t.Run("unregister", func(t *testing.T) {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			fd, peer := fdtest.UnixPair(t)
			backendtest.Register(t, s, fd, read)
			c := backendtest.StartSelect(s, 5*fdtest.QuietTime)
			backendtest.Unregister(t, s, fd)
			fdtest.Write(t, peer, "x")
			if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 || a.Took < 5*fdtest.QuietTime {
				t.Errorf("Select returned %v, %v after %v", a.Ready, a.Err, a.Took)
			}
		})
	})
}

// TestRegressUnregisterReleasesFile: A poll(2) or select(2) in progress holds
// references to its files. A file that is unregistered and closed meanwhile
// must really be closed: its peer sees that.
func TestRegressUnregisterReleasesFile(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		c := backendtest.StartSelect(s, -1)
		backendtest.Unregister(t, s, r)
		fdtest.Close(t, r)
		fdtest.Await(t, unix.PollFd{Fd: int32(w), Events: unix.POLLPRI}) // that is, for POLLERR
		s.Wake()
		backendtest.AwaitWoken(t, c)
	})
}

// TestRegressConcurrentSelect: In Python a second thread in select gets a
// RuntimeError from poll, and a share of the events from select and epoll.
// Here it gets ErrConcurrentSelect.
func TestRegressConcurrentSelect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		c := backendtest.StartSelect(s, -1)
		for _, timeout := range []time.Duration{0, fdtest.QuietTime, -1} {
			_, err := s.Select(timeout)
			backendtest.ExpectError(t, err, selectors.ErrConcurrentSelect)
		}
		s.Wake()
		backendtest.AwaitWoken(t, c)
		backendtest.ExpectNothing(t, s)
	})
}

// TestPeersSelectReturnsErrors: gnet's Polling ignores all errors but two, and
// has neither a timeout nor a way to wait once. Select waits once, for at most
// its timeout, and returns its errors.
func TestPeersSelectReturnsErrors(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, _ := fdtest.UnixPair(t)
		backendtest.Register(t, s, a, write)
		backendtest.Expect(t, s, batch{a: write})
		backendtest.Modify(t, s, a, read)
		start := time.Now()
		if got := backendtest.Select(t, s, fdtest.QuietTime); len(got) != 0 || time.Since(start) < fdtest.QuietTime {
			t.Errorf("Select(%v) reported %v after %v", fdtest.QuietTime, got, time.Since(start))
		}
		c := backendtest.StartSelect(s, -1)
		_, err := s.Select(0)
		backendtest.ExpectError(t, err, selectors.ErrConcurrentSelect)
		s.Close()
		backendtest.ExpectError(t, backendtest.Await(t, c).Err, selectors.ErrClosed)
	})
}

// TestPeersIndependentSelectors: The peers have one loop for each poller and
// no timeout for a single call. Several selectors work at the same time, each
// in its own goroutine and with its own timeouts.
func TestPeersIndependentSelectors(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		type worker struct {
			s    selectors.Selector
			r, w int
		}
		var workers []worker
		for range 8 {
			r, w := fdtest.Pipe(t)
			s := backendtest.New(t, b)
			backendtest.Register(t, s, r, read)
			workers = append(workers, worker{s, r, w})
		}
		failed := make(chan error, len(workers))
		for i, me := range workers {
			next := workers[(i+1)%len(workers)]
			go func() {
				for round := range 50 {
					ready, err := me.s.Select(fdtest.Timeout)
					if err != nil || len(ready) != 1 {
						failed <- errors.Join(err, errors.New("no token"))
						return
					}
					if _, err = unix.Read(me.r, make([]byte, 1)); err != nil {
						failed <- err
						return
					}
					if round == 49 && i == len(workers)-1 {
						break
					}
					if _, err = unix.Write(next.w, []byte("t")); err != nil {
						failed <- err
						return
					}
				}
				failed <- nil
			}()
		}
		fdtest.Write(t, workers[0].w, "t") // one token circulates
		for range workers {
			select {
			case err := <-failed:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(3 * fdtest.Timeout):
				t.Fatal("the token was lost")
			}
		}
	})
}
