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

// Short names: tests read as tables.
const (
	read    = selectors.EventRead
	write   = selectors.EventWrite
	edge    = selectors.EdgeTriggered
	oneShot = selectors.OneShot
)

const (
	receiveTimeout = 10 * time.Second      // how long a test waits for what must come
	quietPeriod    = 20 * time.Millisecond // how long it listens for what must not
	highFD         = 700                   // descriptors from here on are nobody's but the tests'
	fdSetEnd       = 1024                  // and those up to here fit everybody's fd_set
)

// A kind is one of the loops that every rule is held against: each backend, as
// a loop finds it by itself, and the ways to wait that it does not choose.
type loopKind struct {
	selectors.Backend
	withSelector bool // WithSelector: such a loop knows that it is not alone with it
}

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

// selector makes a selector for a loop.
func (k loopKind) selector(t testing.TB) selectors.Selector {
	t.Helper()
	s, err := k.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// loop makes a loop and closes it at the end of the test, or earlier, when the
// test hangs in it.
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
		t.Error("the test hangs: closing its loop")
		l.Close()
	})
	t.Cleanup(func() {
		closing.Stop()
		l.Close()
	})
	return l
}

// A rule is what must hold on every backend.
type testCase struct {
	name string
	test func(t *testing.T, k loopKind)
}

// hold holds every kind of loop against cases. A rule that hangs fails.
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

// bound ends the process if closing its loops does not help a test that hangs.
func limitTime(t testing.TB) {
	ending := time.AfterFunc(60*time.Second, func() {
		debug.SetTraceback("all")
		panic(t.Name() + " hangs")
	})
	t.Cleanup(func() { ending.Stop() })
}

// A record is what happened, in order.
type recorder struct {
	mu  sync.Mutex
	log []string
}

func (r *recorder) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, what)
}

// note is a function that adds to the record.
func (r *recorder) fn(what string) func() { return func() { r.add(what) } }

// callback is the same for a file.
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

// want compares the record with what should be in it, words separated by
// spaces, and begins a new one.
func (r *recorder) want(t testing.TB, words string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if want := strings.Fields(words); !slices.Equal(r.log, want) {
		t.Fatalf("called: %v, want %v", r.log, want)
	}
	r.log = nil
}

// must is for calls that cannot fail unless the test has failed already. It
// panics, since it is used in callbacks and on goroutines as well.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// turn runs one turn that must not wait and not fail, and says what it ran.
func runTurn(t testing.TB, l *eventloop.Loop) int {
	t.Helper()
	ran, err := l.RunOnce(0)
	if err != nil {
		t.Fatal(err)
	}
	return ran
}

// run runs a loop until it is stopped.
func runLoop(t testing.TB, l *eventloop.Loop) {
	t.Helper()
	if err := l.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// start runs a loop on a goroutine and returns where the error of Run comes.
// It returns when the loop is running.
func startLoop(t testing.TB, l *eventloop.Loop) <-chan error {
	t.Helper()
	ended, started := make(chan error, 1), make(chan struct{})
	check(l.Post(func() { close(started) }))
	go func() { ended <- l.Run(context.Background()) }()
	receive(t, started)
	return ended
}

// await waits for what must come.
func receive[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(receiveTimeout):
		t.Fatal("nothing came")
	}
	return v
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for started := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		if time.Since(started) > receiveTimeout {
			t.Fatal("never: ", what)
		}
	}
}

// caught calls f and returns what it panics with, and where.
func catchPanic(f func()) (v any, stack string) {
	defer func() {
		v = recover()
		stack = string(debug.Stack())
	}()
	f()
	return nil, ""
}

// child runs the test in a process of its own, for what would disturb others
// or end the process. There it returns true; here, the output and the error of
// the child.
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

// nextHighFD is the next descriptor to try: they go round, so that a number that
// was closed does not come back at once with another file.
var nextHighFD = highFD

// own sets a descriptor up for a test, closes it with the test, and moves it
// to a high number first, which nothing but the tests takes. So the test may
// close it earlier and still speak of its number, and closing it once more at
// the end harms nobody.
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

// pipe returns the ends of a pipe, non-blocking.
func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	return prepareFD(t, p[0]), prepareFD(t, p[1])
}

// pair returns two connected Unix stream sockets.
func socketPair(t testing.TB) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	return prepareFD(t, p[0]), prepareFD(t, p[1])
}

// readable returns a file that has something to read.
func readableSocket(t testing.TB) int {
	t.Helper()
	a, b := socketPair(t)
	writeTo(t, b, "x")
	return a
}

// put writes a few bytes that must fit.
func writeTo(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) || err != nil {
		t.Fatalf("write to %d: %d, %v", fd, n, err)
	}
}

// take reads what there is, a few bytes.
func readFrom(t testing.TB, fd int) string {
	t.Helper()
	buf := make([]byte, 64)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatalf("read from %d: %v", fd, err)
	}
	return string(buf[:n])
}

// isOpen reports whether a descriptor is.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}
