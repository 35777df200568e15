package selectortest

import (
	"time"

	"goselectors/selectors"
)

// staleRules check that no stale event is reported for a file that was
// unregistered, closed or replaced.
//
// Several rules make an orphan: a registration that the kernel keeps after the
// descriptor was closed, because a duplicate keeps the file open. A kernel that
// identifies registrations by file and number, as epoll(7) does, still reports
// the closed number, and cannot remove a registration by a number that is closed.
var staleRules = []rule{
	{"UnregisteredWhileReady", 0, func(t *T) {
		a, b := t.pair()
		other, peer := t.pair()
		key := t.register(other, r, nil)
		t.register(a, r, nil)
		t.write(b, "x")
		t.unregister(a)
		t.wantNothing()
		t.noError(t.s.Wake(), "Wake")
		t.wantBatch(t.mustSelect(-1))
		t.wantStillReported(key, peer)
	}},

	{"RegisteredAgainWhileReady", 0, func(t *T) {
		a, b := t.pair()
		t.register(a, r, "old")
		t.write(b, "x")
		t.unregister(a)
		key := t.register(a, w, "new")
		t.wantReady(report(key, w)) // also readable, which is not in the interest
	}},

	{"ClosedWhileReady", 0, func(t *T) {
		a, b := t.pair()
		a = t.moveHigh(a)
		t.register(a, r|w, nil)
		t.write(b, "x")
		t.unregister(a)
		t.close(a)
		t.wantNothing()
	}},

	{"NewFileReusesNumber", 0, func(t *T) {
		// The file is closed without Unregister and its number is reused.
		old, oldPeer := t.pair()
		old = t.moveHigh(old)
		oldKey := t.register(old, r|w, "old")
		t.write(oldPeer, "x")
		a, peer := t.pair()
		t.dupTo(a, old) // closes the old file
		key := t.register(old, r, "new")
		if key == oldKey || key.Data != any("new") {
			t.Errorf("Register returned key %+v, want a new key with data %q", *key, "new")
		}
		t.wantLen(1)
		t.wantNothing()
		t.wantStillReported(key, peer)
		t.wantError(errorOf(t.s.Register(old, r, nil)), "the second Register of the new file", selectors.ErrRegistered)
		t.unregister(old)
		t.wantError(errorOf(t.s.Unregister(old)), "the second Unregister", selectors.ErrNotRegistered)
	}},

	{"NewFilesReuseNumber", 0, func(t *T) {
		a, _ := t.pair()
		number := t.moveHigh(a)
		for range 8 {
			a, peer := t.pair()
			t.dupTo(a, number)
			t.close(a)
			t.wantStillReported(t.register(number, r, nil), peer)
		}
	}},

	{"OrphanIsNotReported", 0, func(t *T) {
		other, otherPeer := t.pair()
		key := t.register(other, r, "other")
		a, b := t.pair()
		makeOrphan(t, a, r|w)
		t.write(b, "x")
		t.wantNothing()
		t.wantNoSpin()
		t.wantStillReported(key, otherPeer)
	}},

	{"OrphanReportedBefore", 0, func(t *T) {
		a, b := t.pair()
		number := t.dup(a, highFD)
		t.wantReady(report(t.register(number, w, nil), w))
		t.close(number)
		t.unregister(number)
		t.write(b, "x")
		t.wantNothing()
		t.wantNoSpin()
	}},

	{"ManyOrphans", 0, func(t *T) {
		other, otherPeer := t.pair()
		key := t.register(other, r, "other")
		a, _ := t.pair()
		for range 50 {
			makeOrphan(t, a, w)
		}
		t.wantNothing()
		t.wantNoSpin()
		t.wantStillReported(key, otherPeer)
	}},

	{"OrphanRemovalKeepsModes", 0, func(t *T) {
		// Removing an orphan must not rearm a one-shot key that has fired, nor
		// lose one that has not fired.
		a, _ := t.pair()
		fired, firedPeer := t.pair()
		t.wantReady(report(t.register(fired, w|oneShot, "fired"), w))
		armed, armedPeer := t.pair()
		oneShotKey := t.register(armed, r|oneShot, "armed")
		level, levelPeer := t.pair()
		levelKey := t.register(level, r, "level")
		makeOrphan(t, a, w)
		t.wantNothing()
		t.write(firedPeer, "x")
		t.wantNothing()
		t.write(armedPeer, "x")
		t.wantReady(report(oneShotKey, r))
		t.wantNothing()
		t.wantStillReported(levelKey, levelPeer)
		t.wantReady(report(t.modify(fired, r|w|oneShot, nil), r|w))
	}},

	{"OrphanNumberReused", 0, func(t *T) {
		// The number of an orphan is reused. The events of the old file must not
		// be reported for the new file.
		a, b := t.pair()
		number := makeOrphan(t, a, r|w)
		t.write(b, "x") // the old file is readable and writable
		c, d := t.pair()
		t.fill(c)
		t.dupTo(c, number)
		key := t.register(number, r|w, "new") // the new file is neither
		t.wantNothing()
		t.wantNoSpin()
		t.write(d, "x")
		t.wantReady(report(key, r))
	}},

	{"OrphanNumberReusedWithoutUnregister", 0, func(t *T) {
		// As OrphanNumberReused, without Unregister.
		a, b := t.pair()
		number := t.dup(a, highFD)
		t.register(number, r|w, "orphan")
		c, d := t.pair()
		t.fill(c)
		t.dupTo(c, number)
		t.write(b, "x")
		key := t.register(number, r|w, "new")
		t.wantNothing()
		t.wantNoSpin()
		t.write(d, "x")
		t.wantReady(report(key, r))
		t.wantLen(1)
	}},

	{"SameFileReturnsToNumber", 0, func(t *T) {
		// The same file returns to the number. In epoll the old registration is
		// still there.
		a, b := t.pair()
		number := makeOrphan(t, a, w)
		t.dupTo(a, number)
		t.wantStillReported(t.register(number, r, "new"), b)
	}},
}

