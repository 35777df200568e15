package sys

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	ws2        = windows.NewLazySystemDLL("ws2_32.dll")
	procPoll   = ws2.NewProc("WSAPoll")
	procSelect = ws2.NewProc("select")
	procAccept = ws2.NewProc("accept")
	procIoctl  = ws2.NewProc("ioctlsocket")
)

const (
	HasSelect       = true
	AnyFile         = false // sockets only
	MaxSelectFD     = math.MaxInt32
	HupIsReadClosed = true
)

// HasPoll is false where WSAPoll does not report connects that failed.
// Microsoft's page on WSAPoll names the first version that does, Windows 10
// 2004, which is build 19041.
var HasPoll = func() bool {
	v := windows.RtlGetVersion()
	return v.MajorVersion > 10 || v.MajorVersion == 10 && v.BuildNumber >= 19041
}()

// ErrBadFD is Winsock's error for a handle that is closed, and for one of a
// file, a pipe or a console: only sockets can be watched.
var ErrBadFD error = windows.WSAENOTSOCK

// A PollFD is a WSAPOLLFD.
type PollFD struct {
	Fd              uintptr // a SOCKET
	Events, Revents int16
}

// WSAPoll refuses POLLPRI. It reports urgent data as POLLRDBAND, which is one
// of the two bits of its POLLIN.
const (
	PollIn   = 0x0100 // POLLRDNORM
	PollPri  = 0x0200 // POLLRDBAND
	PollOut  = 0x0010 // POLLWRNORM
	PollErr  = 0x0001
	PollHup  = 0x0002
	PollNval = 0x0004

	PollRdHup = 0 // comes as POLLHUP, which need not be asked for
)

func NewPollFD(fd int, mask uint32) PollFD { return PollFD{uintptr(fd), int16(mask), 0} }
func SetEvents(p *PollFD, mask uint32)     { p.Events = int16(mask) }

// Poll is WSAPoll: milliseconds. It asks without waiting first and counts what
// was found: Wine 8 neither ends a wait for closed sockets nor counts them, and
// Microsoft's page does not say what Windows does.
func Poll(fds []PollFD, timeout time.Duration) (int, error) {
	n, err := wsaPoll(fds, 0)
	if n != 0 || err != nil || timeout == 0 {
		return n, err
	}
	return wsaPoll(fds, timeout)
}

func wsaPoll(fds []PollFD, timeout time.Duration) (found int, err error) {
	n, _, errno := syscall.SyscallN(procPoll.Addr(), uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(Milliseconds(timeout)))
	if _, err := outcome("WSAPoll", n, errno); err != nil {
		return 0, err
	}
	for i := range fds {
		if fds[i].Revents != 0 {
			found++
		}
	}
	return found, nil
}

// An FDSet is an fd_set: the number of sockets, an unsigned int in the place of
// a pointer, and the sockets. FD_SETSIZE, which is 64, bounds the struct of
// winsock2.h; the call takes any length.
type FDSet []uintptr

// Sockets returns the sockets of the set.
func (set FDSet) Sockets() []uintptr { return set[1 : 1+uint32(set[0])] }

// Add adds a socket.
func (set *FDSet) Add(fd int) {
	if len(*set) == 0 {
		*set = append(*set, 0)
	}
	*set = append(*set, uintptr(fd))
	(*set)[0]++
}

// Clear empties the set. The zero FDSet has to be cleared before its first use.
func (set *FDSet) Clear() { *set = append((*set)[:0], 0) }

// Select is Winsock's select: microseconds. It leaves in the sets what is ready.
func Select(read, write, except FDSet, timeout time.Duration) (int, error) {
	var limit *windows.Timeval
	if timeout >= 0 {
		tv := windows.NsecToTimeval(int64(timeout + time.Microsecond - 1))
		limit = &tv
	}
	n, _, errno := syscall.SyscallN(procSelect.Addr(), 0, uintptr(unsafe.Pointer(unsafe.SliceData(read))),
		uintptr(unsafe.Pointer(unsafe.SliceData(write))), uintptr(unsafe.Pointer(unsafe.SliceData(except))), uintptr(unsafe.Pointer(limit)))
	return outcome("select", n, errno)
}

