package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

// stdin sends what is typed to the shell. The end of stdin ends the program. (A
// terminal delivers a line when Enter is pressed; the terminal driver does that.)
func (d *demo) stdin() {
	cli.CheckOp("stdin", d.watch(os.Stdin, func(p []byte) {
		if p == nil {
			d.printf("stdin", "end of input")
			d.loop.Stop()
			return
		}
		d.printf("stdin", "%q, to the shell", p)
		selectors.TryWrite(d.shell, p) // may write only a part: see lesson 7
	}))
}

// pty opens a pseudo-terminal: a terminal without a screen. The shell uses the
// slave side as its terminal. What it prints can be read from the master side.
func (d *demo) pty() {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	cli.CheckOp("/dev/ptmx", err)
	cli.CheckOp("pty", unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)) // unlock the slave side
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)                    // the kernel writes 32 bits
	cli.CheckOp("pty", err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	cli.CheckOp("pty", err)
	defer slave.Close() // the shell has its own descriptor
	shell := exec.Command("sh", "-i")
	shell.Env = append(os.Environ(), "PS1=$ ", "ENV=", "HISTFILE=")
	shell.Stdin, shell.Stdout, shell.Stderr = slave, slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cli.CheckOp("shell", shell.Start())
	d.shell = os.NewFile(uintptr(fd), "pty")
	cli.CheckOp("pty", d.watch(d.shell, func(p []byte) {
		if p == nil {
			d.printf("pty", "the shell ended")
			return
		}
		d.printf("pty", "%q", p)
	}))
	d.cleanup = append(d.cleanup, func() { // its children get SIGHUP when the master side closes
		shell.Process.Kill()
		shell.Wait()
	})
}

// udp receives datagrams, one per read.
func (d *demo) udp() {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	cli.CheckOp("udp", err)
	host, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	d.printf("udp", "echo hello | nc -u -w1 %s %s", host, port)
	cli.CheckOp("udp", d.watch(conn, func(p []byte) { d.printf("udp", "datagram %q", p) }))
}

// tcp accepts clients and reads from them.
func (d *demo) tcp() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	cli.CheckOp("tcp", err)
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	d.printf("tcp", "nc %s %s", host, port)
	d.listen(listener)
}

func (d *demo) listen(listener net.Listener) {
	_, err := d.loop.Register(listener, selectors.EventRead, func(any, selectors.Event) {
		conn, err := selectors.TryAccept(listener)
		if err == selectors.ErrWouldBlock {
			return
		}
		if err == nil {
			if err = d.watch(conn, d.onClientData); err == nil {
				d.printf("tcp", "client connected")
				return
			}
			conn.Close() // without registration it would never be served or closed
		}
		// Usually "too many open files": do not watch the listener for a while,
		// as in lesson 4.
		cli.Errorf("tcp: %v", err)
		d.loop.Unregister(listener)
		_, err = d.loop.CallLater(100*time.Millisecond, func() { d.listen(listener) })
		cli.CheckOp("tcp", err)
	})
	cli.CheckOp("tcp", err)
}

func (d *demo) onClientData(p []byte) {
	if p == nil {
		d.printf("tcp", "client disconnected")
		return
	}
	d.printf("tcp", "%q", strings.TrimSpace(string(p)))
}
