package selectortest

import (
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// linuxGroups check the descriptors of the process, listed in /proc.
var linuxGroups = []group{{"Process", []rule{
	{"DescriptorsAreNotInherited", 0, func(t *T) {
		exercise(t, t.s) // opens descriptors that the process opens only once
		before := openFiles(t)
		s := t.newTestSelector()
		exercise(t, s)
		n := 0
		for fd, file := range openFiles(t) {
			if before[fd] == file {
				continue
			}
			n++
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("fd %d (%s) is not close-on-exec", fd, file)
			}
		}
		t.Logf("a selector has %d descriptors", n)
	}},

	{"CloseLeaksNoDescriptors", 0, func(t *T) {
		exercise(t, t.s)
		cycle := func() {
			s, err := t.newSelector()
			t.noError(err, "new selector")
			exercise(t, s)
			t.noError(s.Close(), "Close")
		}
		cycle()
		before := openFiles(t)
		for range 8 {
			cycle()
		}
		if after := openFiles(t); len(after) > len(before) {
			t.Errorf("%d descriptors are open, want at most %d as before: %v", len(after), len(before), after)
		}
	}},

	{"OrphansLeakNoDescriptors", 0, func(t *T) {
		exercise(t, t.s)
		a, _ := t.pair()
		orphan := func() {
			makeOrphan(t, a, w)
			t.wantBatch(t.mustSelect(0))
		}
		orphan()
		before := openFiles(t)
		for range 20 {
			orphan()
		}
		exercise(t, t.s) // it still waits and wakes
		if after := openFiles(t); len(after) > len(before) {
			t.Errorf("%d descriptors are open, want at most %d as before: %v", len(after), len(before), after)
		}
	}},

	{"DescriptorLimitReached", 0, func(t *T) {
		// At the descriptor limit a new selector is an error and leaves no
		// descriptor open.
		before := openFiles(t)
		var limit unix.Rlimit
		t.noError(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit), "getrlimit")
		highest := 0
		for fd := range before {
			highest = max(highest, fd)
		}
		restore := func() { t.noError(unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil), "prlimit") }
		t.Cleanup(restore)
		for free := range 6 {
			// Free numbers below the limit can still be allocated, so open files
			// until only room numbers are free.
			t.noError(unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(highest + 20), Max: limit.Max}, nil), "prlimit")
			var fillers []int
			for {
				fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					break
				}
				fillers = append(fillers, fd)
			}
			for _, fd := range fillers[len(fillers)-free:] {
				unix.Close(fd)
			}
			s, err := t.newSelector()
			if err == nil {
				err = s.Close()
			} else {
				t.wantError(err, "new selector", unix.EMFILE)
			}
			for _, fd := range fillers[:len(fillers)-free] {
				unix.Close(fd)
			}
			restore()
			if err == nil {
				continue
			}
			if after := openFiles(t); len(after) > len(before) {
				t.Errorf("with %d free descriptors, a failed new selector left %d open, want 0: %v", free, len(after)-len(before), after)
			}
		}
	}},
}}}

// exercise calls everything for which a selector may open descriptors.
func exercise(t *T, s selectors.Selector) {
	t.Helper()
	a, b := t.pair()
	key := t.registerWith(s, a, r, nil)
	t.wantTimeout(s, time.Millisecond)
	t.wantTimeout(s, 100*time.Microsecond)
	t.noError(s.Wake(), "Wake")
	t.wantBatch(t.mustSelectOn(s, -1))
	pending := t.startSelect(s, -1)
	t.noError(s.Wake(), "Wake")
	t.wantResult(pending)
	t.write(b, "x")
	t.wantReadyOn(s, report(key, r))
	_, err := s.Unregister(a)
	t.noError(err, "Unregister")
	t.close(a, b)
}

// openFiles returns the names of the open files of the process, by descriptor.
func openFiles(t *T) map[int]string {
	t.Helper()
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("cannot list open descriptors: %v", err)
	}
	files := make(map[int]string)
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The descriptor of ReadDir itself is closed by now.
		if file, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			files[fd] = file
		}
	}
	return files
}

// signalAllThreads sends a signal to every thread of the process.
func signalAllThreads() {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		signalProcess()
	}
	for _, e := range entries {
		if thread, err := strconv.Atoi(e.Name()); err == nil {
			unix.Tgkill(os.Getpid(), thread, syscall.SIGURG)
		}
	}
}