// outcome reads the result of a call that returns a C int, -1 for a failure.
func outcome(call string, n uintptr, errno syscall.Errno) (int, error) {
	switch {
	case int32(n) >= 0:
		return int(int32(n)), nil
	case errno == windows.WSAENOTSOCK:
		return 0, errno
	}
	return 0, os.NewSyscallError(call, errno)
}

// MaxHandle bounds the table of keys, which is an array. A process has at most
// 2^24 handles ("Pushing the Limits of Windows: Handles", M. Russinovich), and
// they are multiples of 4.
const MaxHandle = 1 << 26

// FileID returns a number that tells sockets apart as well as it can: Windows
// has no number for an open socket beside its handle. The id has the local
// port, the peer's port and a hash of its address, each 0 where there is none
// yet. It is never 0.
func FileID(fd int) (uint64, error) {
	if fd%4 != 0 { // the kernel ignores these bits, Winsock may too
		return 0, fmt.Errorf("%w: handle %d", ErrBadFD, fd)
	}
	if _, err := socketType(fd); err != nil {
		return 0, err
	}
	if fd >= MaxHandle {
		return 0, ErrFDTooLarge
	}
	id := uint64(1) << 63
	if local, err := windows.Getsockname(windows.Handle(fd)); err == nil {
		_, port := endpoint(local)
		id |= port
	}
	if peer, err := windows.Getpeername(windows.Handle(fd)); err == nil {
		host, port := endpoint(peer)
		id |= port<<16 | host<<32
	}
	return id, nil
}

var hashSeed = maphash.MakeSeed()

// endpoint returns an address as numbers: a hash of the host in 31 bits, and the
// port.
func endpoint(address windows.Sockaddr) (host, port uint64) {
	switch a := address.(type) {
	case *windows.SockaddrInet4:
		return maphash.Bytes(hashSeed, a.Addr[:]) >> 33, uint64(a.Port)
	case *windows.SockaddrInet6:
		return maphash.Bytes(hashSeed, a.Addr[:]) >> 33, uint64(a.Port)
	}
	return 0, 0
}

// Identify returns the FileID of a socket, and whether it may be the one whose
// FileID is known; known is 0 if there was none. What was unknown of a socket
// earlier may be known now: the id then has both.
func Identify(fd int, known uint64) (id uint64, same bool, err error) {
	id, err = FileID(fd)
	if err != nil {
		return 0, false, err
	}
	const portMask, hostMask = 1<<16 - 1, 1<<31 - 1
	alike := func(shift, mask uint64) bool {
		was, is := known>>shift&mask, id>>shift&mask
		return was == is || was == 0 || is == 0
	}
	if known != 0 && alike(0, portMask) && alike(16, portMask) && alike(32, hostMask) {
		return known | id, true, nil
	}
	return id, false, nil
}

// IsPath reports whether a descriptor was opened with O_PATH, which Linux has.
func IsPath(int) bool { return false }

func closeDescriptor(fd int) { windows.Closesocket(windows.Handle(fd)) }

// IsOpen reports whether a handle is that of an open socket.
func IsOpen(fd int) bool {
	_, err := socketType(fd)
	return err == nil
}

// PollLimit returns how many sockets Poll takes at present: any number.
func PollLimit() int { return math.MaxInt32 }

func isShortage(err error) bool {
	return errors.Is(err, windows.WSAENOBUFS) || errors.Is(err, windows.WSAEMFILE) || errors.Is(err, windows.ERROR_NOT_ENOUGH_MEMORY)
}

// socketType returns the socket's type, SOCK_STREAM for one. It fails if the
// handle is not a socket.
func socketType(fd int) (int, error) {
	Startup()
	const soType = 0x1008 // SO_TYPE, winsock2.h
	return windows.GetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soType)
}

// Startup initializes Winsock. Package net does so too, but only when it is
// used.
var Startup = sync.OnceValue(func() error {
	var data windows.WSAData
	return windows.WSAStartup(0x0202, &data)
})

