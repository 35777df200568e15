package main

import (
	"time"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/cli"
)

type server struct {
	epoll, listener, quit int             // descriptors are just numbers
	edge                  uint32          // unix.EPOLLET or 0
	clients               map[int]*client // by descriptor
	acceptAgain           time.Time       // when to watch the listener again; zero while it is watched
	buf                   [4096]byte      // shared: no client keeps data in it while it waits
}

// epollCtl changes the interest set: the kernel's list of descriptors to watch,
// with the events of each. op is EPOLL_CTL_ADD, EPOLL_CTL_MOD or EPOLL_CTL_DEL.
func (s *server) epollCtl(op, fd int, interest uint32) error {
	return unix.EpollCtl(s.epoll, op, fd, &unix.EpollEvent{Events: interest | s.edge, Fd: int32(fd)})
}

// accept accepts until EAGAIN: edge-triggered epoll reports new clients once.
func (s *server) accept() {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.EAGAIN { // all are accepted
			return
		} else if err == unix.ECONNABORTED || err == unix.EINTR { // the client left early, or a signal came
			continue
		}
		if err == nil {
			c := &client{fd: fd, interest: unix.EPOLLIN}
			if s.edge != 0 { // it reports only changes, so ask for both from the start
				c.interest |= unix.EPOLLOUT
			}
			if err = s.epollCtl(unix.EPOLL_CTL_ADD, fd, c.interest); err == nil {
				s.clients[fd] = c
				continue
			}
			unix.Close(fd) // without registration it would never be served or closed
		}
		// Usually EMFILE, "too many open files". The listener stays readable,
		// so the loop would spin. Do not watch the listener for 100 ms.
		cli.Errorf("accept: %v", err)
		cli.CheckOp("epoll_ctl", s.epollCtl(unix.EPOLL_CTL_DEL, s.listener, 0))
		s.acceptAgain = time.Now().Add(100 * time.Millisecond)
		return
	}
}

// loop is the event loop: wait, then handle every descriptor that is ready.
func (s *server) loop() {
	var events [64]unix.EpollEvent // if more are ready, the next epoll_wait returns them
	for {
		timeout := -1 // milliseconds; -1 waits without limit
		if !s.acceptAgain.IsZero() {
			timeout = 100
		}
		n, err := unix.EpollWait(s.epoll, events[:], timeout)
		if err == unix.EINTR { // a signal; Go's runtime sends many to itself
			continue
		}
		cli.CheckOp("epoll_wait", err)
		for _, event := range events[:n] {
			switch fd := int(event.Fd); fd {
			case s.quit:
				return
			case s.listener:
				s.accept()
			default:
				s.serve(s.clients[fd])
			}
		}
		if !s.acceptAgain.IsZero() && time.Now().After(s.acceptAgain) {
			s.acceptAgain = time.Time{}
			cli.CheckOp("epoll_ctl", s.epollCtl(unix.EPOLL_CTL_ADD, s.listener, unix.EPOLLIN))
		}
	}
}
