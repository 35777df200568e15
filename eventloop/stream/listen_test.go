//go:build unix

package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// exhaustEnv makes the test binary run one function in a process of its own,
// which may use up its descriptors.
const exhaustEnv = "STREAM_TEST_EXHAUST"

func TestMain(m *testing.M) {
	if backend := os.Getenv(exhaustEnv); backend != "" {
		if err := exhaustDescriptors(backend); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if mode := os.Getenv(childEnv); mode != "" {
		if err := childModes[mode](); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestAcceptLimit checks the limit of accepted connections per turn.
func TestAcceptLimit(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		accepted := make(map[time.Duration]int) // by turn
		n := 0
		ln := l.listen("tcp", func() stream.Handler {
			accepted[l.Now()]++
			n++
			return echo{}
		})
		const clients = 200
		l.do(func() { // the loop accepts nothing before this returns
			for range clients {
				l.connect(ln)
			}
		})
		l.eventually("all connections are accepted", func() bool { return n == clients })
		l.do(func() {
			for _, n := range accepted {
				if n > 64 {
					l.Errorf("%d accepted in one turn, want at most 64", n)
				}
			}
			if len(accepted) > clients/8 {
				l.Errorf("%d turns for %d connections", len(accepted), clients)
			}
		})
	})
}

func TestListenArguments(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		ln := l.listen("tcp", func() stream.Handler { return echo{} })
		l.do(func() {
			for _, test := range []struct{ network, address string }{
				{"udp", "127.0.0.1:0"}, {"", ""}, {"tcp", "127.0.0.1"}, {"tcp", ln.Addr().String()}, {"unix", "/no/such/directory/s"},
			} {
				if ln, err := stream.Listen(l.Loop, test.network, test.address, func() stream.Handler { return echo{} }); ln != nil || err == nil {
					l.Errorf("%q %q: %v, %v", test.network, test.address, ln, err)
				}
			}
			if _, err := stream.Listen(l.Loop, "tcp", "127.0.0.1:0", nil); !errors.Is(err, stream.ErrNilHandler) {
				l.Error(err)
			}
			if _, err := stream.Listen(l.Loop, "unix", l.TempDir()+"/s", func() stream.Handler { return echo{} }, stream.WithReusePort()); !errors.Is(err, errors.ErrUnsupported) {
				l.Error(err)
			}
		})
	})
}

// TestListenerClose checks that new connections are refused, open ones stay, and
// the file of a Unix socket is removed.
func TestListenerClose(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		ln := l.listen(network, func() stream.Handler { return echo{} })
		conn := l.connect(ln)
		l.eventually("accepted", func() bool { return ln.Len() == 1 })
		l.do(func() { ln.Close(); ln.Close() })
		if conn, err := net.Dial(network, ln.Addr().String()); err == nil {
			conn.Close()
			l.Error("connected after Close")
		}
		if network == "unix" {
			if _, err := os.Stat(ln.Addr().String()); !errors.Is(err, os.ErrNotExist) {
				l.Errorf("stat of the socket's file: %v, want not exist", err)
			}
		}
		write(l, conn, "still here")
		got := make([]byte, 10)
		if _, err := io.ReadFull(conn, got); err != nil {
			l.Error(err)
		}
	})
}

// TestCloseInside checks that newHandler may close the listener or return nil.
func TestCloseInside(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		var ln *stream.Listener
		n := 0
		ln = l.listen("tcp", func() stream.Handler {
			n++
			ln.Close()
			if n == 1 {
				return echo{}
			}
			return nil
		})
		l.do(func() {
			for range 3 {
				l.connect(ln)
			}
		})
		l.eventually("one connection is accepted", func() bool { return n == 1 && ln.Len() == 1 })
	})
	eachBackend(t, func(l *testLoop) { // without a handler the connection is closed
		ln := l.listen("tcp", func() stream.Handler { return nil })
		conn := l.connect(ln)
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			l.Errorf("read %d, %v", n, err)
		}
		l.do(func() {
			if ln.Len() != 0 {
				l.Error("a connection without a handler is open")
			}
		})
	})
}