// SetNonblock puts a socket into non-blocking mode. There is no call to ask for
// the mode.
func SetNonblock(fd int) error {
	const fionbio = 0x8004667e
	on := uint32(1)
	n, _, errno := syscall.SyscallN(procIoctl.Addr(), uintptr(fd), fionbio, uintptr(unsafe.Pointer(&on)))
	_, err := outcome("ioctlsocket", n, errno)
	return err
}

// prepare makes a call on the socket that follows non-blocking. Windows does
// not tell whether a socket is in non-blocking mode. Those of package net
// (nonblocking) are put into it: net uses overlapped calls only, for which the
// mode makes no difference. For others it asks whether they are ready.
func prepare(fd int, mask uint32, nonblocking bool) error {
	if nonblocking {
		return SetNonblock(fd)
	}
	if n, err := Poll([]PollFD{NewPollFD(fd, mask)}, 0); n == 0 && err == nil {
		return ErrWouldBlock
	}
	return nil
}

// wouldBlock translates the error of a non-blocking call.
func wouldBlock(err error) error {
	if err == windows.WSAEWOULDBLOCK {
		return ErrWouldBlock
	}
	return err
}

func wsaBuf(p []byte) *windows.WSABuf {
	const limit = 1 << 30
	return &windows.WSABuf{Len: uint32(min(len(p), limit)), Buf: unsafe.SliceData(p)}
}

// Read reads once without waiting. An empty read is io.EOF, but for a datagram
// socket it is an empty message.
func Read(fd int, p []byte, nonblocking bool) (int, error) {
	if err := prepare(fd, PollIn, nonblocking); err != nil {
		return 0, err
	}
	var n, flags uint32
	err := windows.WSARecv(windows.Handle(fd), wsaBuf(p), 1, &n, &flags, nil, nil)
	if err == windows.WSAEMSGSIZE { // a datagram that did not fit: its beginning was read
		return len(p), nil
	}
	if n == 0 && err == nil && len(p) > 0 {
		return 0, receivedNothing(fd)
	}
	return int(n), wouldBlock(err)
}

// receivedNothing returns what it means that 0 bytes were received: the end of a
// stream, or an empty message.
func receivedNothing(fd int) error {
	if kind, err := socketType(fd); err == nil && kind == windows.SOCK_STREAM {
		return io.EOF
	}
	return nil
}

// Write writes once without waiting and returns how much the system took.
func Write(fd int, p []byte, nonblocking bool) (int, error) {
	if err := prepare(fd, PollOut, nonblocking); err != nil {
		return 0, err
	}
	var n uint32
	err := windows.WSASend(windows.Handle(fd), wsaBuf(p), 1, &n, 0, nil, nil)
	return int(n), wouldBlock(err)
}

// Accept accepts once without waiting. The new socket is non-blocking and not
// inherited.
func Accept(fd int) (int, error) {
	if err := prepare(fd, PollIn, false); err != nil {
		return -1, err
	}
	syscall.ForkLock.RLock()
	s, _, errno := syscall.SyscallN(procAccept.Addr(), uintptr(fd), 0, 0)
	if windows.Handle(s) != windows.InvalidHandle {
		windows.SetHandleInformation(windows.Handle(s), windows.HANDLE_FLAG_INHERIT, 0)
	}
	syscall.ForkLock.RUnlock()
	if windows.Handle(s) == windows.InvalidHandle {
		return -1, wouldBlock(errno)
	}
	if err := SetNonblock(int(s)); err != nil {
		windows.Closesocket(windows.Handle(s))
		return -1, err
	}
	return int(s), nil
}

// AcceptConn calls the listener's Accept once there is a connection to accept.
// It cannot make a net.Conn of a socket: package net makes connections of
// descriptors through os.File, which would close a socket as if it were a file.
func AcceptConn(listener any, withFD func(func(fd int) error) error) (net.Conn, error) {
	if err := withFD(func(fd int) error { return prepare(fd, PollIn, false) }); err != nil {
		return nil, err
	}
	if l, ok := listener.(net.Listener); ok {
		return l.Accept()
	}
	return nil, Unsupported("accepting from a handle other than by TryAcceptFD")
}
