package wake

import (
	"errors"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/windows"

	"goselectors/selectors/internal/sys"
)

// A Waker is a UDP socket that is connected to itself, so that it receives
// nothing from elsewhere. It is closed when it is collected, at the latest.
type Waker struct {
	socket  windows.Handle
	cleanup runtime.Cleanup
}

func (w *Waker) Open() (err error) {
	if err = sys.Startup(); err != nil {
		return os.NewSyscallError("WSAStartup", err)
	}
	w.socket, err = windows.WSASocket(windows.AF_INET, windows.SOCK_DGRAM, windows.IPPROTO_UDP, nil, 0,
		windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
	if err != nil {
		return os.NewSyscallError("WSASocket", err)
	}
	w.cleanup = sys.CloseWithOwner(w, w.FD())
	if err = w.connect(); err != nil {
		w.Close()
	}
	return err
}

func (w *Waker) connect() error {
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
	if err := sys.SetNonblock(w.FD()); err != nil {
		return err
	}
	// Send one wake now: if a packet filter drops it, that has to be an error
	// here, not a Select that never ends.
	if err := w.Wake(); err != nil {
		return err
	}
	n, err := sys.Poll([]sys.PollFD{sys.NewPollFD(w.FD(), sys.PollIn)}, 5*time.Second)
	if err == nil && n == 0 {
		err = errors.New("a datagram sent to 127.0.0.1 did not arrive")
	}
	w.Drain()
	return err
}

func (w *Waker) FD() int { return int(w.socket) }

func (w *Waker) Wake() error {
	var one byte
	var n uint32
	err := windows.WSASend(w.socket, &windows.WSABuf{Len: 1, Buf: &one}, 1, &n, 0, nil, nil)
	if err == windows.WSAEWOULDBLOCK { // no room for another wake: it is readable already
		return nil
	}
	return os.NewSyscallError("WSASend", err)
}

// Drain reads all datagrams.
func (w *Waker) Drain() {
	for {
		var one byte
		var n, flags uint32
		if windows.WSARecv(w.socket, &windows.WSABuf{Len: 1, Buf: &one}, 1, &n, &flags, nil, nil) != nil {
			return
		}
	}
}

func (w *Waker) Close() error {
	w.cleanup.Stop()
	return os.NewSyscallError("closesocket", windows.Closesocket(w.socket))
}
