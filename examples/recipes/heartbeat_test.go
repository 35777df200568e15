package recipes_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"goselectors/eventloop/looptest"
	"goselectors/examples/recipes"
)

// TestHeartbeat runs a heartbeat of many members on a virtual clock. Each beat takes 8
// µs, so all of them at once would hold the loop for 64 ms.
func TestHeartbeat(t *testing.T) {
	for _, count := range []int{1, 3, 8000} {
		loop, clock, _ := looptest.New()
		defer loop.Close()
		const interval, beatTime = time.Second, 8 * time.Microsecond
		beats, last := make([]int, count), make([]time.Duration, count)
		longest := time.Duration(0)
		h := recipes.NewHeartbeat(loop, interval, func(i int) {
			clock.Advance(beatTime)
			now := clock.Now()
			beats[i]++
			longest = max(longest, now-last[i])
			last[i] = now
		})
		for i := range count {
			for range 2 { // the second one has no effect
				if err := h.Add(i); err != nil {
					t.Fatal(err)
				}
			}
		}
		loop.CallLater(10*interval+interval/2, loop.Stop)
		if err := loop.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i, n := range beats {
			if n < 10 || n > 11 {
				t.Fatalf("%d members: member %d had %d beats in 10.5 s", count, i, n)
			}
		}
		// Members are added at the same time, so no beat comes after more than an interval and a tick.
		if longest > interval+30*time.Millisecond {
			t.Errorf("%d members: %v without a beat", count, longest)
		}
		if late := loop.Stats().LatestTimer; late > 2*time.Millisecond {
			t.Errorf("%d members: a timer was %v late", count, late)
		}
	}
}

// TestHeartbeatLate requires that a turn is short also after the loop was held, and that
// beats of missed rounds are not made up for.
func TestHeartbeatLate(t *testing.T) {
	loop, clock, _ := looptest.New()
	defer loop.Close()
	const interval = time.Second
	beats := make(map[int]int)
	h := recipes.NewHeartbeat(loop, interval, func(i int) {
		clock.Advance(10 * time.Microsecond)
		beats[i]++
	})
	for i := range 1000 {
		h.Add(i)
	}
	clock.Advance(10 * interval)
	const tick = time.Millisecond
	loop.Every(tick, func() {})
	for end := clock.Now() + interval/2; clock.Now() < end; {
		before := clock.Now()
		loop.RunOnce(-1)
		if took := clock.Now() - before; took > tick+2*time.Millisecond {
			t.Fatalf("a turn of %v", took)
		}
	}
	for i := range 1000 {
		if beats[i] < 1 || beats[i] > 3 {
			t.Fatalf("member %d had %d beats after ten missed rounds", i, beats[i])
		}
	}
}

// TestHeartbeatChanges adds and removes members at random, also in a beat. A member has
// its beats as long as it is one, and not later.
func TestHeartbeatChanges(t *testing.T) {
	loop, _, _ := looptest.New()
	defer loop.Close()
	const interval = time.Second
	rnd := rand.New(rand.NewPCG(3, 4))
	since := make(map[int]time.Duration) // the members, and the last beat or Add of each
	next := 0
	var h *recipes.Heartbeat[int]
	change := func() {
		if rnd.IntN(2) == 0 || len(since) < 20 {
			next++
			since[next] = loop.Now()
			h.Add(next)
			return
		}
		for member := range since { // any
			delete(since, member)
			h.Remove(member)
			h.Remove(member) // does nothing
			break
		}
	}
	h = recipes.NewHeartbeat(loop, interval, func(member int) {
		before, ok := since[member]
		if gap := loop.Now() - before; !ok || gap >= 2*interval {
			t.Fatalf("beat of member %d after %v; it is a member: %v", member, gap, ok)
		}
		since[member] = loop.Now()
		if rnd.IntN(4) == 0 {
			change()
		}
	})
	for range 100 {
		change()
	}
	loop.Every(7*time.Millisecond, change)
	loop.CallLater(200*interval, loop.Stop)
	if err := loop.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for member, when := range since {
		if gap := loop.Now() - when; gap >= 2*interval {
			t.Errorf("member %d without a beat for %v", member, gap)
		}
	}
	h.Stop()
	h.Stop()
	if loop.RunOnce(interval); next < 1000 {
		t.Errorf("only %d changes", next)
	}
}
