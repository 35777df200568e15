//go:build unix

package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/looptest"
	"goselectors/selectors"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// This file compares dialing with a model, on a virtual clock and without sockets.

const never = time.Duration(math.MaxInt64)

// A fakeAttempt is what happens when an address is tried.
type fakeAttempt struct {
	addr     net.Addr
	socket   error         // of socket(2)
	end      time.Duration // from connect(2) to its result; zero: at once, never: no result
	err      error         // the result
	full     int           // how often connect(2) reports a full queue before
	spurious bool          // the socket is reported writable before it is
}

func (a fakeAttempt) String() string {
	return fmt.Sprintf("%v: socket %v, end %v, err %v, full %d, spurious %v", a.addr, a.socket, a.end, a.err, a.full, a.spurious)
}

// A dialCase is one dial.
type dialCase struct {
	attempts   []fakeAttempt
	deadline   time.Duration // of the context; never if it has none
	contextEnd time.Duration // by a cancel, or the deadline
	noticed    time.Duration // when the callback of the context runs
	cancel     time.Duration // the time of dialing.cancel
}

func (c dialCase) String() string {
	s := fmt.Sprintf("deadline %v, context ends %v, noticed %v, cancel %v", c.deadline, c.contextEnd, c.noticed, c.cancel)
	for _, a := range c.attempts {
		s += "\n\t" + a.String()
	}
	return s
}

// A start is the start of an attempt.
type start struct {
	Time time.Duration
	Addr string
}

// A dialResult is what the model predicts, and what dialing does.
type dialResult struct {
	Starts []start
	Time   time.Duration // of done; never if it is not called
	Addr   string        // that has connected, or whose error it is; empty if the context has ended
	Err    error         // the cause
}

// model computes the result of a case from the times alone.
func (c dialCase) model() dialResult {
	var primary, fallback []fakeAttempt
	for _, a := range c.attempts {
		if isIPv4(a.addr) == isIPv4(c.attempts[0].addr) {
			primary = append(primary, a)
		} else {
			fallback = append(fallback, a)
		}
	}
	result := c.modelSeries(primary, 0)
	if len(fallback) > 0 {
		second := dialResult{Time: never}
		if begin := min(300*time.Millisecond, failTime(result)); begin < result.Time || result.Err != nil {
			second = c.modelSeries(fallback, begin)
		}
		first := result
		switch {
		case first.Err == nil && first.Time != never && (second.Err != nil || first.Time < second.Time):
		case second.Err == nil && second.Time != never:
			result = second
		default:
			result.Time = max(first.Time, second.Time)
		}
		if result.Time == never {
			result.Addr, result.Err = "", nil
		}
		result.Starts = append(first.Starts, second.Starts...)
		slices.SortStableFunc(result.Starts, func(a, b start) int { return int(a.Time - b.Time) })
	}
	switch end := min(c.contextEnd, c.deadline); {
	case c.cancel < min(end, result.Time):
		result = dialResult{Starts: result.Starts, Time: never}
	case end < result.Time:
		result = dialResult{result.Starts, end, "", context.Canceled}
		if c.deadline == end {
			result.Err = context.DeadlineExceeded
		}
	}
	stop := min(result.Time, c.cancel)
	result.Starts = slices.DeleteFunc(result.Starts, func(s start) bool { return s.Time > stop })
	return result
}

// failTime returns the time when a series has failed.
func failTime(r dialResult) time.Duration {
	if r.Err == nil {
		return never
	}
	return r.Time
}

