// Lesson 6: everything is a descriptor. Keyboard input, a shell in a
// pseudo-terminal, changes in a directory, a timer, another goroutine, the end
// of a child process, UDP and TCP: on Linux all of these are descriptors that
// become readable. So one loop waits for all of them with one system call.
//
//	go run ./examples/06-anyfd
//	go run ./examples/06-anyfd -backend select
//
// streams_linux.go opens the descriptors that every Unix has, kernel_linux.go
// those that only Linux has.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/eventloop"
	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

type demo struct {
	loop    *eventloop.Loop
	shell   *os.File // the master side of the shell's terminal
	cleanup []func() // called after all files are closed
	buf     [4096]byte
}

// printf prints one line about a source of events.
func (d *demo) printf(source, format string, args ...any) {
	fmt.Printf("  %-9s "+format+"\n", append([]any{source}, args...)...)
}

// watch reads from the file whenever it is readable and calls onData with the
// bytes. At the end of the file it closes the file and calls onData with nil.
// It works for every kind of file: this is the main point of the lesson.
func (d *demo) watch(file any, onData func(p []byte)) error {
	_, err := d.loop.Register(file, selectors.EventRead, func(any, selectors.Event) {
		n, err := selectors.TryRead(file, d.buf[:])
		switch {
		case err == selectors.ErrWouldBlock: // readiness is only a hint
		case err == nil:
			onData(d.buf[:n])
		default: // usually io.EOF; for a pseudo-terminal EIO
			onData(nil)
			d.unwatch(file)
		}
	})
	return err
}

// unwatch unregisters and closes a file.
func (d *demo) unwatch(file any) {
	key, err := d.loop.Unregister(file)
	cli.CheckOp("unregister", err)
	if c, ok := file.(io.Closer); ok {
		c.Close()
	} else {
		unix.Close(key.FD)
	}
}

func main() {
	tick := flag.Duration("tick", 2*time.Second, "the `interval` of the timer")
	cli.BackendFlag()
	cli.Parse("06-anyfd")
	if *tick <= 0 {
		cli.UsageError("-tick must be positive")
	}
	loop, err := eventloop.New()
	cli.Check(err)
	defer loop.Close()
	d := &demo{loop: loop}
	cli.Printf("try the commands below in another terminal; what you type here goes to a shell")
	d.pty()
	d.stdin()
	d.inotify()
	d.timerfd(*tick)
	d.signals()
	d.eventfd()
	d.pidfd()
	d.udp()
	d.tcp()
	for key := range loop.Selector().Keys() {
		fmt.Printf("  fd %d is %T\n", key.FD, key.FileObj)
	}
	cli.Check(loop.Run(context.Background()))
	for key := range loop.Selector().Keys() {
		d.unwatch(key.FileObj)
	}
	for _, clean := range d.cleanup {
		clean()
	}
	cli.Printf("bye")
}
