//go:build unix

package stream_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// useAddresses makes Dial resolve all names to addrs.
func useAddresses(t testing.TB, addrs ...net.Addr) {
	stream.ReplaceResolver(t, func(context.Context, string, string) ([]net.Addr, error) { return addrs, nil })
}

// refusingAddr returns an address where nobody listens.
func refusingAddr(t testing.TB, address string) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return ln.Addr()
}

// deadAddr returns an address where connecting does not complete.
func deadAddr(t testing.TB) net.Addr {
	t.Helper()
	addr := stream.UnresponsiveAddr(t)
	if addr == nil {
		t.Skip("this system accepts more connections than the backlog of a listener")
	}
	return addr
}

func checkRegistered(l *testLoop, want int) {
	l.Helper()
	l.do(func() {
		if n := l.Selector().Len(); n != want {
			l.Errorf("%d descriptors are registered, want %d", n, want)
		}
	})
}

// TestDialAddresses checks names with several addresses.
func TestDialAddresses(t *testing.T) {
	dead := deadAddr(t)
	refusing, refusing2, refusing3 := refusingAddr(t, "127.0.0.1:0"), refusingAddr(t, "127.0.0.1:0"), refusingAddr(t, "127.0.0.1:0")
	eachBackend(t, func(l *testLoop) {
		ln := l.listen("tcp", func() stream.Handler { return echo{} })
		other := l.listen("tcp", func() stream.Handler { return echo{} })
		files := settledDescriptors(l)
		for _, test := range []struct {
			name   string
			addrs  []net.Addr
			remote net.Addr // or failed
			failed string   // the address in the error
			err    error
		}{
			{name: "one", addrs: []net.Addr{ln.Addr()}, remote: ln.Addr()},
			{name: "first of two", addrs: []net.Addr{ln.Addr(), other.Addr()}, remote: ln.Addr()},
			{name: "first is dead later", addrs: []net.Addr{other.Addr(), dead}, remote: other.Addr()},
			{name: "third", addrs: []net.Addr{refusing, refusing2, ln.Addr()}, remote: ln.Addr()},
			{name: "all refuse", addrs: []net.Addr{refusing2, refusing3, refusing}, failed: refusing2.String(), err: unix.ECONNREFUSED},
			{name: "none", failed: "name:80"},
		} {
			useAddresses(l, test.addrs...)
			p := newRecorder()
			c := l.dial(context.Background(), "tcp", "name:80", p)
			if test.remote != nil {
				p.expect(l, "ConnectionMade")
				l.do(func() {
					if got := c.RemoteAddr().String(); got != test.remote.String() {
						l.Errorf("%s: connected to %v, want %v", test.name, got, test.remote)
					}
					c.Close()
				})
				p.expect(l, "ConnectionLost")
			} else {
				p.expect(l, "ConnectionLost with error")
				checkDialError(l, p.err, test.failed)
				if test.err != nil {
					checkErrorIs(l, p.err, test.err)
				}
			}
			waitOnlyRegistered(l, ln, other)
		}
		waitAtMost(l, "descriptors", files, func() int { return descriptors(l) })
	})
}

// waitOnlyRegistered waits until only the listeners are registered.
func waitOnlyRegistered(l *testLoop, listeners ...*stream.Listener) {
	l.Helper()
	l.eventually("only the listeners are registered", func() bool { return l.Selector().Len() == len(listeners) })
}

// settledDescriptors returns the number of descriptors once the loop has those that
// it opens when it needs them.
func settledDescriptors(l *testLoop) int {
	l.Helper()
	expired := make(chan struct{})
	l.do(func() { l.CallLater(quietPeriod, func() { close(expired) }) })
	<-expired
	return descriptors(l)
}