// modelSeries computes the result of the attempts of one family.
func (c dialCase) modelSeries(attempts []fakeAttempt, now time.Duration) (r dialResult) {
	r.Time = never
	for i, a := range attempts {
		if now >= c.deadline {
			return dialResult{Starts: r.Starts, Time: never}
		}
		r.Starts = append(r.Starts, start{now, a.addr.String()})
		end, err := never, a.err
		switch {
		case a.socket != nil:
			end, err = now, a.socket
		case a.end != never:
			end = now + time.Duration(a.full)*queueFullDelay + a.end
		}
		if left := c.deadline - now; c.deadline != never {
			limit := max(left/time.Duration(len(attempts)-i), 2*time.Second)
			if limit < left && end > now+limit {
				end, err = now+limit, os.ErrDeadlineExceeded
			}
		}
		switch {
		case end == never:
			return dialResult{Starts: r.Starts, Time: never}
		case err == nil:
			return dialResult{Starts: r.Starts, Time: end, Addr: a.addr.String()}
		case r.Err == nil:
			r.Addr, r.Err = a.addr.String(), err
		}
		now = end
	}
	r.Time = now
	return r
}

// A fakeNetwork runs a case.
type fakeNetwork struct {
	testing.TB
	test    dialCase
	clock   *looptest.Clock
	loop    *eventloop.Loop
	script  *looptest.Selector
	context fakeContext
	open    map[int]*fakeSocket
	lastFD  int
	calls   int // of done
	got     dialResult
}

type fakeSocket struct {
	fakeAttempt
	ready time.Duration // when the result of connect(2) is there
}

// A fakeContext ends when the test sets err. Its callback runs when the test calls
// it.
type fakeContext struct {
	context.Context
	deadline time.Duration
	done     chan struct{} // never closed
	err      error
	callback func()
}

var fakeEpoch = time.Now()

func (c *fakeContext) Deadline() (time.Time, bool) {
	return fakeEpoch.Add(c.deadline), c.deadline != never
}
func (c *fakeContext) Err() error            { return c.err }
func (c *fakeContext) Done() <-chan struct{} { return c.done }
func (c *fakeContext) Value(any) any         { return nil }

func (n *fakeNetwork) now() time.Duration { return n.clock.Now() }

func (n *fakeNetwork) system() *dialSystem {
	return &dialSystem{
		resolve: func(context.Context, string, string) ([]net.Addr, error) {
			var addrs []net.Addr
			for _, a := range n.test.attempts {
				addrs = append(addrs, a.addr)
			}
			return addrs, nil
		},
		socket:  n.socket,
		connect: n.connect,
		result:  n.result,
		close: func(fd int) {
			if n.open[fd] == nil {
				n.Errorf("descriptor %d is closed twice", fd)
			}
			delete(n.open, fd)
		},
		now: func() time.Time { return fakeEpoch.Add(n.now()) },
		afterFunc: func(_ context.Context, f func()) func() bool {
			n.context.callback = f
			return func() bool { n.context.callback = nil; return true }
		},
	}
}

func (n *fakeNetwork) socket(addr net.Addr) (int, error) {
	n.got.Starts = append(n.got.Starts, start{n.now(), addr.String()})
	i := slices.IndexFunc(n.test.attempts, func(a fakeAttempt) bool { return a.addr == addr })
	if err := n.test.attempts[i].socket; err != nil {
		return -1, err
	}
	n.lastFD++
	n.open[n.lastFD] = &fakeSocket{fakeAttempt: n.test.attempts[i]}
	return n.lastFD, nil
}

func (n *fakeNetwork) connect(fd int, addr net.Addr) error {
	s := n.open[fd]
	switch {
	case s == nil || s.addr != addr:
		n.Errorf("connect of a wrong descriptor %d to %v", fd, addr)
		return unix.EBADF
	case s.full > 0:
		s.full--
		return selectors.ErrWouldBlock
	case s.end == 0:
		return s.err
	}
	s.ready = never
	if s.end != never {
		s.ready = n.now() + s.end
		n.script.Once(s.ready, fd, selectors.EventWrite)
	}
	if s.spurious {
		n.script.Once(n.now()+s.end/3, fd, selectors.EventWrite)
	}
	return errInProgress
}