// TestCycles checks that thousands of connections with different ends leak no
// descriptors or goroutines.
func TestCycles(t *testing.T) {
	cycles := 10_000
	if testing.Short() {
		cycles = 1000
	}
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			eachBackend(t, func(l *testLoop) {
				ln := l.listen(network, func() stream.Handler { return echo{} })
				files, goroutines := descriptors(l), runtime.NumGoroutine()
				var failed atomic.Int32
				runConcurrently(8, func(worker int) {
					for i := range cycles / 8 {
						conn, err := net.Dial(network, ln.Addr().String())
						if err != nil {
							failed.Add(1)
							continue
						}
						if i%3 > 0 {
							conn.SetDeadline(time.Now().Add(testTimeout))
							io.WriteString(conn, "hello")
							if i%3 > 1 {
								io.ReadFull(conn, make([]byte, 5))
							}
						}
						if i%2 == 0 && network == "tcp" {
							reset(conn)
						}
						conn.Close()
					}
				})
				if n := failed.Load(); n > 0 {
					l.Errorf("%d connects failed", n)
				}
				l.eventually("all connections are closed", func() bool { return ln.Len() == 0 && l.Selector().Len() == 1 })
				waitAtMost(l, "descriptors", files+2, func() int { return descriptors(l) })
				waitAtMost(l, "goroutines", goroutines+2, runtime.NumGoroutine)
			})
		})
	}
}

// TestDescriptorsExhausted runs out of descriptors in a process of its own.
func TestDescriptorsExhausted(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*testTimeout)
			defer cancel()
			cmd := exec.CommandContext(ctx, exe)
			cmd.Env = append(os.Environ(), exhaustEnv+"="+b.Name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// exhaustDescriptors connects more clients than descriptors allow. The server
// must report it once, not spin, and accept the rest when descriptors are free.
func exhaustDescriptors(backend string) error {
	i := slices.IndexFunc(selectors.Backends(), func(b selectors.Backend) bool { return b.Name == backend })
	sel, err := selectors.Backends()[i].New()
	if err != nil {
		return err
	}
	loop, err := eventloop.New(eventloop.WithSelector(sel))
	if err != nil {
		return err
	}
	var reports atomic.Int32
	var first atomic.Value
	ln, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler { return echo{} }, stream.WithAcceptError(func(err error) {
		first.CompareAndSwap(nil, err)
		reports.Add(1)
	}))
	if err != nil {
		return err
	}
	go loop.Run(context.Background())

	// Create the client sockets first, because they count towards the same limit.
	const clients = 10
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	var fds []int
	for range clients {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		tv := unix.NsecToTimeval(int64(testTimeout))
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
		fds = append(fds, fd)
	}
	assign(&limit.Cur, slices.Max(fds)+4) // all lower numbers are in use, so the server can accept three
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	for _, fd := range fds {
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return err
		}
	}
	for start := time.Now(); reports.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > testTimeout {
			return errors.New("timeout waiting for a report")
		}
	}
	if err := first.Load().(error); !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), ln.Addr().String()) {
		return fmt.Errorf("report: %w, want EMFILE and the address", err)
	}
	turns := loop.Stats().Turns
	time.Sleep(idlePeriod)
	if n := loop.Stats().Turns - turns; n > 20 {
		return fmt.Errorf("%d turns of an idle loop", n)
	}

	// Each client writes, reads the answer and closes, which frees a descriptor for
	// the next waiting client.
	for i, fd := range fds {
		if _, err := unix.Write(fd, []byte("hello")); err != nil {
			return err
		}
		if n, err := readRetrying(fd, make([]byte, 5)); n != 5 || err != nil {
			return fmt.Errorf("client %d: read %d, %w", i, n, err)
		}
		unix.Close(fd)
	}
	if n := reports.Load(); n != 1 {
		return fmt.Errorf("%d reports, want 1", n)
	}
	return nil
}