// makeOrphan registers a duplicate of fd, closes it and unregisters it. It
// returns the number of the duplicate.
func makeOrphan(t *T, fd int, events selectors.Event) (number int) {
	t.Helper()
	number = t.dup(fd, highFD)
	t.register(number, events, "orphan")
	t.close(number)
	t.unregister(number)
	return number
}

// closedDescriptorRules check descriptors that are closed while registered.
var closedDescriptorRules = []rule{
	{"InvalidReportedOnce", selectors.FeatureInvalid, func(t *T) {
		for _, interest := range []selectors.Event{r | w, w | oneShot} {
			a, b := t.pair()
			a = t.moveHigh(a)
			key := t.register(a, interest, nil)
			t.close(a)
			t.wantReady(report(key, er|iv))
			t.wantNothing()
			t.wantNoSpin()
			t.close(b)
			t.wantNothing()
			t.wantKey(a, key)
			t.unregister(a)
		}
	}},

	{"NotReportedWithoutFeatureInvalid", 0, func(t *T) {
		if t.features&selectors.FeatureInvalid != 0 {
			t.Skip("the selector has FeatureInvalid and reports closed descriptors")
		}
		a, b := t.pair()
		a = t.moveHigh(a)
		t.register(a, r|w, nil)
		t.close(a)
		t.wantNothing()
		t.close(b)
		t.wantNothing()
		t.unregister(a)
	}},

	{"OthersStillReported", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, "open")
		closedReports := map[*selectors.SelectorKey]int{}
		for range 3 {
			c, _ := t.pair()
			c = t.moveHigh(c)
			closedReports[t.register(c, r|w, "closed")] = 0
		}
		for closedKey := range closedReports {
			t.close(closedKey.FD)
		}
		t.write(b, "x")
		openReports := 0
		for range 3 {
			for _, entry := range t.mustSelect(reportTimeout) {
				if entry == report(key, r) {
					openReports++
					continue
				}
				n, ok := closedReports[entry.Key]
				if !ok || entry.Events != er|iv {
					t.Errorf("Select reported %v, want only closed descriptors with %v", formatBatch([]selectors.Ready{entry}), er|iv)
				}
				closedReports[entry.Key] = n + 1
			}
		}
		if openReports < 2 {
			t.Errorf("%d of 3 Selects reported the open file, which is ready, want at least 2", openReports)
		}
		want := 0
		if t.features&selectors.FeatureInvalid != 0 {
			want = 1
		}
		for closedKey, n := range closedReports {
			if n != want {
				t.Errorf("closed fd %d was reported %d times, want %d", closedKey.FD, n, want)
			}
		}
		t.read(a, "x")
		t.wantStillReported(key, b)
	}},

	{"NoSpin", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, "open")
		c, _ := t.pair()
		c = t.moveHigh(c)
		t.register(c, r|w, "closed")
		t.close(c)
		t.mustSelect(0)
		t.wantNoSpin()
		t.wantStillReported(key, b)
	}},

	{"RegisterReplacesKey", 0, func(t *T) {
		number, peer := registerCloseReuse(t)
		t.wantStillReported(t.register(number, r, "new"), peer)
		t.wantLen(1)
	}},

	{"ModifyWatchesNewFile", 0, func(t *T) {
		number, peer := registerCloseReuse(t)
		t.modify(number, w, "new")
		t.wantStillReported(t.modify(number, r, "new"), peer)
	}},

	{"ModifyReturnsEBADF", 0, func(t *T) {
		a, _ := t.pair()
		a = t.moveHigh(a)
		t.register(a, r, nil)
		t.close(a)
		t.mustSelect(0) // may report the closed descriptor
		t.wantError(errorOf(t.s.Modify(a, w, nil)), "Modify of a closed descriptor", badFD)
		t.wantNothing()
		t.unregister(a)
	}},
}

