//go:build unix && !linux

package stream

import "golang.org/x/sys/unix"

// errHostNotOnNet is an error number that only Linux has.
const errHostNotOnNet = unix.ECONNREFUSED

// receiveError finds nothing: only Linux has error queues.
func receiveError(int, []byte, []byte) (n, nc int, e queuedError, err error) {
	return 0, 0, queuedError{}, unix.EAGAIN
}

// isReadShutDown need not ask: see packetSource.
func isReadShutDown(int) bool { return false }
