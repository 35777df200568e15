package comparetest_test

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"

	"golang.org/x/sys/unix"
)

// The ported cases that are made of Linux's own calls; the lists are in the
// other ported_ files.

// TestPollingConcurrentInterruption: signals to the very thread that waits.
// They are no error, and the Select waits its time.
func TestPollingConcurrentInterruption(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, _ := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		const timeout = 150 * time.Millisecond
		thread := make(chan int, 1)
		c := make(chan backendtest.Result, 1)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			thread <- unix.Gettid()
			start := time.Now()
			ready, err := s.Select(timeout)
			c <- backendtest.Result{Ready: ready, Err: err, Took: time.Since(start)}
		}()
		id := <-thread
		stop := time.After(timeout / 2)
		for ringing := true; ringing; {
			select {
			case <-stop:
				ringing = false
			default:
				// SIGURG is what the runtime itself interrupts threads with.
				if err := unix.Tgkill(os.Getpid(), id, unix.SIGURG); err != nil {
					t.Fatal(err)
				}
				time.Sleep(200 * time.Microsecond)
			}
		}
		if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 || a.Took < timeout {
			t.Errorf("Select(%v) returned %v, %v after %v", timeout, a.Ready, a.Err, a.Took)
		}
	})
}

// TestAsyncioPtyHangup: the end of a terminal shows as readable, and the read
// as EIO.
func TestAsyncioPtyHangup(t *testing.T) {
	open := func(t *testing.T, name string) int {
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Skip("needs pseudo-terminals: ", err)
		}
		return fdtest.Own(t, fd)
	}
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		master := open(t, "/dev/ptmx")
		if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
			t.Fatal(err)
		}
		n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN) // 32 bits, in the machine's order
		if err != nil {
			t.Fatal(err)
		}
		slave := open(t, "/dev/pts/"+strconv.Itoa(int(n)))
		backendtest.Register(t, s, master, read)
		backendtest.Register(t, s, slave, read)
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, slave, "output")
		fdtest.AwaitReadable(t, master)
		backendtest.Expect(t, s, batch{master: read})
		if got := fdtest.Read(t, master, 16); got != "output" {
			t.Errorf("read %q", got)
		}
		fdtest.Write(t, master, "input\n")
		fdtest.AwaitReadable(t, slave)
		fdtest.AwaitReadable(t, master)
		backendtest.Expect(t, s, batch{slave: read, master: read}) // with the echo
		fdtest.Drain(t, master)
		fdtest.Drain(t, slave)
		backendtest.ExpectNothing(t, s)

		backendtest.Unregister(t, s, slave)
		fdtest.Close(t, slave)
		fdtest.AwaitReadable(t, master)
		backendtest.ExpectWithHints(t, s, batch{master: read | backendtest.SupportedHints(s, selectors.EventHangup)})
		if _, err := unix.Read(master, make([]byte, 1)); err != unix.EIO {
			t.Errorf("read at the end: %v", err)
		}
	})
}

// TestLibuvPollNested: a selector's epoll set may itself be watched, and is
// silent while there is nothing in it; and files of all of Linux's kinds.
func TestLibuvPollNested(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		set = fdtest.Own(t, set)
		r, w := fdtest.Pipe(t)
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, r, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
			t.Fatal(err)
		}
		backendtest.Register(t, s, set, read)
		backendtest.ExpectNothing(t, s)
		c := backendtest.StartSelect(s, fdtest.Timeout)
		fdtest.Write(t, w, "x")
		a := backendtest.Await(t, c)
		if a.Err != nil || len(a.Ready) != 1 || a.Ready[0].Key.FD != set || a.Ready[0].Events != read {
			t.Errorf("Select returned %v, %v", a.Ready, a.Err)
		}
		fdtest.Drain(t, r)
		backendtest.ExpectNothing(t, s)
	})
}

// TestLinuxFiles: what Linux tells through descriptors.
func TestLinuxFiles(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func(t *testing.T) (fd int, stir func())
	}{
		{"eventfd", func(t *testing.T) (int, func()) {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
			return fd, func() { fdtest.Write(t, fd, "\x01\x01\x01\x01\x01\x01\x01\x01") }
		}},
		{"timerfd", func(t *testing.T) (int, func()) {
			fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
			return fd, func() {
				if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(1000)}, nil); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"inotify", func(t *testing.T) (int, func()) {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
			dir := t.TempDir()
			if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE); err != nil {
				t.Fatal(err)
			}
			n := 0
			return fd, func() {
				n++
				if err := os.WriteFile(dir+"/"+strconv.Itoa(n), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				fd, stir := kind.make(t)
				backendtest.Register(t, s, fd, read)
				backendtest.ExpectNothing(t, s)
				for range 3 {
					stir()
					backendtest.Expect(t, s, batch{fd: read})
					drainOnce(t, fd)
					backendtest.ExpectNothing(t, s)
				}
			})
		})
	}
}

func drainOnce(t *testing.T, fd int) {
	t.Helper()
	if _, err := unix.Read(fd, make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
}
