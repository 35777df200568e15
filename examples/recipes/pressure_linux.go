package recipes

import (
	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// WatchPressure calls pressed with the pressure averages, at most once per window,
// when tasks have stalled for longer than the trigger allows. The name is
// /proc/pressure/cpu, memory or io, or such a file of a cgroup. The trigger
// "some 150000 1000000" means 150 ms of stall within a window of 1 s. Windows last from
// 500 ms to 10 s; without CAP_SYS_RESOURCE they must be multiples of 2 s
// (Documentation/accounting/psi.rst).
//
// When the cgroup is removed, the error is ENODEV.
func WatchPressure(sel selectors.Selector, name, trigger string, pressed func(averages []byte, err error)) (int, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// In /proc/pressure the kernel replaces the last byte that is written by NUL
	// (psi_write in kernel/sched/psi.c), so there must be one to spare.
	if _, err := unix.Write(fd, append([]byte(trigger), 0)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	// The file is always readable and writable. The trigger is POLLPRI, until it is
	// reported once (psi_trigger_poll). Without a trigger, or when the cgroup is
	// gone, it is POLLPRI and POLLERR without end; the read finds out, also on select,
	// which does not report EventError.
	err = register(sel, fd, selectors.EventPriority, func(selectors.Ready) {
		averages, err := ReadFromStart(fd)
		if err != nil {
			Close(sel, fd)
		}
		pressed(averages, err)
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}
