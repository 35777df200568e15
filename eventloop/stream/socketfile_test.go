//go:build unix

package stream_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// listenUnix makes a listener on the loop.
func (l *testLoop) listenUnix(path string, opts ...stream.Option) (ln *stream.Listener, err error) {
	l.Helper()
	l.do(func() {
		ln, err = stream.Listen(l.Loop, "unix", path, func() stream.Handler { return echo{} }, opts...)
	})
	return ln, err
}

// TestSocketFileReplaced checks that Close removes the file of the listener, and
// never another file that has its name.
func TestSocketFileReplaced(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		for _, test := range []struct {
			name    string
			replace func(path string) error
			left    bool // the file is there after Close
		}{
			{"same", func(string) error { return nil }, false},
			{"chmod", func(path string) error { return os.Chmod(path, 0o600) }, false},
			{"removed", os.Remove, false},
			{"moved", func(path string) error { return os.Rename(path, path+"2") }, false},
			{"another socket", func(path string) error {
				if err := os.Remove(path); err != nil {
					return err
				}
				_, err := l.listenUnix(path)
				return err
			}, true},
			{"a socket moved over it", func(path string) error {
				if _, err := l.listenUnix(path + "2"); err != nil {
					return err
				}
				return os.Rename(path+"2", path)
			}, true},
			{"a regular file", func(path string) error {
				if err := os.Remove(path); err != nil {
					return err
				}
				return os.WriteFile(path, nil, 0o600)
			}, true},
			{"a symbolic link to it", func(path string) error {
				if err := os.Rename(path, path+"2"); err != nil {
					return err
				}
				return os.Symlink(path+"2", path)
			}, true},
		} {
			path := socketPath(l)
			ln, err := l.listenUnix(path)
			if err != nil {
				l.Fatal(err)
			}
			if err := test.replace(path); err != nil {
				l.Fatal(err)
			}
			l.do(func() { ln.Close() })
			_, err = os.Lstat(path)
			if left := err == nil; left != test.left || err != nil && !errors.Is(err, os.ErrNotExist) {
				l.Errorf("%s: the file is there: %v, want %v", test.name, left, test.left)
			}
		}
	})
}

// TestSocketFileRelative checks that Close removes the file of a listener also if
// the working directory has changed, and not one of the same name elsewhere.
func TestSocketFileRelative(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			l := newTestLoop(t, b)
			first, second := filepath.Dir(socketPath(t)), filepath.Dir(socketPath(t))
			t.Chdir(first)
			ln, err := l.listenUnix("s")
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(second)
			other, err := l.listenUnix("s")
			if err != nil {
				t.Fatal(err)
			}
			l.do(func() { ln.Close() })
			for path, want := range map[string]bool{first + "/s": false, second + "/s": true} {
				if _, err := os.Stat(path); (err == nil) != want {
					t.Errorf("%s: %v, want it to exist: %v", path, err, want)
				}
			}
			checkEcho(t, other.Addr())
			l.do(func() { other.Close() })
		})
	}
}

// TestAbstractSocket checks that the name of an abstract socket is not taken for a
// file.
func TestAbstractSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("abstract sockets exist on Linux only")
	}
	eachBackend(t, func(l *testLoop) {
		dir := filepath.Dir(socketPath(l))
		name := "@" + strings.TrimPrefix(dir, "/") + "/abstract"
		l.Chdir(dir)
		ln, err := l.listenUnix(name, stream.WithReplaceStaleSocket())
		if err != nil {
			l.Fatal(err)
		}
		checkEcho(l, ln.Addr())
		l.do(func() { ln.Close() })
		if entries, err := os.ReadDir(dir); len(entries) > 0 || err != nil {
			l.Errorf("%v, %v", entries, err)
		}
	})
}

// staleSocket leaves the file of a Unix socket behind.
func staleSocket(t testing.TB, path string) {
	t.Helper()
	nl, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	nl.SetUnlinkOnClose(false)
	nl.Close()
}

