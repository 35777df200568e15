//go:build unix

package stream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// eachGroup runs a test with a group of three loops on every backend, over
// every network. The test shuts it down.
func eachGroup(t *testing.T, test func(t *testing.T, g *stream.Group, network, address string)) {
	for _, network := range networks {
		for _, b := range selectors.Backends() {
			t.Run(network+"/"+b.Name, func(t *testing.T) {
				g, err := stream.NewGroup(3, func() (*eventloop.Loop, error) {
					sel, err := b.New()
					if err != nil {
						return nil, err
					}
					return eventloop.New(eventloop.WithSelector(sel))
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { shutdown(t, g, testTimeout) })
				address := "127.0.0.1:0"
				if network == "unix" {
					address = t.TempDir() + "/s"
				}
				test(t, g, network, address)
			})
		}
	}
}

func shutdown(t testing.TB, g *stream.Group, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	shutdownErr := make(chan error, 1)
	go func() { shutdownErr <- g.Shutdown(ctx) }()
	select {
	case err := <-shutdownErr:
		return err
	case <-time.After(2 * testTimeout):
		t.Fatal("Shutdown does not return")
		return nil
	}
}

func dialAll(t testing.TB, addr net.Addr, n int) []net.Conn {
	t.Helper()
	var conns []net.Conn
	for range n {
		conn, err := net.DialTimeout(addr.Network(), addr.String(), testTimeout)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(2 * testTimeout))
		conns = append(conns, conn)
	}
	return conns
}

// TestGroup checks that every loop gets connections.
func TestGroup(t *testing.T) {
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		var mu sync.Mutex
		connsByLoop := make(map[*eventloop.Loop]int)
		addr, err := g.Listen(network, address, func() stream.Handler {
			p := newRecorder()
			p.ignoreData = true
			p.onConnectionMade = func(c *stream.Conn) {
				mu.Lock()
				connsByLoop[c.Loop()]++
				mu.Unlock()
			}
			p.onDataReceived = func(c *stream.Conn, data []byte) { c.Write(data) }
			return p
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Listen(network, addr.String(), func() stream.Handler { return echo{} }, stream.WithReusePort()); err == nil && network == "unix" {
			t.Error("two sockets listen on one path")
		}
		const n = 120
		runConcurrently(n, func(i int) {
			conn, err := net.DialTimeout(network, addr.String(), testTimeout)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(testTimeout))
			message := randomBytes(1000)
			conn.Write(message)
			got := make([]byte, len(message))
			if _, err := io.ReadFull(conn, got); err != nil {
				t.Error(err)
			}
			checkBytes(t, "echo", got, message)
		})
		mu.Lock()
		defer mu.Unlock()
		for _, loop := range g.Loops() {
			if connsByLoop[loop] == 0 {
				t.Errorf("a loop of %d has no connections: %v", len(g.Loops()), connsByLoop)
			}
		}
	})
}

// TestShutdownFlushes checks that open connections get all written data, and that
// new ones are refused.
func TestShutdownFlushes(t *testing.T) {
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		message := randomBytes(1 << 20)
		addr, err := g.Listen(network, address, func() stream.Handler {
			p := newRecorder()
			p.onConnectionMade = func(c *stream.Conn) { c.Write(message) }
			return p
		})
		if err != nil {
			t.Fatal(err)
		}
		conns := dialAll(t, addr, 20)
		shutdownErr := make(chan error, 1)
		go func() { shutdownErr <- shutdown(t, g, testTimeout) }()
		runConcurrently(len(conns), func(i int) {
			time.Sleep(quietPeriod)
			got, err := readSlowly(conns[i], 10000, time.Millisecond)
			if err != nil {
				t.Error(err)
			}
			checkBytes(t, "message", got, message)
			conns[i].Close()
		})
		if err := <-shutdownErr; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if conn, err := net.Dial(network, addr.String()); err == nil {
			conn.Close()
			t.Error("connected after Shutdown")
		}
		if _, err := g.Listen(network, address, func() stream.Handler { return echo{} }); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen after Shutdown: %v", err)
		}
		if err := shutdown(t, g, testTimeout); err != nil {
			t.Errorf("second Shutdown: %v", err)
		}
	})
	waitAtMost(t, "descriptors", files+2, func() int { return descriptors(t) })
	waitAtMost(t, "goroutines", goroutines, runtime.NumGoroutine)
}

