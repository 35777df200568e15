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
	ended := make(chan error, 1)
	go func() { ended <- g.Shutdown(ctx) }()
	select {
	case err := <-ended:
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
		share := make(map[*eventloop.Loop]int)
		addr, err := g.Listen(network, address, func() stream.Handler {
			p := newRecorder()
			p.ignoreData = true
			p.onConnectionMade = func(c *stream.Conn) {
				mu.Lock()
				share[c.Loop()]++
				mu.Unlock()
			}
			p.onDataReceived = func(c *stream.Conn, data []byte) { c.Write(data) }
			return p
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Listen(network, addr.String(), func() stream.Handler { return echo{} }, stream.WithReusePort()); err == nil && network == "unix" {
			t.Error("two listen at one address")
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
			if share[loop] == 0 {
				t.Errorf("a loop of %d has nothing to do: %v", len(g.Loops()), share)
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
		ended := make(chan error, 1)
		go func() { ended <- shutdown(t, g, testTimeout) }()
		runConcurrently(len(conns), func(i int) {
			time.Sleep(quietPeriod)
			got, err := readSlowly(conns[i], 10000, time.Millisecond)
			if err != nil {
				t.Error(err)
			}
			checkBytes(t, "message", got, message)
			conns[i].Close()
		})
		if err := <-ended; err != nil {
			t.Errorf("shut down: %v", err)
		}
		if conn, err := net.Dial(network, addr.String()); err == nil {
			conn.Close()
			t.Error("somebody got in")
		}
		if _, err := g.Listen(network, address, func() stream.Handler { return echo{} }); err != net.ErrClosed {
			t.Errorf("listen afterwards: %v", err)
		}
		if err := shutdown(t, g, testTimeout); err != nil {
			t.Errorf("shut down again: %v", err)
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
		made, lost := 0, 0
		addr, err := g.Listen(network, address, func() stream.Handler {
			p := newRecorder()
			p.onConnectionMade = func(c *stream.Conn) {
				mu.Lock()
				made++
				mu.Unlock()
				c.Write(make([]byte, 16<<20))
			}
			p.onConnectionLost = func(*stream.Conn, error) {
				mu.Lock()
				lost++
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
			t.Errorf("shut down: %v", err)
		}
		if elapsed := time.Since(start); elapsed < 200*time.Millisecond {
			t.Errorf("after only %v", elapsed)
		}
		mu.Lock()
		if made != len(conns) || lost != made {
			t.Errorf("%d connections made, %d lost", made, lost)
		}
		mu.Unlock()
		for _, conn := range conns {
			if _, err := io.Copy(io.Discard, conn); network == "tcp" && !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("the peer is told %v", err)
			}
			conn.Close()
		}
	})
	waitAtMost(t, "descriptors", files+2, func() int { return descriptors(t) })
	waitAtMost(t, "goroutines", goroutines, runtime.NumGoroutine)
}

func TestGroupArguments(t *testing.T) {
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		if _, err := g.Listen(network, address, nil); err != stream.ErrNilHandler {
			t.Error(err)
		}
		if _, err := g.Listen("udp", address, func() stream.Handler { return echo{} }); err == nil {
			t.Error("listens at udp")
		}
		if _, err := g.Listen("tcp", "127.0.0.1", func() stream.Handler { return echo{} }); err == nil {
			t.Error("listens without a port")
		}
	})
	fails := errors.New("no more loops")
	n := 0
	_, err := stream.NewGroup(3, func() (*eventloop.Loop, error) {
		if n++; n == 3 {
			return nil, fails
		}
		return eventloop.New()
	})
	if err != fails {
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
		var all sync.WaitGroup
		for range 4 {
			all.Add(1)
			go func() {
				defer all.Done()
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
						t.Error("neither served nor dropped")
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
		all.Wait()
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
		busy := make(chan struct{})
		for _, loop := range g.Loops() {
			loop.Post(func() { <-busy })
		}
		conns := dialAll(t, addr, 500) // more than all loops take in a turn
		ended := make(chan error, 1)
		go func() { ended <- shutdown(t, g, testTimeout) }()
		time.Sleep(quietPeriod)
		close(busy)
		for _, conn := range conns {
			if got := readAll(t, conn); string(got) != "welcome" {
				t.Fatalf("read %q", got)
			}
			conn.Close()
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
