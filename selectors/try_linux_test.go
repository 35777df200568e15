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

// What the kernel reads and writes without waiting, and what it does not,
// behaves alike. The kinds that 6.18 does not: FIFOs, terminals, inotify,
// writing to eventfds, files of tmpfs and of /proc, directories.

// A channel is a kind of file with two ends.
type channel struct {
	name    string
	make    func(testing.TB) (r, w int)
	fills   bool
	message bool  // what is written together is read together
	end     error // of a read when the other end is closed; nil: there is none
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

// splicedPipe is a pipe whose ends were in splice(2), which the kernel
// remembers.
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

// eachMode runs a test with descriptors in either mode; it sets the mode
// itself, when its fixtures are as they should be.
func eachMode(t *testing.T, name string, test func(t *testing.T, set func(fds ...int))) {
	t.Helper()
	t.Run(name+"/non-blocking", func(t *testing.T) { test(t, func(...int) {}) })
	t.Run(name+"/blocking", func(t *testing.T) {
		test(t, func(fds ...int) { fdtest.SetBlocking(t, fds...) })
	})
}

// tryReadWants and tryWriteWants are for use within bounded.
func tryReadWants(t *testing.T, fd, size int, want string, wantErr error) {
	t.Helper()
	buf := make([]byte, size)
	n, err := selectors.TryRead(fd, buf)
	if n < 0 || string(buf[:n]) != want || !errors.Is(err, wantErr) {
		t.Errorf("read %d %.20q, %v, want %.20q, %v", n, buf[:max(n, 0)], err, want, wantErr)
	}
}

func tryWriteWants(t *testing.T, fd int, data string, want int, wantErr error) {
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
				tryReadWants(t, r, 8, "", selectors.ErrWouldBlock)
				tryWriteWants(t, w, "one\n", 4, nil)
				fdtest.AwaitReadable(t, r)
				tryReadWants(t, r, 8, "one\n", nil)
				tryReadWants(t, r, 8, "", selectors.ErrWouldBlock)

				tryWriteWants(t, w, "three\n", 6, nil)
				fdtest.AwaitReadable(t, r)
				tryReadWants(t, r, 2, "th", nil)
				if kind.message {
					tryReadWants(t, r, 8, "", selectors.ErrWouldBlock)
				} else {
					tryReadWants(t, r, 8, "ree\n", nil)
				}
				tryReadWants(t, r, 100<<10, "", selectors.ErrWouldBlock)
			})
			if kind.end != nil && !t.Failed() {
				fdtest.Write(t, w, "end\n")
				fdtest.Close(t, w)
				fdtest.Nonblocking(t, func() {
					fdtest.AwaitReadable(t, r)
					tryReadWants(t, r, 8, "end\n", nil)
					fdtest.AwaitReadable(t, r)
					tryReadWants(t, r, 8, "", kind.end)
					tryReadWants(t, r, 8, "", kind.end)
				})
			}
		})
	}
}

// TestTryEmpty: writing nothing is a message only where there are messages,
// and reading nothing takes nothing away, not even a message.
func TestTryEmpty(t *testing.T) {
	for _, kind := range channels {
		eachMode(t, kind.name, func(t *testing.T, set func(...int)) {
			r, w := kind.make(t)
			set(r, w)
			fdtest.Nonblocking(t, func() {
				tryWriteWants(t, w, "", 0, nil)
				if kind.message {
					fdtest.AwaitReadable(t, r)
					var want error
					if kind.end == io.EOF { // packets: it looks like the end
						want = io.EOF
					}
					tryReadWants(t, r, 8, "", want)
				}
				tryReadWants(t, r, 8, "", selectors.ErrWouldBlock)
				tryWriteWants(t, w, "text\n", 5, nil)
				fdtest.AwaitReadable(t, r)
				tryReadWants(t, r, 0, "", nil)
				tryReadWants(t, r, 8, "text\n", nil)
			})
		})
	}
}

