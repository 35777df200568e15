//go:build unix && !(dragonfly || freebsd || linux)

package stream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func acceptSockaddr(fd int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	conn, sa, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(conn)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		if err = unix.SetNonblock(conn, true); err != nil {
			unix.Close(conn)
		}
	}
	return conn, sa, err
}
