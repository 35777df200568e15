//go:build !unix

package stream

import (
	"errors"
	"net"
	"syscall"
)

// The constructors return errors.ErrUnsupported on these systems, so the
// functions below are never called.

const platformSupported = false

var (
	errBadFD       = errors.ErrUnsupported
	errBrokenPipe  = errors.ErrUnsupported
	errUnconnected = errors.ErrUnsupported
	errInProgress  = errors.New("in progress")
)

func read(int, []byte) (int, error)          { return 0, errors.ErrUnsupported }
func write(int, []byte) (int, error)         { return 0, errors.ErrUnsupported }
func writev(int, [][]byte) (int, error)      { return 0, errors.ErrUnsupported }
func closeFD(int)                            {}
func shutdownWrite(int) error                { return errors.ErrUnsupported }
func resetOnClose(int)                       {}
func setNoDelay(int)                         {}
func setNonblock(int) error                  { return errors.ErrUnsupported }
func duplicate(syscall.Conn) (int, error)    { return -1, errors.ErrUnsupported }
func socketFor(net.Addr) (int, error)        { return -1, errors.ErrUnsupported }
func connect(int, net.Addr) error            { return errors.ErrUnsupported }
func socketError(int) error                  { return errors.ErrUnsupported }
func hasUnread(int) bool                     { return false }
func kindOf(int) (fileKind, error)           { return 0, errors.ErrUnsupported }
func duplicateFD(int) (int, error)           { return -1, errors.ErrUnsupported }
func kernelUnsent(int, fileKind) (int, bool) { return 0, false }
func connectResult(int) (net.Addr, error)    { return nil, errors.ErrUnsupported }
func localAddr(int) net.Addr                 { return nil }
func remoteAddr(int) net.Addr                { return nil }

func setKeepAlive(int, net.KeepAliveConfig)         {}
func setAcceptedKeepAlive(int, net.KeepAliveConfig) {}
