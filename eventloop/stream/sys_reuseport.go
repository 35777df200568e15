//go:build dragonfly || freebsd || linux

package stream

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const canReusePort = true

// reusePort lets several sockets listen on one address, with connections
// distributed over them.
func reusePort(fd int) error {
	option := unix.SO_REUSEPORT
	if runtime.GOOS == "freebsd" {
		// SO_REUSEPORT gives all connections to the last socket there.
		// SO_REUSEPORT_LB distributes them. Package unix defines the name for
		// FreeBSD only.
		option = 0x10000
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1)
}
