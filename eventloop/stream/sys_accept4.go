//go:build dragonfly || freebsd || linux

package stream

import "golang.org/x/sys/unix"

func acceptSockaddr(fd int) (int, unix.Sockaddr, error) {
	return unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}