func (n *fakeNetwork) result(fd int) (net.Addr, error) {
	switch s := n.open[fd]; {
	case s == nil:
		n.Errorf("result of a wrong descriptor %d", fd)
		return nil, unix.EBADF
	case n.now() < s.ready:
		return nil, errInProgress
	case s.err != nil:
		return nil, s.err
	default:
		return s.addr, nil
	}
}

func (n *fakeNetwork) done(fd int, remote net.Addr, err error) {
	n.calls++
	n.got.Time = n.now()
	if err == nil {
		s := n.open[fd]
		if s == nil || n.context.err != nil || n.now() >= n.context.deadline {
			n.Errorf("connected with descriptor %d, context %v, at %v", fd, n.context.err, n.now())
			return
		}
		delete(n.open, fd)
		n.got.Addr = remote.String()
		return
	}
	var opErr *net.OpError
	if fd != -1 || remote != nil || !errors.As(err, &opErr) || opErr.Op != "dial" {
		n.Errorf("done with %d, %v, %v", fd, remote, err)
		return
	}
	n.got.Err = opErr.Err
	var callErr *os.SyscallError
	if errors.As(n.got.Err, &callErr) {
		n.got.Err = callErr.Err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	n.got.Addr = opErr.Addr.String()
}

// run runs the case with a dialing.
func (n *fakeNetwork) run() {
	n.loop, n.clock, n.script = looptest.New()
	defer n.loop.Close()
	n.open, n.lastFD = make(map[int]*fakeSocket), 1<<20
	n.context = fakeContext{deadline: n.test.deadline, done: make(chan struct{})}
	n.got.Time = never
	defer func(old *dialSystem) { defaultDialSystem = old }(defaultDialSystem)
	defaultDialSystem = n.system()

	d, err := startDial(&n.context, n.loop, "tcp", "name:1", &defaultOptions, n.done)
	if err != nil {
		n.Fatal(err)
	}
	if n.calls > 0 {
		n.Error("done is called in startDial")
	}
	at := func(when time.Duration, f func()) {
		if when != never {
			n.loop.CallAt(when, f)
		}
	}
	for d.state == dialResolving { // virtual time stands still meanwhile
		n.loop.RunOnce(0)
		runtime.Gosched()
	}
	at(n.test.contextEnd, func() {
		n.context.err = context.Canceled
		if n.test.deadline <= n.now() {
			n.context.err = context.DeadlineExceeded
		}
	})
	at(n.test.noticed, func() {
		if n.context.callback != nil {
			n.context.callback()
		}
	})
	at(n.test.cancel, d.cancel)
	at(10*time.Hour, d.cancel)
	for d.state != dialFinished {
		if _, err := n.loop.RunOnce(-1); err != nil {
			n.Fatal(err)
		}
	}
	n.checkReleased(d)
	for n.loop.Alive() {
		if _, err := n.loop.RunOnce(-1); err != nil {
			n.Fatal(err)
		}
	}
}

// checkReleased checks that a finished dialing owns nothing.
func (n *fakeNetwork) checkReleased(d *dialing) {
	if len(n.open) > 0 || n.script.Len() > 0 {
		n.Errorf("%d open sockets, %d registered", len(n.open), n.script.Len())
	}
	if d.fallbackTimer != nil && d.fallbackTimer.Active() || d.primary.limit != nil || d.fallback.limit != nil || d.primary.retry != nil || d.fallback.retry != nil {
		n.Error("a timer is active")
	}
	if n.context.callback != nil {
		n.Error("the context keeps its callback")
	}
	if d.done != nil {
		n.Error("the function done is kept")
	}
}

// check compares the result with the model.
func (n *fakeNetwork) check() {
	want := n.test.model()
	if n.calls > 1 || n.calls == 0 != (want.Time == never) {
		n.Errorf("done is called %d times", n.calls)
	}
	if want.Addr == "" && want.Err != nil && want.Time <= n.got.Time && n.got.Time <= max(n.test.noticed, want.Time) {
		want.Time = n.got.Time // the end of the context is noticed later
	}
	if diff := cmp.Diff(want, n.got, cmp.Comparer(func(a, b error) bool { return a == b })); diff != "" {
		n.Errorf("result (-model +dialing):\n%s", diff)
	}
}

// randomDialCase returns a case. If ties is true, times are often equal.
func randomDialCase(r *rand.Rand, ties bool) (c dialCase) {
	duration := func(limit time.Duration) time.Duration {
		if ties {
			return time.Duration(1+r.IntN(4)) * 100 * time.Millisecond
		}
		return 1 + time.Duration(r.Int64N(int64(limit)))
	}
	for i := range 1 + r.IntN(6) {
		ip := netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)})
		if r.IntN(2) == 0 {
			ip = netip.AddrFrom16([16]byte{15: byte(i + 1)})
		}
		a := fakeAttempt{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 1)), spurious: r.IntN(4) == 0}
		switch r.IntN(8) {
		case 0:
			a.socket = unix.EMFILE
		case 1:
			a.end = never
			a.spurious = false
		case 2:
			a.end = 0
		default:
			a.end = duration([]time.Duration{time.Second, 10 * time.Second}[r.IntN(2)])
		}
		if r.IntN(3) > 0 && a.end != never {
			a.err = []error{unix.ECONNREFUSED, unix.ENETUNREACH}[r.IntN(2)]
		}
		if r.IntN(8) == 0 {
			a.full = r.IntN(4)
		}
		c.attempts = append(c.attempts, a)
	}
	c.deadline, c.contextEnd, c.noticed, c.cancel = never, never, never, never
	switch r.IntN(5) {
	case 0:
		c.deadline = duration(30 * time.Second)
	case 1:
		c.contextEnd = duration(5 * time.Second)
	case 2:
		c.cancel = duration(5 * time.Second)
	}
	if end := min(c.deadline, c.contextEnd); end != never {
		c.noticed = end
		if r.IntN(2) == 0 {
			c.noticed += duration(time.Second)
		}
		if c.contextEnd = end; c.deadline == end && r.IntN(2) == 0 {
			c.contextEnd = c.noticed // the timer of the context is late
		}
	}
	return c
}

