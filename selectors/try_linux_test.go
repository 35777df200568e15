package selectors_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"

	"golang.org/x/sys/unix"
)

// TryRead and TryWrite behave the same for files that the kernel reads and writes
// with RWF_NOWAIT and for those that it does not. Linux 6.18 does not support
// it for FIFOs, terminals, inotify, writes to eventfds, files of tmpfs and of /proc,
// and directories.

// A channel is a kind of file with two ends.
type channel struct {
	name    string
	make    func(testing.TB) (r, w int)
	fills   bool
	message bool  // keeps the boundaries of messages
	end     error // of a read when the other end is closed; nil if it does not end
}

var channels = []channel{
	{"pipe", fdtest.Pipe, true, false, io.EOF},
	{"spliced pipe", splicedPipe, true, false, io.EOF},
	{"fifo", fdtest.FIFO, true, false, io.EOF},
	{"unix", fdtest.UnixPair, true, false, io.EOF},
	{"unix datagrams", func(t testing.TB) (r, w int) { return fdtest.SocketPair(t, unix.SOCK_DGRAM) }, true, true, nil},
	{"unix packets", func(t testing.TB) (r, w int) { return fdtest.SocketPair(t, unix.SOCK_SEQPACKET) }, true, true, io.EOF},
	{"tcp", fdtest.TCPPair, true, false, io.EOF},
	{"udp", fdtest.UDPPair, false, true, nil},
	{"terminal", func(t testing.TB) (r, w int) { master, slave := cookedPty(t); return slave, master }, false, false, nil},
	{"terminal's master", cookedPty, false, false, unix.EIO},
}

