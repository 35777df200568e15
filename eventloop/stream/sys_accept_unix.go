//go:build unix && !linux

package stream

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// accept accepts a connection and returns its non-blocking, close-on-exec
// descriptor and the address of the peer, which is not valid for a Unix socket.
// getpeername(2) fails once the peer has reset the connection, so the address is
// taken from the call.
func accept(fd int) (newFD int, remote netip.AddrPort, err error) { return acceptAndParse(fd) }

// isConnError reports whether an error of accept is about one connection that has
// failed while it was waiting, so that the next one can be accepted.
func isConnError(err error) bool {
	switch err {
	case unix.ECONNABORTED, unix.EPROTO, unix.ECONNRESET:
		return true
	}
	return false
}
