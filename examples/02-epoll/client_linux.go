package main

import (
	"golang.org/x/sys/unix"

	"goselectors/examples/internal/cli"
)

type client struct {
	fd       int
	interest uint32 // the events that the kernel watches for
	pending  []byte // read, but not yet written back
}

// serve writes pending data and then reads more. Edge-triggered, it must go on
// until EAGAIN, because epoll does not report again what was there before.
// Level-triggered, it may stop at any point and let other clients run.
func (s *server) serve(c *client) {
	for reads := 0; ; {
		if len(c.pending) > 0 { // write first; until all is written, read no more
			n, err := unix.Write(c.fd, c.pending)
			if err == unix.EAGAIN {
				break
			} else if err != nil {
				s.close(c)
				return
			}
			c.pending = c.pending[n:] // the kernel may take only a part
			continue
		}
		if reads > 0 && s.edge == 0 {
			break
		}
		n, err := unix.Read(c.fd, s.buf[:])
		if err == unix.EAGAIN {
			break
		} else if n <= 0 { // 0 is the end of the stream, -1 is an error
			s.close(c)
			return
		}
		c.pending = append(c.pending, s.buf[:n]...)
		reads++
	}
	interest := uint32(unix.EPOLLIN)
	if len(c.pending) > 0 { // only then: a socket is almost always writable
		interest = unix.EPOLLOUT
	}
	if s.edge == 0 && interest != c.interest {
		c.interest = interest
		cli.CheckOp("epoll_ctl", s.epollCtl(unix.EPOLL_CTL_MOD, c.fd, interest))
	}
}

func (s *server) close(c *client) {
	delete(s.clients, c.fd)
	unix.Close(c.fd) // also removes it from the interest set, as no duplicate of it is open
}
