package stream

import "golang.org/x/sys/unix"

// kernelUnsent returns the number of bytes that the kernel holds because the peer
// has not accepted them: for TCP those that are not acknowledged, for a pipe those
// that are not read. For a Unix socket the number includes an overhead per write.
func kernelUnsent(fd int, kind fileKind) (int, bool) {
	request := uint(unix.SIOCOUTQ)
	if kind == pipeWriteEnd {
		request = unix.TIOCINQ // also FIONREAD
	}
	n, err := unix.IoctlGetUint32(fd, request) // the kernel writes 32 bits
	return int(n), err == nil
}
