package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// stdin: what is typed here goes to the shell; its end is the end of all. (A
// terminal gives lines, when Enter is pressed: that is the terminal's doing.)
func (l *lesson) stdin() {
	l.read("stdin", os.Stdin, func(p []byte) {
		if p == nil {
			l.say("stdin", "has ended")
			l.loop.Stop()
			return
		}
		l.say("stdin", "%q, to the shell", p)
		selectors.TryWrite(l.shell, p) // lesson 7 has more to say about this
	})
}

// pty: a terminal without a screen. The shell has one end of it for its
// terminal, and what it prints there is to be read at the other, the master.
func (l *lesson) pty() {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	check("/dev/ptmx", err)
	check("pty", unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)) // unlock the other end
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	check("pty", err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	check("pty", err)
	defer slave.Close() // the shell has it
	shell := exec.Command("sh", "-i")
	shell.Env = append(os.Environ(), "PS1=$ ", "ENV=", "HISTFILE=")
	shell.Stdin, shell.Stdout, shell.Stderr = slave, slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	check("shell", shell.Start())
	l.shell = os.NewFile(uintptr(fd), "pty")
	l.read("pty", l.shell, func(p []byte) {
		if p == nil {
			l.say("pty", "the shell has gone")
			return
		}
		l.say("pty", "%q", p)
	})
	l.cleanup = append(l.cleanup, func() { // what it runs gets a hangup when our end is closed
		shell.Process.Kill()
		shell.Wait()
	})
}

// udp: a datagram a read.
func (l *lesson) udp() {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	check("udp", err)
	host, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	l.say("udp", "echo hello | nc -u -w1 %s %s", host, port)
	l.read("udp", conn, func(p []byte) { l.say("udp", "datagram %q", p) })
}

// tcp: a listener, and what comes out of it.
func (l *lesson) tcp() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check("tcp", err)
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	l.say("tcp", "nc %s %s", host, port)
	_, err = l.loop.Register(listener, selectors.EventRead, func(any, selectors.Event) {
		conn, err := selectors.TryAccept(listener)
		if err != nil {
			return
		}
		l.say("tcp", "a client")
		l.read("tcp", conn, func(p []byte) {
			if p == nil {
				l.say("tcp", "has gone")
				return
			}
			l.say("tcp", "%q", strings.TrimSpace(string(p)))
		})
	})
	check("tcp", err)
}
