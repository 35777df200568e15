//go:build unix && !linux

package eventloop_test

import "golang.org/x/sys/unix"

func dup2(from, to int) error {
	if err := unix.Dup2(from, to); err != nil {
		return err
	}
	unix.CloseOnExec(to)
	return nil
}
