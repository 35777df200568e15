//go:build unix

package stream_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"
)

const (
	testTimeout = 20 * time.Second       // limit for events that must occur
	quietPeriod = 50 * time.Millisecond  // time to wait for events that must not occur
	idlePeriod  = 300 * time.Millisecond // time to count the turns of an idle loop
)

// A testLoop is a loop that runs on its own goroutine during the test.
type testLoop struct {
	testing.TB
	*eventloop.Loop
}

// eachBackend runs a test with a loop on every backend.
func eachBackend(t *testing.T, test func(l *testLoop)) {
	t.Helper()
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) { test(newTestLoop(t, b)) })
	}
}

func newLoop(t testing.TB, b selectors.Backend, opts ...eventloop.Option) *eventloop.Loop {
	t.Helper()
	sel, err := b.New()
	if err != nil {
		t.Fatal(err)
	}
	loop, err := eventloop.New(append(opts, eventloop.WithSelector(sel))...)
	if err != nil {
		t.Fatal(err)
	}
	return loop
}

func newTestLoop(t testing.TB, b selectors.Backend, opts ...eventloop.Option) *testLoop {
	t.Helper()
	l := &testLoop{t, newLoop(t, b, opts...)}
	runErr := make(chan error, 1)
	go func() { runErr <- l.Run(context.Background()) }()
	t.Cleanup(func() {
		l.Close()
		select {
		case err := <-runErr:
			if !errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(testTimeout):
			t.Error("timeout waiting for Run")
		}
	})
	return l
}

// do runs f on the loop and waits until f returns.
func (l *testLoop) do(f func()) {
	l.Helper()
	done := make(chan struct{})
	if err := l.Post(func() { defer close(done); f() }); err != nil {
		l.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(testTimeout):
		l.Fatal("timeout waiting for the loop")
	}
}

// eventually waits until condition returns true. It calls condition on the loop.
func (l *testLoop) eventually(what string, condition func() bool) {
	l.Helper()
	for start := time.Now(); time.Since(start) < testTimeout; time.Sleep(time.Millisecond) {
		ok := false
		l.do(func() { ok = condition() })
		if ok {
			return
		}
	}
	l.Errorf("timeout waiting for: %s", what)
}

// listen makes a listener. The test's cleanup closes it and its connections.
func (l *testLoop) listen(network string, newHandler func() stream.Handler, opts ...stream.Option) *stream.Listener {
	l.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "") // the path of t.TempDir may be too long for a socket
		if err != nil {
			l.Fatal(err)
		}
		l.Cleanup(func() { os.RemoveAll(dir) })
		address = dir + "/s"
	}
	var ln *stream.Listener
	var err error
	l.do(func() { ln, err = stream.Listen(l.Loop, network, address, newHandler, opts...) })
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		l.do(func() {
			ln.Close()
			for c := range ln.Conns() {
				c.Abort()
			}
		})
		l.eventually("all connections are closed", func() bool { return ln.Len() == 0 })
	})
	return ln
}

// connect returns a client connection of package net to a listener.
func (l *testLoop) connect(ln *stream.Listener) net.Conn {
	l.Helper()
	conn, err := net.DialTimeout(ln.Addr().Network(), ln.Addr().String(), testTimeout)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * testTimeout))
	return conn
}

// pair returns the connection of a recorder and the client at its other end.
func (l *testLoop) pair(network string, p *recorder, opts ...stream.Option) (*stream.Conn, net.Conn) {
	l.Helper()
	ln := l.listen(network, func() stream.Handler { return p }, opts...)
	peer := l.connect(ln)
	p.expect(l, "ConnectionMade")
	var c *stream.Conn
	l.do(func() { c = p.conn })
	return c, peer
}

// A recorder is a handler that records its calls as events.
type recorder struct {
	conn             *stream.Conn
	keepOpen         bool                       // result of EOFReceived
	ignoreData       bool                       // do not record DataReceived
	onDataReceived   func(*stream.Conn, []byte) // the functions are optional
	onConnectionMade func(*stream.Conn)
	onConnectionLost func(*stream.Conn, error)
	onPauseWriting   func(*stream.Conn)
	onResumeWriting  func(*stream.Conn)
	events           chan string
	err              error
}