// TestShutdownAborts checks that connections whose peer does not read are aborted
// at the deadline.
func TestShutdownAborts(t *testing.T) {
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		var mu sync.Mutex
		connected, ended := 0, 0
		addr, err := g.Listen(network, address, func() stream.Handler {
			p := newRecorder()
			p.onConnectionMade = func(c *stream.Conn) {
				mu.Lock()
				connected++
				mu.Unlock()
				c.Write(make([]byte, 16<<20))
			}
			p.onConnectionLost = func(*stream.Conn, error) {
				mu.Lock()
				ended++
				mu.Unlock()
			}
			return p
		})
		if err != nil {
			t.Fatal(err)
		}
		conns := dialAll(t, addr, 9)
		start := time.Now()
		if err := shutdown(t, g, 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if elapsed := time.Since(start); elapsed < 200*time.Millisecond {
			t.Errorf("Shutdown returned after %v, want at least 200ms", elapsed)
		}
		mu.Lock()
		if connected != len(conns) || ended != connected {
			t.Errorf("%d connections made and %d lost, want %d", connected, ended, len(conns))
		}
		mu.Unlock()
		for _, conn := range conns {
			if _, err := io.Copy(io.Discard, conn); network == "tcp" && !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("the peer reads until %v, want a reset", err)
			}
			conn.Close()
		}
	})
	waitAtMost(t, "descriptors", files+2, func() int { return descriptors(t) })
	waitAtMost(t, "goroutines", goroutines, runtime.NumGoroutine)
}

func TestGroupArguments(t *testing.T) {
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		if _, err := g.Listen(network, address, nil); !errors.Is(err, stream.ErrNilHandler) {
			t.Error(err)
		}
		if _, err := g.Listen("udp", address, func() stream.Handler { return echo{} }); err == nil {
			t.Error("Listen accepts udp")
		}
		if _, err := g.Listen("tcp", "127.0.0.1", func() stream.Handler { return echo{} }); err == nil {
			t.Error("Listen accepts an address without a port")
		}
	})
	loopErr := errors.New("no more loops")
	n := 0
	_, err := stream.NewGroup(3, func() (*eventloop.Loop, error) {
		if n++; n == 3 {
			return nil, loopErr
		}
		return eventloop.New()
	})
	if err != loopErr {
		t.Error(err)
	}
	g, err := stream.NewGroup(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Loops()) != runtime.GOMAXPROCS(0) {
		t.Errorf("%d loops", len(g.Loops()))
	}
	if err := shutdown(t, g, testTimeout); err != nil {
		t.Error(err)
	}
}

// TestShutdownDuringConnects checks that clients that connect during Shutdown are
// served, refused or reset, and leave no descriptors or goroutines.
func TestShutdownDuringConnects(t *testing.T) {
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		addr, err := g.Listen(network, address, func() stream.Handler { return echo{} })
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				buf := make([]byte, 5)
				for {
					select {
					case <-stop:
						return
					default:
					}
					conn, err := net.DialTimeout(network, addr.String(), testTimeout)
					if err != nil {
						time.Sleep(time.Millisecond)
						continue
					}
					conn.SetDeadline(time.Now().Add(testTimeout))
					io.WriteString(conn, "hello")
					if n, err := io.ReadFull(conn, buf); err == nil && !bytes.Equal(buf[:n], []byte("hello")) {
						t.Errorf("read %q", buf[:n])
					} else if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("neither answered nor closed")
					}
					conn.Close()
				}
			}()
		}
		time.Sleep(quietPeriod)
		if err := shutdown(t, g, testTimeout); err != nil {
			t.Error(err)
		}
		close(stop)
		wg.Wait()
	})
	waitAtMost(t, "descriptors", files+2, func() int { return descriptors(t) })
	waitAtMost(t, "goroutines", goroutines, runtime.NumGoroutine)
}

// TestShutdownAcceptsWaiting checks that Shutdown accepts all connections that
// are in the kernel's queue.
func TestShutdownAcceptsWaiting(t *testing.T) {
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		addr, err := g.Listen(network, address, func() stream.Handler {
			p := newRecorder()
			p.onConnectionMade = func(c *stream.Conn) { c.Write([]byte("welcome")) }
			return p
		})
		if err != nil {
			t.Fatal(err)
		}
		unblock := make(chan struct{})
		for _, loop := range g.Loops() {
			loop.Post(func() { <-unblock })
		}
		conns := dialAll(t, addr, 500) // more than all loops accept in a turn
		shutdownErr := make(chan error, 1)
		go func() { shutdownErr <- shutdown(t, g, testTimeout) }()
		time.Sleep(quietPeriod)
		close(unblock)
		for _, conn := range conns {
			if got := readAll(t, conn); string(got) != "welcome" {
				t.Fatalf("read %q", got)
			}
			conn.Close()
		}
		if err := <-shutdownErr; err != nil {
			t.Error(err)
		}
	})
}