// checkDialError checks the form of an error of Dial.
func checkDialError(t testing.TB, err error, address string) {
	t.Helper()
	var opErr *net.OpError
	if !errors.As(err, &opErr) || opErr.Op != "dial" || opErr.Addr == nil || opErr.Addr.String() != address {
		t.Errorf("error %v (%#v), want an *net.OpError about %s", err, opErr, address)
	}
	if prefix := strings.TrimSuffix("stream: dial "+address, " ") + ": "; err == nil || !strings.HasPrefix(err.Error(), prefix) {
		t.Errorf("error %v, want %q first", err, prefix)
	}
}

// TestDialFallback checks that the other family is tried 300 ms later if the first
// does not answer, and at once if it has failed.
func TestDialFallback(t *testing.T) {
	dead, refusing := deadAddr(t), refusingAddr(t, "127.0.0.1:0")
	eachBackend(t, func(l *testLoop) {
		var ln *stream.Listener
		var err error
		l.do(func() { ln, err = stream.Listen(l.Loop, "tcp6", "[::1]:0", func() stream.Handler { return echo{} }) })
		if err != nil {
			l.Skip("no IPv6: ", err)
		}
		files := settledDescriptors(l)
		for _, test := range []struct {
			addrs []net.Addr
			min   time.Duration
		}{
			{[]net.Addr{dead, ln.Addr()}, 300 * time.Millisecond},
			{[]net.Addr{dead, dead, refusing, ln.Addr()}, 300 * time.Millisecond},
			{[]net.Addr{refusing, ln.Addr()}, 0},
			{[]net.Addr{refusing, ln.Addr(), dead}, 300 * time.Millisecond},
			{[]net.Addr{ln.Addr(), dead}, 0},
		} {
			useAddresses(l, test.addrs...)
			p := newRecorder()
			start := time.Now()
			c := l.dial(context.Background(), "tcp", "name:80", p)
			l.do(func() { c.Write([]byte("early")) })
			p.expect(l, "ConnectionMade", "DataReceived early")
			if elapsed := time.Since(start); elapsed < test.min {
				l.Errorf("%v: connected after %v, want at least %v", test.addrs, elapsed, test.min)
			}
			l.do(func() { c.Close() })
			p.expect(l, "ConnectionLost")
			waitOnlyRegistered(l, ln)
		}
		waitAtMost(l, "descriptors", files, func() int { return descriptors(l) })
		l.do(func() { ln.Close() })
	})
}

// TestDialContextEnded checks that a context that has ended is the error, also if
// the connection is made: before Dial, between Dial and the start, and between
// connect(2) and its result.
func TestDialContextEnded(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		ln := l.listen(network, func() stream.Handler { return echo{} })
		useAddresses(l, ln.Addr())
		addresses := []string{ln.Addr().String()}
		if network == "tcp" {
			addresses = append(addresses, "name:80")
		}
		files := settledDescriptors(l)
		for i := range 50 {
			for _, address := range addresses {
				for _, when := range []string{"before", "deadline before", "after", "connected"} {
					if when == "connected" && (network == "unix" || address == "name:80") {
						continue // a Unix socket connects at once; a resolver takes some time
					}
					ctx, cancel := context.WithCancel(context.Background())
					if when == "deadline before" {
						ctx, cancel = context.WithTimeout(context.Background(), -1)
					}
					if when == "before" {
						cancel()
					}
					p := newRecorder()
					l.do(func() {
						if _, err := stream.Dial(ctx, l.Loop, network, address, p); err != nil {
							l.Error(err)
						}
						switch when {
						case "after":
							cancel()
						case "connected": // the posted function runs after connect(2)
							l.Post(func() { time.Sleep(time.Millisecond); cancel() })
						}
					})
					p.expect(l, "ConnectionLost with error")
					if !errors.Is(p.err, ctx.Err()) {
						l.Fatalf("%d %s %s: error %v, want %v", i, address, when, p.err, ctx.Err())
					}
					checkDialError(l, p.err, address)
					cancel()
				}
			}
		}
		waitOnlyRegistered(l, ln)
		waitAtMost(l, "descriptors", files, func() int { return descriptors(l) })
	})
}

