//go:build unix

package stream_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"
)

// socketPath returns a path for a Unix socket in a new directory. The path of
// t.TempDir may be too long.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir + "/s"
}

// A panicLog records the panics of a loop.
type panicLog struct {
	mu     sync.Mutex
	values []any
}

func (p *panicLog) add(v eventloop.Panic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values = append(p.values, v.Value)
}

func (p *panicLog) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.values)
}

// newRecoveringLoop is newLoop with a panic handler.
func newRecoveringLoop(t testing.TB, b selectors.Backend, panics *panicLog) *eventloop.Loop {
	t.Helper()
	sel, err := b.New()
	if err != nil {
		t.Fatal(err)
	}
	loop, err := eventloop.New(eventloop.WithSelector(sel), eventloop.WithPanicHandler(panics.add))
	if err != nil {
		t.Fatal(err)
	}
	return loop
}

// eachRecoveringLoop runs a test with a loop with a panic handler on every backend.
func eachRecoveringLoop(t *testing.T, test func(l *testLoop, panics *panicLog)) {
	t.Helper()
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			panics := &panicLog{}
			l := &testLoop{t, newRecoveringLoop(t, b, panics)}
			ended := make(chan error, 1)
			go func() { ended <- l.Run(context.Background()) }()
			t.Cleanup(func() {
				l.Close()
				select {
				case err := <-ended:
					checkErrorIs(t, err, eventloop.ErrClosed)
				case <-time.After(testTimeout):
					t.Error("timeout waiting for Run")
				}
			})
			test(l, panics)
		})
	}
}

// A loopCounter makes echo handlers and counts the connections of each loop.
type loopCounter struct {
	mu    sync.Mutex
	conns map[*eventloop.Loop]int
}

func newLoopCounter() *loopCounter { return &loopCounter{conns: make(map[*eventloop.Loop]int)} }

func (n *loopCounter) newHandler() stream.Handler {
	p := newRecorder()
	p.onConnectionMade = func(c *stream.Conn) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.conns[c.Loop()]++
	}
	p.onDataReceived = func(c *stream.Conn, data []byte) { c.Write(data) }
	return p
}

// check compares the numbers of connections with want, in any order.
func (n *loopCounter) check(t testing.TB, g *stream.Group, want ...int) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	var got []int
	for _, loop := range g.Loops() {
		got = append(got, n.conns[loop])
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("connections of the loops %v, want %v", got, want)
	}
}

// isClosedOrReset reports whether err is an end of a connection as its peer sees it.
func isClosedOrReset(err error) bool {
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}
