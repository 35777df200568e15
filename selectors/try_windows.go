package selectors

import (
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Windows does not tell whether a socket is in non-blocking mode. Those of
// package net are put into it: net uses overlapped calls only, which do not
// care. Others are asked first whether they are ready.
func attemptable(fd int, events pollMask, ours bool) error {
	if ours {
		return setNonblock(fd)
	}
	if n, err := ppoll([]pollFD{{Fd: pollNumber(fd), Events: events}}, 0); n == 0 && err == nil {
		return ErrWouldBlock
	}
	return nil
}

// again reads the error of a call that is not to wait.
func again(err error) error {
	if err == windows.WSAEWOULDBLOCK {
		return ErrWouldBlock
	}
	return err
}

func buffer(p []byte) *windows.WSABuf {
	const most = 1 << 30
	return &windows.WSABuf{Len: uint32(min(len(p), most)), Buf: unsafe.SliceData(p)}
}

func tryRead(fd int, p []byte, nonblock bool) (int, error) {
	if err := attemptable(fd, pollIn, nonblock); err != nil {
		return 0, err
	}
	var n, flags uint32
	err := windows.WSARecv(windows.Handle(fd), buffer(p), 1, &n, &flags, nil, nil)
	if err == windows.WSAEMSGSIZE { // a datagram that did not fit: its beginning is there
		return len(p), nil
	}
	if n == 0 && err == nil && len(p) > 0 {
		if kind, err := socketKind(fd); err == nil && kind == windows.SOCK_STREAM {
			return 0, io.EOF
		}
	}
	return int(n), again(err)
}

func tryWrite(fd int, p []byte, nonblock bool) (int, error) {
	if err := attemptable(fd, pollOut, nonblock); err != nil {
		return 0, err
	}
	var n uint32
	err := windows.WSASend(windows.Handle(fd), buffer(p), 1, &n, 0, nil, nil)
	return int(n), again(err)
}

func tryAccept(fd int) (int, error) {
	if err := attemptable(fd, pollIn, false); err != nil {
		return -1, err
	}
	syscall.ForkLock.RLock()
	s, _, errno := syscall.SyscallN(procAccept.Addr(), uintptr(fd), 0, 0)
	if windows.Handle(s) != windows.InvalidHandle {
		windows.SetHandleInformation(windows.Handle(s), windows.HANDLE_FLAG_INHERIT, 0)
	}
	syscall.ForkLock.RUnlock()
	if windows.Handle(s) == windows.InvalidHandle {
		return -1, again(errno)
	}
	if err := setNonblock(int(s)); err != nil {
		windows.Closesocket(windows.Handle(s))
		return -1, err
	}
	return int(s), nil
}

// tryAcceptConn has the listener accept, once there is something to accept: an
// os.File, through which package net makes connections of descriptors, would
// close a socket as if it were a file.
func tryAcceptConn(listener any) (net.Conn, error) {
	err := withFD(listener, func(fd int) error { return attemptable(fd, pollIn, false) })
	if err != nil {
		return nil, err
	}
	if l, ok := listener.(net.Listener); ok {
		return l.Accept()
	}
	return nil, &unsupportedError{"accepting from a handle other than by TryAcceptFD"}
}
