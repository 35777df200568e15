//go:build unix

package eventloop_test

import (
	"context"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// Short names for the events, which most tests use.
const (
	read    = selectors.EventRead
	write   = selectors.EventWrite
	edge    = selectors.EdgeTriggered
	oneShot = selectors.OneShot
)

const (
	receiveTimeout = 10 * time.Second      // limit for something that must happen
	quietPeriod    = 20 * time.Millisecond // how long a test checks that something does not happen
	highFD         = 700                   // only the tests use descriptors from this number on
	fdSetEnd       = 1024                  // the descriptors below this number fit an fd_set on every platform
)

// A loopKind is a kind of loop that every test case runs on: a backend that the
// loop chooses itself, or a backend with a way to wait that it does not choose.
type loopKind struct {
	selectors.Backend
	withSelector bool // the loop gets its selector by WithSelector, so other code may use it too
}

// loopKinds returns the kinds of loop on this platform.
func loopKinds() []loopKind {
	var all []loopKind
	for _, b := range selectors.Backends() {
		all = append(all, loopKind{b, false})
		if b.Features&selectors.FeatureParked != 0 {
			blocking := b
			blocking.Name += "-blocking"
			blocking.New = func(opts ...selectors.Option) (selectors.Selector, error) {
				return b.New(append(opts, selectors.WithBlockingWait())...)
			}
			all = append(all, loopKind{blocking, true})
		}
	}
	return all
}

// selector returns a selector of this kind. It is closed when the test ends.
func (k loopKind) selector(t testing.TB) selectors.Selector {
	t.Helper()
	s, err := k.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// loop returns a loop of this kind. It is closed when the test ends, or after
// 30 seconds if the test hangs.
func (k loopKind) loop(t testing.TB, opts ...eventloop.Option) *eventloop.Loop {
	t.Helper()
	if k.withSelector {
		opts = append([]eventloop.Option{eventloop.WithSelector(k.selector(t))}, opts...)
	} else {
		t.Setenv(selectors.BackendEnv, k.Name)
	}
	l, err := eventloop.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	const hang = 30 * time.Second
	closing := time.AfterFunc(hang, func() {
		t.Error("test hangs; closing its loop")
		l.Close()
	})
	t.Cleanup(func() {
		closing.Stop()
		l.Close()
	})
	return l
}

// A testCase is a test that must pass on every kind of loop.
type testCase struct {
	name string
	test func(t *testing.T, k loopKind)
}

// forEachLoopKind runs the cases on every kind of loop. A case that hangs fails.
func forEachLoopKind(t *testing.T, cases ...testCase) {
	t.Helper()
	if len(loopKinds()) == 0 {
		t.Skip("no backend on this platform")
	}
	for _, k := range loopKinds() {
		for _, r := range cases {
			t.Run(k.Name+"/"+r.name, func(t *testing.T) {
				limitTime(t)
				r.test(t, k)
			})
		}
	}
}

// limitTime ends the process if a test still hangs after its loops were closed.
func limitTime(t testing.TB) {
	ending := time.AfterFunc(60*time.Second, func() {
		debug.SetTraceback("all")
		panic(t.Name() + " hangs")
	})
	t.Cleanup(func() { ending.Stop() })
}

// A recorder records what was called, in order.
type recorder struct {
	mu  sync.Mutex
	log []string
}

func (r *recorder) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, what)
}

// fn returns a function that adds to the record.
func (r *recorder) fn(what string) func() { return func() { r.add(what) } }

// callback returns a file callback that adds to the record.
func (r *recorder) callback(what string) eventloop.Callback {
	return func(any, selectors.Event) { r.add(what) }
}

func (r *recorder) count(what string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.log {
		if s == what {
			n++
		}
	}
	return n
}

// want compares the record with the expected words, which are separated by
// spaces, and clears it.
func (r *recorder) want(t testing.TB, words string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if want := strings.Fields(words); !slices.Equal(r.log, want) {
		t.Fatalf("called: %v, want %v", r.log, want)
	}
	r.log = nil
}

