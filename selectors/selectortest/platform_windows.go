package selectortest

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"goselectors/selectors"
)

var (
	ws2          = windows.NewLazySystemDLL("ws2_32.dll")
	procPoll     = ws2.NewProc("WSAPoll")
	procAccept   = ws2.NewProc("accept")
	procIoctl    = ws2.NewProc("ioctlsocket")
	kernel32     = windows.NewLazySystemDLL("kernel32.dll")
	procGetTimes = kernel32.NewProc("GetProcessTimes")
)

// Masks for waitPoll and kinds of sockets.
const (
	readable = 0x0100 // POLLRDNORM
	writable = 0x0010 // POLLWRNORM

	stream   = windows.SOCK_STREAM
	datagram = windows.SOCK_DGRAM
)

type address = windows.Sockaddr

// badFD is the error of the system for a handle that is not an open socket.
const badFD = windows.WSAENOTSOCK

// system holds the open sockets of a test. All are non-blocking and not
// inherited.
type system struct {
	fds  map[int]bool
	peer map[int]int // the other socket of a pair
}

// track makes sockets non-blocking and closes them at the end of the test.
func (t *T) track(fds ...int) {
	if t.fds == nil {
		t.fds, t.peer = make(map[int]bool), make(map[int]int)
		t.Cleanup(func() {
			for fd := range t.fds {
				windows.Closesocket(windows.Handle(fd))
			}
		})
	}
	for _, fd := range fds {
		on := uint32(1)
		const fionbio = 0x8004667e
		if n, _, err := procIoctl.Call(uintptr(fd), fionbio, uintptr(unsafe.Pointer(&on))); n != 0 {
			t.Errorf("set fd %d non-blocking: %v", fd, err)
		}
		t.fds[fd] = true
	}
}

func (t *T) close(fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if !t.fds[fd] {
			t.Fatalf("close of fd %d, which this test has not opened", fd)
		}
		delete(t.fds, fd)
		t.noError(windows.Closesocket(windows.Handle(fd)), "closesocket")
		if peer, ok := t.peer[fd]; ok && t.fds[peer] && !t.hasDuplicate(fd) {
			t.waitPoll(peer, readable)
		}
		delete(t.peer, fd)
	}
}

// hasDuplicate reports whether a socket that was just closed has a duplicate.
func (t *T) hasDuplicate(fd int) bool {
	for other, peer := range t.peer {
		if other != fd && peer == t.peer[fd] {
			return true
		}
	}
	return false
}

func (t *T) pairOf(kind int) (a, b int) {
	t.Helper()
	if kind != stream {
		t.Skip("Windows has no pairs of datagram sockets")
	}
	return t.tcp()
}

func (t *T) pipe() (read, write int) {
	t.Skip("selectors on Windows support sockets only")
	return 0, 0
}

func (t *T) openFile(string, int) int {
	t.Skip("selectors on Windows support sockets only")
	return 0
}

func (t *T) regularFile() int { return t.openFile("", 0) }

// write writes data and waits until the peer is readable. The pairs are TCP
// connections, so the data arrives later than through a Unix socket pair.
func (t *T) write(fd int, data string) {
	t.Helper()
	n, err := send(fd, []byte(data), 0)
	if err != nil || n != len(data) {
		t.Fatalf("write of %q to fd %d: %d, %v, want %d bytes", data, fd, n, err, len(data))
	}
	if peer, ok := t.peer[fd]; ok && t.fds[peer] {
		t.waitPoll(peer, readable)
	}
}

func send(fd int, buf []byte, flags uint32) (int, error) {
	var n uint32
	err := windows.WSASend(windows.Handle(fd), &windows.WSABuf{Len: uint32(len(buf)), Buf: unsafe.SliceData(buf)}, 1, &n, flags, nil, nil)
	return int(n), err
}

func receive(fd int, buf []byte) (int, error) {
	var n, flags uint32
	err := windows.WSARecv(windows.Handle(fd), &windows.WSABuf{Len: uint32(len(buf)), Buf: unsafe.SliceData(buf)}, 1, &n, &flags, nil, nil)
	return int(n), err
}

