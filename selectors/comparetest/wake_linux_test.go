package comparetest_test

import (
	"os"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestRegressWakesCoalesce: asyncio's self-pipe held 278 wake-ups of a byte
// each, and lost a signal when the pipe was full. Here wake-ups coalesce into
// one, and none is lost.
func TestRegressWakesCoalesce(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for range 20_000 {
			if err := s.Wake(); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		backendtest.Expect(t, s, batch{})
		if got := backendtest.Select(t, s, fdtest.QuietTime); len(got) != 0 || time.Since(start) < fdtest.QuietTime {
			t.Errorf("20 000 wake-ups ended more than one Select")
		}

		// Wake and Select alternate: each wake-up ends one Select.
		const rounds = 500
		woken := make(chan error)
		go func() {
			for range rounds {
				ready, err := s.Select(fdtest.Timeout)
				if err == nil && len(ready) != 0 {
					err = os.ErrInvalid
				}
				woken <- err
			}
		}()
		start = time.Now()
		for i := range rounds {
			s.Wake()
			select {
			case err := <-woken:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(2 * fdtest.Timeout):
				t.Fatalf("wake %d was lost", i)
			}
		}
		if took := time.Since(start); took > fdtest.Timeout {
			t.Errorf("%d wakes took %v: some were lost", rounds, took)
		}
	})
}

// TestPeersWakeIsConsumedOnce: gnet on NetBSD and OpenBSD never drains its
// wake pipe (pkg/netpoll, poller_kqueue_wakeup1.go), so that its loop spins
// after the first wake-up. Here a wake-up ends one Select, and then the
// selector is idle.
func TestPeersWakeIsConsumedOnce(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, _ := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		for range 50 {
			for range 3 {
				s.Wake()
			}
			backendtest.ExpectWoken(t, s)
		}
		for range 10 {
			c := backendtest.StartSelect(s, fdtest.Timeout)
			s.Wake()
			backendtest.AwaitWoken(t, c)
		}
		backendtest.ExpectIdle(t, s, 50*time.Millisecond)
	})
}
