package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
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

// checkEcho writes a message and checks that the server sends it back.
func checkEcho(t *testing.T, conn net.Conn, message string) {
	t.Helper()
	servertest.Exchange(t, conn, message, message)
}

func TestEcho(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		server := start(t, backend)
		for _, c := range []struct {
			name string
			run  func(t *testing.T, addr string)
		}{
			{"several clients at once", concurrentClients},
			{"half close", halfClose},
			{"large transfer", largeTransfer},
			{"client that reads late", slowReader},
			{"half close with queued data", halfCloseQueued},
			{"client reset", reset},
			{"client reset with queued data", resetQueued},
		} {
			t.Run(c.name, func(t *testing.T) { c.run(t, server.Addr) })
		}
		conn := servertest.Dial(t, server.Addr)
		checkEcho(t, conn, "hello")
		if stderr := server.Stop(t); stderr != "" {
			t.Errorf("standard error: %q", stderr)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the end of the server a client read %d, %v; want the connection closed", n, err)
		}
	})
}

// TestIdle checks that the server uses little processor time while no client sends
// or reads. One client has sent nothing, one has read its reply, and one has filled
// the buffers.
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
			t.Errorf("%v of processor time in %v without input", cpu, idle)
		}
	})
}

// TestStop stops a server that has not yet read what a client has sent. The client
// gets it all the same.
func TestStop(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sel, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			defer sel.Close()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := &echoServer{sel: sel, listener: listener}
			if _, err := sel.Register(listener, selectors.EventRead, callback(s.accept)); err != nil {
				t.Fatal(err)
			}
			conn := servertest.Dial(t, listener.Addr().String())
			ready, err := sel.Select(servertest.Timeout)
			if err != nil || len(ready) != 1 {
				t.Fatal(ready, err)
			}
			s.accept(ready[0].Events)
			message := strings.Repeat("0123456789", 1000)
			io.WriteString(conn, message)
			stopped, stop := context.WithCancel(context.Background())
			stop()
			if err := s.serve(stopped); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); err != nil || string(got) != message {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(message))
			}
		})
	}
}

// TestTerminate ends the server just after a client has sent a message. The client
// gets all of it. A client that does not read does not prevent the end.
func TestTerminate(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		server := start(t, backend)
		unread, idle, conn := servertest.Dial(t, server.Addr), servertest.Dial(t, server.Addr), servertest.Dial(t, server.Addr)
		fill(t, unread)
		checkEcho(t, idle, "hello")
		checkEcho(t, conn, "hello")
		message := strings.Repeat("0123456789", 6000) // one read of the server
		io.WriteString(conn, message)
		if stderr := server.Stop(t); stderr != "" {
			t.Errorf("standard error: %q", stderr)
		}
		for c, want := range map[net.Conn]string{idle: "", conn: message} {
			if got, err := io.ReadAll(c); err != nil || string(got) != want {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
			}
		}
	})
}

func TestTooManyClients(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		servertest.TooManyClients(t, "echo", "", "hello", "hello", "-backend", backend)
	})
}

// concurrentClients has many open connections and uses them in random order. No
// client waits for another one.
func concurrentClients(t *testing.T, addr string) {
	var conns []*net.TCPConn
	for range 50 {
		conns = append(conns, servertest.Dial(t, addr))
	}
	for round := range 3 {
		rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
		for i, conn := range conns {
			checkEcho(t, conn, fmt.Sprintf("round %d, client %d", round, i))
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
	if reply, err := io.ReadAll(conn); err != nil || string(reply) != "last message" {
		t.Errorf("got %q, %v; want %q", reply, err, "last message")
	}
	noInput := servertest.Dial(t, addr)
	noInput.CloseWrite()
	if reply, err := io.ReadAll(noInput); err != nil || len(reply) != 0 {
		t.Errorf("a client that sends nothing got %q, %v", reply, err)
	}
}

// largeTransfer sends more than all buffers of the server and the kernels hold.
func largeTransfer(t *testing.T, addr string) {
	conn := servertest.Dial(t, addr)
	sent, received := sha256.New(), sha256.New()
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
	n, err := io.Copy(received, conn)
	sending.Wait()
	if equal := bytes.Equal(sent.Sum(nil), received.Sum(nil)); n != size || err != nil || !equal {
		t.Errorf("received %d of %d bytes, %v; equal: %v", n, size, err, equal)
	}
}

// fill writes without reading until writes block, and returns the number of bytes
// written. They are in the queue of the server and in the buffers of the kernel.
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
	t.Fatalf("the server accepted %d bytes from a client that reads nothing", total)
	return 0
}

// slowReader checks that the server queues a limited amount for a client that does
// not read, serves other clients meanwhile, and writes the rest later.
func slowReader(t *testing.T, addr string) {
	conn := servertest.Dial(t, addr)
	total := fill(t, conn)
	checkEcho(t, servertest.Dial(t, addr), "hello")
	conn.CloseWrite()
	if n, err := io.Copy(io.Discard, conn); n != int64(total) || err != nil {
		t.Errorf("received %d of %d bytes, %v", n, total, err)
	}
}

// halfCloseQueued closes the write side while the server has queued data for the
// client. The amount of data that this needs depends on the buffers of the kernel.
// So the test tries sizes in steps smaller than the queue, until the server stops
// reading.
func halfCloseQueued(t *testing.T, addr string) {
	for size := maxQueued / 2; ; size += maxQueued / 2 {
		conn := servertest.Dial(t, addr)
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		sent, err := conn.Write(make([]byte, size))
		blocked := errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !blocked {
			t.Fatal(err)
		}
		conn.CloseWrite()
		time.Sleep(10 * time.Millisecond) // usually enough for the server to read the end of input
		if n, err := io.Copy(io.Discard, conn); n != int64(sent) || err != nil {
			t.Fatalf("received %d of %d bytes, %v", n, sent, err)
		}
		conn.Close()
		if blocked {
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
		conn.SetLinger(0) // makes Close send a reset
		conn.Close()
		checkEcho(t, other, "after")
	}
}

// resetQueued checks that the reset of a connection with queued data does not affect
// another one.
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	servertest.CheckCommandLines(t, "echo",
		servertest.CommandLine{Args: []string{"-backend", "nosuchbackend"}, Exit: 2, Output: "usage: go run ./examples/echo"},
		servertest.CommandLine{Args: []string{"-backend", "nosuchbackend"}, Exit: 2, Output: selectors.Backends()[0].Name},
		servertest.CommandLine{Args: []string{"-addr", "localhost"}, Exit: 1, Output: "missing port"},
		servertest.CommandLine{Args: []string{"-addr", listener.Addr().String()}, Exit: 1, Output: "address already in use"},
	)
}
