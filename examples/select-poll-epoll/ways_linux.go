package main

import "golang.org/x/sys/unix"

// A way to wait gets all descriptors once, and returns a function that asks the
// kernel without waiting and says how many are ready.
var ways = []struct {
	name    string
	prepare func(fds []int) (ask func() int)
	most    int // descriptors that it can watch
	copied  func(n, highest int) (in, out int)
	scanned func(n, highest int) int
}{
	{"select", bySelect, unix.FD_SETSIZE,
		func(_, highest int) (int, int) { set := (highest/64 + 1) * 8; return set, set },
		func(_, highest int) int { return highest + 1 }},
	{"poll", byPoll, 1 << 20,
		func(n, _ int) (int, int) { return 8 * n, 2 * n },
		func(n, _ int) int { return n }},
	{"epoll", byEpoll, 1 << 20,
		func(int, int) (int, int) { return 0, 12 },
		func(int, int) int { return 1 }},
}

// bySelect: the sets are bitmaps, one bit a descriptor. The kernel overwrites
// them with the answer, so they have to be made anew for each call, and all
// bits looked at after it.
func bySelect(fds []int) func() int {
	var all unix.FdSet
	highest := 0
	for _, fd := range fds {
		all.Set(fd)
		highest = max(highest, fd)
	}
	return func() (ready int) {
		set := all
		_, err := unix.Select(highest+1, &set, nil, nil, &unix.Timeval{})
		check(err)
		for fd := range highest + 1 {
			if set.IsSet(fd) {
				ready++
			}
		}
		return ready
	}
}

// byPoll: an array, one entry a descriptor, with room for the answer. No limit
// any more, but it is copied and scanned like the bitmaps, by both sides.
func byPoll(fds []int) func() int {
	var all []unix.PollFd
	for _, fd := range fds {
		all = append(all, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return func() (ready int) {
		_, err := unix.Poll(all, 0)
		check(err)
		for _, entry := range all {
			if entry.Revents != 0 {
				ready++
			}
		}
		return ready
	}
}

// byEpoll: the interest set is in the kernel, changed by epoll_ctl. A
// descriptor that gets ready puts itself on the ready list, and epoll_wait
// hands over that list.
func byEpoll(fds []int) func() int {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	check(err)
	for _, fd := range fds {
		check(unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	}
	var events [64]unix.EpollEvent
	return func() int {
		n, err := unix.EpollWait(epoll, events[:], 0)
		check(err)
		return n
	}
}
