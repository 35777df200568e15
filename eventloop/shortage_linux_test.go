package eventloop_test

import (
	"strings"
	"testing"
	"time"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// withoutDescriptors calls f while no descriptor can be opened: the limit is the
// lowest number that is free.
func withoutDescriptors(f func()) {
	lowest := must(unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0))
	check(unix.Close(lowest))
	var limit unix.Rlimit
	check(unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &limit))
	check(unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(lowest), Max: limit.Max}, nil))
	defer func() { check(unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil)) }()
	f()
}

// TestShortageOfDescriptors: a file that was closed before it was unregistered is
// ready, as a duplicate keeps it open, and no descriptor is free for a new epoll set.
// The loop goes on, and serves files, timers and posts. With a limit lower than the
// number of files, poll(2) refuses the list of files.
func TestShortageOfDescriptors(t *testing.T) {
	forEachLoopKind(t, testCase{"an orphan is ready", func(t *testing.T, k loopKind) {
		l := k.loop(t)
		live, liveW := pipe(t)
		var events, timers, posts int
		must(l.Register(live, read, func(any, selectors.Event) {
			readFrom(t, live)
			events++
		}))
		closed, closedW := pipe(t)
		dup := must(unix.FcntlInt(uintptr(closed), unix.F_DUPFD_CLOEXEC, 0))
		defer unix.Close(dup)
		must(l.Register(closed, read, func(any, selectors.Event) { t.Error("the orphan was reported") }))
		check(unix.Close(closed))
		must(l.Unregister(closed))
		writeTo(t, closedW, "x")

		var tick func()
		tick = func() {
			timers++
			writeTo(t, liveW, "x")
			check(l.Post(func() { posts++ }))
			must(l.CallLater(5*time.Millisecond, tick))
		}
		tick()
		must(l.CallLater(60*time.Millisecond, l.Stop))
		withoutDescriptors(func() { runLoop(t, l) })
		if events == 0 || timers < 2 || posts == 0 {
			t.Errorf("%d events, %d timers, %d posts", events, timers, posts)
		}
		isEpoll := strings.HasPrefix(k.Name, "epoll")
		if stats := l.Stats().Selector; isEpoll && (stats.Orphans != 1 || stats.RepairFailures == 0 || !stats.RepairPending) {
			t.Errorf("the selector's Stats are %+v", stats)
		}

		started := time.Now()
		for l.Stats().Selector.RepairPending && time.Since(started) < receiveTimeout {
			must(l.RunOnce(10 * time.Millisecond))
		}
		if stats := l.Stats().Selector; isEpoll && (stats.Repairs != 1 || stats.RepairPending) {
			t.Errorf("after the shortage the selector's Stats are %+v", stats)
		}
	}})
}
