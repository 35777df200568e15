//go:build unix

package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A listenerTest is a listener on a loop that the test runs itself.
type listenerTest struct {
	*testing.T
	loop    *eventloop.Loop
	ln      *Listener
	reports []error
	report  func(error) // called after a report was recorded; may be nil
}

// eachListener runs a test with a listener on every backend.
func eachListener(t *testing.T, newHandler func() Handler, test func(*listenerTest)) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sel, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			loop, err := eventloop.New(eventloop.WithSelector(sel))
			if err != nil {
				t.Fatal(err)
			}
			l := &listenerTest{T: t, loop: loop}
			t.Cleanup(func() { loop.Close() })
			l.ln, err = Listen(loop, "tcp", "127.0.0.1:0", newHandler, WithAcceptError(func(err error) {
				l.reports = append(l.reports, err)
				if l.report != nil {
					l.report(err)
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.ln.Close() })
			test(l)
		})
	}
}

func (l *listenerTest) run(what string, condition func() bool) {
	l.Helper()
	for start := time.Now(); !condition(); {
		if _, err := l.loop.RunOnce(10 * time.Millisecond); err != nil {
			l.Fatal(err)
		}
		if time.Since(start) > 20*time.Second {
			l.Fatalf("timeout waiting for: %s", what)
		}
	}
}

func (l *listenerTest) dial() net.Conn {
	l.Helper()
	conn, err := net.Dial("tcp", l.ln.Addr().String())
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { conn.Close() })
	return conn
}

func (l *listenerTest) checkState(want listenerState) {
	l.Helper()
	registered := 0
	if want == accepting {
		registered = 1
	}
	if l.ln.state != want || l.loop.Selector().Len() != registered+l.ln.Len() || (l.ln.retryTimer != nil) != (want == suspended) {
		l.Errorf("state %d, want %d; %d keys, %d connections, timer %v", l.ln.state, want, l.loop.Selector().Len(), l.ln.Len(), l.ln.retryTimer != nil)
	}
}

func newLifeRecorder() Handler { return &lifeRecorder{} }

// TestSuspend checks that a listener that cannot accept waits for its timer, which
// may be ended by Close and Shutdown.
func TestSuspend(t *testing.T) {
	eachListener(t, newLifeRecorder, func(l *listenerTest) {
		l.ln.suspend(unix.EMFILE)
		l.checkState(suspended)
		l.ln.retryTimer.Stop()
		l.ln.resume() // the state is suspended, and no timer is set
		l.checkState(accepting)
		if l.ln.suspend(unix.EMFILE); l.ln.retryDelay != 2*minRetryDelay {
			l.Errorf("second delay %v", l.ln.retryDelay)
		}
		l.dial()
		if l.run("accepted", func() bool { return l.ln.Len() == 1 }); l.ln.retryDelay != 0 {
			l.Errorf("delay after success %v", l.ln.retryDelay)
		}
		l.checkState(accepting)
		if len(l.reports) != 2 || !errors.Is(l.reports[0], unix.EMFILE) || errors.Is(l.reports[0], net.ErrClosed) {
			l.Errorf("reports %v, want two: no connection was waiting in between", l.reports)
		}
		want := fmt.Sprintf("stream: accept tcp %v: too many open files", l.ln.Addr())
		if len(l.reports) > 0 && l.reports[0].Error() != want {
			l.Errorf("report %q, want %q", l.reports[0], want)
		}
		l.run("queue empty", func() bool { return !l.ln.failing })
		l.ln.suspend(unix.ENFILE)
		l.ln.retryTimer.Stop()
		l.ln.suspend(unix.ENFILE)
		if len(l.reports) != 3 {
			l.Errorf("reports %v, want three", l.reports)
		}
		l.ln.Close()
		l.checkState(listenerClosed)
		for c := range l.ln.Conns() {
			c.Abort()
		}
		l.run("closed", func() bool { return l.ln.Len() == 0 })
	})
}

// TestSuspendInReport checks that the function of WithAcceptError may panic, close
// the listener, and shut it down.
func TestSuspendInReport(t *testing.T) {
	for _, test := range []struct {
		name   string
		report func(*listenerTest)
		want   listenerState
	}{
		{"panic", func(*listenerTest) { panic("report") }, suspended},
		{"Close", func(l *listenerTest) { l.ln.Close() }, listenerClosed},
		{"Shutdown", func(l *listenerTest) { l.ln.Shutdown(context.Background(), nil) }, finishing},
		{"Close, panic", func(l *listenerTest) { l.ln.Close(); panic("report") }, listenerClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachListener(t, newLifeRecorder, func(l *listenerTest) {
				l.report = func(error) { test.report(l) }
				l.loop.CallSoon(func() { l.ln.suspend(unix.EMFILE) })
				func() {
					defer func() { recover() }()
					l.loop.RunOnce(0)
				}()
				l.checkState(test.want)
				l.report = nil
				if test.want == suspended {
					l.dial()
					l.run("accepted", func() bool { return l.ln.Len() == 1 })
					l.checkState(accepting)
				} else {
					l.run("closed", func() bool { return l.ln.state == listenerClosed })
				}
			})
		})
	}
}

