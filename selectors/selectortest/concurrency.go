package selectortest

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"goselectors/selectors"
)

// timeoutFileRules check how long Select waits with files registered.
var timeoutFileRules = []rule{
	{"ZeroReportsReadyFile", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		for range 3 {
			t.wantBatch(t.mustSelect(0))
			t.write(b, "x")
			t.wantBatch(t.mustSelect(0), report(key, r))
			t.read(a, "x")
		}
	}},

	{"FullTimeoutWithIdleFile", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		for range 2 {
			t.wantTimeout(t.s, 5*time.Millisecond)
			t.wantTimeout(t.s, 100*time.Microsecond)
		}
		t.wantStillReported(key, b)
	}},

	{"ReadinessEndsSelect", 0, func(t *T) {
		for _, timeout := range []time.Duration{-1, time.Hour, math.MaxInt64} {
			a, b := t.pair()
			key := t.register(a, r, nil)
			pending := t.startSelect(t.s, timeout)
			t.wantBlocked(pending)
			t.write(b, "x")
			t.wantResult(pending, report(key, r))
			t.unregister(a)
		}
	}},

	{"AlreadyReadyEndsSelect", 0, func(t *T) {
		a, _ := t.pair()
		key := t.register(a, w, nil)
		for _, timeout := range []time.Duration{-1, 0, time.Hour, math.MaxInt64, math.MinInt64} {
			t.wantBatch(t.mustSelect(timeout), report(key, w))
		}
	}},

	{"Signals", 0, func(t *T) {
		t.needSignals()
		// A signal interrupts a system call, which then fails with EINTR. The Go
		// runtime sends signals often. Select must wait for the remaining time.
		a, b := t.pair()
		key := t.register(a, r, nil)
		var stop atomic.Bool
		var sent atomic.Int64
		var signaller sync.WaitGroup
		signaller.Add(1)
		go func() {
			defer signaller.Done()
			for !stop.Load() {
				signalAllThreads()
				sent.Add(1)
				time.Sleep(500 * time.Microsecond)
			}
		}()
		const timeout = 210 * time.Millisecond
		start := time.Now()
		batch, err := t.s.Select(timeout)
		elapsed := time.Since(start)
		stop.Store(true)
		signaller.Wait()
		if err != nil || len(batch) != 0 || elapsed < timeout {
			t.Errorf("Select(%v) during signals: batch %v, error %v after %v, want an empty batch after at least the timeout",
				timeout, formatBatch(batch), err, elapsed)
		}
		if sent.Load() < 10 {
			t.Errorf("%d rounds of signals were sent in %v, want at least 10", sent.Load(), elapsed)
		}
		t.wantStillReported(key, b)
	}},
}

// wakeFileRules check Wake with files registered.
var wakeFileRules = []rule{
	{"WakeIsNotReported", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		pending := t.startSelect(t.s, -1)
		t.noError(t.s.Wake(), "Wake")
		t.wantResult(pending)
		t.write(b, "x")
		t.noError(t.s.Wake(), "Wake")
		t.wantReady(report(key, r)) // a Wake must not hide an event
		t.read(a, "x")
		t.mustSelect(0)
		t.wantStillReported(key, b)
		t.wantLen(1)
	}},

	{"NoSpinAfterWake", 0, func(t *T) {
		// The wake-up must be consumed, or it ends every later Select too.
		a, b := t.pair()
		pending := t.startSelect(t.s, -1)
		t.noError(t.s.Wake(), "Wake")
		t.wantResult(pending)
		t.wantNoSpin()

		pending = t.startSelect(t.s, -1)
		key := t.register(a, r, nil)
		t.wantBlocked(pending)
		t.write(b, "x")
		t.wantResult(pending, report(key, r))
		t.read(a, "x")
		t.wantNoSpin()
	}},

	{"DescriptorZero", 0, func(t *T) {
		// Some backends identify their wake-up by a number. That number must not
		// collide with descriptor 0.
		a, b := t.pair()
		t.moveToZero(a)
		key := t.register(0, r, "zero")
		pending := t.startSelect(t.s, -1)
		t.noError(t.s.Wake(), "Wake")
		t.wantResult(pending)
		t.wantStillReported(key, b)
		pending = t.startSelect(t.s, -1)
		t.write(b, "x")
		t.wantResult(pending, report(key, r))
		t.unregister(0)
		t.wantNothing()
	}},
}

