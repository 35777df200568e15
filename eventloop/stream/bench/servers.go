//go:build linux

package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"

	"github.com/cloudwego/netpoll"
	"golang.org/x/sys/unix"
)

// servers are the contenders. Each says its port, and goes on for ever.
var servers = map[string]func() error{
	"stream":  onStream,
	"net":     onNet,
	"netpoll": onNetpoll,
	"epoll":   onEpoll,
	"http":    onHTTP,
}

func listening(port int) { fmt.Println(port) }

type echo struct{ stream.BaseHandler }

func (echo) DataReceived(c *stream.Conn, p []byte) { c.Write(p) }

func onStream() error {
	pin(*serverOn)
	loop, err := eventloop.New()
	if err != nil {
		return err
	}
	l, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler { return echo{} })
	if err != nil {
		return err
	}
	listening(l.Addr().(*net.TCPAddr).Port)
	return loop.Run(context.Background())
}

func onNet() error {
	pin(*serverOn)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listening(l.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			buf := make([]byte, 4096)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				if _, err := conn.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

func onNetpoll() error {
	pin(*serverOn)
	if err := netpoll.Configure(netpoll.Config{PollerNum: 1}); err != nil {
		return err
	}
	l, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	loop, err := netpoll.NewEventLoop(func(_ context.Context, conn netpoll.Connection) error {
		r, w := conn.Reader(), conn.Writer()
		p, err := r.Next(r.Len())
		if err != nil {
			return err
		}
		if _, err := w.WriteBinary(p); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		return r.Release()
	})
	if err != nil {
		return err
	}
	listening(l.Addr().(*net.TCPAddr).Port)
	return loop.Serve(l)
}

// onEpoll is the floor: a loop and nothing else.
func onEpoll() error {
	pin(*serverOn)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	check(err)
	check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(unix.Listen(fd, 4096))
	sa, err := unix.Getsockname(fd)
	check(err)
	epfd, err := unix.EpollCreate1(0)
	check(err)
	check(unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	listening(sa.(*unix.SockaddrInet4).Port)
	events := make([]unix.EpollEvent, 1024)
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.EpollWait(epfd, events, -1)
		if err == unix.EINTR {
			continue
		}
		check(err)
		for _, ev := range events[:n] {
			if int(ev.Fd) == fd {
				conn, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK)
				check(err)
				unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
				check(unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, conn, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(conn)}))
				continue
			}
			got, err := unix.Read(int(ev.Fd), buf)
			if err == unix.EAGAIN {
				continue
			}
			if err != nil || got == 0 {
				unix.Close(int(ev.Fd))
				continue
			}
			unix.Write(int(ev.Fd), buf[:got])
		}
	}
}

// onHTTP serves the directory named by the environment, as examples/httpd does.
func onHTTP() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listening(l.Addr().(*net.TCPAddr).Port)
	dir := os.Getenv("BENCH_DIR")
	data, err := os.ReadFile(dir + "/hello.txt") // in memory, as the other keeps it
	if err != nil {
		log.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")
		w.Write(data)
	})}
	return s.Serve(l)
}
