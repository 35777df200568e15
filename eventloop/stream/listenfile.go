package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"goselectors/eventloop"
)

// ListenFile makes a listener of an open listening socket, for example one of
// [InheritedFiles]: a file descriptor as an int or a uintptr, an *os.File, a
// *net.TCPListener or *net.UnixListener, or any other value that [Wrap] accepts.
// See [Listen] for newHandler and the behaviour of the listener.
//
// The listener takes ownership of a descriptor. For another value it duplicates
// the descriptor and closes the value. On error ListenFile takes no ownership and
// closes nothing. The socket is put into non-blocking mode, which other processes
// that have the same open socket notice. If there are any, Close of the listener
// leaves the waiting connections to them. The file of a Unix socket is never removed,
// neither by the listener nor by closing the value.
//
// The error of ListenFile wraps [ErrNilLoop], [ErrNilHandler],
// [errors.ErrUnsupported], EINVAL for a stream socket that does not listen, or the
// error of the system or of the loop.
func ListenFile(loop *eventloop.Loop, file any, newHandler func() Handler, opts ...Option) (*Listener, error) {
	fail := func(err error) (*Listener, error) { return nil, opError("listen", subjectOf(file), err) }
	switch {
	case loop == nil:
		return fail(ErrNilLoop)
	case newHandler == nil:
		return fail(ErrNilHandler)
	}
	o := newOptions(opts)
	s, owner, err := socketOfFile(file, o)
	if err != nil {
		return fail(err)
	}
	l := newListener(loop, s, newHandler, o)
	if err := l.register(); err != nil {
		s.discard(owner)
		return fail(err)
	}
	closeOwner(owner)
	return l, nil
}

// socketOfFile returns the socket of the argument of ListenFile. If owner is not
// nil, the socket is a duplicate, and owner has the original.
func socketOfFile(file any, o *options) (s boundSocket, owner io.Closer, err error) {
	s = boundSocket{fd: -1, shared: true}
	if !platformSupported {
		return s, nil, errors.ErrUnsupported
	}
	if s.fd, owner, err = descriptorOf(file); err != nil {
		return s, nil, err
	}
	if err = checkListening(s.fd); err == nil {
		err = setNonblock(s.fd)
	}
	if err != nil {
		s.discard(owner)
		return s, nil, err
	}
	s.id, _ = idOfFD(s.fd)
	s.addr = localAddr(s.fd)
	if _, ok := s.addr.(*net.TCPAddr); ok {
		s.setTCPOptions(o)
	}
	return s, owner, nil
}

// discard closes a socket of socketOfFile if it is a duplicate.
func (s *boundSocket) discard(owner io.Closer) {
	if owner != nil {
		closeFD(s.fd)
	}
	s.fd = -1
}

// closeOwner closes the value from which a socket was duplicated.
func closeOwner(owner io.Closer) {
	if l, ok := owner.(interface{ SetUnlinkOnClose(bool) }); ok { // *net.UnixListener, which plan9 has without it
		l.SetUnlinkOnClose(false)
	}
	if owner != nil {
		owner.Close()
	}
}

// firstInheritedFD is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstInheritedFD = 3

// InheritedFiles returns the files that a service manager has passed to the process,
// by the protocol of systemd: see sd_listen_fds(3). They are the descriptors from 3
// on; the environment variable LISTEN_FDS has their number. A file is named by
// LISTEN_FDNAMES, or "unknown" without it. There are none if LISTEN_PID is not the
// number of this process. The files are made close-on-exec, and the variables are
// unset, so that neither reaches a child: only the first call returns the files.
//
// The caller owns the files. Give those that listen to [ListenFile], which closes
// them. InheritedFiles returns an error, and makes no files, if a variable is
// malformed or a descriptor is not open.
func InheritedFiles() ([]*os.File, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	_, named := os.LookupEnv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	fail := func(subject string, err error) ([]*os.File, error) {
		return nil, opError("inherit", subject, err)
	}
	if pid == "" || count == "" {
		return nil, nil
	}
	if n, err := strconv.Atoi(pid); err != nil {
		return fail("LISTEN_PID="+pid, errors.Unwrap(err))
	} else if n != os.Getpid() {
		return nil, nil
	}
	n, err := strconv.ParseUint(count, 10, 16)
	if err != nil {
		return fail("LISTEN_FDS="+count, errors.Unwrap(err))
	}
	fileNames := make([]string, n)
	if named && n > 0 {
		if fileNames = strings.Split(names, ":"); len(fileNames) != int(n) {
			return fail("LISTEN_FDNAMES="+names, errors.New("wrong number of names"))
		}
	}
	for i := range fileNames {
		if err := inheritFD(firstInheritedFD + i); err != nil {
			return fail("fd "+strconv.Itoa(firstInheritedFD+i), err)
		}
	}
	var files []*os.File
	for i, name := range fileNames {
		if !named {
			name = "unknown"
		}
		files = append(files, os.NewFile(uintptr(firstInheritedFD+i), name))
	}
	return files, nil
}
