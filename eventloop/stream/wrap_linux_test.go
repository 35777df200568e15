package stream_test

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"goselectors/eventloop/stream"
)

// TestWrapEmptyRead: on files other than stream sockets, a read of 0 bytes may be an
// empty message, or the end of the file.
func TestWrapEmptyRead(t *testing.T) {
	wrap := func(l *testLoop, fd int) *recorder {
		l.Helper()
		p := newRecorder()
		var err error
		l.do(func() { _, err = stream.Wrap(l.Loop, fd, p) })
		if err != nil {
			unix.Close(fd)
			l.Fatal(err)
		}
		p.expect(l, "ConnectionMade")
		return p
	}
	t.Run("packets", func(t *testing.T) {
		eachBackend(t, func(l *testLoop) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				l.Fatal(err)
			}
			peer := os.NewFile(uintptr(pair[1]), "peer")
			defer peer.Close()
			p := wrap(l, pair[0])
			for _, message := range []string{"", "x", "", "y"} {
				if err := unix.Sendto(pair[1], []byte(message), 0, nil); err != nil {
					l.Fatal(err)
				}
			}
			p.expect(l, "DataReceived x", "DataReceived y")
			p.expectNone(l)
			peer.Close()
			p.expect(l, "EOFReceived", "ConnectionLost")
		})
	})
	t.Run("Ctrl-D at a terminal", func(t *testing.T) {
		eachBackend(t, func(l *testLoop) {
			master, slave := openTerminal(l)
			defer master.Close()
			p := wrap(l, slave)
			write(l, master, "line\n\x04")
			p.expect(l, "DataReceived line\n", "EOFReceived", "ConnectionLost")
		})
	})
}

// openTerminal returns a pseudo-terminal that hands out whole lines.
func openTerminal(l *testLoop) (master *os.File, slave int) {
	l.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		l.Skip("needs pseudo-terminals: ", err)
	}
	l.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	var n uint32
	if err == nil {
		n, err = unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	}
	if err == nil {
		slave, err = unix.Open("/dev/pts/"+strconv.Itoa(int(n)), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		l.Fatal(err)
	}
	return master, slave
}
