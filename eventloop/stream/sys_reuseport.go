//go:build dragonfly || freebsd || linux

package stream

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const canReusePort = true

// reusePort lets several sockets listen on one address. The kernel distributes
// connections over them.
func reusePort(fd int) error {
	option := unix.SO_REUSEPORT
	if runtime.GOOS == "freebsd" {
		// SO_REUSEPORT on FreeBSD gives all connections to the last socket.
		// SO_REUSEPORT_LB distributes them. Package unix defines that name for
		// FreeBSD only, so this is its value.
		option = 0x10000
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1)
}
