package recipes

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

const (
	timeout   = 20 * time.Second      // limits every wait; tests need much less
	quietTime = 30 * time.Millisecond // how long a test waits to see that nothing happens
)

// The main goroutine keeps the main thread, so that no test changes the
// namespaces of the thread that /proc/self shows.
func init() { runtime.LockOSThread() }

// eachSelector runs a test for every backend and for both ways to wait, at the same
// time, because the tests wait most of the time.
func eachSelector(t *testing.T, test func(t *testing.T, sel selectors.Selector)) {
	t.Helper()
	run := func(name string, b selectors.Backend, opts ...selectors.Option) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sel, err := b.New(opts...)
			check(t, err)
			t.Cleanup(func() { sel.Close() })
			test(t, sel)
		})
	}
	for _, b := range selectors.Backends() {
		run(b.Name, b)
		if b.Features&selectors.FeatureParked != 0 {
			run(b.Name+"/blocking", b, selectors.WithBlockingWait())
		}
	}
}

// A log is what a recipe has reported.
type log[T any] struct{ entries []T }

func (l *log[T]) add(entry T) { l.entries = append(l.entries, entry) }

// take returns the entries and empties the log.
func (l *log[T]) take() []T {
	entries := l.entries
	l.entries = nil
	return entries
}

// expect makes a change while Serve waits, calls Serve until the log has as many
// entries as want, and compares them. After that nothing may be ready.
func expect[T any](t *testing.T, sel selectors.Selector, l *log[T], change func() error, want ...T) {
	t.Helper()
	await(t, sel, change, func() bool { return len(l.entries) >= len(want) })
	if diff := cmp.Diff(want, l.take(), cmpopts.EquateErrors()); diff != "" {
		t.Fatalf("reports (-want +got):\n%s", diff)
	}
	expectSilence(t, sel)
}

// await makes a change while Serve waits, and calls Serve until done.
func await(t *testing.T, sel selectors.Selector, change func() error, done func() bool) {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		time.Sleep(quietTime)
		err := change()
		result <- err
		if err != nil {
			sel.Wake()
		}
	}()
	for start := time.Now(); !done(); {
		if time.Since(start) >= timeout {
			t.Fatal("the change is not reported")
		}
		check(t, Serve(sel, timeout))
		select {
		case err := <-result:
			check(t, err)
			result <- nil
		default:
		}
	}
	check(t, <-result)
}

// expectSilence requires that nothing is ready.
func expectSilence(t *testing.T, sel selectors.Selector) {
	t.Helper()
	for _, wait := range []time.Duration{0, quietTime} {
		batch, err := sel.Select(wait)
		check(t, err)
		for _, ready := range batch {
			t.Fatalf("descriptor %d is not silent: %v", ready.Key.FD, ready.Events)
		}
	}
}

// expectKeys requires that a number of files is registered.
func expectKeys(t *testing.T, sel selectors.Selector, want int) {
	t.Helper()
	if got := sel.Len(); got != want {
		t.Fatalf("%d files are registered, want %d", got, want)
	}
}

// newThread starts a thread. It returns a function that runs another one there, and one
// that ends the thread, which the end of the test does too.
func newThread(t *testing.T) (run func(func() error) error, end func()) {
	work, result := make(chan func() error), make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		for f := range work {
			result <- f()
		}
	}()
	end = sync.OnceFunc(func() { close(work) })
	t.Cleanup(end)
	run = func(f func() error) error {
		work <- f
		return <-result
	}
	return run, end
}

// newNamespace starts a thread with new namespaces (flags of unshare(2)) and returns a
// function that runs another one there. The test is skipped where that is not allowed.
func newNamespace(t *testing.T, flags int) (run func(func() error) error) {
	t.Helper()
	run, _ = newThread(t)
	if err := run(func() error { return unix.Unshare(flags) }); err != nil {
		t.Skip("needs new namespaces: ", err)
	}
	return run
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func nothing() error { return nil }
