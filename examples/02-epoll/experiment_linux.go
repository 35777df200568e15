package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/cli"
)

// experiment shows three readers of the same data: ten bytes in a pipe, then
// one more byte. Each reader reads at most four bytes per call.
func experiment() {
	runReader("level-triggered, one read per epoll_wait", 0, false)
	runReader("edge-triggered, one read per epoll_wait", unix.EPOLLET, false)
	runReader("edge-triggered, reads until EAGAIN", unix.EPOLLET, true)
}

func runReader(title string, mode uint32, untilEAGAIN bool) {
	fmt.Println(title)
	var pipe [2]int
	cli.CheckOp("pipe2", unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	cli.CheckOp("epoll_create1", err)
	defer unix.Close(epoll)
	cli.CheckOp("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, pipe[0], &unix.EpollEvent{Events: unix.EPOLLIN | mode}))

	left := 0 // bytes in the pipe
	write := func(n int) {
		unix.Write(pipe[1], make([]byte, n))
		left += n
		fmt.Printf("  %d written, %d in the pipe\n", n, left)
	}
	// waitAndRead asks epoll without waiting, and reads if the pipe is reported.
	waitAndRead := func() bool {
		var events [1]unix.EpollEvent
		n, err := unix.EpollWait(epoll, events[:], 0)
		for err == unix.EINTR {
			n, err = unix.EpollWait(epoll, events[:], 0)
		}
		cli.CheckOp("epoll_wait", err)
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
			if !untilEAGAIN {
				break
			}
			fmt.Print("    ")
		}
		return true
	}
	for _, n := range []int{10, 1} {
		write(n)
		for waitAndRead() {
		}
	}
	if left > 0 {
		fmt.Printf("  %d bytes are never reported: they arrived earlier, and epoll reports only new data\n", left)
	}
}
