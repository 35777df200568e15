// Lesson 2: the same server with epoll, in one goroutine that waits for all
// clients at once. It never waits in read or write: its sockets are
// non-blocking, and epoll tells which of them are ready. The only call that
// waits is epoll_wait.
//
//	go run ./examples/02-epoll
//	go run ./examples/02-epoll -edge
//	go run ./examples/02-epoll -experiment
//
// This file does the setup. The loop is in server_linux.go, and what it does for
// one client in client_linux.go.
package main

import (
	"encoding/binary"
	"flag"
	"net"
	"net/netip"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/cli"
)

// listen does what net.Listen does: socket, bind, listen. It returns the bound
// address too, because port 0 means any free port.
func listen(addr netip.AddrPort) (int, netip.AddrPort) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	cli.CheckOp("socket", err)
	cli.CheckOp("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	cli.CheckOp("bind", unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}))
	cli.CheckOp("listen", unix.Listen(fd, unix.SOMAXCONN))
	bound, err := unix.Getsockname(fd)
	cli.CheckOp("getsockname", err)
	return fd, netip.AddrPortFrom(addr.Addr(), uint16(bound.(*unix.SockaddrInet4).Port))
}

// signalFD returns an eventfd that becomes readable on Ctrl-C. A signal is not a
// descriptor, and the loop waits only for descriptors.
func signalFD() int {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	cli.CheckOp("eventfd", err)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM)
	go func() {
		<-signals
		unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 1))
	}()
	return fd
}

func main() {
	addr := cli.AddrFlag("127.0.0.1:8080")
	edge := flag.Bool("edge", false, "use edge-triggered epoll (reports changes) instead of level-triggered (reports states)")
	runExperiment := flag.Bool("experiment", false, "show what an edge-triggered reader misses if it does not read until EAGAIN, and exit")
	cli.Parse("02-epoll")
	if *runExperiment {
		experiment()
		return
	}
	ip, err := netip.ParseAddrPort(*addr)
	if err != nil || !ip.Addr().Is4() {
		cli.UsageError("-addr must be an IPv4 address and a port")
	}
	s := &server{clients: make(map[int]*client), quit: signalFD()}
	mode := "level-triggered"
	if *edge {
		s.edge, mode = unix.EPOLLET, "edge-triggered"
	}
	s.listener, ip = listen(ip)
	s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	cli.CheckOp("epoll_create1", err)
	cli.CheckOp("epoll_ctl", s.epollCtl(unix.EPOLL_CTL_ADD, s.listener, unix.EPOLLIN))
	cli.CheckOp("epoll_ctl", s.epollCtl(unix.EPOLL_CTL_ADD, s.quit, unix.EPOLLIN))

	cli.Listening(net.TCPAddrFromAddrPort(ip), mode)
	s.loop()
	cli.Printf("bye")
}
