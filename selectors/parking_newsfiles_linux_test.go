package selectors

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// A newsFile is a file of which a program wants to hear each change.
type newsFile struct {
	fd     int
	events Event

	// change makes a piece of news. It returns what read returns once the
	// program has seen it.
	change func(t *testing.T) (state uint64)

	// read does what a program does after a report.
	read func() (state uint64)
}

var newsKinds = []struct {
	name   string
	slower int // makes one piece of news where others make this many
	open   func(t *testing.T) newsFile
}{
	{"mounts", 1, mountsFile},
	{"hostname", 1, hostnameFile},
	{"perf", 1, perfFile},
	{"cgroup.events", 20, cgroupEventsFile}, // at most one report in 10 ms: kernel/cgroup/cgroup.c, cgroup_file_notify
}

// A lockedThread runs functions on a thread of its own, which ends with the test,
// together with what belongs to the thread: namespaces, signal mask.
type lockedThread struct {
	calls chan func()
	done  chan struct{}
}

func newLockedThread(t *testing.T) *lockedThread {
	l := &lockedThread{make(chan func()), make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked, so that the thread ends
		for f := range l.calls {
			f()
			l.done <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		close(l.calls)
		<-ended
	})
	return l
}

// run calls f on the thread and waits for it.
func (l *lockedThread) run(f func()) {
	l.calls <- f
	<-l.done
}

// mountsFile is the mount table of a private mount namespace, in which a tmpfs is
// mounted and unmounted.
func mountsFile(t *testing.T) newsFile {
	thread, dir := newLockedThread(t), t.TempDir()
	var fd int
	var err error
	thread.run(func() {
		if err = unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return
		}
		if err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return
		}
		fd, err = unix.Open("/proc/thread-self/mounts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		t.Skip("needs a mount namespace: ", err)
	}
	fd = fdtest.Own(t, fd)
	mounted := uint64(0)
	return newsFile{fd, EventPriority, func(t *testing.T) uint64 {
		thread.run(func() {
			if mounted = 1 - mounted; mounted == 1 {
				err = unix.Mount("none", dir, "tmpfs", 0, "size=4k")
			} else {
				err = unix.Unmount(dir, 0)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return mounted
	}, func() uint64 {
		if bytes.Contains(readFromStart(fd), []byte(" "+dir+" ")) {
			return 1
		}
		return 0
	}}
}

// readFromStart returns the content of a file of the kernel.
func readFromStart(fd int) []byte {
	content, b := []byte{}, make([]byte, 64<<10)
	for {
		n, err := unix.Pread(fd, b, int64(len(content)))
		if n <= 0 || err != nil {
			return content
		}
		content = append(content, b[:n]...)
	}
}

// hostnameFile is the host name, which is set to the value it has. That is news
// for all UTS namespaces; a private one makes sure that no name changes.
func hostnameFile(t *testing.T) newsFile {
	thread := newLockedThread(t)
	var err error
	thread.run(func() { err = unix.Unshare(unix.CLONE_NEWUTS) })
	if err != nil {
		t.Skip("needs a UTS namespace: ", err)
	}
	fd := fdtest.Open(t, "/proc/sys/kernel/hostname", unix.O_RDONLY)
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	same := bytes.TrimRight(name.Nodename[:], "\x00")
	return newsFile{fd, EventPriority, func(t *testing.T) uint64 {
		thread.run(func() { err = unix.Sethostname(same) })
		if err != nil {
			t.Fatal(err)
		}
		return 0
	}, func() uint64 {
		readFromStart(fd)
		return 0
	}}
}

// perfFile is a performance counter that samples each page fault of a thread into
// a ring of one page.
func perfFile(t *testing.T) newsFile {
	thread := newLockedThread(t)
	attr := unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Config: unix.PERF_COUNT_SW_PAGE_FAULTS,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Sample: 1, Sample_type: unix.PERF_SAMPLE_IP, Wakeup: 1,
		Bits: unix.PerfBitDisabled | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}
	var fd int
	var err error
	thread.run(func() { fd, err = unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC) })
	if err != nil {
		t.Skip("needs performance counters: ", err)
	}
	fd = fdtest.Own(t, fd)
	page := os.Getpagesize()
	ring, err := unix.Mmap(fd, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Skip("needs the ring of a performance counter: ", err)
	}
	t.Cleanup(func() { unix.Munmap(ring) })
	control := (*unix.PerfEventMmapPage)(unsafe.Pointer(unsafe.SliceData(ring)))
	return newsFile{fd, EventRead, func(t *testing.T) uint64 {
		thread.run(func() { err = faultOnce(fd, page) })
		if err != nil {
			t.Fatal(err)
		}
		return atomic.LoadUint64(&control.Data_head)
	}, func() uint64 {
		head := atomic.LoadUint64(&control.Data_head)
		atomic.StoreUint64(&control.Data_tail, head)
		return head
	}}
}

// faultOnce makes a page fault that the counter fd samples.
func faultOnce(fd, page int) error {
	memory, err := unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	enable := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0)
	memory[0] = 1
	disable := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_DISABLE, 0)
	return errors.Join(enable, disable, unix.Munmap(memory))
}

// cgroupEventsFile is cgroup.events of a new cgroup, which a process enters and
// leaves. Unlike the others it stays ready until it is read.
func cgroupEventsFile(t *testing.T) newsFile {
	parent := cgroup2(t)
	dir, err := os.MkdirTemp(parent, "selectors-test-")
	if err != nil {
		t.Skip("needs a cgroup: ", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	process := exec.Command("sleep", "600")
	if err := process.Start(); err != nil {
		t.Skip("needs a process: ", err)
	}
	t.Cleanup(func() {
		process.Process.Kill()
		process.Wait()
	})
	fd := fdtest.Open(t, filepath.Join(dir, "cgroup.events"), unix.O_RDONLY)
	populated := uint64(0)
	return newsFile{fd, EventPriority, func(t *testing.T) uint64 {
		populated = 1 - populated
		to := []string{parent, dir}[populated]
		if err := os.WriteFile(filepath.Join(to, "cgroup.procs"), fmt.Append(nil, process.Process.Pid), 0); err != nil {
			t.Fatal(err)
		}
		return populated
	}, func() uint64 {
		if bytes.Contains(readFromStart(fd), []byte("populated 1")) {
			return 1
		}
		return 0
	}}
}

// cgroup2 returns where the cgroups of version 2 are. The test is skipped where
// they are not mounted.
func cgroup2(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Skip("needs cgroups of version 2")
	return ""
}