func newRecorder() *recorder { return &recorder{events: make(chan string, 10000)} }

func (p *recorder) record(format string, args ...any) {
	select {
	case p.events <- fmt.Sprintf(format, args...):
	default:
		panic("too many events")
	}
}

func (p *recorder) ConnectionMade(c *stream.Conn) {
	p.conn = c
	p.record("ConnectionMade")
	if p.onConnectionMade != nil {
		p.onConnectionMade(c)
	}
}

func (p *recorder) DataReceived(c *stream.Conn, data []byte) {
	if !p.ignoreData {
		p.record("DataReceived %s", data)
	}
	if p.onDataReceived != nil {
		p.onDataReceived(c, data)
	}
}

func (p *recorder) EOFReceived(c *stream.Conn) bool {
	p.record("EOFReceived")
	return p.keepOpen
}

func (p *recorder) ConnectionLost(c *stream.Conn, err error) {
	p.err = err
	if err != nil {
		p.record("ConnectionLost with error")
	} else {
		p.record("ConnectionLost")
	}
	if p.onConnectionLost != nil {
		p.onConnectionLost(c, err)
	}
}

func (p *recorder) PauseWriting(c *stream.Conn) {
	p.record("PauseWriting")
	if p.onPauseWriting != nil {
		p.onPauseWriting(c)
	}
}

func (p *recorder) ResumeWriting(c *stream.Conn) {
	p.record("ResumeWriting")
	if p.onResumeWriting != nil {
		p.onResumeWriting(c)
	}
}

// expect checks that want are the next events.
func (p *recorder) expect(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		select {
		case got := <-p.events:
			if got != w {
				t.Fatalf("event %d is %q, want %q of %q; error %v", i, got, w, want, p.err)
			}
		case <-time.After(testTimeout):
			t.Fatalf("no event, want %q of %q", w, want)
		}
	}
}

// expectNone checks that no event occurs for quietPeriod.
func (p *recorder) expectNone(t testing.TB) {
	t.Helper()
	select {
	case got := <-p.events:
		t.Errorf("event %q, want none", got)
	case <-time.After(quietPeriod):
	}
}

// countUntil reads events up to last, and counts those before it.
func (p *recorder) countUntil(t testing.TB, last string) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for {
		select {
		case got := <-p.events:
			if got == last {
				return counts
			}
			counts[got]++
		case <-time.After(testTimeout):
			t.Fatalf("no event %q; counts %v", last, counts)
		}
	}
}

// randomBytes returns n bytes that are always the same for n modulo 256.
func randomBytes(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(p)
	return p
}

// checkBytes compares got with want, and does not print the data.
func checkBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if sha256.Sum256(got) != sha256.Sum256(want) {
		at := 0
		for at < len(got) && at < len(want) && got[at] == want[at] {
			at++
		}
		t.Errorf("%s: %d bytes, want %d; they differ at %d", what, len(got), len(want), at)
	}
}

// readAll reads to EOF.
func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	p, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("read: %v after %d bytes", err, len(p))
	}
	return p
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Error(err)
	}
}

// reset closes a TCP connection with a reset.
func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// closeWrite shuts down the write side of a connection.
func closeWrite(conn net.Conn) { conn.(interface{ CloseWrite() error }).CloseWrite() }

// descriptors returns the number of open descriptors of the process.
func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip("no /dev/fd to count descriptors in: ", err)
	}
	return len(entries)
}

// waitAtMost waits until count returns at most limit.
func waitAtMost(t testing.TB, what string, limit int, count func() int) {
	t.Helper()
	n := 0
	for start := time.Now(); time.Since(start) < testTimeout; time.Sleep(5 * time.Millisecond) {
		if n = count(); n <= limit {
			return
		}
	}
	t.Errorf("%s: %d, want %d", what, n, limit)
}

// networks lists the networks of the connection tests.
var networks = []string{"tcp", "unix"}

// runConcurrently runs f in n goroutines and waits for them.
func runConcurrently(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f(i)
		}()
	}
	wg.Wait()
}

func checkErrorIs(t testing.TB, err error, want ...error) {
	t.Helper()
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		t.Errorf("error %v, want one of %v", err, want)
	}
}
