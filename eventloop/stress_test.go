//go:build unix

package eventloop_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

var postsEvents = flag.Int("posts.events", 200_000, "how many posts TestNoPostIsLost makes on each backend")

// A loop that misses a wake keeps sleeping and does not run the post. The test
// makes many posts on loops that sleep as often as possible, with GOMAXPROCS 1,
// 2 and 4. Nothing else wakes these loops, except that the interest of two
// descriptors changes all the time in one part of the test.
//
//	go test -run TestNoPostIsLost ./eventloop -posts.events 10000000
func TestNoPostIsLost(t *testing.T) {
	procs := []int{1, 2, 4}
	for _, k := range loopKinds() {
		for _, p := range procs {
			t.Run(fmt.Sprintf("%s/GOMAXPROCS=%d", k.Name, p), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(p))
				limitTime(t)
				l := k.loop(t)
				ended := startLoop(t, l)
				n := *postsEvents / len(procs)
				started := time.Now()
				flood(t, l, n*6/10)
				bursts(t, l, n*38/100, false)
				bursts(t, l, n/100, true)
				pingPong(t, l, n/100)
				l.Stop()
				if err := receive(t, ended); err != nil {
					t.Fatal(err)
				}
				s := l.Stats()
				if s.Wakes > s.Turns {
					t.Errorf("%d wakes in %d turns", s.Wakes, s.Turns)
				}
				t.Logf("%d posts in %v, %d turns, %d wakes", n, time.Since(started).Round(time.Millisecond), s.Turns, s.Wakes)
			})
		}
	}
}

// flood posts from four goroutines as fast as possible. The posts of each must run in order.
func flood(t *testing.T, l *eventloop.Loop, n int) {
	const producers = 4
	var ran atomic.Int64
	var next [producers]int
	for p := range producers {
		go func() {
			for i := range n / producers {
				check(l.Post(func() {
					if next[p] != i {
						t.Errorf("producer %d: post %d ran, want %d", p, i, next[p])
					}
					next[p] = i + 1
					ran.Add(1)
				}))
			}
		}()
	}
	waitForCount(t, &ran, n/producers*producers)
}

// bursts has four goroutines repeatedly post up to 64 functions and wait for them.
// With churn, the interest of two descriptors changes meanwhile.
func bursts(t *testing.T, l *eventloop.Loop, n int, churn bool) {
	const producers = 4
	var ran atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	if churn {
		a, b := socketPair(t)
		interest := func(i int) selectors.Event { return []selectors.Event{read, read | oneShot}[i&1] }
		callback := func(any, selectors.Event) { t.Error("callback called, but no descriptor is ready") }
		check(l.Post(func() {
			must(l.Register(a, read, callback))
			must(l.Register(b, read, callback))
		}))
		reached := make(chan struct{})
		check(l.Post(func() { close(reached) }))
		receive(t, reached)
		s := l.Selector()
		wg.Add(1)
		go func() { // changes a from this goroutine; posted functions below change b
			defer wg.Done()
			for i := 0; !stop.Load(); i++ {
				must(s.Modify(a, interest(i), eventloop.Callback(callback)))
				runtime.Gosched()
			}
		}()
		defer func() {
			stop.Store(true)
			wg.Wait()
			must(s.Unregister(a))
			must(s.Unregister(b))
		}()
		for p := range producers {
			go burst(t, n/producers, &ran, func(i int, done func()) {
				check(l.Post(func() {
					if p == 0 {
						must(l.Modify(b, interest(i), callback))
					}
					done()
				}))
			})
		}
	} else {
		for range producers {
			go burst(t, n/producers, &ran, func(_ int, done func()) { check(l.Post(done)) })
		}
	}
	waitForCount(t, &ran, n/producers*producers)
}

func burst(t *testing.T, n int, ran *atomic.Int64, post func(i int, done func())) {
	for left := n; left > 0; {
		size := min(1+rand.IntN(64), left)
		left -= size
		done := make(chan struct{}, size)
		for i := range size {
			post(left+i, func() {
				ran.Add(1)
				done <- struct{}{}
			})
		}
		for range size {
			select {
			case <-done:
			case <-time.After(receiveTimeout):
				t.Error("a post did not run")
				return
			}
		}
	}
}

// pingPong posts one function at a time and waits for it, so that the loop sleeps
// before each.
func pingPong(t *testing.T, l *eventloop.Loop, n int) {
	done := make(chan struct{}, 1)
	for range n {
		check(l.Post(func() { done <- struct{}{} }))
		receive(t, done)
	}
}

// waitForCount waits until ran is n. It fails when there is no progress.
func waitForCount(t *testing.T, ran *atomic.Int64, n int) {
	t.Helper()
	last, since := int64(-1), time.Now()
	for {
		now := ran.Load()
		switch {
		case now == int64(n):
			return
		case now != last:
			last, since = now, time.Now()
		case time.Since(since) > receiveTimeout:
			t.Fatalf("no progress: %d of %d posts ran", now, n)
		}
		time.Sleep(time.Millisecond)
	}
}

// Stop, a cancelled context, Close and the end of a function passed to Do wake a
// loop at any moment.
func TestNoWakeIsLost(t *testing.T) {
	const rounds = 300
	forEachLoopKind(t,
		testCase{"stop", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			ended := make(chan error)
			for range rounds {
				started := make(chan struct{})
				check(l.Post(func() { close(started) }))
				go func() { ended <- l.Run(context.Background()) }()
				<-started
				for range rand.IntN(50) {
					runtime.Gosched()
				}
				l.Stop()
				if err := receive(t, ended); err != nil {
					t.Fatal(err)
				}
			}
		}},
		testCase{"context", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			ended := make(chan error)
			for range rounds {
				ctx, cancel := context.WithCancel(context.Background())
				go func() { ended <- l.Run(ctx) }()
				for range rand.IntN(50) {
					runtime.Gosched()
				}
				cancel()
				if err := receive(t, ended); err != context.Canceled {
					t.Fatal(err)
				}
			}
		}},
		testCase{"close", func(t *testing.T, k loopKind) {
			for range rounds / 5 {
				l := k.loop(t)
				ended := startLoop(t, l)
				for range rand.IntN(50) {
					runtime.Gosched()
				}
				check(l.Close())
				if err := receive(t, ended); err == nil {
					t.Fatal("Run returned nil")
				}
			}
		}},
		testCase{"work", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			ended := startLoop(t, l)
			for range rounds {
				done := make(chan struct{})
				check(l.Do(runtime.Gosched, func() { close(done) }))
				receive(t, done)
			}
			l.Stop()
			receive(t, ended)
		}},
	)
}