// TestDialSocketFails checks an error of socket(2), which is not one of connect(2).
func TestDialSocketFails(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		ln := l.listen(network, func() stream.Handler { return echo{} })
		failures := 1
		stream.ReplaceSocket(l, func(original func(net.Addr) (int, error), addr net.Addr) (int, error) {
			if failures--; failures >= 0 {
				return -1, unix.EMFILE
			}
			return original(addr)
		})
		p := newRecorder()
		l.dial(context.Background(), network, ln.Addr().String(), p)
		p.expect(l, "ConnectionLost with error")
		checkErrorIs(l, p.err, unix.EMFILE)
		var callErr *os.SyscallError
		if !errors.As(p.err, &callErr) || callErr.Syscall != "socket" {
			l.Errorf("error %v, want one of socket", p.err)
		}
		checkDialError(l, p.err, ln.Addr().String())

		if network == "tcp" { // the second address gets a socket
			useAddresses(l, ln.Addr(), ln.Addr())
			l.do(func() { failures = 1 })
			p := newRecorder()
			l.dial(context.Background(), network, "name:80", p)
			p.expect(l, "ConnectionMade")
		}
	})
}

// TestDialSelfConnect checks that a socket that has connected to itself counts as
// refused.
func TestDialSelfConnect(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		addr := refusingAddr(l, "127.0.0.1:0")
		stream.ReplaceSocket(l, func(original func(net.Addr) (int, error), to net.Addr) (int, error) {
			fd, err := original(to)
			if err == nil {
				err = unix.Bind(fd, &unix.SockaddrInet4{Port: to.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}})
			}
			return fd, err
		})
		p := newRecorder()
		l.dial(context.Background(), "tcp", addr.String(), p)
		p.expect(l, "ConnectionLost with error")
		checkErrorIs(l, p.err, unix.ECONNREFUSED)
		checkDialError(l, p.err, addr.String())
	})
}

// TestDialClosedDescriptor checks that a dial fails when other code closes its
// descriptor, on backends that report it, and that no other file is closed.
func TestDialClosedDescriptor(t *testing.T) {
	dead := deadAddr(t)
	eachBackend(t, func(l *testLoop) {
		if l.Selector().Features()&selectors.FeatureInvalid == 0 {
			l.Skip("this backend does not report a closed descriptor")
		}
		var fd int
		stream.ReplaceSocket(l, func(original func(net.Addr) (int, error), addr net.Addr) (n int, err error) {
			fd, err = original(addr)
			return fd, err
		})
		p := newRecorder()
		l.dial(context.Background(), "tcp", dead.String(), p)
		l.eventually("a descriptor is registered", func() bool { return l.Selector().Len() == 1 })
		var other *os.File
		l.do(func() {
			unix.Close(fd)
			// Select reports the closed descriptor, then this runs, then the callback.
			l.CallSoon(func() { other = openAs(l, fd) })
		})
		p.expect(l, "ConnectionLost with error")
		checkErrorIs(l, p.err, unix.EBADF)
		l.do(func() {
			if _, err := other.Stat(); err != nil {
				l.Errorf("the file that has got the number is closed: %v", err)
			}
			other.Close()
		})
		checkRegistered(l, 0)
	})
}

// openAs opens a file that gets the descriptor fd.
func openAs(t testing.TB, fd int) *os.File {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Error(err)
		return nil
	}
	if f.Fd() == uintptr(fd) {
		return f
	}
	defer f.Close()
	if err := unix.Dup2(int(f.Fd()), fd); err != nil {
		t.Error(err)
	}
	return os.NewFile(uintptr(fd), os.DevNull)
}

