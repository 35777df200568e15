package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// inotify: the kernel tells what happens in a directory.
func (l *lesson) inotify() {
	dir, err := os.MkdirTemp("", "anyfd")
	check("inotify", err)
	l.cleanup = append(l.cleanup, func() { os.RemoveAll(dir) })
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	check("inotify", err)
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_DELETE)
	check("inotify", err)
	l.say("inotify", "touch %s/file", dir)
	l.read("inotify", fd, func(p []byte) {
		for len(p) >= unix.SizeofInotifyEvent { // a record: watch, what, cookie, length of the name; the name
			mask, length := binary.NativeEndian.Uint32(p[4:]), binary.NativeEndian.Uint32(p[12:])
			name := p[unix.SizeofInotifyEvent:][:length]
			what := "created"
			if mask&unix.IN_DELETE != 0 {
				what = "deleted"
			}
			l.say("inotify", "%s was %s", bytes.TrimRight(name, "\x00"), what)
			p = p[unix.SizeofInotifyEvent+length:]
		}
	})
}

// timer: a descriptor that gets readable at a time. What is read is how often it
// has expired. (CallLater needs none: the loop has timers of its own.)
func (l *lesson) timer(tick time.Duration) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	check("timerfd", err)
	every := unix.NsecToTimespec(int64(tick))
	check("timerfd", unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil))
	l.read("timerfd", fd, func(p []byte) {
		l.say("timerfd", "expired, %d times since last read", binary.NativeEndian.Uint64(p))
	})
}

// goroutine: an eventfd is a counter to wait for, so that another goroutine, or
// a thread of a C library, can knock. (Loop.Post does that without one.)
func (l *lesson) goroutine() {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	check("eventfd", err)
	l.read("eventfd", fd, func(p []byte) {
		l.say("eventfd", "a goroutine adds %d", binary.NativeEndian.Uint64(p))
	})
	go func() {
		time.Sleep(100 * time.Millisecond) // or anything else that takes long
		unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 42))
	}()
}

// child: a pidfd gets readable when its process ends. There is nothing to read
// from it; Wait then does not wait.
func (l *lesson) child() {
	pidfd := -1
	child := exec.Command("sh", "-c", "sleep 0.2; exit 7")
	child.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	check("child", child.Start())
	if pidfd < 0 { // before Linux 5.3
		l.say("pidfd", "this kernel has none")
		return
	}
	_, err := l.loop.Register(pidfd, selectors.EventRead, func(any, selectors.Event) {
		l.drop(pidfd)
		l.say("pidfd", "the child ended: %v", child.Wait())
	})
	check("pidfd", err)
}

// signals: the one exception. Linux has signalfd, which wants the signal blocked
// in all threads, and threads are Go's own business; so the loop gets signals
// from package os/signal.
func (l *lesson) signals() {
	l.say("signal", "kill -USR1 %d", os.Getpid())
	_, err := l.loop.OnSignal(unix.SIGUSR1, func(sig os.Signal) { l.say("signal", "%v", sig) })
	check("signal", err)
	for _, sig := range []os.Signal{os.Interrupt, unix.SIGTERM} {
		_, err := l.loop.OnSignal(sig, func(os.Signal) { l.loop.Stop() })
		check("signal", err)
	}
}