// TestTryFull: to what is full no write gets through, or, as TCP finds some more
// room after a while, none that waits.
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

// TestTryCounters: files that tell of events.
func TestTryCounters(t *testing.T) {
	one := string(binary.NativeEndian.AppendUint64(nil, 1))
	for _, kind := range []struct {
		name string
		make func() (int, error)
		size int
		tell func(t *testing.T, fd int)
	}{
		{"eventfd", func() (int, error) { return unix.Eventfd(0, 0) }, 8,
			func(t *testing.T, fd int) { tryWriteWants(t, fd, one, 8, nil) }},
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
					tryReadWants(t, fd, kind.size, "", selectors.ErrWouldBlock)
					kind.tell(t, fd)
					fdtest.AwaitReadable(t, fd)
					tryReadWants(t, fd, 4, "", unix.EINVAL) // it does not fit
					if n, err := selectors.TryRead(fd, make([]byte, kind.size)); n < 8 || err != nil {
						t.Errorf("read: %d, %v", n, err)
					}
				}
				tryReadWants(t, fd, kind.size, "", selectors.ErrWouldBlock)
			})
		})
	}
}

// TestTryFiles: files that are always ready, with their offset, at their end
// and when they are not in memory.
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
				tryReadWants(t, fd, 10, content[:10], nil)
				tryReadWants(t, fd, 10, content[10:20], nil)
				for _, at := range []int64{0, 8192, 16380} {
					// Out of memory with it, so that the kernel would have to wait.
					for _, err := range []error{f.Sync(), unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)} {
						if err != nil {
							t.Error(err)
						}
					}
					unix.Seek(fd, at, io.SeekStart)
					tryReadWants(t, fd, 4, content[at:at+4], nil)
				}
				for range 3 {
					tryReadWants(t, fd, 4, "", io.EOF)
				}
				unix.Seek(fd, 4, io.SeekStart)
				tryWriteWants(t, fd, "WRITTEN", 7, nil)
				tryReadWants(t, fd, 5, "bcdef", nil)
				unix.Seek(fd, 0, io.SeekStart)
				tryReadWants(t, fd, 12, "0123WRITTENb", nil)
				unix.Seek(fd, 0, io.SeekEnd)
				tryWriteWants(t, fd, "end", 3, nil)
				tryReadWants(t, fd, 4, "", io.EOF)
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
				tryReadWants(t, fd, 4, file.want, file.readErr)
				tryWriteWants(t, fd, "text", file.written, file.writeErr)
			})
		})
	}
}

// TestTryErrorsOnce: an error that the kernel tells once is told, and once.
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
				tryWriteWants(t, w, "x", 0, unix.EPIPE) // and no signal ends the process
				tryWriteWants(t, w, "x", 0, unix.EPIPE)
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
					tryWriteWants(t, a, "x", 0, unix.ECONNRESET)
					tryWriteWants(t, a, "x", 0, unix.EPIPE)
				} else {
					tryReadWants(t, a, 1, "", unix.ECONNRESET)
				}
				tryReadWants(t, a, 1, "", io.EOF)
			})
		}
	})
	eachMode(t, "refused", func(t *testing.T, set func(...int)) {
		a, b := fdtest.UDPPair(t)
		fdtest.Close(t, b)
		set(a)
		fdtest.Nonblocking(t, func() {
			tryWriteWants(t, a, "x", 1, nil)
			fdtest.Await(t, unix.PollFd{Fd: int32(a), Events: unix.POLLIN}) // POLLERR
			tryReadWants(t, a, 1, "", unix.ECONNREFUSED)
			tryReadWants(t, a, 1, "", selectors.ErrWouldBlock)
		})
	})
	t.Run("wrong end", func(t *testing.T) {
		r, w := fdtest.Pipe(t)
		tryReadWants(t, w, 1, "", unix.EBADF)
		tryWriteWants(t, r, "x", 0, unix.EBADF)
	})
}
