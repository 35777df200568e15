//go:build unix

package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"

	"golang.org/x/sys/unix"
)

// execInherit does what a service manager does between fork and exec: it sets
// LISTEN_PID, which the parent cannot know before.
func execInherit() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	pid := os.Getpid()
	if os.Getenv("TEST_PID") == "other" {
		pid = os.Getppid()
	}
	env := []string{childEnv + "=inherit", "LISTEN_PID=" + strconv.Itoa(pid)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, childEnv+"=") {
			env = append(env, v)
		}
	}
	return syscall.Exec(exe, []string{exe}, env)
}

// inheritInChild prints what InheritedFiles returns, and echoes one connection on
// each file that listens.
func inheritInChild() error {
	files, err := stream.InheritedFiles()
	if err != nil {
		fmt.Println("error:", err)
		return nil
	}
	var report []string
	for _, f := range files {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		report = append(report, fmt.Sprintf("%s cloexec=%v %v", f.Name(), flags&unix.FD_CLOEXEC != 0, err))
	}
	again, err := stream.InheritedFiles()
	left := 0
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "LISTEN_") {
			left++
		}
	}
	fmt.Printf("%d files: %s; again %d %v; variables %d\n", len(files), strings.Join(report, ", "), len(again), err, left)
	loop, err := eventloop.New()
	if err != nil {
		return err
	}
	defer loop.Close()
	open := 0
	for _, f := range files {
		var ln *stream.Listener
		ln, err = stream.ListenFile(loop, f, func() stream.Handler {
			p := newRecorder()
			p.onDataReceived = func(c *stream.Conn, data []byte) { c.Write(data) }
			p.onConnectionLost = func(*stream.Conn, error) {
				ln.Close()
				if open--; open == 0 {
					loop.Stop()
				}
			}
			return p
		})
		if err != nil {
			fmt.Println("listen:", err)
			f.Close()
			continue
		}
		open++
	}
	if open == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	return loop.Run(ctx)
}

// TestInheritedFiles passes listening sockets to another process, as systemd does.
func TestInheritedFiles(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	unixListener, err := net.Listen("unix", socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer unixListener.Close()
	tcpFile, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcpFile.Close()
	unixFile, err := unixListener.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer unixFile.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()

	for _, test := range []struct {
		name  string
		files []*os.File
		env   []string
		want  string
		dial  bool
	}{
		{"names", []*os.File{tcpFile, unixFile}, []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=web:ctl"},
			"2 files: web cloexec=true <nil>, ctl cloexec=true <nil>; again 0 <nil>; variables 0\n", true},
		{"no names", []*os.File{tcpFile, unixFile}, []string{"LISTEN_FDS=2"},
			"2 files: unknown cloexec=true <nil>, unknown cloexec=true <nil>; again 0 <nil>; variables 0\n", true},
		{"fewer than open", []*os.File{tcpFile, unixFile}, []string{"LISTEN_FDS=0", "LISTEN_FDNAMES="},
			"0 files: ; again 0 <nil>; variables 0\n", false},
		{"not a socket", []*os.File{r}, []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=pipe"},
			"1 files: pipe cloexec=true <nil>; again 0 <nil>; variables 0\nlisten: stream: listen pipe: socket operation on non-socket\n", false},
		{"other process", []*os.File{tcpFile}, []string{"LISTEN_FDS=1", "TEST_PID=other"}, "0 files: ; again 0 <nil>; variables 0\n", false},
		{"not open", []*os.File{tcpFile}, []string{"LISTEN_FDS=200"}, "error: stream: inherit fd ", false},
		{"wrong names", []*os.File{tcpFile}, []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=a:b"}, "error: stream: inherit LISTEN_FDNAMES=a:b: wrong number of names\n", false},
		{"negative", nil, []string{"LISTEN_FDS=-1"}, "error: stream: inherit LISTEN_FDS=-1: invalid syntax\n", false},
		{"not a number", nil, []string{"LISTEN_FDS=x"}, "error: stream: inherit LISTEN_FDS=x: invalid syntax\n", false},
		{"none", nil, nil, "0 files: ; again 0 <nil>; variables 0\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := childCommand(t, "exec inherit", test.env...)
			cmd.ExtraFiles = test.files
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if test.dial {
				for _, addr := range []net.Addr{tcp.Addr(), unixListener.Addr()} {
					checkEcho(t, addr)
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if got := out.String(); got != test.want && (!strings.HasSuffix(test.want, "fd ") || !strings.HasPrefix(got, test.want)) {
				t.Errorf("child prints\n%swant\n%s", got, test.want)
			}
		})
	}
	if _, err := os.Stat(unixListener.Addr().String()); err != nil {
		t.Errorf("the socket's file after the children: %v", err)
	}
}

// checkEcho connects to an echo server and closes the connection.
func checkEcho(t testing.TB, addr net.Addr) {
	t.Helper()
	conn, err := net.DialTimeout(addr.Network(), addr.String(), testTimeout)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testTimeout))
	write(t, conn, "hello")
	buf := make([]byte, 5)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
		t.Errorf("read %q, %v", buf, err)
	}
}

