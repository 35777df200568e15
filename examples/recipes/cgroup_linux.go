package recipes

import (
	"bytes"
	"path/filepath"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// WatchCgroup calls changed with the text of cgroup.events of a version 2 cgroup: now,
// and after each change. [Populated] reads whether the cgroup and its descendants have
// processes. Other files that the kernel says it notifies work in the same way:
// memory.events, pids.events, and attributes in /sys that use sysfs_notify.
//
// When the cgroup is removed, the error is ENODEV.
func WatchCgroup(sel selectors.Selector, dir string, changed func(events []byte, err error)) (int, error) {
	fd, err := unix.Open(filepath.Join(dir, "cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// The file is always readable. A change is POLLPRI and POLLERR until the file is read
	// from its start (kernfs_generic_poll in fs/kernfs/file.c). The first report
	// comes at once, because nothing has been read yet.
	err = register(sel, fd, selectors.EventPriority, func(selectors.Ready) {
		events, err := ReadFromStart(fd)
		if err != nil {
			Close(sel, fd)
		}
		changed(events, err)
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// Populated reports whether the text of cgroup.events says that there are processes.
func Populated(events []byte) bool {
	return bytes.Contains(events, []byte("populated 1\n"))
}
