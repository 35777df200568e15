//go:build unix

package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A listenerModel predicts what a listener has done when its loop has nothing left
// to do. It knows nothing of descriptors, turns and readiness.
type listenerModel struct {
	state    listenerState
	conns    []*modelConn // in the order of connecting
	panics   int          // of newHandler and of hooks
	toPanic  int          // calls of newHandler that will panic
	reports  int
	failing  bool // an error was reported, and nothing was accepted since
	limited  bool // no descriptor is free
	shutdown bool
	ctxEnded bool
	done     int   // calls of done
	doneErr  error // its argument
}

// A modelConn is a connection as the model predicts it.
type modelConn struct {
	state    connState
	hook     hookKind
	peerGone bool
	told     bool
}

type connState uint8

const (
	queued  connState = iota // in the kernel's queue
	open                     // after ConnectionMade
	gone                     // after ConnectionLost
	dropped                  // closed without a handler
)

// hookKind is what the handler does in ShutdownRequested.
type hookKind uint8

const (
	noHook hookKind = iota // it is no ShutdownHandler
	hookClose
	hookAbort
	hookWait // it does nothing
	hookPanic
	hookKinds
)

// settle brings the model to the state in which nothing is left to do.
func (m *listenerModel) settle() {
	waiting := 0
	for _, c := range m.conns {
		if c.state != queued {
			continue
		}
		waiting++
		switch {
		case m.limited, m.state != accepting && m.state != finishing, m.state == finishing && m.ctxEnded:
		case m.toPanic > 0:
			m.toPanic, m.panics, c.state = m.toPanic-1, m.panics+1, dropped
		default:
			c.state = open
		}
	}
	if m.limited && waiting > 0 {
		switch {
		case m.state == accepting:
			m.state = suspended
			if !m.failing {
				m.reports++
			}
			m.failing = true
		case m.state == finishing && !m.ctxEnded:
			m.reports++
		}
	}
	for _, c := range m.conns {
		if c.state == open && c.peerGone {
			c.state = gone
		}
	}
	if m.state == finishing {
		m.close()
		m.tell()
	}
	m.checkDone()
}

// tell is the step of a shutdown that tells the connections.
func (m *listenerModel) tell() {
	for _, c := range m.conns {
		if c.state != open || m.ctxEnded {
			continue
		}
		switch c.told = c.hook != noHook; c.hook {
		case noHook, hookClose, hookAbort:
			c.state = gone
		case hookPanic:
			m.panics++
			c.state = gone
		}
	}
}

func (m *listenerModel) checkDone() {
	if !m.shutdown || m.done > 0 || m.state != listenerClosed {
		return
	}
	for _, c := range m.conns {
		if c.state == open && m.ctxEnded {
			c.state, m.doneErr = gone, context.Canceled
		}
	}
	if m.open() == 0 {
		m.done = 1
	}
}

func (m *listenerModel) close() {
	m.state = listenerClosed
	for _, c := range m.conns {
		if c.state == queued {
			c.state = dropped
		}
	}
}

func (m *listenerModel) open() (n int) {
	for _, c := range m.conns {
		if c.state == open {
			n++
		}
	}
	return n
}

// resume is the end of the time for which the listener is suspended.
func (m *listenerModel) resume() {
	if m.state == suspended {
		m.state = accepting
		m.failing = m.failing && m.limited
	}
}

// String shows what can be observed.
func (m *listenerModel) String() string {
	s := fmt.Sprintf("state %d, panics %d, reports %d, done %d %v, conns", m.state, m.panics, m.reports, m.done, m.doneErr)
	for _, c := range m.conns {
		s += fmt.Sprintf(" %d", c.state)
		if c.told {
			s += "told"
		}
	}
	return s
}

// A listenerRun does the same with a listener.
type listenerRun struct {
	*testing.T
	model   listenerModel
	loop    *eventloop.Loop
	ln      *Listener
	clock   time.Duration
	clients []net.Conn
	conns   []*runConn // of the clients
	next    int        // index of the next connection that is accepted
	cancel  context.CancelFunc
	toPanic int
	panics  int
	reports int
	done    int
	doneErr error
	log     []string
}