// TestReplaceStaleSocket checks which files WithReplaceStaleSocket replaces.
func TestReplaceStaleSocket(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		for _, test := range []struct {
			name    string
			prepare func(path string)
			without error // of Listen without the option
			with    error
		}{
			{"nothing", func(string) {}, nil, nil},
			{"stale", func(path string) { staleSocket(l, path) }, unix.EADDRINUSE, nil},
			{"stale datagram socket", func(path string) {
				c, err := net.ListenPacket("unixgram", path)
				if err != nil {
					l.Fatal(err)
				}
				fd := dup(l, c)
				l.Cleanup(func() { unix.Close(fd) })
				os.Rename(path, path+"2")
				c.Close() // removes nothing
				os.Rename(path+"2", path)
				unix.Close(fd)
			}, unix.EADDRINUSE, nil},
			{"live", func(path string) {
				nl, err := net.Listen("unix", path)
				if err != nil {
					l.Fatal(err)
				}
				l.Cleanup(func() { nl.Close() })
			}, unix.EADDRINUSE, unix.EADDRINUSE},
			{"live datagram socket", func(path string) {
				c, err := net.ListenPacket("unixgram", path)
				if err != nil {
					l.Fatal(err)
				}
				l.Cleanup(func() { c.Close() })
			}, unix.EADDRINUSE, unix.EADDRINUSE},
			{"queue full", func(path string) { fullSocket(l, path) }, unix.EADDRINUSE, unix.EADDRINUSE},
			{"regular file", func(path string) { os.WriteFile(path, nil, 0o600) }, unix.EADDRINUSE, unix.EADDRINUSE},
			{"directory", func(path string) { os.Mkdir(path, 0o700) }, unix.EADDRINUSE, unix.EADDRINUSE},
			{"link to a stale socket", func(path string) {
				staleSocket(l, path+"2")
				os.Symlink(path+"2", path)
			}, unix.EADDRINUSE, unix.EADDRINUSE},
			{"FIFO", func(path string) { unix.Mkfifo(path, 0o600) }, unix.EADDRINUSE, unix.EADDRINUSE},
		} {
			path := socketPath(l)
			test.prepare(path)
			before, _ := os.Lstat(path)
			for _, option := range []stream.Option{nil, stream.WithReplaceStaleSocket()} {
				want := test.without
				if option != nil {
					want = test.with
				}
				ln, err := l.listenUnix(path, option)
				if !errors.Is(err, want) || (err == nil) != (want == nil) {
					l.Errorf("%s: %v, want %v", test.name, err, want)
				}
				if err != nil {
					if after, _ := os.Lstat(path); !os.SameFile(before, after) {
						l.Errorf("%s: the file was replaced", test.name)
					}
					continue
				}
				checkEcho(l, ln.Addr())
				l.do(func() { ln.Close() })
				if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
					l.Errorf("%s: the file after Close: %v", test.name, err)
				}
			}
		}
		if _, err := l.listenUnix("/no/such/directory/s", stream.WithReplaceStaleSocket()); !errors.Is(err, os.ErrNotExist) {
			l.Errorf("no directory: %v", err)
		}
	})
}

// dup returns a duplicate of the descriptor of a connection.
func dup(t testing.TB, conn any) int {
	t.Helper()
	fd := -1
	rc, err := conn.(syscall.Conn).SyscallConn()
	if err == nil {
		err = rc.Control(func(n uintptr) { fd, _ = unix.Dup(int(n)) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// fullSocket makes a listening Unix socket whose queue is full.
func fullSocket(t testing.TB, path string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(client) })
		unix.SetNonblock(client, true)
		if err := unix.Connect(client, &unix.SockaddrUnix{Name: path}); err != nil {
			return
		}
	}
	t.Skip("the queue of a Unix socket does not fill on this system")
}

// TestReplaceRace starts several listeners on one stale socket at the same moment:
// one gets it, and keeps it.
func TestReplaceRace(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			for range 20 {
				const starters = 6
				path := socketPath(t)
				staleSocket(t, path)
				loops := make([]*testLoop, starters)
				for i := range loops {
					loops[i] = newTestLoop(t, b)
				}
				listeners, errs := make([]*stream.Listener, starters), make([]error, starters)
				runConcurrently(starters, func(i int) {
					listeners[i], errs[i] = loops[i].listenUnix(path, stream.WithReplaceStaleSocket())
				})
				got := 0
				for i, err := range errs {
					if err == nil {
						got++
						checkEcho(t, listeners[i].Addr())
						defer loops[i].do(func() { listeners[i].Close() })
					} else if !errors.Is(err, unix.EADDRINUSE) {
						t.Error(err)
					}
				}
				if got != 1 {
					t.Fatalf("%d of %d starters have the socket, want 1", got, starters)
				}
			}
		})
	}
}