// TestListenFile takes over listening sockets of different kinds.
func TestListenFile(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		files := descriptors(l)
		for _, kind := range []string{"listener", "file", "int", "uintptr"} {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(l)
			}
			nl, err := net.Listen(network, address)
			if err != nil {
				l.Fatal(err)
			}
			addr := nl.Addr()
			var file any = nl
			if kind != "listener" {
				f, err := nl.(interface{ File() (*os.File, error) }).File()
				if err != nil {
					l.Fatal(err)
				}
				if u, ok := nl.(*net.UnixListener); ok {
					u.SetUnlinkOnClose(false)
				}
				nl.Close()
				file = f
				if kind != "file" {
					fd, err := unix.Dup(int(f.Fd()))
					if err != nil {
						l.Fatal(err)
					}
					f.Close()
					unix.SetNonblock(fd, false)
					if file = fd; kind == "uintptr" {
						file = uintptr(fd)
					}
				}
			}
			var ln *stream.Listener
			l.do(func() { ln, err = stream.ListenFile(l.Loop, file, func() stream.Handler { return echo{} }) })
			if err != nil {
				l.Fatalf("%s: %v", kind, err)
			}
			if ln.Addr().String() != addr.String() || ln.Addr().Network() != network {
				l.Errorf("%s: address %v, want %v", kind, ln.Addr(), addr)
			}
			checkEcho(l, addr)
			l.eventually("the connection is closed", func() bool { return ln.Len() == 0 })
			l.do(func() { ln.Close() })
			if network == "unix" {
				if _, err := os.Stat(address); err != nil {
					l.Errorf("%s: the socket's file after Close: %v", kind, err)
				}
			}
		}
		waitAtMost(l, "descriptors", files+2, func() int { return descriptors(l) })
	})
}

// TestListenFileFails checks that ListenFile closes nothing on error.
func TestListenFileFails(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		r, w, err := os.Pipe()
		if err != nil {
			l.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			l.Fatal(err)
		}
		defer unix.Close(ends[0])
		defer unix.Close(ends[1])
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			l.Fatal(err)
		}
		defer packets.Close()
		nl, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.Fatal(err)
		}
		defer nl.Close()
		newHandler := func() stream.Handler { return echo{} }
		files := descriptors(l)
		l.do(func() {
			for _, test := range []struct {
				file       any
				newHandler func() stream.Handler
				want       error
			}{
				{r, newHandler, unix.ENOTSOCK},
				{int(-1), newHandler, unix.EBADF},
				{ends[0], newHandler, unix.EINVAL},
				{packets, newHandler, unix.EINVAL},
				{nl, nil, stream.ErrNilHandler},
				{nil, newHandler, nil},
				{"file", newHandler, nil},
				{(*os.File)(nil), newHandler, nil},
				{(*net.TCPListener)(nil), newHandler, nil},
			} {
				ln, err := stream.ListenFile(l.Loop, test.file, test.newHandler)
				if ln != nil || err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), "stream: listen ") {
					l.Errorf("%T: %v, %v, want %v", test.file, ln, err, test.want)
				}
			}
			if n := descriptors(l); n != files {
				l.Errorf("%d descriptors, before %d", n, files)
			}
			if l.Selector().Len() != 0 {
				l.Error("a descriptor is registered")
			}
		})
		if conn, err := net.Dial("tcp", nl.Addr().String()); err != nil {
			l.Errorf("the listener was closed: %v", err)
		} else {
			conn.Close()
		}
	})
}

// TestGroupListenFile checks that all loops of a group get connections of one
// socket that was taken over.
func TestGroupListenFile(t *testing.T) {
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		nl, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		loops := newLoopCounter()
		addr, err := g.ListenFile(nl, loops.newHandler)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			checkEcho(t, addr)
		}
		loops.check(t, g, 1, 1, 1)
		if _, err := g.ListenFile(nl, loops.newHandler); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the value was not closed: %v", err)
		}
		if _, err := g.ListenFile(0x7fffffff, loops.newHandler); !errors.Is(err, unix.EBADF) {
			t.Error(err)
		}
	})
}
