//go:build dragonfly || freebsd || linux

package sys

import "golang.org/x/sys/unix"

func accept(fd int) (int, error) {
	conn, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return conn, err
}
