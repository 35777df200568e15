package main

import (
	"golang.org/x/sys/unix"

	"goselectors/examples/internal/cli"
)

// ways are the three system calls. prepare gets all descriptors once. It returns
// a function that asks the kernel without waiting and counts the ready ones.
// copied is in bytes.
var ways = []struct {
	name    string
	prepare func(fds []int) (countReady func() int)
	limit   int // descriptors from here on cannot be watched
	copied  func(n, highest int) (in, out int)
	scanned func(n, highest int) int
}{
	{"select", prepareSelect, unix.FD_SETSIZE,
		func(_, highest int) (int, int) { set := (highest/64 + 1) * 8; return set, set },
		func(_, highest int) int { return highest + 1 }},
	{"poll", preparePoll, 1 << 20,
		func(n, _ int) (int, int) { return 8 * n, 2 * n },
		func(n, _ int) int { return n }},
	{"epoll", prepareEpoll, 1 << 20,
		func(int, int) (int, int) { return 0, 12 },
		func(int, int) int { return 1 }},
}

// prepareSelect: the set is a bitmap with one bit per descriptor. The kernel
// overwrites it with the result. So each call needs a fresh copy, and after it
// the program must check every bit.
func prepareSelect(fds []int) func() int {
	var interest unix.FdSet
	highest := 0
	for _, fd := range fds {
		interest.Set(fd)
		highest = max(highest, fd)
	}
	return func() (ready int) {
		set := interest
		_, err := unix.Select(highest+1, &set, nil, nil, &unix.Timeval{})
		cli.CheckOp("select", err)
		for fd := range highest + 1 {
			if set.IsSet(fd) {
				ready++
			}
		}
		return ready
	}
}

// preparePoll: an array with one entry per descriptor, with a field for the
// result. The numbers have no limit, but the kernel copies and scans the whole
// array, and the program scans it too.
func preparePoll(fds []int) func() int {
	var interest []unix.PollFd
	for _, fd := range fds {
		interest = append(interest, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return func() (ready int) {
		_, err := unix.Poll(interest, 0)
		cli.CheckOp("poll", err)
		for _, entry := range interest {
			if entry.Revents != 0 {
				ready++
			}
		}
		return ready
	}
}

// prepareEpoll: the interest set is in the kernel, and epoll_ctl changes it. A
// descriptor that becomes ready is added to the ready list, and epoll_wait
// returns that list. The epoll descriptor stays open until the program ends.
func prepareEpoll(fds []int) func() int {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	cli.CheckOp("epoll_create1", err)
	for _, fd := range fds {
		cli.CheckOp("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	}
	var events [64]unix.EpollEvent
	return func() int {
		n, err := unix.EpollWait(epoll, events[:], 0)
		cli.CheckOp("epoll_wait", err)
		return n
	}
}
