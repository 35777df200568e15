//go:build unix

package comparetest_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// Short names: tests read as tables.
const (
	read       = selectors.EventRead
	write      = selectors.EventWrite
	priority   = selectors.EventPriority
	readClosed = selectors.EventReadClosed
	oneShot    = selectors.OneShot
	edge       = selectors.EdgeTriggered
	exclusive  = selectors.Exclusive
)

const (
	patience = 10 * time.Second      // how long a test waits for what must come
	moment   = 20 * time.Millisecond // how long it listens for what must not
	highFD   = 700                   // descriptors from here on are nobody's but the tests'
	fdSetEnd = 1024                  // and those up to here fit everybody's fd_set
)

// nextHigh is the next descriptor to try: they go round, so that a number that
// was closed does not come back at once with another file.
var nextHigh = highFD

// variants are the backends of this platform, and those that have two ways to
// wait once more with the other one.
func variants() []selectors.Backend {
	var all []selectors.Backend
	for _, b := range selectors.Backends() {
		all = append(all, b)
		if b.Features&selectors.FeatureParked != 0 {
			blocking := b
			blocking.Name += "/blocking"
			blocking.New = func(opts ...selectors.Option) (selectors.Selector, error) {
				return b.New(append(opts, selectors.WithBlockingWait())...)
			}
			all = append(all, blocking)
		}
	}
	return all
}

// eachBackend runs a test on every backend.
func eachBackend(t *testing.T, test func(t *testing.T, b selectors.Backend)) {
	t.Helper()
	for _, b := range variants() {
		t.Run(b.Name, func(t *testing.T) { test(t, b) })
	}
}

// eachSelector runs a test with a new selector of every backend.
func eachSelector(t *testing.T, test func(t *testing.T, s selectors.Selector)) {
	t.Helper()
	eachBackend(t, func(t *testing.T, b selectors.Backend) { test(t, newSelector(t, b)) })
}

func newSelector(t testing.TB, b selectors.Backend, opts ...selectors.Option) selectors.Selector {
	t.Helper()
	s, err := b.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	guard(t, s)
	return s
}

// guard closes a selector at the end of the test; or earlier, when the test
// hangs in it; and if that does not help either, it ends the process.
func guard(t testing.TB, s selectors.Selector) {
	t.Helper()
	const hang, mercy = 40 * time.Second, 10 * time.Second
	closing := time.AfterFunc(hang, func() {
		t.Error("the test hangs: closing its selector")
		s.Close()
	})
	ending := time.AfterFunc(hang+mercy, func() {
		debug.SetTraceback("all")
		panic("Close did not help a test that hangs")
	})
	t.Cleanup(func() {
		closing.Stop()
		s.Close()
		ending.Stop()
	})
}

// own sets a descriptor up for a test, closes it with the test, and moves it
// to a high number first, which nothing but the tests takes. So the test may
// close it earlier and still speak of its number, and closing it once more at
// the end harms nobody.
func own(t testing.TB, fd int) int {
	t.Helper()
	high := dupHigh(t, fd)
	unix.Close(fd)
	if err := unix.SetNonblock(high, true); err != nil {
		t.Fatal(err)
	}
	return high
}

// dupHigh duplicates a descriptor to a high number.
func dupHigh(t testing.TB, fd int) int {
	t.Helper()
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, nextHigh)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(high)
	if nextHigh = high + 1; nextHigh > fdSetEnd-100 {
		nextHigh = highFD
	}
	t.Cleanup(func() { unix.Close(high) })
	return high
}

// shut closes a fixture's descriptor.
func shut(t testing.TB, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
}

// replace makes a fixture's number, open or closed, stand for another file.
func replace(t testing.TB, fd, with int) {
	t.Helper()
	if err := dup2(with, fd); err != nil {
		t.Fatal(err)
	}
}

// pipe returns the ends of a pipe, non-blocking.
func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	return own(t, p[0]), own(t, p[1])
}

func socketPair(t testing.TB, kind int) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		t.Fatal(err)
	}
	return own(t, p[0]), own(t, p[1])
}

// pair returns two connected Unix stream sockets.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	return socketPair(t, unix.SOCK_STREAM)
}

// listen returns a listening TCP socket on loopback and its address.
func listen(t testing.TB) (int, unix.Sockaddr) {
	t.Helper()
	fd := socket(t)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 128); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, addr
}

// socket returns a TCP socket that is not connected.
func socket(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	return own(t, fd)
}