func (t *T) read(fd int, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	n, err := receive(fd, buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("read from fd %d: %q, %v, want %q", fd, buf[:n], err, want)
	}
}

// fill writes until the buffers are full and stay full.
func (t *T) fill(fd int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for blocked := 0; blocked < 5; {
		switch _, err := send(fd, buf, 0); err {
		case nil:
			blocked = 0
		case windows.WSAEWOULDBLOCK:
			blocked++ // the peer may still receive some
			time.Sleep(quietTime)
		default:
			t.Fatalf("fill fd %d: %v", fd, err)
		}
	}
}

// drain reads until there is no more data and none arrives.
func (t *T) drain(fd int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for blocked := 0; blocked < 5; {
		switch n, err := receive(fd, buf); {
		case err == nil && n == 0:
			return
		case err == nil:
			blocked = 0
		case err == windows.WSAEWOULDBLOCK:
			blocked++
			time.Sleep(quietTime)
		default:
			t.Fatalf("drain fd %d: %v", fd, err)
		}
	}
}

// dup returns a duplicate with a number of at least lowest.
func (t *T) dup(fd, lowest int) int {
	t.Helper()
	var tooLow []windows.Handle
	defer func() {
		for _, s := range tooLow {
			windows.Closesocket(s)
		}
	}()
	for {
		var info windows.WSAProtocolInfo
		t.noError(windows.WSADuplicateSocket(windows.Handle(fd), windows.GetCurrentProcessId(), &info), "WSADuplicateSocket")
		s, err := windows.WSASocket(-1, -1, -1, &info, 0, windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
		t.noError(err, "WSASocket")
		if int(s) < lowest {
			tooLow = append(tooLow, s)
			continue
		}
		t.track(int(s))
		if peer, ok := t.peer[fd]; ok {
			t.peer[int(s)] = peer
			t.peer[peer] = int(s)
		}
		return int(s)
	}
}

func (t *T) dupTo(int, int) {
	t.Helper()
	t.Skip("Windows cannot give a socket a chosen number")
}

func (t *T) moveToZero(int) { t.dupTo(0, 0) }

// A pollFD is a WSAPOLLFD.
type pollFD struct {
	fd              uintptr
	events, revents int16
}

// waitPoll waits until WSAPoll reports all bits of mask. Changes that go through
// the network are not visible at once. WSAPoll reports end of file as POLLHUP
// without POLLRDNORM, and only after all data has been read.
func (t *T) waitPoll(fd int, mask int16) {
	t.Helper()
	const hup = 0x0002
	fds := []pollFD{{fd: uintptr(fd), events: mask}}
	for deadline := time.Now().Add(reportTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
		n, _, _ := procPoll.Call(uintptr(unsafe.Pointer(&fds[0])), 1, 0)
		got := fds[0].revents
		if int32(n) == 1 && (got&mask == mask || mask == readable && got&hup != 0) {
			return
		}
	}
	t.Fatalf("WSAPoll of fd %d reports %#x after %v, want %#x", fd, fds[0].revents, reportTimeout, mask)
}

// newSocket returns an IPv4 socket that is not connected.
func (t *T) newSocket(kind int) int {
	t.Helper()
	t.noError(winsock(), "WSAStartup")
	s, err := windows.WSASocket(windows.AF_INET, int32(kind), 0, nil, 0, windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
	t.noError(err, "WSASocket")
	t.track(int(s))
	return int(s)
}

// winsock starts Winsock, as package net does.
func winsock() error {
	var data windows.WSAData
	return windows.WSAStartup(0x0202, &data)
}

// boundSocket returns a socket that is bound to a free port, and its address.
func (t *T) boundSocket(kind int) (fd int, at address) {
	t.Helper()
	fd = t.newSocket(kind)
	t.noError(windows.Bind(windows.Handle(fd), &windows.SockaddrInet4{Addr: loopback}), "bind")
	at, err := windows.Getsockname(windows.Handle(fd))
	t.noError(err, "getsockname")
	return fd, at
}

func (t *T) listen() (fd int, at address) {
	t.Helper()
	fd, at = t.boundSocket(stream)
	t.noError(windows.Listen(windows.Handle(fd), 8), "listen")
	return fd, at
}

func (t *T) connect(fd int, to address) {
	t.Helper()
	if err := windows.Connect(windows.Handle(fd), to); err != nil && err != windows.WSAEWOULDBLOCK {
		t.Fatalf("connect: %v", err)
	}
}

// connectAccept connects a to a listener and returns the accepted socket.
func (t *T) connectAccept(a, listener int, at address) (b int) {
	t.Helper()
	t.connect(a, at)
	t.waitPoll(listener, readable)
	s, _, err := procAccept.Call(uintptr(listener), 0, 0)
	if windows.Handle(s) == windows.InvalidHandle {
		t.Fatalf("accept: %v", err)
	}
	windows.SetHandleInformation(windows.Handle(s), windows.HANDLE_FLAG_INHERIT, 0)
	b = int(s)
	t.track(b)
	t.waitPoll(a, writable)
	t.peer[a], t.peer[b] = b, a
	return b
}

// socketFile returns an object of package net and the descriptor of its peer.
func (t *T) socketFile() (f file, peer int) {
	t.Helper()
	a, b := t.tcpConn()
	return a, t.fdOf(b)
}

// cpuTime returns the processor time that the process has used.
func (t *T) cpuTime() time.Duration {
	t.Helper()
	var created, exited, kernel, user windows.Filetime
	n, _, err := procGetTimes.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&created)), uintptr(unsafe.Pointer(&exited)),
		uintptr(unsafe.Pointer(&kernel)), uintptr(unsafe.Pointer(&user)))
	if n == 0 {
		t.Fatalf("GetProcessTimes: %v", err)
	}
	ticks := func(f windows.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
	return time.Duration(ticks(kernel)+ticks(user)) * 100
}

