// Lesson 2: the same server, in one goroutine that waits for everybody at once.
// It never waits in read or write: its sockets are non-blocking, and epoll says
// which of them are ready. All the waiting is in one call, epoll_wait.
//
//	go run ./examples/02-epoll
//	go run ./examples/02-epoll -edge
//	go run ./examples/02-epoll -experiment
//
// This file prepares; the lesson is in server_linux.go.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// listen is socket, bind, listen: what net.Listen does. It returns the address
// too, since port 0 asks for any free one.
func listen(addr netip.AddrPort) (int, netip.AddrPort) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	check("socket", err)
	check("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	check("bind", unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}))
	check("listen", unix.Listen(fd, unix.SOMAXCONN))
	bound, err := unix.Getsockname(fd)
	check("getsockname", err)
	return fd, netip.AddrPortFrom(addr.Addr(), uint16(bound.(*unix.SockaddrInet4).Port))
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen on `ip:port`, IPv4; port 0 is any free one")
	edge := flag.Bool("edge", false, "be told about changes (edge-triggered), not about states (level-triggered)")
	try := flag.Bool("experiment", false, "show what a reader misses that does not drain, and end")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: 02-epoll [-addr ip:port] [-edge] [-experiment]")
		flag.PrintDefaults()
	}
	flag.Parse()
	ip, err := netip.ParseAddrPort(*addr)
	if flag.NArg() > 0 || err != nil || !ip.Addr().Is4() {
		flag.Usage()
		os.Exit(2)
	}
	if *try {
		experiment()
		return
	}
	s := &server{clients: make(map[int]*client)}
	if *edge {
		s.edge = unix.EPOLLET
	}
	s.listener, ip = listen(ip)
	s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	check("epoll_create1", err)
	s.control(unix.EPOLL_CTL_ADD, s.listener, unix.EPOLLIN)

	// Ctrl-C is no descriptor, and the loop waits for nothing else. So make it
	// one: an eventfd becomes readable when somebody writes to it.
	quit, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	check("eventfd", err)
	s.control(unix.EPOLL_CTL_ADD, quit, unix.EPOLLIN)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM)
	go func() {
		<-signals
		unix.Write(quit, binary.NativeEndian.AppendUint64(nil, 1))
	}()

	fmt.Printf("02-epoll: listening on %v, edge-triggered: %v; try: nc %v %d\n", ip, *edge, ip.Addr(), ip.Port())
	s.loop(quit)
	fmt.Println("02-epoll: bye")
}

func check(call string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "02-epoll: %s: %v\n", call, err)
		os.Exit(1)
	}
}
