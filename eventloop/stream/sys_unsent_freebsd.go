package stream

import "golang.org/x/sys/unix"

// fionwrite is FIONWRITE of sys/filio.h: the bytes in a socket's send buffer, which
// for TCP are those that are not acknowledged.
const fionwrite = 0x40046677

func kernelUnsent(fd int, kind fileKind) (int, bool) {
	n, err := unix.IoctlGetInt(fd, fionwrite)
	return n, err == nil
}
