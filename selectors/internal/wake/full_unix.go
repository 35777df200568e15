//go:build unix

package wake

import (
	"os"

	"golang.org/x/sys/unix"
)

// ignoreFull reads the outcome of writing to a waker. EAGAIN means that there
// is no room for another wake: then the descriptor is readable already.
func ignoreFull(_ int, err error) error {
	if err == unix.EAGAIN {
		return nil
	}
	return os.NewSyscallError("write", err)
}