// wantOpen checks that a socket is open.
func (t *T) wantOpen(fd int) {
	t.Helper()
	const soType = 0x1008
	if _, err := windows.GetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soType); err != nil {
		t.Errorf("fd %d is not open: %v", fd, err)
	}
}

// fdLimit returns a limit for the rules. Windows limits sockets by memory only.
func (t *T) fdLimit() int { return 1500 }

// shutdownWrite shuts down the sending direction of a socket.
func (t *T) shutdownWrite(fd int) {
	t.Helper()
	t.noError(windows.Shutdown(windows.Handle(fd), windows.SHUT_WR), "shutdown")
	if peer, ok := t.peer[fd]; ok && t.fds[peer] {
		t.waitPoll(peer, readable)
	}
}

// sendUrgent sends a byte of urgent data.
func (t *T) sendUrgent(fd int) {
	t.Helper()
	const msgOOB = 1
	_, err := send(fd, []byte("!"), msgOOB)
	t.noError(err, "send")
	time.Sleep(quietTime)
}

func (t *T) sendTo(fd int, data string, to address) {
	t.Helper()
	t.noError(windows.Sendto(windows.Handle(fd), []byte(data), 0, to), "sendto")
}

// isNonblocking returns true because Windows does not report the mode. The
// sockets of package net use overlapped calls, which work in both modes.
func (t *T) isNonblocking(int) bool { return true }

// needSignals skips a test if no signals can be sent.
func (t *T) needSignals() { t.Skip("Windows has no signals that interrupt a system call") }

func signalAllThreads() {}

// systemFileObjRules check that only sockets are accepted.
var systemFileObjRules = []rule{
	{"NonSocketIsRefused", 0, func(t *T) {
		a, b := t.pair()
		key := t.register(a, r, nil)
		file, err := windows.CreateFile(windows.StringToUTF16Ptr("NUL"), windows.GENERIC_READ, 0, nil, windows.OPEN_EXISTING, 0, 0)
		t.noError(err, "open NUL")
		defer windows.CloseHandle(file)
		if t.features&anyFile == 0 {
			t.wantError(errorOf(t.s.Register(int(file), r, nil)), "Register of a handle that is not a socket", badFD)
		}
		t.wantError(errorOf(t.s.Register(a+1, r, nil)), "Register of a number that is not a handle", badFD)
		t.wantError(errorOf(t.s.Key(a+1)), "Key of a number that is not a handle", selectors.ErrNotRegistered)
		t.wantStillReported(key, b)
	}},
}
