package selectors

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// waker ends a wait from another goroutine: a UDP socket that is connected to
// itself. It takes nothing from anybody else.
type waker struct{ socket windows.Handle }

func (w *waker) open() (err error) {
	if err = startup(); err != nil {
		return os.NewSyscallError("WSAStartup", err)
	}
	w.socket, err = windows.WSASocket(windows.AF_INET, windows.SOCK_DGRAM, windows.IPPROTO_UDP, nil, 0,
		windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
	if err != nil {
		return os.NewSyscallError("WSASocket", err)
	}
	if err = w.connect(); err != nil {
		w.close()
	}
	return err
}

func (w *waker) connect() error {
	if err := windows.Bind(w.socket, &windows.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	address, err := windows.Getsockname(w.socket)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if err := windows.Connect(w.socket, address); err != nil {
		return os.NewSyscallError("connect", err)
	}
	if err := setNonblock(w.fd()); err != nil {
		return err
	}
	// A filter of packets that is in the way had better show now than in a
	// Select that nothing ends.
	if err := w.wake(); err != nil {
		return err
	}
	n, err := ppoll([]pollFD{{Fd: pollNumber(w.socket), Events: pollIn}}, 5*time.Second)
	if err == nil && n == 0 {
		err = errors.New("what is sent through 127.0.0.1 does not arrive")
	}
	w.drain()
	return err
}

// fd is readable from wake to drain.
func (w *waker) fd() int { return int(w.socket) }

func (w *waker) wake() error {
	var one byte
	var n uint32
	err := windows.WSASend(w.socket, &windows.WSABuf{Len: 1, Buf: &one}, 1, &n, 0, nil, nil)
	if err == windows.WSAEWOULDBLOCK { // no room for another wake: it is as awake as can be
		return nil
	}
	return os.NewSyscallError("WSASend", err)
}

// drain takes all datagrams.
func (w *waker) drain() {
	for {
		var one byte
		var n, flags uint32
		if windows.WSARecv(w.socket, &windows.WSABuf{Len: 1, Buf: &one}, 1, &n, &flags, nil, nil) != nil {
			return
		}
	}
}

func (w *waker) close() error {
	return os.NewSyscallError("closesocket", windows.Closesocket(w.socket))
}