// A runConn is the handler of an accepted connection. It checks the order of its
// calls.
type runConn struct {
	BaseHandler
	run   *listenerRun
	state connState
	hook  hookKind
	told  bool
	conn  *Conn
}

func (h *runConn) ConnectionMade(c *Conn) {
	if h.state != queued {
		h.run.Errorf("ConnectionMade in state %d", h.state)
	}
	h.state, h.conn = open, c
	if want := h.run.clientAddr(h); c.RemoteAddr() == nil || c.RemoteAddr().String() != want {
		h.run.Errorf("remote %v, want %v", c.RemoteAddr(), want)
	}
}

func (h *runConn) ConnectionLost(*Conn, error) {
	if h.state != open || h.run.done > 0 {
		h.run.Errorf("ConnectionLost in state %d, after done: %v", h.state, h.run.done > 0)
	}
	h.state = gone
}

// A toldConn is a runConn with a hook.
type toldConn struct{ *runConn }

func (h toldConn) ShutdownRequested(c *Conn) {
	if h.state != open || h.told {
		h.run.Errorf("ShutdownRequested in state %d, told before: %v", h.state, h.told)
	}
	h.told = true
	switch h.hook {
	case hookClose:
		c.Close()
	case hookAbort:
		c.Abort()
	case hookPanic:
		panic("hook")
	}
}

func (r *listenerRun) clientAddr(h *runConn) string {
	return r.clients[slices.Index(r.conns, h)].LocalAddr().String()
}

func (r *listenerRun) newHandler() Handler {
	h := r.conns[r.next]
	r.next++
	if r.toPanic > 0 {
		r.toPanic--
		h.state = dropped
		panic("newHandler")
	}
	if h.hook == noHook {
		return h
	}
	return toldConn{h}
}

// String shows what the model's String shows.
func (r *listenerRun) String() string {
	m := listenerModel{state: r.ln.state, panics: r.panics, reports: r.reports, done: r.done, doneErr: r.doneErr}
	for _, h := range r.conns {
		state := h.state
		if state == queued && r.ln.state == listenerClosed {
			state = dropped
		}
		m.conns = append(m.conns, &modelConn{state: state, told: h.told})
	}
	return m.String()
}

func newListenerRun(t *testing.T, b selectors.Backend) *listenerRun {
	r := &listenerRun{T: t, clock: time.Second}
	sel, err := b.New()
	if err != nil {
		t.Fatal(err)
	}
	r.loop, err = eventloop.New(eventloop.WithSelector(sel),
		eventloop.WithClock(func() time.Duration { return r.clock }),
		eventloop.WithPanicHandler(func(eventloop.Panic) { r.panics++ }))
	if err != nil {
		t.Fatal(err)
	}
	r.ln, err = Listen(r.loop, "tcp", "127.0.0.1:0", r.newHandler, WithAcceptError(func(error) { r.reports++ }))
	if err != nil {
		t.Fatal(err)
	}
	r.model.state = accepting
	return r
}

// settle runs the loop until the listener is as the model predicts, and then checks
// that nothing more happens.
func (r *listenerRun) settle() {
	r.Helper()
	r.model.settle()
	want := r.model.String()
	for start := time.Now(); r.String() != want; {
		if time.Since(start) > 10*time.Second {
			r.fatal("\ngot  %v\nwant %s", r, want)
		}
		r.turn(time.Millisecond)
	}
	for range 3 {
		r.turn(0)
	}
	busy := 0
	for busy < 5 && r.turn(0) > 0 {
		busy++
	}
	if busy == 5 {
		r.fatal("the loop has always something to do")
	}
	if got := r.String(); got != want {
		r.fatal("later\ngot  %s\nwant %s", got, want)
	}
	registered := r.model.open()
	if r.ln.state == accepting {
		registered++
	}
	if n := r.loop.Selector().Len(); n != registered || r.ln.Len() != r.model.open() {
		r.fatal("%d keys, want %d; %d connections, want %d", n, registered, r.ln.Len(), r.model.open())
	}
}

