package selectors_test

import (
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"
)

// rawPty returns a pseudo-terminal in non-canonical mode with the given VMIN and
// VTIME.
func rawPty(t testing.TB, vmin, vtime uint8) (master, slave int) {
	t.Helper()
	master, slave = fdtest.Pty(t)
	mode, err := unix.IoctlGetTermios(slave, unix.TCGETS)
	if err == nil {
		mode.Iflag, mode.Oflag, mode.Lflag = 0, 0, 0
		mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = vmin, vtime
		err = unix.IoctlSetTermios(slave, unix.TCSETS, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// TestTryReadTerminal: what a read of 0 bytes means depends on the terminal's mode.
func TestTryReadTerminal(t *testing.T) {
	for _, mode := range []struct {
		name        string
		vmin, vtime uint8
	}{{"VMIN 0, VTIME 0", 0, 0}, {"VMIN 0, VTIME 1", 0, 1}, {"VMIN 1", 1, 0}} {
		eachMode(t, mode.name, func(t *testing.T, set func(...int)) {
			master, slave := rawPty(t, mode.vmin, mode.vtime)
			set(slave)
			fdtest.Nonblocking(t, func() {
				expectTryRead(t, slave, 8, "", selectors.ErrWouldBlock)
				expectTryWrite(t, master, "abc", 3, nil)
				fdtest.AwaitReadable(t, slave)
				expectTryRead(t, slave, 2, "ab", nil)
				expectTryRead(t, slave, 8, "c", nil)
				expectTryRead(t, slave, 8, "", selectors.ErrWouldBlock)
			})
			fdtest.Close(t, master)
			fdtest.Nonblocking(t, func() {
				fdtest.AwaitReadable(t, slave)
				expectTryRead(t, slave, 8, "", io.EOF) // hung up
			})
		})
	}
	eachMode(t, "canonical", func(t *testing.T, set func(...int)) {
		master, slave := cookedPty(t)
		set(slave)
		fdtest.Nonblocking(t, func() {
			expectTryWrite(t, master, "ab\n\x04", 4, nil)
			fdtest.AwaitReadable(t, slave)
			expectTryRead(t, slave, 8, "ab\n", nil)
			fdtest.AwaitReadable(t, slave)
			expectTryRead(t, slave, 8, "", io.EOF) // Ctrl-D
			expectTryRead(t, slave, 8, "", selectors.ErrWouldBlock)
		})
	})
}

// TestTryReadMinimum: a terminal in blocking mode with VMIN and VTIME is readable
// when it has one byte. TryRead takes what there is.
func TestTryReadMinimum(t *testing.T) {
	master, slave := rawPty(t, 100, 255)
	fdtest.SetBlocking(t, slave)
	fdtest.Write(t, master, "abc")
	fdtest.AwaitReadable(t, slave)
	fdtest.Nonblocking(t, func() {
		start := time.Now()
		expectTryRead(t, slave, 200, "abc", nil)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("TryRead took %v", took)
		}
	})
}

// TestTryReadFIFO: a FIFO that no writer has opened yet is not at its end.
func TestTryReadFIFO(t *testing.T) {
	name := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r := fdtest.Open(t, name, unix.O_RDONLY|unix.O_NONBLOCK)
	fdtest.Nonblocking(t, func() {
		expectTryRead(t, r, 8, "", selectors.ErrWouldBlock)
	})
	w := fdtest.Open(t, name, unix.O_WRONLY|unix.O_NONBLOCK)
	fdtest.Nonblocking(t, func() {
		expectTryRead(t, r, 8, "", selectors.ErrWouldBlock)
		expectTryWrite(t, w, "x", 1, nil)
		expectTryRead(t, r, 8, "x", nil)
	})
	fdtest.Close(t, w)
	fdtest.Nonblocking(t, func() {
		expectTryRead(t, r, 8, "", io.EOF)
		expectTryRead(t, r, 8, "", io.EOF)
	})
}

// TestTryReadEmptyMessages: an empty message is not the end, also if the end is
// near.
func TestTryReadEmptyMessages(t *testing.T) {
	for name, typ := range map[string]int{"datagram": unix.SOCK_DGRAM, "packet": unix.SOCK_SEQPACKET} {
		eachMode(t, name, func(t *testing.T, set func(...int)) {
			a, b := fdtest.SocketPair(t, typ)
			set(a)
			send := func(messages ...string) {
				for _, m := range messages {
					if err := unix.Sendto(b, []byte(m), 0, nil); err != nil {
						t.Error(err)
					}
				}
			}
			fdtest.Nonblocking(t, func() {
				send("", "x", "", "y")
				for _, want := range []string{"", "x", "", "y"} {
					expectTryRead(t, a, 8, want, nil)
				}
				expectTryRead(t, a, 8, "", selectors.ErrWouldBlock)
				send("", "z")
			})
			fdtest.Close(t, b)
			fdtest.Nonblocking(t, func() {
				if typ == unix.SOCK_DGRAM {
					takeError(t, a) // ECONNRESET: the peer left messages unread, or none
				}
				expectTryRead(t, a, 8, "", nil)
				expectTryRead(t, a, 8, "z", nil)
				if typ == unix.SOCK_SEQPACKET {
					expectTryRead(t, a, 8, "", io.EOF)
					expectTryRead(t, a, 8, "", io.EOF)
				}
			})
		})
	}
}

func takeError(t *testing.T, fd int) {
	if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
		t.Error(err)
	}
}

// TestTryReadOwnError: an error that TryRead takes for a hint to try another way, but
// that is the file's own, is returned.
func TestTryReadOwnError(t *testing.T) {
	inotify, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	inotify = fdtest.Own(t, inotify)
	dir := t.TempDir()
	if _, err := unix.InotifyAddWatch(inotify, dir, unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/file", make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	counter, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	counter = fdtest.Own(t, counter)
	fdtest.Nonblocking(t, func() {
		expectTryRead(t, inotify, 1, "", unix.EINVAL)
		expectTryRead(t, counter, 1, "", unix.EINVAL)
		expectTryWrite(t, counter, "x", 0, unix.EINVAL)
	})
	direct, err := unix.Open(dir+"/file", unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs a file system with O_DIRECT: ", err)
	}
	direct = fdtest.Own(t, direct)
	if n, err := unix.Read(direct, make([]byte, 7)); err != unix.EINVAL {
		t.Skipf("this file system takes unaligned reads with O_DIRECT: %d, %v", n, err)
	}
	fdtest.Nonblocking(t, func() { expectTryRead(t, direct, 7, "", unix.EINVAL) })
}