// TestSuspendOnClosedLoop checks that a failure on a closed loop changes nothing.
func TestSuspendOnClosedLoop(t *testing.T) {
	eachListener(t, newLifeRecorder, func(l *listenerTest) {
		l.loop.Close()
		l.ln.suspend(unix.EMFILE)
		if l.ln.state != accepting || l.ln.retryTimer != nil || len(l.reports) > 0 {
			l.Errorf("state %d, reports %v", l.ln.state, l.reports)
		}
		fd := l.ln.socket.fd
		l.ln.Close()
		if _, err := idOfFD(fd); err == nil {
			l.Error("Close leaves the socket open")
		}
	})
}

// TestCloseLoopInNewHandler checks that nothing is accepted after the loop was
// closed.
func TestCloseLoopInNewHandler(t *testing.T) {
	var loop *eventloop.Loop
	calls := 0
	eachListener(t, func() Handler {
		calls++
		loop.Close()
		return nil
	}, func(l *listenerTest) {
		loop, calls = l.loop, 0
		for range 3 {
			l.dial()
		}
		for {
			if _, err := l.loop.RunOnce(time.Second); err != nil {
				break
			}
		}
		if calls != 1 {
			l.Errorf("%d calls of newHandler", calls)
		}
	})
}

// TestListenerSocketLost checks that a listener ends if other code shuts down or
// closes its socket, and that Close does not touch a file that has got its number.
func TestListenerSocketLost(t *testing.T) {
	eachListener(t, newLifeRecorder, func(l *listenerTest) {
		if runtime.GOOS != "linux" {
			l.Skip("shutdown(2) of a listening socket has other effects on other systems")
		}
		fd := l.ln.socket.fd
		if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
			l.Fatal(err)
		}
		l.run("the listener ends", func() bool { return l.ln.state == listenerClosed })
		l.checkState(listenerClosed)
		if len(l.reports) != 1 || !errors.Is(l.reports[0], net.ErrClosed) || !errors.Is(l.reports[0], unix.EINVAL) {
			l.Errorf("reports %v", l.reports)
		}
		if _, err := idOfFD(fd); err == nil {
			l.Error("the socket is open")
		}
	})
	for _, useNumber := range []bool{false, true} {
		t.Run(fmt.Sprintf("number used again %v", useNumber), func(t *testing.T) {
			eachListener(t, newLifeRecorder, func(l *listenerTest) {
				fd := l.ln.socket.fd
				unix.Close(fd)
				if useNumber {
					defer unix.Close(otherFile(l, fd))
					if _, err := l.loop.Register(fd, selectors.EventRead, func(any, selectors.Event) {}); err != nil {
						l.Fatal(err)
					}
				} else {
					l.loop.RunOnce(0) // poll and select notice it
				}
				l.ln.Close()
				if l.ln.state != listenerClosed {
					l.Errorf("state %d", l.ln.state)
				}
				if useNumber {
					if _, err := l.loop.Selector().Key(fd); err != nil {
						l.Errorf("Close has unregistered another file: %v", err)
					}
					if _, err := idOfFD(fd); err != nil {
						l.Error("Close has closed another file")
					}
				} else if len(l.reports) > 0 && !errors.Is(l.reports[0], net.ErrClosed) {
					l.Errorf("reports %v", l.reports)
				}
			})
		})
	}
	t.Run("while suspended", func(t *testing.T) {
		eachListener(t, newLifeRecorder, func(l *listenerTest) {
			l.ln.suspend(unix.EMFILE)
			fd := l.ln.socket.fd
			unix.Close(fd)
			defer unix.Close(otherFile(l, fd))
			l.run("the listener ends", func() bool { return l.ln.state == listenerClosed })
			if len(l.reports) != 2 || !errors.Is(l.reports[1], net.ErrClosed) {
				l.Errorf("reports %v", l.reports)
			}
			if _, err := idOfFD(fd); err != nil {
				l.Error("another file was closed")
			}
		})
	})
}

// otherFile opens another file with the number fd, which is free.
func otherFile(l *listenerTest, fd int) int {
	l.Helper()
	other, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		l.Fatal(err)
	}
	if other != fd {
		defer unix.Close(other)
		if n, err := unix.FcntlInt(uintptr(other), unix.F_DUPFD, fd); n != fd || err != nil {
			l.Fatalf("descriptor %d, %v, want %d", n, err, fd)
		}
	}
	return fd
}

