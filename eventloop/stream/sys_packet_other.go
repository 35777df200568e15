//go:build !unix

package stream

import "errors"

// The constructors return errors.ErrUnsupported on these systems, so the
// functions below are never called.

var (
	errTooLarge      = errors.ErrUnsupported
	errNoDestination = errors.ErrUnsupported
)

func isForeign(error) bool    { return false }
func mayBePending(error) bool { return false }
func isIPv6(int) bool         { return false }
func isReadShutDown(int) bool { return false }
func receivePacket(*packetSocket, []byte) (int, packetSource, error) {
	return 0, packetSource{}, errors.ErrUnsupported
}
func receiveError(int, []byte, []byte) (n, nc int, e queuedError, err error) {
	return 0, 0, queuedError{}, errors.ErrUnsupported
}
func sendPacket(*packetSocket, []byte, packetTarget) error { return errors.ErrUnsupported }
