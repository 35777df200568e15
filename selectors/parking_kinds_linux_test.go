package selectors

import (
	"os"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
	"goselectors/selectors/internal/sys"
)

// A fileKind is an open file of a kind that epoll accepts.
type fileKind struct {
	name string
	fd   int
	safe bool // the file may be asked through another epoll set: docs/parking.md
}

// fileKinds opens a file of every kind that this machine has. It logs the others.
func fileKinds(t *testing.T) (kinds []fileKind) {
	t.Helper()
	for _, k := range openers {
		fd, err := k.open()
		if err != nil {
			t.Logf("no %s: %v", k.name, err)
			continue
		}
		kinds = append(kinds, fileKind{k.name, fdtest.Own(t, fd), k.safe})
	}
	return kinds
}

// openers has the ways to open a file of each kind.
var openers = slices.Concat([]opener{
	{"pipe, reading end", true, func() (int, error) { return pipeEnd(0) }},
	{"pipe, writing end", true, func() (int, error) { return pipeEnd(1) }},
	{"FIFO", true, openFIFO},
	{"pty, master", true, func() (int, error) { return ptyEnd(0) }},
	{"pty, slave", true, func() (int, error) { return ptyEnd(1) }},
	{"eventfd", true, func() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC) }},
	{"timerfd", true, func() (int, error) { return unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC) }},
	{"signalfd", false, func() (int, error) { return unix.Signalfd(-1, &unix.Sigset_t{}, unix.SFD_CLOEXEC) }},
	{"inotify", true, func() (int, error) { return unix.InotifyInit1(unix.IN_CLOEXEC) }},
	{"fanotify", true, func() (int, error) { return unix.FanotifyInit(unix.FAN_CLOEXEC|unix.FAN_CLASS_NOTIF, 0) }},
	{"pidfd", true, func() (int, error) { return unix.PidfdOpen(os.Getpid(), 0) }},
	{"epoll", false, func() (int, error) { return unix.EpollCreate1(unix.EPOLL_CLOEXEC) }},
	{"userfaultfd", true, openUserfaultfd},
	{"io_uring", true, openIOURing},
	{"BPF ring buffer", true, openBPFRingBuffer},
	{"perf event", false, openPerfEvent},
	{"message queue", false, openMessageQueue},
	{"pressure trigger", false, openPressureTrigger},
},
	socketOpeners(),
	fileOpeners(true, // character devices
		"/dev/console", "/dev/tty", "/dev/tty0", "/dev/vcs", "/dev/vcsa1", "/dev/random", "/dev/kmsg", "/dev/fuse", "/dev/net/tun",
		"/dev/uinput", "/dev/uhid", "/dev/rfkill", "/dev/ppp", "/dev/input/event0", "/dev/input/mice", "/dev/dri/card0"),
	fileOpeners(false, // character devices with unknown drivers
		"/dev/vga_arbiter", "/dev/snd/controlC0", "/dev/hidraw0", "/dev/rtc0", "/dev/tpm0", "/dev/ptp0"),
	fileOpeners(false, // files of the kernel
		"/proc/self/mounts", "/proc/self/mountinfo", "/proc/swaps", "/proc/mdstat", "/proc/kmsg", "/proc/vmstat",
		"/proc/sys/kernel/hostname", "/proc/sys/kernel/pid_max", "/proc/bus/input/devices", "/proc/pressure/cpu",
		"/sys/kernel/uevent_seqnum", "/sys/class/net/lo/operstate", "/sys/kernel/tracing/trace_pipe",
		"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs", "/sys/fs/cgroup/system.slice/cgroup.events"),
)

type opener struct {
	name string
	safe bool
	open func() (fd int, err error)
}

// fileOpeners opens files by their names, without side effects.
func fileOpeners(safe bool, names ...string) (all []opener) {
	for _, name := range names {
		all = append(all, opener{name, safe, func() (int, error) {
			const flags = unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
			fd, err := unix.Open(name, unix.O_RDWR|flags, 0)
			if err != nil {
				fd, err = unix.Open(name, unix.O_RDONLY|flags, 0)
			}
			return fd, err
		}})
	}
	return all
}