// splicedPipe is a pipe whose ends were used with splice(2). The kernel changes
// how it handles such a pipe.
func splicedPipe(t testing.TB) (r, w int) {
	t.Helper()
	r, w = fdtest.Pipe(t)
	from, to := fdtest.Pipe(t)
	fdtest.Write(t, to, "x")
	if _, err := unix.Splice(from, nil, w, nil, 1, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Splice(r, nil, to, nil, 1, 0); err != nil {
		t.Fatal(err)
	}
	return r, w
}

// cookedPty returns a pseudo-terminal that hands out whole lines and does not
// echo.
func cookedPty(t testing.TB) (master, slave int) {
	t.Helper()
	master, slave = fdtest.Pty(t)
	if err := fdtest.SetTermios(slave, 0, 0, unix.ICANON); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// eachMode runs a test with non-blocking and with blocking descriptors. The test
// calls set when its set-up is done.
func eachMode(t *testing.T, name string, test func(t *testing.T, set func(fds ...int))) {
	t.Helper()
	t.Run(name+"/non-blocking", func(t *testing.T) { test(t, func(...int) {}) })
	t.Run(name+"/blocking", func(t *testing.T) {
		test(t, func(fds ...int) { fdtest.SetBlocking(t, fds...) })
	})
}

// expectTryRead and expectTryWrite may be called in fdtest.Nonblocking.
func expectTryRead(t *testing.T, fd, size int, want string, wantErr error) {
	t.Helper()
	buf := make([]byte, size)
	n, err := selectors.TryRead(fd, buf)
	if n < 0 || string(buf[:n]) != want || !errors.Is(err, wantErr) {
		t.Errorf("read %d %.20q, %v, want %.20q, %v", n, buf[:max(n, 0)], err, want, wantErr)
	}
}

func expectTryWrite(t *testing.T, fd int, data string, want int, wantErr error) {
	t.Helper()
	n, err := selectors.TryWrite(fd, []byte(data))
	if n != want || !errors.Is(err, wantErr) {
		t.Errorf("write of %.20q: %d, %v, want %d, %v", data, n, err, want, wantErr)
	}
}

func TestTryChannels(t *testing.T) {
	for _, kind := range channels {
		eachMode(t, kind.name, func(t *testing.T, set func(...int)) {
			r, w := kind.make(t)
			set(r, w)
			fdtest.Nonblocking(t, func() {
				expectTryRead(t, r, 8, "", selectors.ErrWouldBlock)
				expectTryWrite(t, w, "one\n", 4, nil)
				fdtest.AwaitReadable(t, r)
				expectTryRead(t, r, 8, "one\n", nil)
				expectTryRead(t, r, 8, "", selectors.ErrWouldBlock)

				expectTryWrite(t, w, "three\n", 6, nil)
				fdtest.AwaitReadable(t, r)
				expectTryRead(t, r, 2, "th", nil)
				if kind.message {
					expectTryRead(t, r, 8, "", selectors.ErrWouldBlock)
				} else {
					expectTryRead(t, r, 8, "ree\n", nil)
				}
				expectTryRead(t, r, 100<<10, "", selectors.ErrWouldBlock)
			})
			if kind.end != nil && !t.Failed() {
				fdtest.Write(t, w, "end\n")
				fdtest.Close(t, w)
				fdtest.Nonblocking(t, func() {
					fdtest.AwaitReadable(t, r)
					expectTryRead(t, r, 8, "end\n", nil)
					fdtest.AwaitReadable(t, r)
					expectTryRead(t, r, 8, "", kind.end)
					expectTryRead(t, r, 8, "", kind.end)
				})
			}
		})
	}
}

// TestTryEmpty: a write of no bytes is a message only where there are messages. A
// read into an empty buffer consumes nothing, not even a message.
func TestTryEmpty(t *testing.T) {
	for _, kind := range channels {
		eachMode(t, kind.name, func(t *testing.T, set func(...int)) {
			r, w := kind.make(t)
			set(r, w)
			fdtest.Nonblocking(t, func() {
				expectTryWrite(t, w, "", 0, nil)
				if kind.message {
					fdtest.AwaitReadable(t, r)
					expectTryRead(t, r, 8, "", nil)
				}
				expectTryRead(t, r, 8, "", selectors.ErrWouldBlock)
				expectTryWrite(t, w, "text\n", 5, nil)
				fdtest.AwaitReadable(t, r)
				expectTryRead(t, r, 0, "", nil)
				expectTryRead(t, r, 8, "text\n", nil)
			})
		})
	}
}

// TestTryFull: a write to a full file returns ErrWouldBlock. TCP may find some more
// room after a while; even then no write waits.
func TestTryFull(t *testing.T) {
	for _, kind := range channels {
		if !kind.fills {
			continue
		}
		eachMode(t, kind.name, func(t *testing.T, set func(...int)) {
			r, w := kind.make(t)
			fdtest.Fill(t, w)
			set(r, w)
			fdtest.Nonblocking(t, func() {
				for _, size := range []int{1, 100, 100 << 10} {
					n, err := selectors.TryWrite(w, make([]byte, size))
					for kind.name == "tcp" && n > 0 && err == nil {
						n, err = selectors.TryWrite(w, make([]byte, size))
					}
					if n != 0 || err != selectors.ErrWouldBlock {
						t.Errorf("write of %d bytes to full: %d, %v", size, n, err)
					}
				}
			})
		})
	}
}

// TestTryCounters: files that deliver events.
func TestTryCounters(t *testing.T) {
	one := string(binary.NativeEndian.AppendUint64(nil, 1))
	for _, kind := range []struct {
		name      string
		make      func() (int, error)
		size      int
		makeReady func(t *testing.T, fd int)
	}{
		{"eventfd", func() (int, error) { return unix.Eventfd(0, 0) }, 8,
			func(t *testing.T, fd int) { expectTryWrite(t, fd, one, 8, nil) }},
		{"timerfd", func() (int, error) { return unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0) }, 8,
			func(t *testing.T, fd int) {
				if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.Timespec{Nsec: 1}}, nil); err != nil {
					t.Error(err)
				}
			}},
		{"inotify", unix.InotifyInit, 4096,
			func(t *testing.T, fd int) {
				dir := t.TempDir()
				_, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE)
				if err == nil {
					err = os.Mkdir(dir+"/new", 0o700)
				}
				if err != nil {
					t.Error(err)
				}
			}},
	} {
		eachMode(t, kind.name, func(t *testing.T, set func(...int)) {
			fd, err := kind.make()
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
			set(fd)
			fdtest.Nonblocking(t, func() {
				for range 2 {
					expectTryRead(t, fd, kind.size, "", selectors.ErrWouldBlock)
					kind.makeReady(t, fd)
					fdtest.AwaitReadable(t, fd)
					expectTryRead(t, fd, 4, "", unix.EINVAL) // too small a buffer
					if n, err := selectors.TryRead(fd, make([]byte, kind.size)); n < 8 || err != nil {
						t.Errorf("read: %d, %v", n, err)
					}
				}
				expectTryRead(t, fd, kind.size, "", selectors.ErrWouldBlock)
			})
		})
	}
}

