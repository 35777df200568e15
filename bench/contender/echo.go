//go:build linux

package main

import (
	"context"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// The echo servers print their port and serve until they are killed. The load
// generator never has more requests in flight than fit into a socket buffer, so the
// servers on bare descriptors, here and in C, do not queue data that they cannot
// write.

// announcePort prints the port. From then on it prints the heap figures at each
// SIGUSR1.
func announcePort(port int) {
	figures{"port": float64(port)}.print()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	go func() {
		for range signals {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			figures{"heap": float64(m.HeapAlloc), "stack": float64(m.StackInuse)}.print()
		}
	}()
}

// portOf returns the port of an address of the form host:port.
func portOf(address string) int {
	_, port, err := net.SplitHostPort(address)
	check(err)
	number, err := strconv.Atoi(port)
	check(err)
	return number
}

// listen returns a nonblocking listening socket and announces its port.
func listen() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	check(err)
	check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(unix.Listen(fd, 4096))
	addr, err := unix.Getsockname(fd)
	check(err)
	announcePort(addr.(*unix.SockaddrInet4).Port)
	return fd
}

// acceptAll accepts all queued connections and calls add with each. Like the C
// programs it does not ask for the peer's address; unix.Accept4 does and allocates
// memory for it.
func acceptAll(listener int, add func(fd int)) {
	for {
		fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			return
		}
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		add(int(fd))
	}
}

var echoBuffer = make([]byte, 64<<10)

// echoOnce reads once and writes the data back, with raw calls. It returns false
// when the connection has ended.
func echoOnce(fd int) bool {
	n, errno := rawRead(fd, echoBuffer)
	switch {
	case errno == unix.EAGAIN:
		return true
	case errno != 0 || n == 0:
		return false
	}
	wrote, _ := rawWrite(fd, echoBuffer[:n])
	return wrote == n
}

// echoLoop uses the same callback for all connections.
func echoLoop(a args) {
	l, listener := newLoop(a), listen()
	ready := eventloop.Callback(func(fileobj any, _ selectors.Event) {
		if fd := fileobj.(int); !echoOnce(fd) {
			_, err := l.Unregister(fd)
			check(err)
			unix.Close(fd)
		}
	})
	_, err := l.Register(listener, selectors.EventRead, func(any, selectors.Event) {
		acceptAll(listener, func(fd int) {
			_, err := l.Register(fd, selectors.EventRead, ready)
			check(err)
		})
	})
	check(err)
	check(l.Run(context.Background()))
}

func echoSelector(a args) {
	sel, listener := newSelector(a), listen()
	_, err := sel.Register(listener, selectors.EventRead, nil)
	check(err)
	var batch []selectors.Ready
	for {
		batch, err = sel.SelectInto(batch[:0], -1)
		check(err)
		for _, ready := range batch {
			switch fd := ready.Key.FD; {
			case fd == listener:
				acceptAll(listener, func(fd int) {
					_, err := sel.Register(fd, selectors.EventRead, nil)
					check(err)
				})
			case !echoOnce(fd):
				sel.Unregister(fd)
				unix.Close(fd)
			}
		}
	}
}

// echoRaw is a handwritten epoll loop with raw read and write calls.
func echoRaw(a args) { echoEpoll(echoOnce) }

// echoUnix is a handwritten epoll loop with the calls of package unix.
func echoUnix(a args) { echoEpoll(echoOnceUnix) }

// echoOnceUnix is echoOnce with the calls of package unix.
func echoOnceUnix(fd int) bool {
	n, err := unix.Read(fd, echoBuffer)
	if err == unix.EAGAIN {
		return true
	}
	if err != nil || n == 0 {
		return false
	}
	wrote, err := unix.Write(fd, echoBuffer[:n])
	return err == nil && wrote == n
}

func echoEpoll(once func(int) bool) {
	epfd, listener := epollCreate(), listen()
	epollAdd(epfd, listener, listener)
	events := make([]unix.EpollEvent, 1024)
	for {
		for _, e := range events[:epollWait(epfd, events)] {
			switch fd := int(e.Fd); {
			case fd == listener:
				acceptAll(listener, func(fd int) { epollAdd(epfd, fd, fd) })
			case !once(fd):
				unix.Close(fd)
			}
		}
	}
}

// echoNet uses package net with a goroutine and a buffer for each connection.
func echoNet(a args) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	announcePort(ln.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := ln.Accept()
		check(err)
		go func() {
			defer conn.Close()
			buffer := make([]byte, 4096)
			for {
				n, err := conn.Read(buffer)
				if err != nil {
					return
				}
				if _, err := conn.Write(buffer[:n]); err != nil {
					return
				}
			}
		}()
	}
}
