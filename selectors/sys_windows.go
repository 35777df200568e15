package selectors

import (
	"os"
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

// What WSAPoll is given, and what it answers: a WSAPOLLFD.
type (
	pollMask   = int16
	pollNumber = uintptr // a SOCKET
	pollFD     struct {
		Fd              pollNumber
		Events, Revents pollMask
	}
)

// WSAPoll refuses POLLPRI and tells of urgent data as POLLRDBAND, which is half
// of its POLLIN.
const (
	pollIn   = 0x0100 // POLLRDNORM
	pollPri  = 0x0200 // POLLRDBAND
	pollOut  = 0x0010 // POLLWRNORM
	pollErr  = 0x0001
	pollHup  = 0x0002
	pollNval = 0x0004

	pollRdHup    = 0 // comes as POLLHUP, which need not be asked for
	pollFeatures = FeatureReadClosed
)

// hangup reads a mask with pollHup in it: that the peer has shut down its
// writing half is POLLHUP here already.
func hangup(mask uint32) Event {
	if mask&pollErr != 0 {
		return EventReadClosed | EventHangup
	}
	return EventReadClosed
}

// ppoll is WSAPoll: milliseconds, rounded up. It is asked without a wait first,
// and what it found is counted here: for sockets that are closed Wine 8 neither
// ends the wait nor counts them, and Microsoft's page does not say what Windows
// does.
func ppoll(fds []pollFD, timeout time.Duration) (int, error) {
	n, err := wsaPoll(fds, 0)
	if n != 0 || err != nil || timeout == 0 {
		return n, err
	}
	return wsaPoll(fds, timeout)
}

func wsaPoll(fds []pollFD, timeout time.Duration) (found int, err error) {
	n, _, errno := syscall.SyscallN(procPoll.Addr(), uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(milliseconds(timeout)))
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

// A fdSet is an fd_set: the number of sockets, an unsigned int in the place of
// a pointer, and the sockets. FD_SETSIZE, which is 64, bounds the struct of
// winsock2.h; the call takes any length.
type fdSet []uintptr

func (set fdSet) sockets() []uintptr { return set[1 : 1+uint32(set[0])] }

func (set *fdSet) add(fd int) {
	if len(*set) == 0 {
		*set = append(*set, 0)
	}
	*set = append(*set, uintptr(fd))
	(*set)[0]++
}

// winsockSelect is select: microseconds, rounded up.
func winsockSelect(r, w, x fdSet, timeout time.Duration) (int, error) {
	var limit *windows.Timeval
	if timeout >= 0 {
		tv := windows.NsecToTimeval(int64(timeout + time.Microsecond - 1))
		limit = &tv
	}
	n, _, errno := syscall.SyscallN(procSelect.Addr(), 0, uintptr(unsafe.Pointer(unsafe.SliceData(r))),
		uintptr(unsafe.Pointer(unsafe.SliceData(w))), uintptr(unsafe.Pointer(unsafe.SliceData(x))), uintptr(unsafe.Pointer(limit)))
	return outcome("select", n, errno)
}

// outcome reads the result of a call that is -1 when it fails, a C int.
func outcome(call string, n uintptr, errno syscall.Errno) (int, error) {
	switch {
	case int32(n) >= 0:
		return int(int32(n)), nil
	case errno == windows.WSAENOTSOCK:
		return 0, errno
	}
	return 0, os.NewSyscallError(call, errno)
}

// setNonblock puts a socket into non-blocking mode. There is no call to ask for
// the mode.
func setNonblock(fd int) error {
	const fionbio = 0x8004667e
	on := uint32(1)
	n, _, errno := syscall.SyscallN(procIoctl.Addr(), uintptr(fd), fionbio, uintptr(unsafe.Pointer(&on)))
	_, err := outcome("ioctlsocket", n, errno)
	return err
}