// TestAcceptErrors checks which errors of accept(2) are about one connection, which
// about the socket, and which make the listener wait.
func TestAcceptErrors(t *testing.T) {
	for _, test := range []struct {
		err        error
		conn, gone bool
	}{
		{unix.ECONNABORTED, true, false},
		{unix.EPROTO, true, false},
		{unix.ECONNRESET, true, false},
		{unix.EMFILE, false, false},
		{unix.ENFILE, false, false},
		{unix.ENOBUFS, false, false},
		{unix.ENOMEM, false, false},
		{unix.EBADF, false, true},
		{unix.ENOTSOCK, false, true},
		{unix.EINVAL, false, true},
		{&selectors.Error{Op: "register", FD: 1, Err: unix.EBADF}, false, true},
		{selectors.ErrRegistered, false, true},
		{selectors.ErrWouldBlock, false, false},
	} {
		if isConnError(test.err) != test.conn || isSocketGone(test.err) != test.gone {
			t.Errorf("%v: connection %v, socket %v", test.err, isConnError(test.err), isSocketGone(test.err))
		}
	}
	if runtime.GOOS == "linux" {
		for _, err := range []error{unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.EPERM, unix.ETIMEDOUT} {
			if !isConnError(err) || isSocketGone(err) {
				t.Errorf("%v is not about one connection", err)
			}
		}
	}
}

// TestConnErrors checks that a connection that has failed in the queue does not
// suspend the listener, unless accepting fails in no other way.
func TestConnErrors(t *testing.T) {
	eachListener(t, newLifeRecorder, func(l *listenerTest) {
		errs := []error{unix.ECONNABORTED, unix.EPROTO, unix.ECONNRESET}
		calls := 0
		l.ln.accept = func(fd int) (int, netip.AddrPort, error) {
			calls++
			if len(errs) > 0 {
				err := errs[0]
				errs = errs[1:]
				return -1, netip.AddrPort{}, err
			}
			return accept(fd)
		}
		l.dial()
		l.run("accepted", func() bool { return l.ln.Len() == 1 })
		l.checkState(accepting)
		if len(l.reports) > 0 || calls != 5 {
			l.Errorf("reports %v, %d calls of accept", l.reports, calls)
		}
		l.ln.accept = func(int) (int, netip.AddrPort, error) {
			calls++
			return -1, netip.AddrPort{}, unix.EPROTO
		}
		calls = 0
		l.dial()
		l.run("suspended", func() bool { return l.ln.state == suspended })
		l.checkState(suspended)
		if len(l.reports) != 1 || !errors.Is(l.reports[0], unix.EPROTO) || calls != maxAcceptsPerTurn {
			l.Errorf("reports %v, %d calls of accept", l.reports, calls)
		}
		l.ln.accept = accept
		l.run("accepted", func() bool { return l.ln.Len() == 2 })
		l.checkState(accepting)
		for c := range l.ln.Conns() {
			c.Abort()
		}
		l.run("closed", func() bool { return l.ln.Len() == 0 })
	})
}

// TestAccept checks descriptor, flags and address of an accepted connection, by
// both implementations, and that accept does not allocate on Linux.
func TestAccept(t *testing.T) {
	for name, acceptOne := range map[string]func(int) (int, netip.AddrPort, error){"accept": accept, "acceptAndParse": acceptAndParse} {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0", "unix"} {
			t.Run(name+" "+address, func(t *testing.T) {
				network := "tcp"
				if address == "unix" {
					network, address = "unix", t.TempDir()+"/s"
				}
				s, err := listen(network, address, &defaultOptions)
				if err != nil {
					t.Skipf("listen %s: %v", address, err)
				}
				defer s.close()
				if _, _, err := acceptOne(s.fd); err != selectors.ErrWouldBlock {
					t.Errorf("nothing is waiting: %v", err)
				}
				if _, _, err := acceptOne(-1); err != unix.EBADF {
					t.Errorf("bad descriptor: %v", err)
				}
				conn, err := net.Dial(network, strings.Replace(s.addr.String(), "[::]", "127.0.0.1", 1))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				fd, remote, err := acceptOne(s.fd)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				if network == "tcp" && remote != conn.LocalAddr().(*net.TCPAddr).AddrPort() || network == "unix" && remote.IsValid() {
					t.Errorf("remote %v, want %v", remote, conn.LocalAddr())
				}
				status, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
				flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
				if status&unix.O_NONBLOCK == 0 || flags&unix.FD_CLOEXEC == 0 {
					t.Errorf("status %#x, flags %#x", status, flags)
				}
			})
		}
	}
}

