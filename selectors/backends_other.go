//go:build !unix && !windows

package selectors

import (
	"errors"
	"time"
)

// This platform has no facility to wait for readiness. The constructors exist
// and say so, and what they are made of is missing.

var backends []Backend

var errBadFD = errors.New("bad file descriptor")

func fileID(int) (uint64, error) { return 0, errBadFD }
func identify(int, *entry) error { return errNone }

type (
	pollMask   = int16
	pollNumber = int32
	pollFD     struct {
		Fd              pollNumber
		Events, Revents pollMask
	}
)

const (
	pollIn = 1 << iota
	pollOut
	pollPri
	pollHup
	pollErr
	pollNval
	pollRdHup    = 0
	pollFeatures = 0
)

func hangup(uint32) Event { return EventHangup }

func ppoll([]pollFD, time.Duration) (int, error) { return 0, errNone }

type waker struct{}

func (waker) open() error  { return errNone }
func (waker) fd() int      { return -1 }
func (waker) wake() error  { return errNone }
func (waker) drain()       {}
func (waker) close() error { return nil }

type selectBackend struct{ backend }

func (selectBackend) open(*table) error { return errNone }

var selectTraits traits