// registerCloseReuse registers a socket, closes it, and makes its number that of
// another socket. It returns the number and the peer of the new socket.
func registerCloseReuse(t *T) (number, peer int) {
	t.Helper()
	old, _ := t.pair()
	number = t.moveHigh(old)
	t.register(number, r, "old")
	t.close(number)
	t.mustSelect(0) // may report the closed descriptor
	reused, peer := t.pair()
	t.dupTo(reused, number)
	return number, peer
}

// hintsOnlyRules check keys that have nothing but hints to report. The kernel
// repeats such hints although they are not in the interest. A selector reports
// them once, and again when they have gone away and come back. An error that lasts
// it may report again, at most ten times a second or so: the application may have
// taken it away, and it may be a new one.
var hintsOnlyRules = []rule{
	{"PeerClosed", selectors.FeaturePriority, func(t *T) {
		a, b := t.pair()
		t.register(a, p, nil)
		t.close(b)
		wantOnlyHints(t, hu|rc)
	}},

	{"PeerClosedAfterRead", selectors.FeaturePriority, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		t.write(b, "x")
		t.close(b)
		batch := t.mustSelect(reportTimeout)
		if len(batch) != 1 || batch[0].Key != key || batch[0].Events&r == 0 {
			t.Fatalf("Select reported %v, want fd %d readable", formatBatch(batch), a)
		}
		t.read(a, "x")
		t.modify(a, p, nil) // no longer interested in the end of file
		wantOnlyHints(t, hu|rc)
	}},

	{"PipeReaderClosed", anyFile | selectors.FeaturePriority, func(t *T) {
		read, write := t.pipe()
		t.register(write, p, nil)
		t.close(read)
		wantOnlyHints(t, hu|er)
	}},

	{"PipeWriterClosed", anyFile, func(t *T) {
		read, write := t.pipe()
		t.register(read, w, nil) // a read end is never writable
		t.close(write)
		wantOnlyHints(t, hu|er|rc)
	}},

	{"OthersStillReported", selectors.FeaturePriority, func(t *T) {
		other, peer := t.pair()
		key := t.register(other, r, "other")
		a, b := t.pair()
		t.register(a, p, "hung up")
		t.close(b)
		t.mustSelect(0) // may report hints
		t.wantStillReported(key, peer)
		t.unregister(a)
		t.wantStillReported(key, peer)
	}},

	{"ModifyRestoresReports", selectors.FeaturePriority, func(t *T) {
		a, b := t.pair()
		t.register(a, p, nil)
		t.close(b)
		t.mustSelect(0) // may report hints
		t.wantNothing()
		key := t.modify(a, w|p, nil)
		for range 2 {
			batch := t.mustSelect(reportTimeout)
			if len(batch) != 1 || batch[0].Key != key || batch[0].Events&w == 0 {
				t.Fatalf("Select reported %v, want fd %d writable", formatBatch(batch), a)
			}
		}
	}},

	{"PriorityReportedAfterHints", selectors.FeaturePriority, func(t *T) {
		// On Linux a socket that was never connected has a hang-up. Events after
		// the connect must be reported although the hint was reported before.
		listener, address := t.listen()
		a := t.newSocket(stream)
		key := t.register(a, p, nil)
		for range 3 {
			t.mustSelect(quietTime) // may report hints
		}
		b := t.connectAccept(a, listener, address)
		t.wantNothing()
		t.sendUrgent(b)
		for range 3 {
			t.wantReady(report(key, p))
		}
	}},

	{"OneShotReportsHintsOnce", selectors.FeaturePriority, func(t *T) {
		a, b := t.pair()
		t.register(a, p|oneShot, nil)
		t.close(b)
		wantOnlyHints(t, hu|rc)
	}},
}

// wantOnlyHints checks that the only key reports no events except the hints in
// allowed, at most once unless there is an error among them, and that the Selects
// that follow do not spin.
func wantOnlyHints(t *T, allowed selectors.Event) {
	t.Helper()
	for _, entry := range t.mustSelect(0) {
		if entry.Events&^allowed != 0 {
			t.Errorf("Select reported %v, want at most the hints %v", entry.Events, allowed)
		}
	}
	if allowed&er == 0 {
		t.wantNothing()
		t.wantNoSpin()
		return
	}
	const most, length = 12, 500 * time.Millisecond
	returns := 0
	for start := time.Now(); time.Since(start) < length && returns <= most; returns++ {
		for _, entry := range t.mustSelect(max(length-time.Since(start), 0)) {
			if entry.Events&er == 0 || entry.Events&^allowed != 0 {
				t.Errorf("Select reported %v again, want nothing or an error", entry.Events)
			}
		}
	}
	if returns > most {
		t.Errorf("a lasting error ends %d Selects within %v, want at most %d", returns, length, most)
	}
}
