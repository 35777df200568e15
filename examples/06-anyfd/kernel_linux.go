package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

// inotify reports changes in a directory.
func (d *demo) inotify() {
	dir, err := os.MkdirTemp("", "anyfd")
	cli.CheckOp("inotify", err)
	d.cleanup = append(d.cleanup, func() { os.RemoveAll(dir) })
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	cli.CheckOp("inotify", err)
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_DELETE)
	cli.CheckOp("inotify", err)
	d.printf("inotify", "touch %s/file", dir)
	err = d.watch(fd, func(p []byte) {
		// A record is: watch, mask, cookie, length of the name (4 bytes each), name.
		for len(p) >= unix.SizeofInotifyEvent {
			mask, length := binary.NativeEndian.Uint32(p[4:]), binary.NativeEndian.Uint32(p[12:])
			name := p[unix.SizeofInotifyEvent:][:length]
			change := "created"
			if mask&unix.IN_DELETE != 0 {
				change = "deleted"
			}
			d.printf("inotify", "%s was %s", bytes.TrimRight(name, "\x00"), change)
			p = p[unix.SizeofInotifyEvent+length:]
		}
	})
	cli.CheckOp("inotify", err)
}

// timerfd opens a descriptor that becomes readable at a given time. Reading it
// returns how often it has expired. (Loop.CallLater needs no timerfd: the loop
// keeps its own timers.)
func (d *demo) timerfd(tick time.Duration) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	cli.CheckOp("timerfd", err)
	interval := unix.NsecToTimespec(int64(tick))
	cli.CheckOp("timerfd", unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: interval, Value: interval}, nil))
	cli.CheckOp("timerfd", d.watch(fd, func(p []byte) {
		d.printf("timerfd", "expired %d times since the last read", binary.NativeEndian.Uint64(p))
	}))
}

// eventfd opens a counter that is readable while it is not zero. Another
// goroutine, or a thread of a C library, wakes the loop by adding to it.
// (Loop.Post does that too, and needs no eventfd of yours.)
func (d *demo) eventfd() {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	cli.CheckOp("eventfd", err)
	cli.CheckOp("eventfd", d.watch(fd, func(p []byte) {
		d.printf("eventfd", "a goroutine added %d", binary.NativeEndian.Uint64(p))
	}))
	go func() {
		time.Sleep(100 * time.Millisecond) // stands for work that takes long
		unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 42))
	}()
}

// pidfd starts a child process. Its pidfd becomes readable when the child ends.
// There is nothing to read from it, and Wait then returns at once.
func (d *demo) pidfd() {
	pidfd := -1
	child := exec.Command("sh", "-c", "sleep 0.2; exit 7")
	child.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	cli.CheckOp("child", child.Start())
	if pidfd < 0 { // before Linux 5.3
		d.printf("pidfd", "not available on this kernel")
		return
	}
	_, err := d.loop.Register(pidfd, selectors.EventRead, func(any, selectors.Event) {
		d.unwatch(pidfd)
		child.Wait() // its error is for a status other than 0, which is printed anyway
		d.printf("pidfd", "the child ended: %v", child.ProcessState)
	})
	cli.CheckOp("pidfd", err)
}

// signals shows the only exception. Linux has signalfd, but a signalfd requires
// that all threads block the signal, and Go's runtime manages the threads. So
// the loop gets signals from package os/signal.
func (d *demo) signals() {
	d.printf("signal", "kill -USR1 %d", os.Getpid())
	_, err := d.loop.OnSignal(unix.SIGUSR1, func(sig os.Signal) { d.printf("signal", "%v", sig) })
	cli.CheckOp("signal", err)
	cli.StopOnInterrupt(d.loop)
}