// TestDialModel compares random cases with the model.
func TestDialModel(t *testing.T) {
	cases := 20000
	if testing.Short() {
		cases = 1000
	}
	outcomes := make(map[string]int)
	for i := range cases {
		r := rand.New(rand.NewPCG(uint64(i), 0))
		n := &fakeNetwork{TB: t, test: randomDialCase(r, false)}
		n.run()
		n.check()
		if t.Failed() {
			t.Fatalf("case %d: %v", i, n.test)
		}
		outcomes[n.outcome()]++
	}
	for _, want := range []string{"connected", "failed", "context", "canceled"} {
		if outcomes[want] < cases/100 {
			t.Errorf("only %d of %d cases: %s; %v", outcomes[want], cases, want, outcomes)
		}
	}
}

// TestDialTies checks random cases whose events happen at the same time. Which one
// counts is open, but done is called at most once, the winner is an address that
// connects, and nothing is left.
func TestDialTies(t *testing.T) {
	for i := range 5000 {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		n := &fakeNetwork{TB: t, test: randomDialCase(r, true)}
		n.run()
		if n.calls > 1 || n.calls == 0 && n.test.cancel == never && n.test.model().Time != never {
			t.Errorf("done is called %d times", n.calls)
		}
		if n.outcome() == "connected" && !slices.ContainsFunc(n.test.attempts, func(a fakeAttempt) bool { return a.addr.String() == n.got.Addr && a.err == nil }) {
			t.Errorf("connected to %v", n.got.Addr)
		}
		if t.Failed() {
			t.Fatalf("case %d: %v", i, n.test)
		}
	}
}

func (n *fakeNetwork) outcome() string {
	switch {
	case n.calls == 0:
		return "canceled"
	case n.got.Err == nil:
		return "connected"
	case n.got.Addr == "":
		return "context"
	}
	return "failed"
}
