package selectors

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// Files whose readiness goes away when it is asked for, or depends on the thread
// that asks (docs/parking.md). Every backend and every wait strategy must report
// them.

var newsRounds = flag.Int("news.rounds", 200, "pieces of news from each file in TestNews; slow files make fewer")

// newsLimit is how long a report may take. Lost news never comes; on a busy machine
// a report may come late.
const newsLimit = 20 * time.Second

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

// TestNews: each change of a file is reported while Select waits, beside other
// traffic.
func TestNews(t *testing.T) {
	for _, kind := range newsKinds {
		t.Run(kind.name, func(t *testing.T) {
			for _, name := range slices.Sorted(maps.Keys(constructors())) {
				t.Run(name, func(t *testing.T) {
					s, err := constructors()[name]()
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					expectNews(t, s, kind.open(t), max(*newsRounds/kind.slower, 1))
				})
			}
		})
	}
}

// expectNews makes pieces of news while another goroutine is in Select, each
// after the report of the one before. From time to time it registers the file anew,
// also during a wait.
func expectNews(t *testing.T, s Selector, file newsFile, rounds int) {
	t.Helper()
	mustRegister(t, s, file.fd, file.events)
	file.read() // Register asks the file once, too
	echo, quiet := startTraffic(t)
	mustRegister(t, s, echo, EventRead)

	reports := make(chan uint64, rounds)
	stop := selectInBackground(t, s, func(r Ready) {
		switch r.Key.FD {
		case file.fd:
			reports <- file.read()
		case echo:
			var b [8]byte
			n, _ := unix.Read(echo, b[:])
			unix.Write(echo, b[:max(n, 0)])
		}
	})
	defer stop()

	for i := range rounds {
		quiet.Store(i/10%2 == 0)
		if i%20 == 19 {
			if _, err := s.Unregister(file.fd); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Microsecond)
			mustRegister(t, s, file.fd, file.events)
			file.read()
		}
		time.Sleep(time.Duration(i%5) * 100 * time.Microsecond)
		for len(reports) > 0 {
			<-reports
		}
		want := file.change(t)
		limit := time.NewTimer(newsLimit)
		for got := want + 1; got != want; {
			select {
			case got = <-reports:
			case <-limit.C:
				t.Fatalf("no report in %v of piece %d of news", newsLimit, i+1)
			}
		}
		limit.Stop()
	}
}

// TestNewsBesideOrphans: registrations that cannot be deleted make the selector
// replace its epoll set. That asks the files, so news that is pending then must be
// reported all the same.
func TestNewsBesideOrphans(t *testing.T) {
	for _, strategy := range Strategies {
		t.Run(strategy.Name, func(t *testing.T) {
			s, err := NewEpollSelector(strategy.Option)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			file := mountsFile(t)
			mustRegister(t, s, file.fd, file.events)
			for range 5 {
				file.read()
				reported(t, s, 2)
				for range 40 { // more events than the selector has room for
					makeOrphan(t, s)
				}
				file.change(t)
				if got := reported(t, s, 3); got[file.fd]&EventPriority == 0 {
					t.Errorf("reported %v, want news of %d", got, file.fd)
				}
			}
		})
	}
}

// startTraffic starts a peer that sends bytes and waits for each to come back, at
// intervals of up to 300 µs. It pauses while quiet is set.
func startTraffic(t *testing.T) (fd int, quiet *atomic.Bool) {
	t.Helper()
	fd, peer := fdtest.UnixPair(t)
	fdtest.SetBlocking(t, peer)
	quiet = new(atomic.Bool)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := []byte{'x'}
		for i := 0; ; i++ {
			time.Sleep(time.Duration(i%4) * 100 * time.Microsecond)
			if quiet.Load() {
				time.Sleep(time.Millisecond)
			} else if n, _ := unix.Write(peer, b); n != 1 {
				return
			} else if n, _ = unix.Read(peer, b); n != 1 {
				return
			}
		}
	}()
	t.Cleanup(func() {
		quiet.Store(false)
		unix.Shutdown(peer, unix.SHUT_RDWR)
		<-ended
	})
	return fd, quiet
}

// selectInBackground calls handle for each report of s. stop waits until that
// has ended.
func selectInBackground(t *testing.T, s Selector, handle func(Ready)) (stop func()) {
	var stopped atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !stopped.Load() {
			ready, err := s.Select(-1)
			if err != nil {
				t.Error(err)
				return
			}
			for _, r := range ready {
				handle(r)
			}
		}
	}()
	return func() {
		stopped.Store(true)
		s.Wake()
		<-ended
	}
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

// TestThreadSignals: a signal that is sent to one thread is reported by a signalfd
// if that thread asks, and to no other (fs/signalfd.c, signalfd_poll). A Select in
// that thread must report it.
func TestThreadSignals(t *testing.T) {
	const sig = unix.SIGWINCH // ignored wherever it is not blocked
	for name, new := range constructors() {
		t.Run(name, func(t *testing.T) {
			thread := newLockedThread(t)
			s, err := new()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var mask unix.Sigset_t
			mask.Val[0] = 1 << (sig - 1)
			var fd, tid int
			thread.run(func() {
				tid = unix.Gettid()
				if err = unix.PthreadSigmask(unix.SIG_BLOCK, &mask, nil); err == nil {
					fd, err = unix.Signalfd(-1, &mask, unix.SFD_CLOEXEC)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
			mustRegister(t, s, fd, EventRead)
			info := make([]byte, unsafe.Sizeof(unix.SignalfdSiginfo{}))
			for i := range 50 {
				timer := time.AfterFunc(time.Duration(i%5)*200*time.Microsecond, func() {
					if err := unix.Tgkill(os.Getpid(), tid, sig); err != nil {
						t.Error(err)
					}
				})
				var ready []Ready
				var n int
				thread.run(func() {
					ready, err = s.Select(newsLimit)
					n, _ = unix.Read(fd, info)
				})
				timer.Stop()
				if err != nil || len(ready) != 1 || n != len(info) {
					t.Fatalf("Select number %d reported %v, %v; read %d bytes", i+1, ready, err, n)
				}
			}
		})
	}
}
