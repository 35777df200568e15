//go:build unix && !linux

package eventloop_test

import "golang.org/x/sys/unix"

func dup2(oldFD, newFD int) error {
	if err := unix.Dup2(oldFD, newFD); err != nil {
		return err
	}
	unix.CloseOnExec(newFD)
	return nil
}