// TestAcceptAllocations measures the allocations of accepting alone.
func TestAcceptAllocations(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("package unix allocates addresses on other systems")
	}
	s, err := listen("tcp", "127.0.0.1:0", &defaultOptions)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	const n = 50
	for range n + 1 {
		conn, err := net.Dial("tcp", s.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	allocs := testing.AllocsPerRun(n, func() {
		fd, remote, err := accept(s.fd)
		if err != nil || !remote.IsValid() {
			t.Error(remote, err)
		}
		unix.Close(fd)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per accept", allocs)
	}
}

// TestAcceptAfterReset checks that a connection that its peer has reset in the
// queue still has the address of the peer.
func TestAcceptAfterReset(t *testing.T) {
	var remotes []net.Addr
	eachListener(t, func() Handler { return remoteRecorder{remotes: &remotes} }, func(l *listenerTest) {
		remotes = nil
		var want []string
		for range 3 {
			conn := l.dial()
			want = append(want, conn.LocalAddr().String())
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
		l.run("all are accepted", func() bool { return len(remotes) == len(want) && l.ln.Len() == 0 })
		for i, remote := range remotes {
			if remote == nil || remote.String() != want[i] {
				l.Errorf("remote %v, want %v", remote, want[i])
			}
		}
	})
}

type remoteRecorder struct {
	BaseHandler
	remotes *[]net.Addr
}

func (r remoteRecorder) ConnectionMade(c *Conn) { *r.remotes = append(*r.remotes, c.RemoteAddr()) }

// TestBlockingMode checks that accepting does not block if other code has put a
// shared listening socket into blocking mode.
func TestBlockingMode(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sel, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			loop, err := eventloop.New(eventloop.WithSelector(sel))
			if err != nil {
				t.Fatal(err)
			}
			defer loop.Close()
			nl, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ln, err := ListenFile(loop, nl, newLifeRecorder)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			if err := unix.SetNonblock(ln.socket.fd, false); err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			accepted := make(chan struct{})
			go func() {
				defer close(accepted)
				for ln.Len() == 0 {
					if _, err := loop.RunOnce(time.Second); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			select {
			case <-accepted:
			case <-time.After(20 * time.Second):
				t.Fatal("accepting blocks the loop")
			}
			for c := range ln.Conns() {
				c.Abort()
			}
			loop.RunOnce(0)
		})
	}
}

// TestGroupMemberEnds checks what a group does when other code stops or closes one
// of its loops: its listener and its connections end, and connections on the way
// are closed.
func TestGroupMemberEnds(t *testing.T) {
	for _, b := range selectors.Backends() {
		for name, end := range map[string]func(*eventloop.Loop){"Stop": (*eventloop.Loop).Stop, "Close": func(l *eventloop.Loop) { l.Close() }} {
			t.Run(b.Name+" "+name, func(t *testing.T) { testMemberEnds(t, b, end) })
		}
	}
}

func testMemberEnds(t *testing.T, b selectors.Backend, end func(*eventloop.Loop)) {
	files := openDescriptors(t)
	g, err := NewGroup(2, func() (*eventloop.Loop, error) {
		sel, err := b.New()
		if err != nil {
			return nil, err
		}
		return eventloop.New(eventloop.WithSelector(sel))
	})
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan struct{}, 12)
	addr, err := g.Listen("tcp", "127.0.0.1:0", func() Handler { return notifyLost{lost: lost} }, WithRoundRobin())
	if err != nil {
		t.Fatal(err)
	}
	m := g.members[1]
	var conns []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	waitFor(t, "each loop has one", func() bool {
		total := 0
		for _, m := range g.members {
			m.call(func() { total += len(m.set.conns) })
		}
		return total == 2
	})
	blocked, unblock := make(chan struct{}), make(chan struct{})
	m.loop.Post(func() { close(blocked); <-unblock })
	<-blocked
	for range 8 { // four of them are given to the blocked loop
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	waitFor(t, "four are on the way", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.given) == 4
	})
	end(m.loop)
	close(unblock)
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the member does not end")
	}
	for range 2 { // the other loop goes on, and gets both
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	waitFor(t, "the other loop has the rest", func() bool {
		n := 0
		g.members[0].call(func() { n = len(g.members[0].set.conns) })
		return n == 7
	})
	if _, err := g.Listen("tcp", "127.0.0.1:0", newLifeRecorder); !errors.Is(err, eventloop.ErrClosed) {
		t.Errorf("Listen with an ended loop: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for _, conn := range conns {
		conn.Close()
	}
	waitFor(t, "all descriptors are closed", func() bool { return openDescriptors(t) <= files+2 })
	if len(lost) != 12-4 {
		t.Errorf("%d calls of ConnectionLost, want 8", len(lost))
	}
}

type notifyLost struct {
	BaseHandler
	lost chan struct{}
}

func (n notifyLost) ConnectionLost(*Conn, error) { n.lost <- struct{}{} }

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for start := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("timeout waiting for: %s", what)
		}
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip("no /dev/fd to count descriptors in: ", err)
	}
	return len(entries)
}
