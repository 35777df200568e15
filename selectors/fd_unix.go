//go:build unix

package selectors

import (
	"os"

	"golang.org/x/sys/unix"
)

var errBadFD error = unix.EBADF

// fileID tells open files apart: device and inode number, mixed. It is never
// 0. Anonymous files of the kernel (eventfd, timerfd, inotify, epoll …) share
// one inode.
func fileID(fd int) (uint64, error) {
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		return 0, err
	}
	return statID(&st), nil
}

func statID(st *unix.Stat_t) uint64 {
	id := uint64(st.Ino)*0x9e3779b97f4a7c15 ^ uint64(st.Dev)
	if id == 0 {
		id = 1
	}
	return id
}

func fstat(fd int, st *unix.Stat_t) error {
	for {
		if err := unix.Fstat(fd, st); err != unix.EINTR {
			if err == unix.EBADF {
				return err
			}
			return os.NewSyscallError("fstat", err)
		}
	}
}

// identify notes which file a descriptor is, for backends whose kernel keeps
// no set. It is errExists if it is the file that was noted before.
func identify(fd int, e *entry) error {
	id, err := fileID(fd)
	if err != nil {
		return err
	}
	if id == e.id {
		return errExists
	}
	e.id = id
	return nil
}

// ignoreFull reads the outcome of waking through a descriptor: if there is no
// room for another wake, it is as awake as can be.
func ignoreFull(_ int, err error) error {
	if err == unix.EAGAIN {
		return nil
	}
	return os.NewSyscallError("write", err)
}
