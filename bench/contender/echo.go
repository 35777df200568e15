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
// generator never has more under way than a socket's buffer takes, so none of
// those on bare descriptors queues what it cannot write, nor do those in C.

// serving prints the port, and answers SIGUSR1 with what is on the heap.
func serving(port int) {
	figures{"port": float64(port)}.print()
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGUSR1)
	go func() {
		for range asked {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			figures{"heap": float64(m.HeapAlloc), "stack": float64(m.StackInuse)}.print()
		}
	}()
}

func portOf(address string) int {
	_, port, err := net.SplitHostPort(address)
	check(err)
	number, err := strconv.Atoi(port)
	check(err)
	return number
}

func listen() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	check(err)
	check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(unix.Listen(fd, 4096))
	at, err := unix.Getsockname(fd)
	check(err)
	serving(at.(*unix.SockaddrInet4).Port)
	return fd
}

// accept calls add with each connection that is queued. It does not ask for the
// peer's address, nor does C; unix.Accept4 does, and makes garbage of it.
func accept(listener int, add func(fd int)) {
	for {
		fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			return
		}
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		add(int(fd))
	}
}

var buffer = make([]byte, 64<<10)

// echo reports false when the connection has ended.
func echo(fd int) bool {
	n, errno := rawRead(fd, buffer)
	switch {
	case errno == unix.EAGAIN:
		return true
	case errno != 0 || n == 0:
		return false
	}
	wrote, _ := rawWrite(fd, buffer[:n])
	return wrote == n
}

// echoLoop has one callback for all connections.
func echoLoop(a args) {
	l, listener := newLoop(a), listen()
	ready := eventloop.Callback(func(fileobj any, _ selectors.Event) {
		if fd := fileobj.(int); !echo(fd) {
			_, err := l.Unregister(fd)
			check(err)
			unix.Close(fd)
		}
	})
	_, err := l.Register(listener, selectors.EventRead, func(any, selectors.Event) {
		accept(listener, func(fd int) {
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
				accept(listener, func(fd int) {
					_, err := sel.Register(fd, selectors.EventRead, nil)
					check(err)
				})
			case !echo(fd):
				sel.Unregister(fd)
				unix.Close(fd)
			}
		}
	}
}

// echoRaw is a loop by hand that knows all the tricks, echoUnix one that knows
// none.
func echoRaw(a args)  { echoEpoll(echo) }
func echoUnix(a args) { echoEpoll(echoPlain) }

func echoPlain(fd int) bool {
	n, err := unix.Read(fd, buffer)
	if err == unix.EAGAIN {
		return true
	}
	if err != nil || n == 0 {
		return false
	}
	wrote, err := unix.Write(fd, buffer[:n])
	return err == nil && wrote == n
}

func echoEpoll(echo func(int) bool) {
	set, listener := epollSet(), listen()
	epollAdd(set, listener, listener)
	events := make([]unix.EpollEvent, 1024)
	for {
		for _, e := range events[:epollWait(set, events)] {
			switch fd := int(e.Fd); {
			case fd == listener:
				accept(listener, func(fd int) { epollAdd(set, fd, fd) })
			case !echo(fd):
				unix.Close(fd)
			}
		}
	}
}

// echoNet is what Go offers: a goroutine for each connection, and a buffer.
func echoNet(a args) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	serving(ln.Addr().(*net.TCPAddr).Port)
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