// readRetrying is read(2), repeated after a signal. The system does not repeat it for
// a socket with SO_RCVTIMEO (signal(7)), and the runtime sends many signals.
func readRetrying(fd int, p []byte) (int, error) {
	for {
		if n, err := unix.Read(fd, p); err != unix.EINTR {
			return n, err
		}
	}
}

// assign sets a field whose type differs between systems.
func assign[T int64 | uint64](to *T, n int) { *to = T(n) }

// TestReusedNumbers checks that a stale event of a closed connection does not
// reach a new connection with the same descriptor number.
func TestReusedNumbers(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		var received []string
		ln := l.listen("tcp", func() stream.Handler {
			p := newRecorder()
			p.ignoreData = true
			p.onDataReceived = func(c *stream.Conn, data []byte) {
				received = append(received, string(data))
				c.Abort()
			}
			return p
		})
		const rounds = 200
		for i := range rounds {
			conn := l.connect(ln)
			write(l, conn, fmt.Sprint(i))
			if i%2 == 0 {
				conn.Close()
			}
		}
		l.eventually("the data of all connections is received", func() bool { return len(received) == rounds && ln.Len() == 0 })
		l.do(func() {
			slices.Sort(received)
			if n := len(slices.Compact(received)); n != rounds {
				l.Errorf("%d different messages, want %d", n, rounds)
			}
		})
	})
}

// TestIdleCosts checks that idle connections, in any state, cost no turns.
func TestIdleCosts(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		for _, prepare := range []func(c *stream.Conn, peer net.Conn){
			func(*stream.Conn, net.Conn) {},
			func(c *stream.Conn, peer net.Conn) { l.do(c.PauseReading); write(l, peer, "unread") },
			func(c *stream.Conn, peer net.Conn) { peer.(interface{ CloseWrite() error }).CloseWrite() },
			func(c *stream.Conn, peer net.Conn) { l.do(func() { c.CloseWrite() }) },
			func(c *stream.Conn, peer net.Conn) { l.do(func() { c.Write(make([]byte, 16<<20)) }) },
			func(c *stream.Conn, peer net.Conn) { l.do(func() { c.Write(make([]byte, 16<<20)); c.Close() }) },
			func(c *stream.Conn, peer net.Conn) {
				l.do(func() { c.Write(make([]byte, 16<<20)) })
				peer.(interface{ CloseWrite() error }).CloseWrite()
			},
		} {
			p := newRecorder()
			p.keepOpen = true
			c, peer := l.pair(network, p)
			prepare(c, peer)
		}
		time.Sleep(quietPeriod)
		turns := l.Stats().Turns
		time.Sleep(idlePeriod)
		if n := l.Stats().Turns - turns; n > 20 {
			l.Errorf("%d turns of an idle loop", n)
		}
	})
}

