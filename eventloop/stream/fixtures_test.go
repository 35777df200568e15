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
	patience = 20 * time.Second       // how long a test waits for what must come
	moment   = 50 * time.Millisecond  // how long it listens for what must not
	blink    = 300 * time.Millisecond // how long a loop is watched doing nothing
)

// A lab is a loop that runs while the test goes on.
type lab struct {
	testing.TB
	*eventloop.Loop
}

// eachLab runs a test with a loop on every backend.
func eachLab(t *testing.T, test func(l *lab)) {
	t.Helper()
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) { test(newLab(t, b)) })
	}
}

func newLoop(t testing.TB, b selectors.Backend) *eventloop.Loop {
	t.Helper()
	sel, err := b.New()
	if err != nil {
		t.Fatal(err)
	}
	loop, err := eventloop.New(eventloop.WithSelector(sel))
	if err != nil {
		t.Fatal(err)
	}
	return loop
}

func newLab(t testing.TB, b selectors.Backend) *lab {
	t.Helper()
	l := &lab{t, newLoop(t, b)}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	t.Cleanup(func() {
		l.Close()
		select {
		case err := <-ended:
			if !errors.Is(err, eventloop.ErrClosed) {
				t.Errorf("the loop ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the loop does not end")
		}
	})
	return l
}

// do runs f on the loop and waits for it.
func (l *lab) do(f func()) {
	l.Helper()
	done := make(chan struct{})
	if err := l.Post(func() { defer close(done); f() }); err != nil {
		l.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(patience):
		l.Fatal("the loop hangs")
	}
}

// eventually waits until something holds, on the loop.
func (l *lab) eventually(what string, holds func() bool) {
	l.Helper()
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) {
		ok := false
		l.do(func() { ok = holds() })
		if ok {
			return
		}
	}
	l.Errorf("never: %s", what)
}

// listen makes a listener that lives as long as the test, and so do its
// connections.
func (l *lab) listen(network string, newHandler func() stream.Handler, opts ...stream.Option) *stream.Listener {
	l.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "") // t.TempDir's names may be too long
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
		l.eventually("the last connection lost", func() bool { return ln.Len() == 0 })
	})
	return ln
}

// connect is a client of a listener, from package net.
func (l *lab) connect(ln *stream.Listener) net.Conn {
	l.Helper()
	conn, err := net.DialTimeout(ln.Addr().Network(), ln.Addr().String(), patience)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return conn
}

// pair is a probe's connection and the client at its other end.
func (l *lab) pair(network string, p *probe, opts ...stream.Option) (*stream.Conn, net.Conn) {
	l.Helper()
	ln := l.listen(network, func() stream.Handler { return p }, opts...)
	peer := l.connect(ln)
	p.expect(l, "made")
	var c *stream.Conn
	l.do(func() { c = p.conn })
	return c, peer
}

// A probe is a handler that tells what it is told.
type probe struct {
	conn   *stream.Conn
	keep   bool                       // what to answer to EOFReceived
	quiet  bool                       // tell nothing of data
	data   func(*stream.Conn, []byte) // beside telling
	made   func(*stream.Conn)
	lost   func(*stream.Conn, error)
	pause  func(*stream.Conn)
	resume func(*stream.Conn)
	events chan string
	err    error
}

func newProbe() *probe { return &probe{events: make(chan string, 10000)} }

func (p *probe) tell(format string, args ...any) {
	select {
	case p.events <- fmt.Sprintf(format, args...):
	default:
		panic("a probe has too much to tell")
	}
}

func (p *probe) ConnectionMade(c *stream.Conn) {
	p.conn = c
	p.tell("made")
	if p.made != nil {
		p.made(c)
	}
}

func (p *probe) DataReceived(c *stream.Conn, data []byte) {
	if !p.quiet {
		p.tell("data %s", data)
	}
	if p.data != nil {
		p.data(c, data)
	}
}

func (p *probe) EOFReceived(c *stream.Conn) bool {
	p.tell("eof")
	return p.keep
}

func (p *probe) ConnectionLost(c *stream.Conn, err error) {
	p.err = err
	if err != nil {
		p.tell("lost by error")
	} else {
		p.tell("lost")
	}
	if p.lost != nil {
		p.lost(c, err)
	}
}

func (p *probe) PauseWriting(c *stream.Conn) {
	p.tell("pause")
	if p.pause != nil {
		p.pause(c)
	}
}

func (p *probe) ResumeWriting(c *stream.Conn) {
	p.tell("resume")
	if p.resume != nil {
		p.resume(c)
	}
}

// expect waits for what is told next.
func (p *probe) expect(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		select {
		case got := <-p.events:
			if got != w {
				t.Fatalf("event %d is %q, want %q of %q; error %v", i, got, w, want, p.err)
			}
		case <-time.After(patience):
			t.Fatalf("nothing comes, want %q of %q", w, want)
		}
	}
}

// silent checks that nothing is told for a moment.
func (p *probe) silent(t testing.TB) {
	t.Helper()
	select {
	case got := <-p.events:
		t.Errorf("%q, want nothing", got)
	case <-time.After(moment):
	}
}

// skim reads what is told until it is w, and counts the rest.
func (p *probe) skim(t testing.TB, w string) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for {
		select {
		case got := <-p.events:
			if got == w {
				return counts
			}
			counts[got]++
		case <-time.After(patience):
			t.Fatalf("%q never comes; %v", w, counts)
		}
	}
}

// noise is n bytes that are not to be mistaken for others.
func noise(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(p)
	return p
}

// same compares without printing megabytes.
func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if sha256.Sum256(got) != sha256.Sum256(want) {
		at := 0
		for at < len(got) && at < len(want) && got[at] == want[at] {
			at++
		}
		t.Errorf("%s: %d bytes, want %d; they differ at %d", what, len(got), len(want), at)
	}
}

// readAll reads to the end.
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

// reset closes a TCP connection the hard way.
func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// descriptors is how many this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip("no /dev/fd to count descriptors in: ", err)
	}
	return len(entries)
}

// settles waits for a number to come down to a limit.
func settles(t testing.TB, what string, limit int, count func() int) {
	t.Helper()
	n := 0
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(5 * time.Millisecond) {
		if n = count(); n <= limit {
			return
		}
	}
	t.Errorf("%s: %d, want %d", what, n, limit)
}

// networks that a connection can go over.
var networks = []string{"tcp", "unix"}

// crowd runs f in n goroutines and waits for them.
func crowd(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Add(1)
		go func() {
			defer all.Done()
			f(i)
		}()
	}
	all.Wait()
}

func oneOf(t testing.TB, err error, want ...error) {
	t.Helper()
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		t.Errorf("error %v, want one of %v", err, want)
	}
}
