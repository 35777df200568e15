package main

import "golang.org/x/sys/unix"

type server struct {
	epoll, listener int             // descriptors are just numbers
	edge            uint32          // unix.EPOLLET or nothing
	clients         map[int]*client // whose descriptor is it?
	full            bool            // no descriptors left: the listener is not watched
	buf             [4096]byte      // one for all, as nobody keeps it while waiting
}

type client struct {
	fd       int
	interest uint32 // what the kernel watches it for
	pending  []byte // read, and not yet written back
}

// control changes the interest set: the kernel's list of what to watch, and for
// what. op is EPOLL_CTL_ADD, EPOLL_CTL_MOD or EPOLL_CTL_DEL.
func (s *server) control(op, fd int, interest uint32) {
	check("epoll_ctl", unix.EpollCtl(s.epoll, op, fd, &unix.EpollEvent{Events: interest | s.edge, Fd: int32(fd)}))
}

// accept takes everybody who is waiting: edge-triggered, epoll tells only once.
func (s *server) accept() {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			c := &client{fd: fd, interest: unix.EPOLLIN}
			if s.edge != 0 { // only changes are told, so it costs little to ask for both at once
				c.interest |= unix.EPOLLOUT
			}
			s.clients[fd] = c
			s.control(unix.EPOLL_CTL_ADD, fd, c.interest)
		case unix.ECONNABORTED: // gone before we came
		case unix.EMFILE, unix.ENFILE:
			// In the set the listener would be ready all the time, and we
			// could do nothing about it. It comes back when a client goes.
			s.control(unix.EPOLL_CTL_DEL, s.listener, 0)
			s.full = true
			return
		default: // EAGAIN: nobody is waiting any more
			return
		}
	}
}

// ready writes what a client is owed and reads on. Edge-triggered it must not
// stop before the kernel says EAGAIN: epoll tells news, and leftovers are none.
// Level-triggered it may stop anywhere, and gives the others a turn.
func (s *server) ready(c *client) {
	for reads := 0; ; {
		if len(c.pending) > 0 { // and reads no more until the client has taken this
			n, err := unix.Write(c.fd, c.pending)
			if err == unix.EAGAIN {
				break
			} else if err != nil {
				s.close(c)
				return
			}
			c.pending = c.pending[n:] // often not all of it fits
			continue
		}
		if reads > 0 && s.edge == 0 {
			break
		}
		n, err := unix.Read(c.fd, s.buf[:])
		if err == unix.EAGAIN {
			break
		} else if n <= 0 { // 0: the client has said all; less: an error
			s.close(c)
			return
		}
		c.pending = append(c.pending, s.buf[:n]...)
		reads++
	}
	interest := uint32(unix.EPOLLIN)
	if len(c.pending) > 0 { // only then: a socket is writable nearly always
		interest = unix.EPOLLOUT
	}
	if s.edge == 0 && interest != c.interest {
		c.interest = interest
		s.control(unix.EPOLL_CTL_MOD, c.fd, interest)
	}
}

func (s *server) close(c *client) {
	s.control(unix.EPOLL_CTL_DEL, c.fd, 0)
	delete(s.clients, c.fd)
	unix.Close(c.fd)
	if s.full {
		s.full = false
		s.control(unix.EPOLL_CTL_ADD, s.listener, unix.EPOLLIN)
	}
}

// loop is the event loop: wait, then see to everybody who is ready.
func (s *server) loop(quit int) {
	var events [64]unix.EpollEvent // more than 64 are ready? The next turn tells
	for {
		n, err := unix.EpollWait(s.epoll, events[:], -1)
		if err == unix.EINTR { // a signal; Go's runtime sends itself many
			continue
		}
		check("epoll_wait", err)
		for _, event := range events[:n] {
			switch fd := int(event.Fd); fd {
			case quit:
				return
			case s.listener:
				s.accept()
			default:
				s.ready(s.clients[fd])
			}
		}
	}
}
