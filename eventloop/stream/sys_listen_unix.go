//go:build unix

package stream

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A fileID identifies a file, whatever its name or descriptor is.
type fileID struct{ dev, ino uint64 }

// idOfFD returns the identity of an open file.
func idOfFD(fd int) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fileID{}, err
	}
	return fileID{uint64(st.Dev), uint64(st.Ino)}, nil
}

// idOfSocketFile returns the identity of the file of a Unix socket. It returns
// ENOTSOCK for a file of another type.
func idOfSocketFile(path string) (fileID, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return fileID{}, errors.Unwrap(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode().Type() != fs.ModeSocket {
		return fileID{}, unix.ENOTSOCK
	}
	return fileID{uint64(st.Dev), uint64(st.Ino)}, nil
}

// isAbstract reports whether the name of a Unix socket is in the abstract
// namespace of Linux, which has no files.
func isAbstract(name string) bool {
	return name == "" || (runtime.GOOS == "linux" || runtime.GOOS == "android") && (name[0] == '@' || name[0] == 0)
}

// checkListening returns an error unless fd is a listening stream socket.
func checkListening(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == unix.ENOPROTOOPT { // not every system can tell
		listening, err = 1, nil
	}
	if err == nil && (kind != unix.SOCK_STREAM || listening == 0) {
		err = unix.EINVAL // as accept(2)
	}
	return err
}

// isReadable reports whether poll(2) reports a descriptor readable, or that it is
// not open.
func isReadable(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n > 0 && err == nil
}

// hasDeadOwner reports whether no process listens on the socket at path: connect(2)
// is refused. A socket whose queue is full has an owner.
func hasDeadOwner(path string) bool {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if unix.SetNonblock(fd, true) != nil {
		return false
	}
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) == unix.ECONNREFUSED
}

// inheritFD makes an inherited descriptor close-on-exec. It returns an error if
// there is none with that number.
func inheritFD(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags|unix.FD_CLOEXEC)
	}
	return os.NewSyscallError("fcntl", err)
}

// isAddrInUse reports whether binding has failed because the address is in use.
func isAddrInUse(err error) bool { return errors.Is(err, unix.EADDRINUSE) }
