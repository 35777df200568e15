package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// experiment has three readers wait for the same thing: ten bytes in a pipe,
// then one more. Each has room for four bytes at a time.
func experiment() {
	reader("level-triggered, one read a turn", 0, false)
	reader("edge-triggered, one read a turn", unix.EPOLLET, false)
	reader("edge-triggered, reads until EAGAIN", unix.EPOLLET, true)
}

func reader(title string, mode uint32, drain bool) {
	fmt.Println(title)
	var pipe [2]int
	check("pipe2", unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	check("epoll_create1", err)
	defer unix.Close(epoll)
	check("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, pipe[0], &unix.EpollEvent{Events: unix.EPOLLIN | mode}))

	left := 0
	write := func(n int) {
		unix.Write(pipe[1], make([]byte, n))
		left += n
		fmt.Printf("  %d written, %d in the pipe\n", n, left)
	}
	// turn waits, not for ever, and reads if it is told to.
	turn := func() bool {
		var events [1]unix.EpollEvent
		n, err := unix.EpollWait(epoll, events[:], 0)
		for err == unix.EINTR {
			n, err = unix.EpollWait(epoll, events[:], 0)
		}
		check("epoll_wait", err)
		if n == 0 {
			fmt.Printf("    epoll_wait: nothing, %d in the pipe\n", left)
			return false
		}
		fmt.Print("    epoll_wait: ready; ")
		for {
			n, err := unix.Read(pipe[0], make([]byte, 4))
			if err == unix.EAGAIN {
				fmt.Println("read: EAGAIN")
				break
			}
			left -= n
			fmt.Printf("read %d, %d left\n", n, left)
			if !drain {
				break
			}
			fmt.Print("    ")
		}
		return true
	}
	write(10)
	for turn() {
	}
	write(1)
	for turn() {
	}
	if left > 0 {
		fmt.Printf("  %d bytes wait for ever: they are old, and only news is told\n", left)
	}
}