// tcpPair returns two connected TCP sockets.
func tcpPair(t testing.TB) (a, b int) {
	t.Helper()
	l, addr := listen(t)
	a = socket(t)
	if err := unix.Connect(a, addr); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		b, _, err := unix.Accept(l)
		if err == nil {
			return a, own(t, b)
		}
		if time.Since(begun) > patience {
			t.Fatal("no connection to accept: ", err)
		}
	}
}

// netPair returns two connected connections of package net.
func netPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	y, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { y.Close() })
	return x.(*net.TCPConn), y.(*net.TCPConn)
}

// fdOf borrows the number of a file object's descriptor.
func fdOf(t testing.TB, c syscall.Conn) (n int) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err == nil {
		err = rc.Control(func(fd uintptr) { n = int(fd) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// put writes a few bytes that must fit.
func put(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) || err != nil {
		t.Fatalf("write to %d: %d, %v", fd, n, err)
	}
}

// take reads at most n bytes.
func take(t testing.TB, fd, n int) string {
	t.Helper()
	buf := make([]byte, n)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatalf("read from %d: %v", fd, err)
	}
	return string(buf[:n])
}

// fill writes until there is no more room.
func fill(t testing.TB, fd int) (n int) {
	t.Helper()
	for _, size := range []int{1 << 16, 1} {
		for buf := make([]byte, size); ; {
			m, err := unix.Write(fd, buf)
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				t.Fatalf("write to %d: %v", fd, err)
			}
			n += m
		}
	}
	return n
}

// drain reads until there is nothing left.
func drain(t testing.TB, fd int) (n int) {
	t.Helper()
	for buf := make([]byte, 1<<16); ; {
		m, err := unix.Read(fd, buf)
		if err == unix.EAGAIN || m == 0 && err == nil {
			return n
		}
		if err != nil {
			t.Fatalf("read from %d: %v", fd, err)
		}
		n += m
	}
}

func register(t testing.TB, s selectors.Selector, fileobj any, events selectors.Event) *selectors.SelectorKey {
	t.Helper()
	mayAsk(t, s, events)
	key, err := s.Register(fileobj, events, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// mayAsk leaves tests about urgent data to the selectors that know of it.
func mayAsk(t testing.TB, s selectors.Selector, events selectors.Event) {
	t.Helper()
	if events&priority != 0 && s.Features()&selectors.FeaturePriority == 0 {
		t.Skip("the selector does not have FeaturePriority")
	}
}

func modify(t testing.TB, s selectors.Selector, fileobj any, events selectors.Event) *selectors.SelectorKey {
	t.Helper()
	mayAsk(t, s, events)
	key, err := s.Modify(fileobj, events, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func unregister(t testing.TB, s selectors.Selector, fileobj any) *selectors.SelectorKey {
	t.Helper()
	key, err := s.Unregister(fileobj)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A batch is what a Select reported, by descriptor.
type batch map[int]selectors.Event

func (b batch) String() string {
	var s []string
	for _, fd := range slices.Sorted(maps.Keys(b)) {
		s = append(s, fmt.Sprintf("%d:%v", fd, b[fd]))
	}
	return "{" + strings.Join(s, " ") + "}"
}

// collect calls Select and checks what holds of every batch: no empty mask,
// nothing but interests and hints, no key twice.
func collect(t testing.TB, s selectors.Selector, timeout time.Duration) batch {
	t.Helper()
	ready, err := s.Select(timeout)
	if err != nil {
		t.Fatal(err)
	}
	return asBatch(t, ready)
}

func asBatch(t testing.TB, ready []selectors.Ready) batch {
	t.Helper()
	const hints = selectors.EventReadClosed | selectors.EventHangup | selectors.EventError | selectors.EventInvalid
	got := batch{}
	for _, r := range ready {
		if r.Events == 0 || r.Events&^(r.Key.Events&(read|write|priority|readClosed)|hints) != 0 {
			t.Errorf("fd %d: events %v reported for interest %v", r.Key.FD, r.Events, r.Key.Events)
		}
		if _, twice := got[r.Key.FD]; twice {
			t.Errorf("fd %d is twice in one batch", r.Key.FD)
		}
		got[r.Key.FD] = r.Events
	}
	return got
}

// masked is a batch without the hints that were not asked for: a key with
// nothing but hints stays, with 0.
func masked(t testing.TB, s selectors.Selector, got batch) batch {
	t.Helper()
	out := batch{}
	for fd, events := range got {
		key, err := s.Key(fd)
		if err != nil {
			t.Fatalf("fd %d was reported: %v", fd, err)
		}
		out[fd] = events & key.Events
	}
	return out
}

// expect waits for a batch and compares it, hints apart.
func expect(t testing.TB, s selectors.Selector, want batch) {
	t.Helper()
	timeout := patience
	if len(want) == 0 { // silence is now
		timeout = 0
	}
	if got := masked(t, s, collect(t, s, timeout)); !maps.Equal(got, want) {
		t.Fatalf("Select reported %v, want %v", got, want)
	}
}

// promised is a batch without the hints beyond what Features promises: they
// are welcome, but need not be there.
func promised(s selectors.Selector, got batch) batch {
	const all = selectors.EventReadClosed | selectors.EventHangup | selectors.EventError | selectors.EventInvalid
	out := batch{}
	for fd, events := range got {
		if events&selectors.EventInvalid == 0 {
			events &^= all &^ hints(s, all)
		}
		if events != 0 {
			out[fd] = events
		}
	}
	return out
}

// expectExactly is expect with the hints.
func expectExactly(t testing.TB, s selectors.Selector, want batch) {
	t.Helper()
	if got := promised(s, collect(t, s, patience)); !maps.Equal(got, want) {
		t.Fatalf("Select reported %v, want %v", got, want)
	}
}

// expectSilence checks that nothing is reported, now and for a moment.
func expectSilence(t testing.TB, s selectors.Selector) {
	t.Helper()
	for _, timeout := range []time.Duration{0, moment, 0} {
		if got := collect(t, s, timeout); len(got) != 0 {
			t.Fatalf("Select(%v) reported %v, want silence", timeout, got)
		}
	}
}

// hints keeps of some hints those that a selector can tell.
func hints(s selectors.Selector, events selectors.Event) selectors.Event {
	for _, h := range []struct {
		need selectors.Feature
		bits selectors.Event
	}{
		{selectors.FeatureReadClosed, selectors.EventReadClosed},
		{selectors.FeatureHangup, selectors.EventHangup | selectors.EventError},
		{selectors.FeatureInvalid, selectors.EventInvalid},
	} {
		if s.Features()&h.need == 0 {
			events &^= h.bits
		}
	}
	return events
}

// expectError checks an error's type and what it is.
func expectError(t testing.TB, err error, want ...error) {
	t.Helper()
	var e *selectors.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *selectors.Error", err, err)
	}
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Fatalf("error %v, want one that is %v", err, w)
		}
	}
}

// An answer is the outcome of a Select in another goroutine.
type answer struct {
	ready []selectors.Ready
	err   error
	took  time.Duration
}

// selecting starts a Select in another goroutine and gives it time to go to
// sleep.
func selecting(s selectors.Selector, timeout time.Duration) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		begun := time.Now()
		ready, err := s.Select(timeout)
		c <- answer{ready, err, time.Since(begun)}
	}()
	time.Sleep(moment)
	return c
}

