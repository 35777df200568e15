package stream

import "golang.org/x/sys/unix"

const canReusePort = true

// SO_REUSEPORT gives all to the last one here; this spreads them.
func reusePort(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT_LB, 1)
}