func (r *listenerRun) turn(timeout time.Duration) int {
	r.Helper()
	n, err := r.loop.RunOnce(timeout)
	if err != nil {
		r.fatal("%v", err)
	}
	return n
}

func (r *listenerRun) fatal(format string, args ...any) {
	r.Helper()
	r.Fatalf(format+"\nafter %s", append(args, strings.Join(r.log, " "))...)
}

// connect connects a client.
func (r *listenerRun) connect(hook hookKind) {
	conn, err := net.Dial("tcp", r.ln.Addr().String())
	if r.model.state == listenerClosed {
		if err == nil {
			r.fatal("connected to a closed listener")
		}
		return
	}
	if err != nil {
		r.fatal("%v", err)
	}
	r.clients = append(r.clients, conn)
	r.conns = append(r.conns, &runConn{run: r, hook: hook})
	r.model.conns = append(r.model.conns, &modelConn{hook: hook})
}

// choose returns the index of a connection in one of the states, or -1.
func (r *listenerRun) choose(rnd *rand.Rand, states ...connState) int {
	for _, i := range rnd.Perm(len(r.conns)) {
		if c := r.model.conns[i]; slices.Contains(states, c.state) && !c.peerGone {
			return i
		}
	}
	return -1
}

// limit takes all descriptors, until the returned function is called.
func (r *listenerRun) limit() (release func()) {
	r.model.limited = true
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		r.fatal("%v", err)
	}
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		r.Skip("no /dev/fd to find free descriptors: ", err)
	}
	highest := 0
	for _, e := range entries {
		n := 0
		fmt.Sscan(e.Name(), &n)
		highest = max(highest, n)
	}
	var fds []int
	for len(fds) == 0 || fds[len(fds)-1] <= highest { // no free number is left below the limit
		fd, err := unix.Dup(2)
		if err != nil {
			r.fatal("%v", err)
		}
		fds = append(fds, fd)
	}
	limited := old
	setLimit(&limited.Cur, slices.Max(fds)+1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limited); err != nil {
		r.fatal("%v", err)
	}
	return func() {
		r.model.limited = false
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			r.fatal("%v", err)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

// setLimit sets a field whose type differs between systems.
func setLimit[T int64 | uint64](to *T, n int) { *to = T(n) }

func (r *listenerRun) shutdown(ended bool) {
	ctx, cancel := context.WithCancel(context.Background())
	r.Cleanup(cancel)
	if ended {
		cancel()
	}
	err := r.ln.Shutdown(ctx, func(err error) { r.done, r.doneErr = r.done+1, err })
	if (err != nil) != r.model.shutdown {
		r.fatal("Shutdown: %v", err)
	}
	if r.model.shutdown {
		return
	}
	r.model.shutdown, r.model.ctxEnded, r.cancel = true, ended, cancel
	if r.model.state == listenerClosed {
		r.model.tell()
	} else {
		r.model.state = finishing
	}
}

func (r *listenerRun) closeListener() {
	r.ln.Close()
	r.model.close()
}

// step does one random operation.
func (r *listenerRun) step(rnd *rand.Rand) {
	if r.model.shutdown && r.model.done == 0 {
		r.settle() // else the ends of a connection would be in a race
	}
	hook := hookKind(rnd.IntN(int(hookKinds)))
	switch op := rnd.IntN(20); op {
	case 0, 1, 2, 3, 4:
		r.log = append(r.log, fmt.Sprintf("connect(%d)", hook))
		r.connect(hook)
	case 5, 6, 7:
		i := r.choose(rnd, queued, open)
		if i < 0 {
			return
		}
		r.log = append(r.log, fmt.Sprintf("peer-leaves(%d)", i))
		if r.model.conns[i].state == queued { // it may be told or not, depending on the turn
			r.model.conns[i].hook, r.conns[i].hook = noHook, noHook
		}
		if rnd.IntN(2) == 0 {
			r.clients[i].(*net.TCPConn).SetLinger(0)
		}
		r.clients[i].Close()
		r.model.conns[i].peerGone = true
	case 8, 9:
		if i := r.choose(rnd, open); i >= 0 {
			r.log = append(r.log, fmt.Sprintf("close(%d)", i))
			r.conns[i].conn.Close()
			r.model.conns[i].state = gone
		}
	case 10:
		r.log = append(r.log, "panic")
		r.toPanic++
		r.model.toPanic++
	case 11, 12:
		r.log = append(r.log, "time")
		r.settle()
		r.clock += 2 * maxRetryDelay
		r.model.resume()
	case 13, 14:
		r.exhaust(rnd, hook)
	case 15:
		if rnd.IntN(3) == 0 {
			r.log = append(r.log, "Close")
			r.settle()
			r.closeListener()
		}
	case 16:
		r.log = append(r.log, "Shutdown")
		r.settle()
		for range rnd.IntN(3) {
			r.connect(hook)
		}
		r.shutdown(rnd.IntN(4) == 0)
		if rnd.IntN(4) == 0 {
			r.log = append(r.log, "Close")
			r.closeListener()
			r.model.tell()
		}
	case 17:
		if r.cancel != nil {
			r.log = append(r.log, "end-of-context")
			r.settle()
			r.cancel()
			r.model.ctxEnded = true
		}
	default:
		r.log = append(r.log, "settle")
		r.settle()
	}
}

// exhaust lets connections wait while no descriptor is free.
func (r *listenerRun) exhaust(rnd *rand.Rand, hook hookKind) {
	r.log = append(r.log, "exhaust")
	r.settle()
	for range rnd.IntN(3) {
		r.connect(hook)
	}
	release := r.limit()
	defer release()
	r.settle()
	switch rnd.IntN(4) {
	case 0:
		r.log = append(r.log, "time")
		r.clock += 2 * maxRetryDelay
		r.model.resume()
	case 1:
		r.log = append(r.log, "Shutdown")
		r.shutdown(false)
	case 2:
		r.log = append(r.log, "Close")
		r.closeListener()
	}
	r.settle()
}

// finish ends what is left.
func (r *listenerRun) finish() {
	r.log = append(r.log, "finish")
	r.settle()
	if !r.model.shutdown {
		r.shutdown(false)
	}
	r.settle()
	r.cancel()
	r.model.ctxEnded = true
	r.settle()
	if r.done != 1 || r.ln.Len() != 0 {
		r.fatal("done was called %d times, %d connections", r.done, r.ln.Len())
	}
	for i, conn := range r.clients {
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || os.IsTimeout(err) {
			r.fatal("client %d reads %d, %v", i, n, err)
		}
		conn.Close()
	}
	r.loop.Close()
}

// TestListenerModel compares random sequences with the model.
func TestListenerModel(t *testing.T) {
	sequences := 300
	if testing.Short() {
		sequences = 50
	}
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			reached := make(map[string]int)
			for seed := range sequences {
				files := openDescriptors(t)
				r := newListenerRun(t, b)
				r.log = append(r.log, fmt.Sprintf("(sequence %d)", seed))
				rnd := rand.New(rand.NewPCG(1, uint64(seed)))
				for range 5 + rnd.IntN(25) {
					before := r.model.state
					r.step(rnd)
					reached[fmt.Sprintf("%d to %d", before, r.model.state)]++
				}
				r.finish()
				if n := openDescriptors(t); n > files+1 { // the runtime may have opened one
					t.Fatalf("%d descriptors, before %d, after %v", n, files, r.log)
				}
			}
			for _, change := range []string{"2 to 3", "3 to 2", "2 to 4", "3 to 5", "2 to 5", "4 to 5"} {
				if reached[change] == 0 && !testing.Short() {
					t.Errorf("no sequence changes from state %s: %v", change, reached)
				}
			}
		})
	}
}
