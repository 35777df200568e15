package main

import "golang.org/x/sys/unix"

// unsentInKernel returns the number of bytes that the kernel holds because the
// client has not acknowledged them: SIOCOUTQ of tcp(7). The kernel may hold
// megabytes for a slow client, and takes new data only when a third of its buffer
// is free. So the size of the queue in this process does not show that the client
// reads.
func unsentInKernel(fd int) int {
	n, _ := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return n
}
