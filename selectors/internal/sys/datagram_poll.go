//go:build unix && !linux

package sys

// dontWait is 0: not every system has MSG_DONTWAIT, so sockets in blocking mode are
// polled first.
const dontWait = 0
