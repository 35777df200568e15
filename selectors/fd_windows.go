package selectors

import (
	"fmt"
	"hash/maphash"
	"sync"

	"golang.org/x/sys/windows"
)

// errBadFD is what Winsock says of a handle that is closed, and of one that is
// of a file, a pipe or a console: only sockets can be watched.
var errBadFD error = windows.WSAENOTSOCK

// maxHandle bounds the table. A process has at most 2^24 handles ("Pushing the
// Limits of Windows: Handles", M. Russinovich), and they are multiples of 4.
const maxHandle = 1 << 26

// fileID tells sockets apart as well as it can: Windows has no number for an
// open socket beside the handle. The id has the local port, the peer's port
// and its address, each 0 where there is none yet, and is never 0 itself.
func fileID(fd int) (uint64, error) {
	if fd%4 != 0 { // the kernel ignores these bits, Winsock may too
		return 0, fmt.Errorf("%w: handle %d", errBadFD, fd)
	}
	if _, err := socketKind(fd); err != nil {
		return 0, err
	}
	if fd >= maxHandle {
		return 0, ErrFDTooLarge
	}
	id := uint64(1) << 63
	if local, err := windows.Getsockname(windows.Handle(fd)); err == nil {
		_, port := endpoint(local)
		id |= port
	}
	if peer, err := windows.Getpeername(windows.Handle(fd)); err == nil {
		ip, port := endpoint(peer)
		id |= port<<16 | ip<<32
	}
	return id, nil
}

var seed = maphash.MakeSeed()

// endpoint is an address in numbers: 31 bits that stand for the host, and the
// port.
func endpoint(address windows.Sockaddr) (ip, port uint64) {
	switch a := address.(type) {
	case *windows.SockaddrInet4:
		return maphash.Bytes(seed, a.Addr[:]) >> 33, uint64(a.Port)
	case *windows.SockaddrInet6:
		return maphash.Bytes(seed, a.Addr[:]) >> 33, uint64(a.Port)
	}
	return 0, 0
}

// identify notes which socket a handle is. It is errExists if it may be the
// one that was noted before: what was unknown then may be known now.
func identify(fd int, e *entry) error {
	id, err := fileID(fd)
	if err != nil {
		return err
	}
	const part = 1<<16 - 1
	alike := func(shift, mask uint64) bool {
		was, is := e.id>>shift&mask, id>>shift&mask
		return was == is || was == 0 || is == 0
	}
	if e.id != 0 && alike(0, part) && alike(16, part) && alike(32, 1<<31-1) {
		e.id |= id
		return errExists
	}
	e.id = id
	return nil
}

// socketKind is the socket's type. It fails for what is no socket.
func socketKind(fd int) (int, error) {
	startup()
	return windows.GetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soType)
}

const soType = 0x1008 // SO_TYPE, winsock2.h

// startup has Winsock ready. Package net sees to that too, but only when it is
// used.
var startup = sync.OnceValue(func() error {
	var data windows.WSAData
	return windows.WSAStartup(0x0202, &data)
})
