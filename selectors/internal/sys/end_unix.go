//go:build unix

package sys

import (
	"io"

	"golang.org/x/sys/unix"
)

// readNothing returns what a read means that has returned 0 bytes. That is the end
// of the file (io.EOF), but not always:
//
//   - A socket that keeps message boundaries has received an empty message, unless
//     its reading half is closed. That is nil.
//   - A terminal in non-canonical mode with VMIN 0 has no input (termios(3)). So has
//     a FIFO that no writer has opened yet (fifo(7)). That is ErrWouldBlock.
//
// Regular files are not polled: polling takes away the news of /proc/self/mounts
// and its like (fs/proc_namespace.c, mounts_poll).
func readNothing(fd int) error {
	var st unix.Stat_t
	if Fstat(fd, &st) != nil {
		return io.EOF
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
		return io.EOF
	case unix.S_IFSOCK:
		return receivedNothing(fd)
	}
	mask, err := pollNow(fd, PollIn)
	if mode, errTerminal := unix.IoctlGetTermios(fd, getTermios); errTerminal == nil {
		if mode.Lflag&unix.ICANON == 0 && mode.Cc[unix.VMIN] == 0 && mask&PollHup == 0 {
			return ErrWouldBlock
		}
		return io.EOF // Ctrl-D, or a hang-up
	}
	if err == nil && mask == 0 {
		return ErrWouldBlock
	}
	return io.EOF
}

// receivedNothing is readNothing for a socket. After the end of a SOCK_SEQPACKET
// connection, and after shutdown(2) of the reading half, a read returns 0 for
// ever; but there may be messages still.
func receivedNothing(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind == unix.SOCK_STREAM {
		return io.EOF
	}
	closed := kind == unix.SOCK_SEQPACKET // where poll(2) does not tell
	if PollRdHup != 0 {
		mask, err := pollNow(fd, PollRdHup)
		closed = err == nil && mask&(PollRdHup|PollHup) != 0
	}
	if left, err := unreadBytes(fd); !closed || err == nil && left > 0 {
		return nil
	}
	return io.EOF
}

// pollNow returns the events of mask, and hang-ups and errors, that poll(2) reports
// now.
func pollNow(fd int, mask uint32) (uint32, error) {
	set := [...]PollFD{NewPollFD(fd, mask)}
	_, err := Poll(set[:], 0)
	return uint32(uint16(set[0].Revents)), err
}

// withoutWaiting returns the part of p that read(2) can fill without waiting, for a
// descriptor in blocking mode that poll(2) reports as readable. That is all of p
// except for a terminal in non-canonical mode with VMIN and VTIME: it is readable
// when it has one byte, and a read waits for VMIN bytes, or for a pause of VTIME
// (termios(3)).
func withoutWaiting(fd int, p []byte) []byte {
	mode, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil || mode.Lflag&unix.ICANON != 0 || mode.Cc[unix.VMIN] <= 1 {
		return p
	}
	if n, err := unreadBytes(fd); err == nil && n > 0 && n < len(p) {
		return p[:n]
	}
	return p
}
