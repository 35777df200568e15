package fdtest

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Dup2 makes the number to refer to the file of from, close-on-exec.
func Dup2(from, to int) error { return unix.Dup3(from, to, unix.O_CLOEXEC) }

// OpenFiles returns a line for each open descriptor of the process: the number
// and the file. The descriptor that reads the list is not in it.
func OpenFiles(t testing.TB) (fds []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	for _, e := range entries {
		if file, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			fds = append(fds, e.Name()+" "+file)
		}
	}
	return fds
}

// Pty returns a pseudo-terminal with the kernel's default modes. The test is
// skipped where there are none.
func Pty(t testing.TB) (master, slave int) {
	t.Helper()
	m, s, err := OpenPty()
	if err != nil {
		t.Skip("needs pseudo-terminals: ", err)
	}
	return Own(t, m), Own(t, s)
}

// OpenPty opens a pseudo-terminal, non-blocking, with the kernel's default
// modes. The caller closes both ends.
func OpenPty() (master, slave int, err error) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC
	if master, err = unix.Open("/dev/ptmx", flags, 0); err != nil {
		return -1, -1, err
	}
	err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	var n uint32
	if err == nil {
		n, err = unix.IoctlGetUint32(master, unix.TIOCGPTN) // 32 bits, in the machine's order
	}
	if err == nil {
		slave, err = unix.Open("/dev/pts/"+strconv.Itoa(int(n)), flags, 0)
	}
	if err != nil {
		unix.Close(master)
		return -1, -1, err
	}
	return master, slave, nil
}

// SetTermios changes the modes of a terminal: input, output and local flags.
func SetTermios(fd int, iflag, oflag, lflag uint32) error {
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	mode.Iflag, mode.Oflag, mode.Lflag = iflag, oflag, lflag
	mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, mode)
}