// TestDialUnixErrors checks Unix sockets that cannot be connected to.
func TestDialUnixErrors(t *testing.T) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eachBackend(t, func(l *testLoop) {
		for path, want := range map[string][]error{
			dir + "/none":                        {unix.ENOENT},
			dir + "/file":                        {unix.ECONNREFUSED, unix.ENOTSOCK},
			dir + "/" + strings.Repeat("x", 200): {unix.EINVAL, unix.ENAMETOOLONG},
			"":                                   {unix.EINVAL, unix.ECONNREFUSED, unix.ENOENT},
		} {
			p := newRecorder()
			l.dial(context.Background(), "unix", path, p)
			p.expect(l, "ConnectionLost with error")
			checkErrorIs(l, p.err, want...)
			checkDialError(l, p.err, path)
		}
	})
}

// TestDialUnixQueueCloses checks that a dial that waits for room in the queue of a
// Unix socket fails when the socket is closed.
func TestDialUnixQueueCloses(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		dir, err := os.MkdirTemp("", "")
		if err != nil {
			l.Fatal(err)
		}
		defer os.RemoveAll(dir)
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			l.Fatal(err)
		}
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: dir + "/s"}), unix.Listen(fd, 0)); err != nil {
			l.Fatal(err)
		}
		var recorders []*recorder
		for range 4 {
			p := newRecorder()
			l.dial(context.Background(), "unix", dir+"/s", p)
			recorders = append(recorders, p)
		}
		time.Sleep(quietPeriod)
		unix.Close(fd)
		refused := 0
		for _, p := range recorders {
			if first := <-p.events; first == "ConnectionLost with error" {
				checkErrorIs(l, p.err, unix.ECONNREFUSED)
				refused++
			}
		}
		if refused == 0 {
			l.Error("all have connected; the queue was not full")
		}
	})
}

// TestDialErrors checks the messages of the errors of Dial itself, and that they name
// no internal operation.
func TestDialErrors(t *testing.T) {
	closed := newLoop(t, selectors.Backends()[0])
	closed.Close()
	open := newLoop(t, selectors.Backends()[0])
	defer open.Close()
	for _, test := range []struct {
		loop             *eventloop.Loop
		network, address string
		want             string
	}{
		{open, "udp", "127.0.0.1:1", "stream: dial udp: unknown network"},
		{open, "unixgram", "/s", "stream: dial unixgram: unknown network"},
		{open, "", "/s", "stream: dial: unknown network"},
		{open, "tcp", "127.0.0.1", "stream: dial 127.0.0.1: address 127.0.0.1: missing port in address"},
		{closed, "tcp", "127.0.0.1:1", "stream: dial 127.0.0.1:1: loop is closed"},
		{closed, "tcp", "name:1", "stream: dial name:1: loop is closed"},
		{closed, "unix", "/s", "stream: dial /s: loop is closed"},
	} {
		c, err := stream.Dial(context.Background(), test.loop, test.network, test.address, newRecorder())
		if c != nil || err == nil || err.Error() != test.want {
			t.Errorf("Dial %q %q: %v, %v, want %q", test.network, test.address, c, err, test.want)
		}
		if test.loop == closed {
			checkErrorIs(t, err, eventloop.ErrClosed)
		}
	}
}

// TestDialLocal checks addresses that mean the local system.
func TestDialLocal(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		ln := l.listen("tcp", func() stream.Handler { return echo{} })
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		stream.ReplaceResolver(l, func(context.Context, string, string) ([]net.Addr, error) {
			return nil, errors.New("the resolver is called")
		})
		for _, host := range []string{"", "0.0.0.0", "127.0.0.1", "::ffff:127.0.0.1"} {
			p := newRecorder()
			c := l.dial(context.Background(), "tcp", net.JoinHostPort(host, port), p)
			p.expect(l, "ConnectionMade")
			l.do(func() {
				if got := c.RemoteAddr().String(); got != ln.Addr().String() {
					l.Errorf("host %q: connected to %v", host, got)
				}
			})
		}
	})
}
