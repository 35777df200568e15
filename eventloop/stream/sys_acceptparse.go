//go:build unix

package stream

import (
	"errors"
	"net/netip"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// acceptAndParse is accept by means of package unix, which allocates the address.
func acceptAndParse(fd int) (newFD int, remote netip.AddrPort, err error) {
	for {
		conn, sa, err := acceptSockaddr(fd)
		switch err {
		case nil:
			return conn, addrPort(sa), nil
		case unix.EINTR:
		default:
			return -1, netip.AddrPort{}, mapWouldBlock(err)
		}
	}
}

// isSocketGone reports whether an error of accept or of the selector means that
// the descriptor is not a listening socket any more, because other code has closed
// it or called shutdown(2), for example.
func isSocketGone(err error) bool {
	return errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOTSOCK) || errors.Is(err, unix.EINVAL) ||
		errors.Is(err, selectors.ErrRegistered) // the number was used again
}
