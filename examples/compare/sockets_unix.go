//go:build unix

package main

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// A link holds the descriptors of the two ends of a TCP connection. It is not a
// pair of net.Conn, because the Go runtime watches those too, which costs time on
// each event.
type link [2]int

// connect opens n non-blocking connections over loopback.
func connect(n int) (links []link, err error) {
	defer func() {
		if err != nil {
			disconnect(links)
		}
	}()
	listener, err := socket()
	if err != nil {
		return nil, err
	}
	defer unix.Close(listener)
	if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(listener, 16); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	addr, err := unix.Getsockname(listener)
	if err != nil {
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	for len(links) < n {
		client, err := socket()
		if err != nil {
			return links, err
		}
		server := -1
		// EISCONN: a call interrupted by a signal has connected the socket.
		if err = retryEINTR(func() error { return unix.Connect(client, addr) }); err == nil || err == unix.EISCONN {
			err = retryEINTR(func() (err error) { server, _, err = unix.Accept(listener); return err })
		}
		if err != nil {
			unix.Close(client)
			return links, fmt.Errorf("connection %d: %w", len(links)+1, err)
		}
		links = append(links, link{client, server})
		for _, fd := range links[len(links)-1] {
			unix.CloseOnExec(fd)
			if err := unix.SetNonblock(fd, true); err != nil {
				return links, fmt.Errorf("setnonblock: %w", err)
			}
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}
	}
	return links, nil
}

// socket returns a blocking TCP socket.
func socket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}

// disconnect resets the connections. A normal close would leave thousands of ports
// in the state TIME_WAIT, in use for about a minute.
func disconnect(links []link) {
	for _, link := range links {
		for _, fd := range link {
			unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			unix.Close(fd)
		}
	}
}

// retryEINTR calls a system call until a signal does not interrupt it.
func retryEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func read(fd int, p []byte) (int, error)  { return unix.Read(fd, p) }
func write(fd int, p []byte) (int, error) { return unix.Write(fd, p) }

// processorTime returns the processor time that this process has used.
func processorTime() (user, sys time.Duration) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, 0
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}

// descriptorLimit returns how many descriptors this process may have open. This is
// the soft limit, which the Go runtime raises to the hard limit at the start.
func descriptorLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil || uint64(r.Cur) > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(r.Cur)
}
