//go:build unix && !linux

package fdtest

import "golang.org/x/sys/unix"

// Dup2 makes the number to refer to the file of from, close-on-exec.
func Dup2(from, to int) error {
	if err := unix.Dup2(from, to); err != nil {
		return err
	}
	unix.CloseOnExec(to)
	return nil
}
