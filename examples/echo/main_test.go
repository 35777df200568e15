package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"goselectors/examples/internal/servertest"
	"goselectors/selectors"
)

func TestMain(m *testing.M) { servertest.Main(m, main) }

// start starts a server with the given backend.
func start(t *testing.T, backend string) *servertest.Server {
	t.Helper()
	return servertest.Start(t, "echo", servertest.Command(t, "", "-addr", "127.0.0.1:0", "-backend", backend))
}

// checkEcho writes a message and checks that it comes back.
func checkEcho(t *testing.T, conn net.Conn, message string) {
	t.Helper()
	servertest.Exchange(t, conn, message, message)
}

func TestEcho(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		server := start(t, backend)
		for _, c := range []struct {
			name string
			talk func(t *testing.T, addr string)
		}{
			{"several clients at once", concurrentClients},
			{"half close", halfClose},
			{"large transfer", largeTransfer},
			{"client that reads late", slowReader},
			{"half close while much is queued", halfCloseQueued},
			{"client reset", reset},
			{"client reset while much is queued for it", resetQueued},
		} {
			t.Run(c.name, func(t *testing.T) { c.talk(t, server.Addr) })
		}
		open := servertest.Dial(t, server.Addr)
		checkEcho(t, open, "hello")
		if stderr := server.Stop(t); stderr != "" {
			t.Errorf("error output: %q", stderr)
		}
		if n, err := open.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the end of the server a client reads %d, %v; want the connection closed", n, err)
		}
	})
}

// TestIdle checks that the loop sleeps while one client is silent, one has its
// reply, and one reads nothing.
func TestIdle(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		server := start(t, backend)
		servertest.Dial(t, server.Addr)
		checkEcho(t, servertest.Dial(t, server.Addr), "hello")
		fill(t, servertest.Dial(t, server.Addr))
		const idle = 2 * time.Second
		time.Sleep(idle)
		server.Stop(t)
		if cpu := server.CPU(); cpu > idle/2 {
			t.Errorf("%v of processor time in %v of idleness", cpu, idle)
		}
	})
}

func TestTooManyClients(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		servertest.TooManyClients(t, "echo", "", "hello", "hello", "-backend", backend)
	})
}

// concurrentClients checks that no client waits for another, in any order.
func concurrentClients(t *testing.T, addr string) {
	var conns []*net.TCPConn
	for range 50 {
		conns = append(conns, servertest.Dial(t, addr))
	}
	for turn := range 3 {
		rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
		for i, conn := range conns {
			checkEcho(t, conn, fmt.Sprintf("turn %d, client %d", turn, i))
		}
	}
}

// halfClose checks that data sent before the end of input is echoed.
func halfClose(t *testing.T, addr string) {
	conn := servertest.Dial(t, addr)
	io.WriteString(conn, "last message")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "last message" {
		t.Errorf("got %q, %v", answer, err)
	}
	silent := servertest.Dial(t, addr)
	silent.CloseWrite()
	if answer, err := io.ReadAll(silent); err != nil || len(answer) != 0 {
		t.Errorf("a client that sends nothing got %q, %v", answer, err)
	}
}

// largeTransfer sends far more than any buffer on the way holds.
func largeTransfer(t *testing.T, addr string) {
	conn := servertest.Dial(t, addr)
	sent, got := sha256.New(), sha256.New()
	const size = 16 << 20
	var sending sync.WaitGroup
	sending.Add(1)
	go func() {
		defer sending.Done()
		random := rand.NewChaCha8([32]byte{1})
		if _, err := io.CopyN(io.MultiWriter(conn, sent), random, size); err != nil {
			t.Error("sending:", err)
		}
		conn.CloseWrite()
	}()
	n, err := io.Copy(got, conn)
	sending.Wait()
	if n != size || err != nil || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d of %d bytes came back, %v; the same: %v", n, size, err, bytes.Equal(sent.Sum(nil), got.Sum(nil)))
	}
}

// fill writes without reading until the server takes no more, and returns how
// much it took: what the server queues, and the kernel's buffers.
func fill(t *testing.T, conn *net.TCPConn) int {
	t.Helper()
	chunk := bytes.Repeat([]byte("stuff"), 1<<12)
	const limit = 64 << 20
	total := 0
	for total < limit {
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := conn.Write(chunk)
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return total
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("the server took %d bytes from a client that reads nothing", total)
	return 0
}

// slowReader checks that the server queues little for a client that does not
// read, serves others meanwhile, and writes the rest later.
func slowReader(t *testing.T, addr string) {
	conn := servertest.Dial(t, addr)
	total := fill(t, conn)
	checkEcho(t, servertest.Dial(t, addr), "hello")
	conn.CloseWrite()
	if n, err := io.Copy(io.Discard, conn); n != int64(total) || err != nil {
		t.Errorf("%d of %d bytes came back, %v", n, total, err)
	}
}

// halfCloseQueued ends the input while some of the echo is queued. The size for
// which that happens depends on the buffers of the kernel. So it tries sizes in
// steps smaller than the queue, until the server stops reading.
func halfCloseQueued(t *testing.T, addr string) {
	for size := maxQueued / 2; ; size += maxQueued / 2 {
		conn := servertest.Dial(t, addr)
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		sent, err := conn.Write(make([]byte, size))
		full := errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !full {
			t.Fatal(err)
		}
		conn.CloseWrite()
		time.Sleep(10 * time.Millisecond) // usually long enough
		if n, err := io.Copy(io.Discard, conn); n != int64(sent) || err != nil {
			t.Fatalf("%d of %d bytes came back, %v", n, sent, err)
		}
		conn.Close()
		if full {
			return
		}
	}
}

// reset checks that the reset of one connection does not affect another.
func reset(t *testing.T, addr string) {
	other := servertest.Dial(t, addr)
	checkEcho(t, other, "before")
	for range 20 {
		conn := servertest.Dial(t, addr)
		checkEcho(t, conn, "hello")
		conn.SetLinger(0) // Close then sends a reset
		conn.Close()
		checkEcho(t, other, "after")
	}
}

func resetQueued(t *testing.T, addr string) {
	conn := servertest.Dial(t, addr)
	fill(t, conn)
	conn.SetLinger(0)
	conn.Close()
	checkEcho(t, servertest.Dial(t, addr), "hello")
}

func TestDefaultBackend(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	server := servertest.Start(t, "echo", servertest.Command(t, "", "-addr", "localhost:0"))
	checkEcho(t, servertest.Dial(t, server.Addr), "hello")
	server.Stop(t)
}

func TestCommandLine(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	servertest.CheckCommandLines(t, "echo",
		servertest.CommandLine{Args: []string{"-backend", "nosuchbackend"}, Exit: 2, Output: "usage: go run ./examples/echo"},
		servertest.CommandLine{Args: []string{"-backend", "nosuchbackend"}, Exit: 2, Output: selectors.Backends()[0].Name},
		servertest.CommandLine{Args: []string{"-addr", "localhost"}, Exit: 1, Output: "missing port"},
		servertest.CommandLine{Args: []string{"-addr", taken.Addr().String()}, Exit: 1, Output: "address already in use"},
	)
}