// await returns an answer that must come.
func await(t testing.TB, c <-chan answer) answer {
	t.Helper()
	select {
	case a := <-c:
		return a
	case <-time.After(patience):
		t.Fatal("Select does not return")
		panic("not reached")
	}
}

// cpuTime is what the process has used so far.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// expectRest checks that a Select with nothing to report waits its time, and
// really waits: a selector that spins uses the processor all the time. What
// else goes on in the process may use it too, but not three times.
func expectRest(t testing.TB, s selectors.Selector, wait time.Duration) {
	t.Helper()
	var used []time.Duration
	for range 3 {
		cpu, begun := cpuTime(t), time.Now()
		got := collect(t, s, wait)
		cpu, took := cpuTime(t)-cpu, time.Since(begun)
		if len(got) != 0 {
			t.Errorf("Select reported %v, want silence", got)
		}
		if took < wait {
			t.Errorf("Select(%v) returned after %v", wait, took)
		}
		if cpu <= wait/8 {
			return
		}
		used = append(used, cpu)
	}
	t.Errorf("Select(%v) used %v of CPU, want next to nothing", wait, used)
}

// A numbered file object has an Fd method and nothing else.
type numbered struct{ fd int }

func (n numbered) Fd() uintptr { return uintptr(n.fd) }

// awaitReadable waits for data that the network may take a moment to deliver.
func awaitReadable(t testing.TB, fd int) {
	t.Helper()
	awaitReady(t, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
}

func awaitReady(t testing.TB, p unix.PollFd) {
	t.Helper()
	for begun := time.Now(); ; {
		n, err := unix.Poll([]unix.PollFd{p}, 100)
		if n == 1 {
			return
		}
		if err != nil && err != unix.EINTR || time.Since(begun) > patience {
			t.Errorf("fd %d does not get ready: %v", p.Fd, err)
			return
		}
	}
}