// must returns v, and panics if err is not nil. It is for calls that fail only
// if the test is wrong. It panics because callbacks and other goroutines, which
// must not call t.Fatal, use it too.
func must[T any](v T, err error) T {
	check(err)
	return v
}

// check panics if err is not nil. See must.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// runTurn runs one turn without waiting and returns how many callbacks ran.
func runTurn(t testing.TB, l *eventloop.Loop) int {
	t.Helper()
	ran, err := l.RunOnce(0)
	if err != nil {
		t.Fatal(err)
	}
	return ran
}

// runLoop runs a loop until it is stopped.
func runLoop(t testing.TB, l *eventloop.Loop) {
	t.Helper()
	if err := l.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// startLoop runs a loop on a new goroutine and returns when the loop is running.
// The channel receives the error of Run.
func startLoop(t testing.TB, l *eventloop.Loop) <-chan error {
	t.Helper()
	ended, started := make(chan error, 1), make(chan struct{})
	check(l.Post(func() { close(started) }))
	go func() { ended <- l.Run(context.Background()) }()
	receive(t, started)
	return ended
}

// receive returns the next value of c. The test fails if none arrives in time.
func receive[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(receiveTimeout):
		t.Fatal("nothing received")
	}
	return v
}

// eventually waits until condition returns true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for started := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		if time.Since(started) > receiveTimeout {
			t.Fatal("timed out waiting until ", what)
		}
	}
}

// catchPanic calls f and returns the value and the stack of its panic.
func catchPanic(f func()) (v any, stack string) {
	defer func() {
		v = recover()
		stack = string(debug.Stack())
	}()
	f()
	return nil, ""
}

// runInChild runs the current test in a child process, for a test that would
// disturb other tests or end the process. In the child, inChild is true. In the
// parent, output and err are those of the child.
func runInChild(t *testing.T, env ...string) (inChild bool, output string, err error) {
	t.Helper()
	if os.Getenv("EVENTLOOP_CHILD") == t.Name() {
		return true, "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.CommandContext(ctx, must(os.Executable()), "-test.run="+pattern, "-test.count=1", "-test.v")
	cmd.Env = append(append(os.Environ(), "EVENTLOOP_CHILD="+t.Name()), env...)
	out, err := cmd.CombinedOutput()
	return false, string(out), err
}

// nextHighFD is the next descriptor to try. The numbers are used in rotation, so
// that a closed number is not reused at once.
var nextHighFD = highFD

// prepareFD moves fd to a high number that only the tests use, makes it
// non-blocking, and closes it when the test ends. So a test may close it earlier
// and still use the number, and the second close does not hit another file.
func prepareFD(t testing.TB, fd int) int {
	t.Helper()
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, nextHighFD)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(high)
	if nextHighFD = high + 1; nextHighFD > fdSetEnd-100 {
		nextHighFD = highFD
	}
	t.Cleanup(func() { unix.Close(high) })
	unix.Close(fd)
	if err := unix.SetNonblock(high, true); err != nil {
		t.Fatal(err)
	}
	return high
}

// pipe returns the two ends of a non-blocking pipe.
func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	return prepareFD(t, p[0]), prepareFD(t, p[1])
}

// socketPair returns two connected Unix stream sockets.
func socketPair(t testing.TB) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	return prepareFD(t, p[0]), prepareFD(t, p[1])
}

// readableSocket returns a socket that has a byte to read.
func readableSocket(t testing.TB) int {
	t.Helper()
	a, b := socketPair(t)
	writeTo(t, b, "x")
	return a
}

// writeTo writes s, which must fit in the buffer of fd.
func writeTo(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) || err != nil {
		t.Fatalf("write to %d: %d, %v", fd, n, err)
	}
}

// readFrom reads up to 64 bytes.
func readFrom(t testing.TB, fd int) string {
	t.Helper()
	buf := make([]byte, 64)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatalf("read from %d: %v", fd, err)
	}
	return string(buf[:n])
}

// isOpen reports whether fd is an open descriptor.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}