// socketOpeners opens a socket of each address family.
func socketOpeners() (all []opener) {
	for _, s := range []struct {
		name                  string
		safe                  bool
		family, typ, protocol int
	}{
		{"Unix stream", true, unix.AF_UNIX, unix.SOCK_STREAM, 0},
		{"Unix datagram", true, unix.AF_UNIX, unix.SOCK_DGRAM, 0},
		{"Unix sequential packet", true, unix.AF_UNIX, unix.SOCK_SEQPACKET, 0},
		{"TCP", true, unix.AF_INET, unix.SOCK_STREAM, 0},
		{"TCP, IPv6", true, unix.AF_INET6, unix.SOCK_STREAM, 0},
		{"UDP", true, unix.AF_INET, unix.SOCK_DGRAM, 0},
		{"raw IP", true, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		{"SCTP", true, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
		{"MPTCP", true, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
		{"netlink", true, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE},
		{"packet", true, unix.AF_PACKET, unix.SOCK_RAW, 0},
		{"vsock", true, unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		{"XDP", true, unix.AF_XDP, unix.SOCK_RAW, 0},
		{"crypto", true, unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		{"Bluetooth", true, unix.AF_BLUETOOTH, unix.SOCK_SEQPACKET, unix.BTPROTO_L2CAP},
		{"CAN", true, unix.AF_CAN, unix.SOCK_RAW, unix.CAN_RAW},
		{"TIPC", true, unix.AF_TIPC, unix.SOCK_SEQPACKET, 0},
		{"SMC", true, unix.AF_SMC, unix.SOCK_STREAM, 0},
		{"RDS", false, unix.AF_RDS, unix.SOCK_SEQPACKET, 0},
	} {
		all = append(all, opener{s.name + " socket", s.safe, func() (int, error) {
			return unix.Socket(s.family, s.typ|unix.SOCK_CLOEXEC, s.protocol)
		}})
	}
	return all
}

// pipeEnd returns one end of a new pipe. The other is closed.
func pipeEnd(end int) (int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, err
	}
	unix.Close(p[1-end])
	return p[end], nil
}

// ptyEnd returns one end of a new pseudo terminal. The other is closed.
func ptyEnd(end int) (int, error) {
	master, slave, err := fdtest.OpenPty()
	if err != nil {
		return -1, err
	}
	ends := [2]int{master, slave}
	unix.Close(ends[1-end])
	return ends[end], nil
}

func openFIFO() (int, error) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return -1, err
	}
	defer os.RemoveAll(dir)
	name := dir + "/fifo"
	if err := unix.Mkfifo(name, 0o600); err != nil {
		return -1, err
	}
	return unix.Open(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// result translates the result of a system call that returns a descriptor.
func result(fd uintptr, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

func openUserfaultfd() (int, error) {
	return result(unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0))
}

func openIOURing() (int, error) {
	var params [120]byte // struct io_uring_params
	return result(unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0))
}

func openBPFRingBuffer() (int, error) {
	const mapCreate, ringBuffer = 0, 27 // BPF_MAP_CREATE, BPF_MAP_TYPE_RINGBUF
	attr := struct{ mapType, keySize, valueSize, maxEntries uint32 }{ringBuffer, 0, 0, uint32(os.Getpagesize())}
	return result(unix.Syscall(unix.SYS_BPF, mapCreate, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)))
}

func openPerfEvent() (int, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY, Bits: unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv}
	attr.Size = uint32(unsafe.Sizeof(attr))
	return unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
}

func openMessageQueue() (int, error) {
	name := [...]byte{'s', 'e', 'l', 'e', 'c', 't', 'o', 'r', 's', 0}
	defer unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(&name)), 0, 0)
	return result(unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(&name)), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600, 0, 0, 0))
}

func openPressureTrigger() (int, error) {
	fd, err := unix.Open("/proc/pressure/memory", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if _, err := unix.Write(fd, []byte("some 1000000 2000000\x00")); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// TestEffectOfAsking: which kinds of files are known to be safe to ask.
func TestEffectOfAsking(t *testing.T) {
	for _, kind := range fileKinds(t) {
		if got := sys.EffectOfAsking(kind.fd); (got == sys.AskingHasNone) != kind.safe {
			t.Errorf("%s: the effect of asking is %d, want safe to ask %t", kind.name, got, kind.safe)
		}
	}
}

// TestFileKinds: every backend and every wait strategy reports the same of a file,
// whatever its kind.
func TestFileKinds(t *testing.T) {
	for _, kind := range fileKinds(t) {
		interest := EventRead | EventWrite
		if !kind.safe {
			interest = EventRead // news, which another process may make, is an error and so also EventWrite
		}
		unix.Poll([]unix.PollFd{{Fd: int32(kind.fd), Events: unix.POLLIN}}, 0) // takes the news away that /proc/bus/input/devices has at first
		got := map[string]Event{}
		for name, new := range constructors() {
			s, err := new()
			if err != nil {
				t.Fatal(err)
			}
			mustRegister(t, s, kind.fd, interest)
			ready, err := s.Select(0)
			if err != nil {
				t.Error(err)
			}
			for _, r := range ready {
				got[name] |= r.Events & interest
			}
			s.Close()
		}
		for name := range constructors() {
			if got[name] != got["poll"] {
				t.Errorf("%s: %s reports %v, poll %v", kind.name, name, got[name], got["poll"])
			}
		}
	}
}

// TestNestedSets: a set of epoll sets may be as deep as the kernel allows it in an
// epoll set that is not nested itself (fs/eventpoll.c, EP_MAX_NESTS).
func TestNestedSets(t *testing.T) {
	for name, new := range constructors() {
		t.Run(name, func(t *testing.T) {
			s, err := new()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Select(2 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
			r, w := fdtest.Pipe(t)
			outer := r
			for depth := range 4 {
				set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
				if err != nil {
					t.Fatal(err)
				}
				set = fdtest.Own(t, set)
				if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, outer, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
					t.Fatal(err)
				}
				outer = set
				if _, err := s.Register(set, EventRead, nil); err != nil {
					t.Fatalf("depth %d: %v", depth+1, err)
				}
				timer := time.AfterFunc(time.Millisecond, func() { fdtest.Write(t, w, "x") })
				if ready, err := s.Select(5 * time.Second); err != nil || len(ready) != 1 {
					t.Errorf("depth %d: Select reported %v, %v", depth+1, ready, err)
				}
				timer.Stop()
				fdtest.Read(t, r, 1)
				if _, err := s.Unregister(set); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Select(2 * time.Millisecond); err != nil { // it parks again
					t.Fatal(err)
				}
			}
		})
	}
}
