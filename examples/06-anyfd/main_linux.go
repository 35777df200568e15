// Lesson 6: everything is a descriptor. Keys typed, a shell in a pty, changes in
// a directory, a timer, a signal, another goroutine, the end of a child, UDP and
// TCP: on Linux all of them become readable when they have something to say, so
// one loop waits for all of them, by one system call.
//
//	go run ./examples/06-anyfd
//	go run ./examples/06-anyfd -backend select
//
// How it becomes a descriptor is in streams_linux.go, what any system has, and
// in kernel_linux.go, what is Linux's own.
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
	"goselectors/selectors"
)

type lesson struct {
	loop    *eventloop.Loop
	shell   *os.File // our end of its terminal
	cleanup []func() // what is left to do when all files are closed
	buf     [4096]byte
}

// say prints what a descriptor had to say.
func (l *lesson) say(what, format string, args ...any) {
	fmt.Printf("  %-9s "+format+"\n", append([]any{what}, args...)...)
}

// read has got called with everything that file has to be read, whatever it is,
// and with nil at its end. Nearly all of this lesson comes down to it.
func (l *lesson) read(what string, file any, got func(p []byte)) {
	_, err := l.loop.Register(file, selectors.EventRead, func(any, selectors.Event) {
		n, err := selectors.TryRead(file, l.buf[:])
		switch {
		case err == selectors.ErrWouldBlock: // the hint was wrong
		case err == nil:
			got(l.buf[:n])
		default: // io.EOF, mostly; a pty says EIO
			got(nil)
			l.drop(file)
		}
	})
	check(what, err)
}

// drop unregisters and closes a file.
func (l *lesson) drop(file any) {
	key, err := l.loop.Unregister(file)
	check("unregister", err)
	if c, ok := file.(io.Closer); ok {
		c.Close()
	} else {
		unix.Close(key.FD)
	}
}

func main() {
	tick := flag.Duration("tick", 2*time.Second, "the timer expires so `often`")
	backend := flag.String("backend", "", "use the `backend` of this name instead of the best")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: 06-anyfd [-tick time] [-backend name]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *backend != "" {
		os.Setenv(selectors.BackendEnv, *backend) // the loop's selector is the default one
	}
	loop, err := eventloop.New()
	if flag.NArg() > 0 || *tick <= 0 || err != nil {
		if err != nil {
			fmt.Fprintln(os.Stderr, "06-anyfd:", err)
		}
		flag.Usage()
		os.Exit(2)
	}
	defer loop.Close()
	l := &lesson{loop: loop}
	fmt.Println("06-anyfd: try the commands below in another terminal, and type some for the shell here")
	l.pty()
	l.stdin()
	l.inotify()
	l.timer(*tick)
	l.signals()
	l.goroutine()
	l.child()
	l.udp()
	l.tcp()
	for key := range loop.Selector().Keys() {
		fmt.Printf("  fd %d is %T\n", key.FD, key.FileObj)
	}
	check("run", loop.Run(context.Background()))
	for key := range loop.Selector().Keys() {
		l.drop(key.FileObj)
	}
	for _, clean := range l.cleanup {
		clean()
	}
	fmt.Println("06-anyfd: bye")
}

func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "06-anyfd: %s: %v\n", what, err)
		os.Exit(1)
	}
}
