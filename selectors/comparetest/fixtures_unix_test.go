//go:build unix && !linux

package comparetest_test

import (
	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

func dup2(from, to int) error {
	if err := unix.Dup2(from, to); err != nil {
		return err
	}
	unix.CloseOnExec(to)
	return nil
}

// coarse tells whether a selector waits in milliseconds.
func coarse(selectors.Selector) bool { return true }