// otherGoroutineRules check calls of other goroutines during a Select.
var otherGoroutineRules = []rule{
	{"ConcurrentSelectFails", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		dst := []selectors.Ready{{Key: key, Events: r}}
		pending := t.startSelect(t.s, -1)
		for _, timeout := range []time.Duration{0, time.Millisecond, -1} {
			batch, err := t.s.SelectInto(dst, timeout)
			t.wantError(err, "the second Select", selectors.ErrConcurrentSelect)
			t.wantBatch(batch, dst...)
		}
		t.wantBlocked(pending)
		t.write(b, "x")
		t.wantResult(pending, report(key, r))
		t.wantReady(report(key, r)) // allowed after the first Select has returned
	}},

	{"Register", 0, func(t *T) {
		a, b := t.pair()
		for range 3 {
			pending := t.startSelect(t.s, -1)
			key := t.register(a, w, nil)
			t.wantResult(pending, report(key, w))
			t.unregister(a)

			pending = t.startSelect(t.s, -1)
			key = t.register(a, r, nil)
			t.wantBlocked(pending) // the change itself does not end the Select
			t.write(b, "x")
			t.wantResult(pending, report(key, r))
			t.read(a, "x")
			t.unregister(a)
		}
	}},

	{"Modify", 0, func(t *T) {
		a, b := t.pair()
		for range 3 {
			t.register(a, r, nil)
			pending := t.startSelect(t.s, -1)
			key := t.modify(a, w, nil)
			t.wantResult(pending, report(key, w))

			t.modify(a, r, nil)
			pending = t.startSelect(t.s, -1)
			key = t.modify(a, r, "data only")
			t.wantBlocked(pending)
			t.write(b, "x")
			t.wantResult(pending, report(key, r)) // with the new key
			t.read(a, "x")
			t.unregister(a)
		}
	}},

	{"ModifyRearmsOneShot", oneShotFeature, func(t *T) {
		a, _ := t.pair()
		t.wantReady(report(t.register(a, w|oneShot, nil), w))
		pending := t.startSelect(t.s, -1)
		key := t.modify(a, w|oneShot, nil)
		t.wantResult(pending, report(key, w))
	}},

	{"Unregister", 0, func(t *T) {
		a, b := t.pair()
		other, peer := t.pair()
		key := t.register(other, r, "other")
		for range 3 {
			t.register(a, r, "removed")
			pending := t.startSelect(t.s, -1)
			t.unregister(a)
			t.write(b, "x")
			t.wantBlocked(pending)
			t.write(peer, "x")
			t.wantResult(pending, report(key, r))
			t.read(a, "x")
			t.read(other, "x")
		}
	}},

	{"UnregisterAndRegister", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, r, "old")
		pending := t.startSelect(t.s, -1)
		t.unregister(a)
		key := t.register(a, r, "new")
		t.write(b, "x")
		t.wantResult(pending, report(key, r))
	}},

	{"QueriesDoNotBlock", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		pending := t.startSelect(t.s, -1)
		t.wantKey(a, key)
		t.wantLen(1)
		for got := range t.s.Keys() {
			if got != key {
				t.Errorf("Keys yields %v, want %v", got, key)
			}
		}
		t.s.Features()
		t.wantBlocked(pending)
		t.write(b, "x")
		t.wantResult(pending, report(key, r))
	}},

	{"ConcurrentChanges", 0, func(t *T) {
		const workers = 4
		once := oneShot
		if t.features&oneShotFeature == 0 {
			once = 0
		}
		type socketPair struct{ fd, peer int }
		var pairs [workers]socketPair
		for i := range pairs {
			pairs[i].fd, pairs[i].peer = t.pair()
			t.write(pairs[i].peer, "x")
		}
		other, peer := t.pair()
		key := t.register(other, r, workers)
		t.write(peer, "x")

		workersErr := make(chan error, 1)
		go func() {
			deadline := time.Now().Add(40 * time.Millisecond)
			err := runConcurrently(workers, func(i int) error {
				for fd := pairs[i].fd; time.Now().Before(deadline); {
					for _, step := range []func() error{
						func() error { return errorOf(t.s.Register(fd, r, i)) },
						func() error { return errorOf(t.s.Modify(fd, r|w, i)) },
						func() error { return errorOf(t.s.Key(fd)) },
						func() error { return errorOf(t.s.Modify(fd, w|once, i)) },
						t.s.Wake,
						func() error { return errorOf(t.s.Modify(fd, r, i)) },
						func() error { return errorOf(t.s.Unregister(fd)) },
					} {
						if err := step(); err != nil {
							return fmt.Errorf("worker %d: %w", i, err)
						}
					}
				}
				return nil
			})
			workersErr <- err
		}()
		for done := false; !done; {
			reported := false
			for _, entry := range t.mustSelect(-1) {
				i := entry.Key.Data.(int)
				if reported = reported || entry.Key == key; i != workers && entry.Key.FD != pairs[i].fd {
					t.Fatalf("fd %d is reported with the data of worker %d, want fd %d", entry.Key.FD, i, pairs[i].fd)
				}
			}
			select {
			case err := <-workersErr:
				t.noError(err, "a change of another goroutine")
				done = true
			default:
			}
			if !reported && done {
				t.mustSelect(0) // a Wake may have ended the previous Select
			}
		}
		t.mustSelect(0)
		t.wantLen(1)
		t.wantReady(report(key, r))
		t.read(other, "x")
		t.wantStillReported(key, peer)
	}},
}