// TestTryFiles: always-ready files: their offset, their end, and data that is not
// in the page cache.
func TestTryFiles(t *testing.T) {
	dirs := map[string]string{"disk": t.TempDir()}
	if dir, err := os.MkdirTemp("/dev/shm", ""); err == nil {
		dirs["memory"] = dir
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	for where, dir := range dirs {
		eachMode(t, where, func(t *testing.T, set func(...int)) {
			f, err := os.CreateTemp(dir, "")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			content := strings.Repeat("0123456789abcdef", 1024)
			if _, err := f.WriteString(content); err != nil {
				t.Fatal(err)
			}
			fd := fdtest.Open(t, f.Name(), unix.O_RDWR)
			set(fd)
			fdtest.Nonblocking(t, func() {
				expectTryRead(t, fd, 10, content[:10], nil)
				expectTryRead(t, fd, 10, content[10:20], nil)
				for _, at := range []int64{0, 8192, 16380} {
					// Drop it from the page cache, so that the kernel has to wait.
					for _, err := range []error{f.Sync(), unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)} {
						if err != nil {
							t.Error(err)
						}
					}
					unix.Seek(fd, at, io.SeekStart)
					expectTryRead(t, fd, 4, content[at:at+4], nil)
				}
				for range 3 {
					expectTryRead(t, fd, 4, "", io.EOF)
				}
				unix.Seek(fd, 4, io.SeekStart)
				expectTryWrite(t, fd, "WRITTEN", 7, nil)
				expectTryRead(t, fd, 5, "bcdef", nil)
				unix.Seek(fd, 0, io.SeekStart)
				expectTryRead(t, fd, 12, "0123WRITTENb", nil)
				unix.Seek(fd, 0, io.SeekEnd)
				expectTryWrite(t, fd, "end", 3, nil)
				expectTryRead(t, fd, 4, "", io.EOF)
			})
		})
	}
	for _, file := range []struct {
		name     string
		flags    int
		want     string
		readErr  error
		written  int
		writeErr error
	}{
		{"/dev/null", unix.O_RDWR, "", io.EOF, 4, nil},
		{"/dev/zero", unix.O_RDWR, "\x00\x00\x00\x00", nil, 4, nil},
		{"/proc/version", unix.O_RDONLY, "Linu", nil, 0, unix.EBADF},
		{"/proc/self", unix.O_RDONLY, "", unix.EISDIR, 0, unix.EBADF},
		{os.TempDir(), unix.O_RDONLY, "", unix.EISDIR, 0, unix.EBADF},
	} {
		eachMode(t, file.name, func(t *testing.T, set func(...int)) {
			fd := fdtest.Open(t, file.name, file.flags)
			set(fd)
			fdtest.Nonblocking(t, func() {
				expectTryRead(t, fd, 4, file.want, file.readErr)
				expectTryWrite(t, fd, "text", file.written, file.writeErr)
			})
		})
	}
}

// TestTryErrorsOnce: an error that the kernel returns once is returned, and once.
func TestTryErrorsOnce(t *testing.T) {
	eachMode(t, "no readers", func(t *testing.T, set func(...int)) {
		for _, kind := range channels {
			if !slices.Contains([]string{"pipe", "fifo", "unix", "unix packets"}, kind.name) {
				continue
			}
			r, w := kind.make(t)
			fdtest.Close(t, r)
			set(w)
			fdtest.Nonblocking(t, func() {
				expectTryWrite(t, w, "x", 0, unix.EPIPE) // and no signal ends the process
				expectTryWrite(t, w, "x", 0, unix.EPIPE)
			})
		}
	})
	eachMode(t, "reset", func(t *testing.T, set func(...int)) {
		for _, write := range []bool{false, true} {
			a, b := fdtest.TCPPair(t)
			fdtest.Reset(t, b)
			fdtest.AwaitReadable(t, a)
			set(a)
			fdtest.Nonblocking(t, func() {
				if write {
					expectTryWrite(t, a, "x", 0, unix.ECONNRESET)
					expectTryWrite(t, a, "x", 0, unix.EPIPE)
				} else {
					expectTryRead(t, a, 1, "", unix.ECONNRESET)
				}
				expectTryRead(t, a, 1, "", io.EOF)
			})
		}
	})
	eachMode(t, "refused", func(t *testing.T, set func(...int)) {
		a, b := fdtest.UDPPair(t)
		fdtest.Close(t, b)
		set(a)
		fdtest.Nonblocking(t, func() {
			expectTryWrite(t, a, "x", 1, nil)
			fdtest.AwaitReadable(t, a) // POLLERR
			expectTryRead(t, a, 1, "", unix.ECONNREFUSED)
			expectTryRead(t, a, 1, "", selectors.ErrWouldBlock)
		})
	})
	t.Run("wrong end", func(t *testing.T) {
		r, w := fdtest.Pipe(t)
		expectTryRead(t, w, 1, "", unix.EBADF)
		expectTryWrite(t, r, "x", 0, unix.EBADF)
	})
}