// TestIdleMemory measures the heap of 9000 idle connections.
func TestIdleMemory(t *testing.T) {
	n := 9000
	if testing.Short() {
		n = 1000
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if int(limit.Cur) < 2*n+200 {
		t.Skipf("%d descriptors needed, %d allowed (ulimit -n)", 2*n+200, limit.Cur)
	}
	eachBackend(t, func(l *testLoop) {
		heap := func() int {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		ln := l.listen("tcp", func() stream.Handler { return echo{} })
		peers := make([]int, 0, n)
		l.Cleanup(func() {
			for _, fd := range peers {
				unix.Close(fd)
			}
		})
		before := heap()
		for range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				l.Fatal(err)
			}
			peers = append(peers, fd)
			if err := unix.Connect(fd, &unix.SockaddrInet4{Port: ln.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				l.Fatal(err)
			}
			if _, err := unix.Write(fd, []byte("hello")); err != nil { // each connection has been active
				l.Fatal(err)
			}
		}
		l.eventually("all connections are accepted", func() bool { return ln.Len() == n })
		for _, fd := range peers {
			if _, err := unix.Read(fd, make([]byte, 8)); err != nil {
				l.Fatal(err)
			}
		}
		perConn := (heap() - before) / n
		l.Logf("%d bytes of heap per connection", perConn)
		if perConn > 400 {
			l.Errorf("%d bytes of heap per connection, want at most 400", perConn)
		}
	})
}

type replyHandler struct{ errs chan error }

func (a replyHandler) DatagramReceived(c *stream.PacketConn, p []byte, from netip.AddrPort) {
	if _, err := c.WriteTo(append([]byte("re: "), p...), from); err != nil {
		a.errs <- err
	}
}
func (a replyHandler) ErrorReceived(_ *stream.PacketConn, err error) { a.errs <- err }

func TestPackets(t *testing.T) {
	for _, test := range []struct{ network, address, client string }{
		{"udp", "127.0.0.1:0", "udp4"},
		{"udp4", "127.0.0.1:0", "udp4"},
		{"udp6", "[::1]:0", "udp6"},
		{"udp", ":0", "udp4"},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			eachBackend(t, func(l *testLoop) {
				a := replyHandler{make(chan error, 100)}
				var c *stream.PacketConn
				var err error
				l.do(func() { c, err = stream.ListenPacket(l.Loop, test.network, test.address, a) })
				if err != nil {
					if test.client == "udp6" {
						l.Skip("no IPv6: ", err)
					}
					l.Fatal(err)
				}
				to := c.LocalAddr().(*net.UDPAddr)
				if to.IP.IsUnspecified() {
					to = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to.Port}
				}
				conn, err := net.DialUDP(test.client, nil, to)
				if err != nil {
					l.Fatal(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(testTimeout))
				buf := make([]byte, 64<<10)
				for _, size := range []int{0, 1, 1000, 60000} {
					message := randomBytes(size)
					if _, err := conn.Write(message); err != nil {
						l.Fatal(err)
					}
					n, err := conn.Read(buf)
					if err != nil {
						l.Fatal(err)
					}
					checkBytes(l, "answer", buf[:n], append([]byte("re: "), message...))
				}
				for range 200 { // more than one turn receives
					write(l, conn, "x")
				}
				for range 200 {
					if n, err := conn.Read(buf); n != 5 || err != nil {
						l.Fatal(n, err)
					}
				}
				l.do(func() {
					if _, err := c.WriteTo(make([]byte, 70000), to.AddrPort()); !errors.Is(err, unix.EMSGSIZE) {
						l.Errorf("WriteTo of 70000 bytes: %v", err)
					}
					if _, err := c.WriteTo([]byte("x"), netip.AddrPort{}); err == nil {
						l.Error("no error for the zero address")
					}
					c.Close()
					c.Close()
					if _, err := c.WriteTo([]byte("x"), to.AddrPort()); !errors.Is(err, net.ErrClosed) || c.FD() != -1 {
						l.Errorf("WriteTo after Close: %v", err)
					}
					if l.Selector().Len() != 0 {
						l.Error("a descriptor is registered")
					}
				})
				select {
				case err := <-a.errs:
					l.Error(err)
				default:
				}
			})
		})
	}
	eachBackend(t, func(l *testLoop) {
		l.do(func() {
			for _, test := range []struct{ network, address string }{{"tcp", ":0"}, {"", ""}, {"udp", "nowhere"}} {
				if c, err := stream.ListenPacket(l.Loop, test.network, test.address, replyHandler{}); c != nil || err == nil {
					l.Errorf("%q %q: %v, %v", test.network, test.address, c, err)
				}
			}
			if _, err := stream.ListenPacket(l.Loop, "udp", ":0", nil); !errors.Is(err, stream.ErrNilHandler) {
				l.Error(err)
			}
		})
	})
}
