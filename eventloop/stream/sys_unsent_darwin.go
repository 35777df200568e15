package stream

import "golang.org/x/sys/unix"

// kernelUnsent returns the number of bytes in the socket's send buffer, which for
// TCP are those that are not acknowledged.
func kernelUnsent(fd int, kind fileKind) (int, bool) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	return n, err == nil
}