// closeFileRules check Close with files registered.
var closeFileRules = []rule{
	{"UnregistersAll", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, r, nil)
		t.register(b, w, nil)
		t.noError(t.s.Close(), "Close")
		wantAllClosed(t, a)
		for _, fd := range []int{a, b} {
			t.wantOpen(fd)
		}
		t.write(b, "x")
		t.read(a, "x") // the files still work
	}},

	{"EndsBlockedSelect", 0, func(t *T) {
		a, _ := t.pair()
		t.register(a, r, nil)
		pending := t.startSelect(t.s, -1)
		t.noError(t.s.Close(), "Close")
		t.wantError(pending.result().err, "the pending Select", selectors.ErrClosed)
		t.wantOpen(a)
	}},

	{"WithAllKindsOfFiles", anyFile, func(t *T) {
		a, b := t.pair()
		c, d := t.pair()
		c = t.moveHigh(c)
		file := t.regularFile()
		if t.features&oneShotFeature != 0 {
			t.wantReady(report(t.register(a, w|oneShot, nil), w))
		} else {
			t.register(a, r, nil)
		}
		interest := r
		if t.features&selectors.FeaturePriority != 0 {
			interest |= p
		}
		t.register(b, interest, nil)
		t.register(c, r, nil)
		t.register(file, r|w, nil)
		t.close(c, d)
		t.mustSelect(0)
		t.noError(t.s.Close(), "Close")
		wantAllClosed(t, file)
		t.wantOpen(file)
	}},

	{"ConcurrentWithChanges", 0, func(t *T) {
		for range 8 {
			s := t.newTestSelector()
			a, b := t.pair()
			selectErr := make(chan error, 1)
			go func() {
				for {
					if err := errorOf(s.Select(-1)); err != nil {
						selectErr <- err
						return
					}
				}
			}()
			closeAt := time.Now().Add(time.Millisecond)
			t.noError(runConcurrently(3, func(i int) error {
				if i == 2 {
					time.Sleep(time.Until(closeAt))
					return s.Close()
				}
				fd := []int{a, b}[i]
				for {
					for _, step := range []func() error{
						func() error { return errorOf(s.Register(fd, w, nil)) },
						func() error { return errorOf(s.Modify(fd, r, nil)) },
						func() error { return errorOf(s.Unregister(fd)) },
					} {
						if step() != nil {
							return nil
						}
					}
				}
			}), "Close")
			t.wantError(<-selectErr, "Select", selectors.ErrClosed)
			t.wantError(errorOf(s.Register(a, r, nil)), "Register", selectors.ErrClosed)
			t.wantOpen(a)
			t.close(a, b)
		}
	}},
}
