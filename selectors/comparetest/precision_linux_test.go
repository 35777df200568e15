package comparetest_test

import (
	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

func dup2(from, to int) error { return unix.Dup3(from, to, unix.O_CLOEXEC) }

// coarse tells whether a selector waits in milliseconds: epoll does, where it
// blocks and the kernel, or who emulates it, has no epoll_pwait2.
func coarse(s selectors.Selector) bool {
	if s.Features()&(selectors.FeatureExclusive|selectors.FeatureParked) != selectors.FeatureExclusive {
		return false
	}
	_, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, ^uintptr(0), 0, 0, 0, 0, 0)
	return errno == unix.ENOSYS || errno == unix.EPERM
}
