//go:build !unix && !windows

package sys

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// This platform has no call that waits for readiness. The functions exist so
// that package selectors compiles, and return errors.

const (
	HasPoll         = false
	HasSelect       = false
	AnyFile         = false
	HupIsReadClosed = false
	MaxSelectFD     = 0
)

const (
	PollIn = 1 << iota
	PollOut
	PollPri
	PollHup
	PollErr
	PollNval
	PollRdHup = 0
)

var ErrBadFD = errors.New("bad file descriptor")

// ErrNoWait is the error of all that waits.
const ErrNoWait = Unsupported("waiting for readiness on this platform")

const errNoTry = Unsupported("a call that does not block")

type (
	FDSet  = []uintptr
	PollFD struct {
		Fd              int32
		Events, Revents int16
	}
)

func NewPollFD(fd int, mask uint32) PollFD { return PollFD{int32(fd), int16(mask), 0} }
func SetEvents(p *PollFD, mask uint32)     { p.Events = int16(mask) }

func Poll([]PollFD, time.Duration) (int, error)             { return 0, ErrNoWait }
func Select(_, _, _ FDSet, _ time.Duration) (int, error)    { return 0, ErrNoWait }
func FileID(int) (uint64, error)                            { return 0, ErrBadFD }
func Identify(int, uint64) (uint64, bool, error)            { return 0, false, ErrNoWait }
func IsPath(int) bool                                       { return false }
func IsOpen(int) bool                                       { return false }
func PollLimit() int                                        { return 0 }
func isShortage(error) bool                                 { return false }
func Read(int, []byte, bool) (int, error)                   { return 0, errNoTry }
func Write(int, []byte, bool) (int, error)                  { return 0, errNoTry }
func SendTo(int, []byte, netip.AddrPort, bool) (int, error) { return 0, errNoTry }
func Accept(int) (int, error)                               { return -1, errNoTry }
func ReceiveFrom(int, []byte, bool) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, errNoTry
}
func AcceptConn(any, func(func(int) error) error) (net.Conn, error) { return nil, errNoTry }
