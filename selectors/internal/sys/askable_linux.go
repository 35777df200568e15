package sys

import (
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EffectOfAsking returns what asking a file for readiness does. docs/parking.md has
// the list of files, with the reasons and sources.
func EffectOfAsking(fd int) Effect {
	if domain, isSocket := socketDomain(fd); isSocket {
		return safeIf(domain != unix.AF_RDS)
	}
	// AT_STATX_DONT_SYNC: otherwise the call waits for the daemon of a FUSE file
	// system.
	var st unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st) != nil {
		return AskingTakesNews
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return AskingHasNone
	case unix.S_IFCHR:
		return safeIf(isSafeDevice(st.Rdev_major, st.Rdev_minor))
	case 0:
		return anonymousEffect(fd)
	}
	return AskingTakesNews // a regular file that can be watched: /proc, /sys, cgroups, FUSE
}

// socketDomain returns the address family of a socket. The system call never
// waits, so it is raw.
func socketDomain(fd int) (domain int32, isSocket bool) {
	size := uint32(unsafe.Sizeof(domain))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_DOMAIN,
		uintptr(unsafe.Pointer(&domain)), uintptr(unsafe.Pointer(&size)), 0)
	return domain, errno == 0
}

func safeIf(safe bool) Effect {
	if safe {
		return AskingHasNone
	}
	return AskingTakesNews
}

// safeMajors are the major numbers of character devices that are safe to ask, from
// Documentation/admin-guide/devices.txt of the kernel.
var safeMajors = []uint32{
	1,    // /dev/kmsg, /dev/random
	2, 3, // BSD pseudo terminals
	4, 5, // consoles, serial ports, /dev/tty, /dev/ptmx
	7,                                      // /dev/vcs
	13,                                     // input devices
	108,                                    // ppp
	128, 129, 130, 131, 132, 133, 134, 135, // masters of pseudo terminals
	136, 137, 138, 139, 140, 141, 142, 143, // slaves of pseudo terminals
	166, // /dev/ttyACM
	188, // /dev/ttyUSB
	189, // USB devices
	204, // low-density serial ports
	226, // DRM
	229, // hypervisor consoles
}

// majorMisc is shared by many drivers. Each has one minor number; safeMiscMinors
// are those that are safe to ask.
const majorMisc = 10

var safeMiscMinors = []uint32{
	1,   // PS/2 mouse
	137, // virtual Bluetooth
	200, // tun and tap
	203, // CUSE's control device
	223, // uinput
	228, // HPET
	229, // FUSE's control device
	236, // device mapper
	238, // vhost-net
	239, // uhid
	240, // userio
	241, // vhost-vsock
	242, // rfkill
}

func isSafeDevice(major, minor uint32) bool {
	if major == majorMisc {
		return slices.Contains(safeMiscMinors, minor)
	}
	return slices.Contains(safeMajors, major)
}

// safeAnonymousNames are the names of files without a file system of their own
// that are safe to ask.
var safeAnonymousNames = []string{
	"[eventfd]", "[timerfd]", "[pidfd]", "inotify", "[inotify]", "[fanotify]", "[userfaultfd]", "[io_uring]",
	"bpf-map", "bpf_link", "seccomp notify", "sync_file", "gpio-line", "gpio-event", "iio:event",
}

// anonymousEffect is EffectOfAsking for such a file. All of them have one inode; the
// name in /proc tells them apart.
func anonymousEffect(fd int) Effect {
	var buf [64]byte
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buf[:])
	if err != nil {
		return AskingTakesNews
	}
	switch name, _ := strings.CutPrefix(string(buf[:n]), "anon_inode:"); name {
	case "[signalfd]": // has the signals of the thread that asks
		return AskingIsLocal
	case "[eventpoll]": // asks all files in it, which are not known
		return AskingIsLocal
	default:
		return safeIf(slices.Contains(safeAnonymousNames, name))
	}
}
