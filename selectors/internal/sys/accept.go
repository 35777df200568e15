//go:build unix && !(dragonfly || freebsd || linux)

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func accept(fd int) (int, error) {
	syscall.ForkLock.RLock()
	conn, _, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(conn)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		if err = unix.SetNonblock(conn, true); err != nil {
			unix.Close(conn)
		}
	}
	return conn, err
}
