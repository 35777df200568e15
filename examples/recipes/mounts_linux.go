package recipes

import (
	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// WatchMounts calls changed with a mount table: now, and after each change. The name
// is /proc/self/mounts or /proc/self/mountinfo. For the namespace of a thread that has
// called unshare(2) or setns(2) it is /proc/thread-self/mounts, opened on that thread.
//
// /proc/sys/kernel/hostname and /proc/swaps work in the same way.
func WatchMounts(sel selectors.Selector, name string, changed func(table []byte, err error)) (int, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// The file is always readable, so EventRead would be reported without end. A change
	// is POLLPRI and POLLERR, until it is reported once (mounts_poll in
	// fs/proc_namespace.c). Reading does not matter for that.
	err = register(sel, fd, selectors.EventPriority, func(selectors.Ready) {
		table, err := ReadFromStart(fd)
		if err != nil {
			Close(sel, fd)
		}
		changed(table, err)
	})
	if err != nil {
		return -1, err
	}
	// The first read follows Register: on epoll Register itself takes the report of a change
	// since open, because epoll_ctl(2) asks the file.
	table, err := ReadFromStart(fd)
	if err != nil {
		Close(sel, fd)
		return -1, err
	}
	changed(table, nil)
	return fd, nil
}
