//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/examples/internal/servertest"
	"goselectors/selectors"
)

// A testServer is a server in the process of the test, so that the test can use
// its store and its clients.
type testServer struct {
	*testing.T
	addr    string
	loop    *eventloop.Loop
	db      *store
	clients []*client // all that have connected
}

// eachStore runs a test with a server of its own process on each backend.
func eachStore(t *testing.T, test func(s *testServer)) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) { test(startServer(t, b)) })
	}
}

func startServer(t *testing.T, b selectors.Backend) *testServer {
	t.Helper()
	sel, err := b.New()
	if err != nil {
		t.Fatal(err)
	}
	loop, err := eventloop.New(eventloop.WithSelector(sel), eventloop.WithPanicHandler(func(p eventloop.Panic) {
		t.Errorf("panic: %v\n%s", p.Value, p.Stack)
	}))
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{T: t, loop: loop, db: newStore(loop)}
	l, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler {
		c := &client{db: s.db}
		s.clients = append(s.clients, c)
		return c
	})
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(context.Background()) }()
	t.Cleanup(func() {
		s.do(func() {
			l.Close()
			for c := range l.Conns() {
				c.Abort()
			}
		})
		s.until("all clients are gone", func() bool { return s.db.clients == 0 })
		loop.Close()
		if err := <-ended; !errors.Is(err, eventloop.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// do runs f on the loop.
func (s *testServer) do(f func()) {
	s.Helper()
	done := make(chan struct{})
	s.loop.Post(func() { defer close(done); f() })
	select {
	case <-done:
	case <-time.After(servertest.Timeout):
		s.Fatal("the loop is stuck")
	}
}

// until waits until the condition, which runs on the loop, is true.
func (s *testServer) until(what string, condition func() bool) {
	s.Helper()
	for deadline := time.Now().Add(servertest.Timeout); ; time.Sleep(2 * time.Millisecond) {
		var ok bool
		s.do(func() { ok = condition() })
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("timeout waiting until %s", what)
		}
	}
}

// exchange sends a request on a new connection and checks the reply.
func (s *testServer) exchange(request, want string) {
	s.Helper()
	conn := servertest.Dial(s.T, s.addr)
	defer conn.Close()
	servertest.Exchange(s.T, conn, request, want)
}

// heap returns the size of all live objects in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC() // frees also what a pool held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// send writes a request without waiting, while the server may not read it.
func send(conn net.Conn, request string) (sent chan error) {
	sent = make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, request)
		sent <- err
	}()
	return sent
}
